"""The runtime's own tables: operator schemas, and the kernels of each execution provider."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Names a type parameter (or a formal input or output) may be bound to; ``None``: not known.
Bound = Mapping[str, frozenset[str | None]]

#: "up to now": the end of an open version range in the runtime's kernel definitions.
_OPEN_END = 2**31 - 1


@dataclass(frozen=True)
class Parameter:
    """A formal input or output of a schema; ``type`` is a type or a type parameter."""

    name: str
    type: str
    variadic: bool


@dataclass(frozen=True)
class Schema:
    """One version of an operator, as the runtime registered it."""

    since: int
    inputs: tuple[Parameter, ...]
    outputs: tuple[Parameter, ...]
    allowed: Mapping[str, tuple[str, ...]]
    deprecated: bool

    def parameter(self, formal: tuple[Parameter, ...], index: int) -> Parameter | None:
        """The formal parameter of an actual one; the last one repeats when it is variadic."""
        if index < len(formal):
            return formal[index]
        return formal[-1] if formal and formal[-1].variadic else None


@dataclass(frozen=True)
class Kernel:
    """One kernel: an inclusive range of operator versions and the types it takes."""

    start: int
    end: int
    types: Mapping[str, frozenset[str]]

    def covers(self, since: int) -> bool:
        """The runtime's rule: an open range stands for its first version only."""
        if self.start == since:
            return True
        return self.end != _OPEN_END and self.start <= since <= self.end

    def misfit(self, bound: Bound) -> tuple[str, str] | None:
        """The first type that the kernel does not take, with its parameter."""
        for parameter, allowed in self.types.items():
            for actual in sorted(t for t in bound.get(parameter, ()) if t):
                if actual not in allowed:
                    return parameter, actual
        return None

    def undecided(self, bound: Bound) -> bool:
        """Whether a type that matters is not known."""
        return any(None in bound.get(parameter, ()) for parameter in self.types)


@dataclass(frozen=True)
class Registry:
    """Schemas and kernels by (domain, operator)."""

    version: str
    schemas: Mapping[tuple[str, str], tuple[Schema, ...]]
    kernels: Mapping[tuple[str, str, str], tuple[Kernel, ...]]

    def schema(self, domain: str, op_type: str, opset: int) -> Schema | None:
        """The newest version of an operator within an opset."""
        versions = self.schemas.get((domain, op_type), ())
        fitting = [s for s in versions if s.since <= opset]
        return fitting[-1] if fitting else None

    def newest(self, domain: str) -> int:
        """The highest version at which any operator of a domain was registered."""
        return max((s[-1].since for k, s in self.schemas.items() if k[0] == domain), default=0)

    def has_kernels(self, provider: str) -> bool:
        """Whether a provider registers kernels at all (compiling ones do not)."""
        return any(key[0] == provider for key in self.kernels)

    def of(self, provider: str, domain: str, op_type: str) -> tuple[Kernel, ...]:
        """All kernels of an operator."""
        return self.kernels.get((provider, domain, op_type), ())


@functools.cache
def registry() -> Registry:
    """Read the tables of the installed runtime."""
    import onnxruntime as ort
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    schemas: dict[tuple[str, str], list[Schema]] = {}
    for entry in state.get_all_operator_schema():
        schemas.setdefault((_short(entry.domain), entry.name), []).append(_schema(entry))
    kernels: dict[tuple[str, str, str], list[Kernel]] = {}
    for entry in state.get_all_opkernel_def():
        start, end = entry.version_range
        types = {name: frozenset(allowed) for name, allowed in entry.type_constraints.items()}
        key = (entry.provider, _short(entry.domain), entry.op_name)
        kernels.setdefault(key, []).append(Kernel(start, end, types))
    return Registry(
        ort.__version__,
        {k: tuple(sorted(v, key=lambda s: s.since)) for k, v in schemas.items()},
        {k: tuple(v) for k, v in kernels.items()},
    )


def _short(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _schema(entry: Any) -> Schema:
    return Schema(
        since=entry.since_version,
        inputs=tuple(_parameter(p) for p in entry.inputs),
        outputs=tuple(_parameter(p) for p in entry.outputs),
        allowed={c.type_param_str: tuple(c.allowed_type_strs) for c in entry.type_constraints},
        deprecated=bool(entry.deprecated),
    )


def _parameter(entry: Any) -> Parameter:
    return Parameter(entry.name, entry.typeStr, entry.option.name == "Variadic")
