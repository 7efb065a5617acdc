"""The codec is the type checker of the contract: nothing that does not fit gets through."""

from __future__ import annotations

import dataclasses
import enum
import json
import typing
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial import results
from seatrial.codec import CodecError, canonical, decode, digest, encode
from seatrial.jobs.calls import Described
from seatrial.session import RunReply, RunRequest

RECORDS = sorted(
    {v for v in vars(results).values() if isinstance(v, type) and dataclasses.is_dataclass(v)}
    | {Described, RunReply, RunRequest},
    key=lambda c: c.__name__,
)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Values of an annotation that records use."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Union or str(type(hint)) == "<class 'types.UnionType'>":
        return st.one_of(*(values(a) for a in args))
    if origin is tuple:
        return st.lists(values(args[0]), max_size=2).map(tuple)
    if origin is not None and issubclass(origin, Mapping):
        return st.dictionaries(TEXT, values(args[1]), max_size=2)
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return st.builds(hint, **{f.name: values(hints[f.name]) for f in dataclasses.fields(hint)})
    if issubclass(hint, enum.Enum):
        return st.sampled_from(list(hint))
    scalars = {
        str: TEXT,
        bool: st.booleans(),
        int: st.integers(),
        float: st.floats(allow_nan=False, allow_infinity=False),
        type(None): st.none(),
    }
    return scalars[hint]


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(encode(value), allow_nan=False))


@pytest.mark.parametrize("cls", RECORDS, ids=lambda c: c.__name__)
@settings(max_examples=15)
@given(data=st.data())
def test_every_record_comes_back(cls, data):
    value = data.draw(values(cls))
    back = decode(cls, through_json(value))
    assert back == value and type(back) is cls
    assert canonical(back) == canonical(value) and digest(back) == digest(value)


@pytest.mark.parametrize("cls", RECORDS, ids=lambda c: c.__name__)
@settings(max_examples=5)
@given(data=st.data())
def test_unknown_and_missing_fields_are_named(cls, data):
    good = through_json(data.draw(values(cls)))
    with pytest.raises(CodecError, match="has no field 'surprise'"):
        decode(cls, {**good, "surprise": 1})
    for field in dataclasses.fields(cls):
        less = {k: v for k, v in good.items() if k != field.name}
        required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if required:
            with pytest.raises(CodecError, match=f"lacks the field '{field.name}'"):
                decode(cls, less)
        else:
            decode(cls, less)


class Alien:
    """Fits nothing."""


def misfits(hint: Any) -> list[Any]:
    """JSON values that an annotation must refuse."""
    candidates = [None, True, 1, 1.5, "text", [], {}, [Alien.__name__, 3], {"a": []}]
    return [c for c in candidates if not fits(hint, c)]


def fits(hint: Any, value: Any) -> bool:
    """An independent, simple reading of the annotation."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Union or str(type(hint)) == "<class 'types.UnionType'>":
        return any(fits(a, value) for a in args)
    if origin is tuple:
        return isinstance(value, list) and all(fits(args[0], v) for v in value)
    if origin is not None:
        return isinstance(value, dict) and all(fits(args[1], v) for v in value.values())
    if dataclasses.is_dataclass(hint):
        required = [
            f.name
            for f in dataclasses.fields(hint)
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        ]
        return value == {} and not required
    if issubclass(hint, enum.Enum):
        return value in [m.value for m in hint]
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


@pytest.mark.parametrize("cls", RECORDS, ids=lambda c: c.__name__)
@settings(max_examples=3)
@given(data=st.data())
def test_every_field_refuses_every_other_type_and_names_the_place(cls, data):
    good = through_json(data.draw(values(cls)))
    hints = typing.get_type_hints(cls)
    tried = 0
    for field in dataclasses.fields(cls):
        for bad in misfits(hints[field.name]):
            with pytest.raises(CodecError) as caught:
                decode(cls, {**good, field.name: bad})
            assert str(caught.value).startswith(f"$.{field.name}")
            tried += 1
    assert tried


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), object(), {1: 2}, b"bytes", {"a"}])
def test_what_is_no_json_is_refused(bad):
    with pytest.raises(CodecError):
        encode({"value": bad} if not isinstance(bad, dict) else bad)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_records_compare_hash_and_show_as_dataclasses_do(data):
    fields = {"reason": TEXT, "node": TEXT, "severity": TEXT}
    one, other = (data.draw(st.fixed_dictionaries(fields)) for _ in range(2))
    plain = dataclasses.make_dataclass("Finding", fields, frozen=True)
    made = [results.Finding(**f) for f in (one, other, one)]
    assert (made[0] == made[1]) == (plain(**one) == plain(**other))
    assert made[0] == made[2] and hash(made[0]) == hash(made[2])
    assert made[0] != plain(**one) and made[0] != None  # noqa: E711 - the operator is meant
    shown = {f.name: getattr(made[0], f.name) for f in dataclasses.fields(made[0])}
    told = dataclasses.make_dataclass("Finding", [(n, Any) for n in shown])(**shown)
    assert repr(made[0]) == repr(told)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made[0].reason = "other"
