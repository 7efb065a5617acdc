"""Rows of the report with every key present, nothing known yet.

Each function takes what is known as keywords; a keyword that the row does not have is an error,
so a typing mistake shows where it was made and not in a schema check later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: A row, a report, or a part of one.
Row = dict[str, Any]


def filled(name: str, blank: Row, known: Mapping[str, Any]) -> Row:
    """A row with what is known laid over the blank one.

    Raises:
        TypeError: something known that the row has no key for.
    """
    unknown = sorted(set(known) - set(blank))
    if unknown:
        raise TypeError(f"{name} has no key {unknown[0]!r}")
    return {**blank, **known}


def reason(
    code: str, text: str, *, part: str = "", target: str | None = None, level: str = "error"
) -> Row:
    """One reason for a verdict; ``part`` is compiles, accurate, fast or empty."""
    return {"code": code, "part": part, "target": target, "text": text, "level": level}


def answers(
    compiles: str = "not asked", accurate: str = "not asked", fast: str = "not asked"
) -> Row:
    """The three parts of a verdict."""
    return {"compiles": compiles, "accurate": accurate, "fast": fast}


def model(path: str, **known: Any) -> Row:
    """The model as it was read."""
    blank: Row = {
        "path": path,
        "sha256": "",
        "bytes": 0,
        "format": "onnx",
        "ir_version": None,
        "producer": "",
        "opsets": {},
        "inputs": [],
        "outputs": [],
        "nodes": None,
        "op_types": {},
        "parameters": None,
        "external_files": [],
        "graph": None,
    }
    return filled("model", blank, known)


def graph(nodes: list[Row], left_out: int = 0) -> Row:
    """The model's nodes; ``left_out`` counts those that are not listed."""
    return {"nodes": nodes, "left_out": left_out}


def graph_node(node: str, op_type: str, reads: list[int], domain: str = "") -> Row:
    """One node; ``reads`` are the positions of the nodes whose results it reads."""
    return {"node": node, "op_type": op_type, "domain": domain, "reads": reads}


def data_source(source: str, **known: Any) -> Row:
    """One source of samples."""
    blank: Row = {
        "source": source,
        "kind": "",
        "count": 0,
        "requested": None,
        "labels": False,
        "classes": None,
        "groups": None,
        "sha256": "",
        "synthetic": False,
        "how": "",
        "notes": [],
    }
    return filled("data source", blank, known)


def ladder(rung: str, **known: Any) -> Row:
    """One rung of the accuracy ladder."""
    blank: Row = {
        "rung": rung,
        "target": None,
        "source": None,
        "against": None,
        "ran_on": "",
        "artifact": "",
        "metric": "",
        "unit": "points",
        "higher_is_better": True,
        "value": None,
        "value_ci95": None,
        "also": {},
        "right": [],
        "classes": [],
        "drop": None,
        "limit": None,
        "ci95": None,
        "n": 0,
        "groups": None,
        "n_needed": None,
        "agreement": None,
        "gate": "not applicable",
        "reason": "",
    }
    return filled("ladder row", blank, known)


def sla(**known: Any) -> Row:
    """What must hold; :class:`seatrial.sla.SLA` encodes to the same keys."""
    blank: Row = {
        "max_drop": None,
        "max_latency": None,
        "max_memory_mb": None,
        "min_metric": None,
        "device_drop": None,
        "class_drop": None,
        "accept_agreement": None,
        "fail_on": None,
        "defaults": [],
    }
    return filled("sla", blank, known)


def environment(**known: Any) -> Row:
    """Where it was measured."""
    blank: Row = {
        "seatrial": "",
        "python": "",
        "platform": "",
        "cpu": {"model": "", "flags": [], "cores": None, "governor": ""},
        "packages": {},
    }
    return filled("environment", blank, known)
