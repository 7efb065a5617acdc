"""Records to JSON and back, strictly.

Everything that crosses a process boundary is a frozen dataclass made by :func:`record`.
The decoder is where a plugin's wrong *types* are caught: pluggy checks argument names only.
Standard library only, Python 3.10 and newer: this module also runs inside foreign interpreters.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, Union

T = TypeVar("T")

if typing.TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Callable[[T], T]:
        """Stand-in at run time: the marker only matters to type checkers."""
        return lambda decorated: decorated


class CodecError(ValueError):
    """A value does not fit its record: the message names the place and both types."""


@dataclass_transform(
    frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,)
)
def record(cls: type[T]) -> type[T]:
    """Make a class a record: frozen, keyword-only, slotted; equal when type and fields are.

    What dataclasses would generate for each class is written once here: every child pays for it.
    """
    cls.__eq__, cls.__hash__, cls.__repr__ = _equal, _hash, _repr  # type: ignore[method-assign]
    made = dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
    return made(cls)


def _values(self: Any) -> tuple[Any, ...]:
    return tuple(getattr(self, name) for name in self.__dataclass_fields__)


def _equal(self: Any, other: object) -> bool:
    return _values(self) == _values(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_values(self))


def _repr(self: Any) -> str:
    told = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__dataclass_fields__)
    return f"{type(self).__qualname__}({told})"


def encode(value: Any) -> Any:
    """Turn a record (or a container of records) into plain JSON values.

    Raises:
        CodecError: for a value JSON cannot hold, a NaN or an infinity among them.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {_text_key(k): encode(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [encode(v) for v in value]
    return _encode_scalar(value)


def _encode_scalar(value: Any) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise CodecError(f"{value!r} is not a JSON number")
        return float(value)
    raise CodecError(f"a {type(value).__name__} cannot cross a process boundary")


def decode(cls: type[T], data: Any, where: str = "$") -> T:
    """Build a record from JSON values; every unknown, missing or ill-typed field is an error.

    Args:
        cls: the record (or any annotation the records use) to build.
        data: what :func:`encode` gave, after a trip through JSON.
        where: the place named in errors.

    Raises:
        CodecError: naming the first place that does not fit.
    """
    return typing.cast(T, _decode(cls, data, where))


def canonical(value: Any) -> bytes:
    """Canonical JSON (sorted keys, no spaces, UTF-8): the form that is hashed."""
    text = json.dumps(encode(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "surrogatepass")


def digest(value: Any) -> str:
    """sha256 of the canonical JSON of a value, as 64 hexadecimal digits."""
    import hashlib  # OpenSSL takes its time, and children need it seldom

    return hashlib.sha256(canonical(value)).hexdigest()


def _text_key(key: Any) -> str:
    if not isinstance(key, str):
        raise CodecError(f"a mapping key is a {type(key).__name__}, not text")
    return key


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _decode(hint: Any, data: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if origin is Union or origin is types.UnionType:
        return _decode_union(typing.get_args(hint), data, where)
    if origin is tuple:
        item = typing.get_args(hint)[0]
        if not isinstance(data, list):
            raise _misfit(where, "a list", data)
        return tuple(_decode(item, v, f"{where}[{i}]") for i, v in enumerate(data))
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        item = typing.get_args(hint)[1]
        if not isinstance(data, dict):
            raise _misfit(where, "a mapping", data)
        return {k: _decode(item, v, f"{where}.{k}") for k, v in data.items()}
    if dataclasses.is_dataclass(hint):
        return _decode_record(hint, data, where)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        try:
            return hint(data)
        except ValueError:
            known = ", ".join(repr(m.value) for m in hint)
            raise CodecError(f"{where}: {data!r} is none of {known}") from None
    return _decode_scalar(hint, data, where)


def _decode_union(options: tuple[Any, ...], data: Any, where: str) -> Any:
    if data is None and type(None) in options:
        return None
    errors = []
    for option in options:
        if option is type(None):
            continue
        try:
            return _decode(option, data, where)
        except CodecError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    raise CodecError(f"{where}: {type(data).__name__} fits none of the types allowed here")


def _decode_record(cls: Any, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise _misfit(where, cls.__name__, data)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise CodecError(f"{where}: {cls.__name__} has no field {unknown[0]!r}")
    hints = _hints(cls)
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _decode(hints[name], data[name], f"{where}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise CodecError(f"{where}: {cls.__name__} lacks the field {name!r}")
    try:
        return cls(**values)
    except (ValueError, TypeError) as error:
        raise CodecError(f"{where}: {error}") from None


def _decode_scalar(hint: Any, data: Any, where: str) -> Any:
    if hint is Any:
        return data
    if hint is float:
        if isinstance(data, (int, float)) and not isinstance(data, bool) and math.isfinite(data):
            return float(data)
    elif hint is int:
        if isinstance(data, int) and not isinstance(data, bool):
            return data
    elif hint in (str, bool, type(None)) and isinstance(data, hint):
        return data
    raise _misfit(where, getattr(hint, "__name__", str(hint)), data)


def _misfit(where: str, wanted: str, data: Any) -> CodecError:
    return CodecError(f"{where}: expected {wanted}, got {type(data).__name__}")
