"""Rows of the report on one target, with every key present: claimed, built, ran, and as what."""

from __future__ import annotations

from typing import Any

from .rows import Row, filled


def target(name: str, **known: Any) -> Row:
    """Everything known of one target, ``name`` as in ``backend:target``."""
    backend, _, own = name.partition(":")
    blank: Row = {
        "target": name,
        "id": own,
        "plugin": {"id": backend, "dist": "", "version": ""},
        "title": "",
        "kind": "device",
        "machine_class": "",
        "decides": False,
        "verdict": None,
        "answers": None,
        "reasons": [],
        "availability": None,
        "claimed": None,
        "built": None,
        "ran": None,
        "layout": None,
        "int8": None,
        "first_break": None,
        "benchmark": [],
        "generality": [],
        "optimisation": None,
        "pace": None,
        "fault": None,
    }
    return filled("target", blank, known)


def claimed(listed: int = 0, unsupported: int = 0, unknown: int = 0, **known: Any) -> Row:
    """What static tables say, as counts; ``claims`` are the nodes that are not listed."""
    blank: Row = {
        "counts": {"listed": listed, "unsupported": unsupported, "unknown": unknown},
        "claims": [],
        "sources": [],
        "notes": [],
    }
    return filled("claimed", blank, known)


def placements(target: int = 0, fallback: int = 0, nowhere: int = 0, unknown: int = 0) -> Row:
    """Nodes by where they went."""
    return {"target": target, "fallback": fallback, "nowhere": nowhere, "unknown": unknown}


def artifact(form: str, sha256: str, size: int) -> Row:
    """A built artefact; ``size`` in bytes."""
    return {"format": form, "sha256": sha256, "bytes": size}


def built_precision(verdict: str, **known: Any) -> Row:
    """What the compiler said in one precision."""
    blank: Row = {
        "verdict": verdict,
        "depth": None,
        "structure_only": False,
        "precision": "",
        "placements": placements(),
        "artifact": None,
        "seconds": None,
        "notes": [],
        "fault": None,
    }
    return filled("built precision", blank, known)


def built(verdict: str, **known: Any) -> Row:
    """What the real compiler said."""
    blank: Row = {"verdict": verdict, "depth": None, "fp32": None, "int8": None, "findings": []}
    return filled("built", blank, known)


def ran(where: str, device: str, **known: Any) -> Row:
    """What really executed."""
    blank: Row = {
        "where": where,
        "device": device,
        "instruction_set": "",
        "fp32": None,
        "int8": None,
    }
    return filled("ran", blank, known)


def execution(**known: Any) -> Row:
    """What one kind of artefact really ran as."""
    blank: Row = {
        "precisions": {},
        "layouts": {},
        "placements": placements(),
        "fallback_share": None,
        "layers": [],
        "notes": [],
    }
    return filled("execution", blank, known)


def layout(native: str, chosen: str, reason: str, variants: list[Row]) -> Row:
    """Layout variants, proven equal and measured."""
    return {
        "native": native,
        "chosen": chosen,
        "runtime": "",
        "reason": reason,
        "variants": variants,
    }


def layout_variant(layout: str, method: str, **known: Any) -> Row:
    """One layout variant."""
    blank: Row = {
        "layout": layout,
        "dtype": "",
        "method": method,
        "transposes_added": 0,
        "transposes_removed": 0,
        "equivalent": None,
        "max_abs_error": None,
        "p50_ms": None,
        "ratio": None,
        "ci95": None,
        "penalty_percent": None,
        "penalty_ci95": None,
        "distinguishable": False,
        "host_ms": None,
        "runtime": "",
        "reorder_ms": None,
        "reason": "",
        "refused": [],
        "fault": None,
    }
    return filled("layout variant", blank, known)


def int8(source: str, **known: Any) -> Row:
    """The INT8 artefact that was judged; ``source`` is ``qdq:DIGEST`` or ``native``."""
    blank: Row = {
        "source": source,
        "method": "",
        "artifact": None,
        "int8_nodes": None,
        "float_nodes": [],
        "notes": [],
        "fault": None,
    }
    return filled("int8", blank, known)
