"""OpenVINO's error texts, taken apart."""

from __future__ import annotations

import dataclasses
import re

#: A failed check of OpenVINO ends its text with the reason; these lines only say where it was.
_WHERE = re.compile(r"^(Exception from |Check '.*' failed at |FrontEnd API failed|Summary:|$)")
_NO_RULE = re.compile(r"No conversion rule found for operations: ([^\n]+)")
_FAILED = re.compile(r"Conversion is failed for: ([^\n]+)")
_ONNX_NODE = re.compile(r"<Node\((?P<op>[^)]*)\): (?P<name>[^>]*)>")
_DETAIL = re.compile(
    r"^-- (?P<type>\S+) with a message:\n(?P<text>.*?)(?=^-- |^Summary:|\Z)", re.M | re.S
)
_NAMED = re.compile(
    r"friendly_name '([^']+)'|node with name '([^']+)'"
    r"|operation of type: \S+ (?:with )?name:? (\S+)|[Nn]ode(?: with name)? '([^']+)'"
)
_TENSOR = re.compile(
    r"Unsupported value_info type: (\S+)|Input tensor isn't found for node \"([^\"]+)\""
    r"|initializer '([^']+)'|its shape for tensor '([^']+)'"
)
_VERSIONED = re.compile(r"^(?P<name>.+?)-\d+$")

LONGEST = 300


@dataclasses.dataclass(frozen=True)
class Detail:
    """One failed conversion: the operator, the node if it was named, and the reason."""

    op_type: str
    node: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Refusal:
    """What an error says.

    Attributes:
        no_rule: (domain, operator) for which the front end has no rule.
        failed: (domain, operator) for which the rule failed on this model.
        details: reasons of failed rules, one per operator at most.
        named: names of operations that a later stage blames.
        tensors: ONNX tensors that the reader blames.
        reason: the rest, in a sentence.
    """

    no_rule: tuple[tuple[str, str], ...]
    failed: tuple[tuple[str, str], ...]
    details: tuple[Detail, ...]
    named: tuple[str, ...]
    tensors: tuple[str, ...]
    reason: str


def read_refusal(text: str) -> Refusal:
    """Take an error text of ``read_model`` or ``compile_model`` apart."""
    details = [
        Detail(_operator(d["type"])[1], _first_node(d["text"]), sentence(d["text"]))
        for d in _DETAIL.finditer(text)
    ]
    if not details and (node := _first_node(text)):
        found = _ONNX_NODE.search(text)
        details.append(Detail(found["op"] if found else "", node, sentence(text)))
    return Refusal(
        no_rule=_operators(_NO_RULE, text),
        failed=_operators(_FAILED, text),
        details=tuple(details),
        named=_matches(_NAMED, text),
        tensors=_matches(_TENSOR, text),
        reason=sentence(text),
    )


def sentence(text: str) -> str:
    """The reason in an error text, without the places in OpenVINO's source, on one line."""
    lines = [line.strip() for line in text.splitlines()]
    kept = [ln for ln in lines if not _WHERE.match(ln)] or [ln for ln in lines if ln]
    # "While validating ONNX node '<Node(Conv): c>': Check '...' failed at FILE:" is a place too
    kept = [ln for ln in kept if not ln.startswith("While validating")] or kept
    joined = " ".join(ln for ln in kept if ln != "Loading input model" or len(kept) == 1)
    return joined if len(joined) <= LONGEST else joined[: LONGEST - 3] + "..."


def _matches(pattern: re.Pattern[str], text: str) -> tuple[str, ...]:
    found = (next(filter(None, m.groups()), "") for m in pattern.finditer(text))
    return tuple(dict.fromkeys(name for name in found if name))


def _first_node(text: str) -> str:
    found = _ONNX_NODE.search(text)
    return found["name"] if found else ""


def _operators(pattern: re.Pattern[str], text: str) -> tuple[tuple[str, str], ...]:
    found = [part for m in pattern.finditer(text) for part in m.group(1).split(", ")]
    return tuple(dict.fromkeys(_operator(part.strip()) for part in found if part.strip()))


def _operator(text: str) -> tuple[str, str]:
    """``ai.onnx.ml.Scaler-1`` -> ("ai.onnx.ml", "Scaler"); ``Det-13`` -> ("", "Det")."""
    versioned = _VERSIONED.match(text)
    # operators that only OpenVINO itself inserts for an ONNX one carry the prefix of their helper
    name = (versioned["name"] if versioned else text).removeprefix("util::")
    domain, _, op_type = name.rpartition(".")
    return ("" if domain == "ai.onnx" else domain), op_type
