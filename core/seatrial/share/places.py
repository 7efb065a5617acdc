"""Walks a report along its schema, so that every text is met with its place in the schema."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from seatrial.report.load import schema

#: Gives the new value of a text (or a key) at a place; ``None`` drops it.
Change = Callable[[str, str], str | None]


def walk(value: Any, change: Change) -> Any:
    """A copy of a report in which every text, and every key of an open object, was changed.

    Args:
        value: the document.
        change: called with (place, text). A text for which it gives ``None`` becomes empty; an
            entry of a list or of an open object is left out.
    """
    return _value(value, schema(), "$", change)


def _value(value: Any, rule: Mapping[str, Any], place: str, change: Change) -> Any:
    rule, place = _resolve(rule, place, value)
    if isinstance(value, str):
        if "enum" in rule or "const" in rule:
            return value
        changed = change(place, value)
        return "" if changed is None else changed
    if isinstance(value, Mapping):
        return dict(_members(value, rule, place, change))
    if isinstance(value, (list, tuple)):
        items = rule.get("items")
        inner = items if isinstance(items, Mapping) else {}
        done = [(item, _value(item, inner, f"{place}[]", change)) for item in value]
        return [new for old, new in done if new != "" or old == ""]
    return value


def _members(
    value: Mapping[str, Any], rule: Mapping[str, Any], place: str, change: Change
) -> Iterator[tuple[str, Any]]:
    known = rule.get("properties", {})
    more = rule.get("additionalProperties")
    other = more if isinstance(more, Mapping) else {}
    for key, member in value.items():
        if key in known:
            yield key, _value(member, known[key], f"{place}.{key}", change)
            continue
        name = change(f"{place}.{{keys}}", key)
        if name is not None:
            yield name, _value(member, other, f"{place}.*", change)


def _resolve(rule: Mapping[str, Any], place: str, value: Any) -> tuple[Mapping[str, Any], str]:
    """The rule that applies to this value, references and alternatives followed."""
    while "$ref" in rule or "anyOf" in rule or "oneOf" in rule:
        if "$ref" in rule:
            target: Any = schema()
            for part in rule["$ref"].split("/")[1:]:
                target = target[part]
            rule, place = target, _name(rule["$ref"], place)
            continue
        choices = rule.get("anyOf") or rule["oneOf"]
        rule = next((c for c in choices if _fits(c, value)), {})
    return rule, place


def _name(reference: str, place: str) -> str:
    """A definition begins a new place; a reference into one leaves the place as it is."""
    parts = reference.split("/")
    return parts[2] if len(parts) == 3 and parts[1] == "$defs" else place


def _fits(rule: Mapping[str, Any], value: Any) -> bool:
    wanted = _resolve(rule, "", value)[0].get("type")
    names = wanted if isinstance(wanted, list) else [wanted]
    if value is None:
        return "null" in names
    if wanted is None:
        return True
    if isinstance(value, str):
        return "string" in names
    if isinstance(value, Mapping):
        return "object" in names
    if isinstance(value, (list, tuple)):
        return "array" in names
    return bool({"number", "integer", "boolean"} & set(names))


def texts() -> tuple[str, ...]:
    """Every place of the schema where a text (or a free key) that is no enumeration may stand."""
    found: dict[str, None] = {}
    _collect(schema(), "$", frozenset(), found)
    return tuple(found)


def _collect(
    rule: Mapping[str, Any], place: str, seen: frozenset[str], out: dict[str, None]
) -> None:
    if "$ref" in rule:
        if rule["$ref"] in seen:
            return
        target: Any = schema()
        for part in rule["$ref"].split("/")[1:]:
            target = target[part]
        _collect(target, _name(rule["$ref"], place), seen | {rule["$ref"]}, out)
        return
    for choice in (*rule.get("anyOf", ()), *rule.get("oneOf", ())):
        _collect(choice, place, seen, out)
    kinds = rule.get("type")
    named = kinds if isinstance(kinds, list) else [kinds]
    if "string" in named and "enum" not in rule and "const" not in rule:
        out[place] = None
    for key, inner in rule.get("properties", {}).items():
        _collect(inner, f"{place}.{key}", seen, out)
    if isinstance(rule.get("items"), Mapping):
        _collect(rule["items"], f"{place}[]", seen, out)
    more = rule.get("additionalProperties")
    if more is True or isinstance(more, Mapping):
        out[f"{place}.{{keys}}"] = None
    if isinstance(more, Mapping):
        _collect(more, f"{place}.*", seen, out)
