"""Rows of the report on making INT8, with every key present: from calibration to recovery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .rows import Row, filled


def calibration(**known: Any) -> Row:
    """The audited calibration set and the method used."""
    blank: Row = {
        "count": 0,
        "requested": None,
        "method": "",
        "scheme": "",
        "findings": [],
        "audit": None,
        "facts": {},
        "cost": None,
        "thumbnails": [],
        "histograms": [],
    }
    return filled("calibration", blank, known)


def calibration_finding(code: str, text: str, *, level: str = "warning", **known: Any) -> Row:
    """One finding of the calibration audit."""
    blank: Row = {
        "code": code,
        "level": level,
        "text": text,
        "samples": [],
        "tensors": [],
        "count": 0,
        "pairs": [],
        "rule": "",
        "advice": "",
        "score": None,
    }
    return filled("calibration finding", blank, known)


def candidate(name: str, *, scores: Mapping[str, float | None] | None = None, **known: Any) -> Row:
    """One way to quantize."""
    blank: Row = {
        "name": name,
        "source": "core",
        "scheme": "",
        "sha256": "",
        "scores": {"agreement": None, "cosine": None, "sqnr_db": None, "kl": None},
        "n": 0,
        "chosen": False,
        "reason": "",
        "fault": None,
    }
    row = filled("candidate", blank, known)
    row["scores"] = filled("scores", blank["scores"], scores or {})
    return row


def diagnosis(candidate: str, **known: Any) -> Row:
    """Why a Q/DQ model is far from its float model.

    :class:`seatrial.diagnosis.types.Diagnosis` encodes to the same keys, with ``order`` and
    ``gains`` as one list.
    """
    blank: Row = {
        "candidate": candidate,
        "sha256": "",
        "rule": "kl",
        "n": 0,
        "loss": None,
        "weights": None,
        "activations": None,
        "groups": [],
        "layers": [],
        "culprits": [],
        "order": [],
        "dominated": None,
        "evaluations": 0,
        "quantisers": 0,
        "seconds": None,
        "complete": True,
        "dead": [],
        "notes": [],
    }
    return filled("diagnosis", blank, known)


def recovery(candidate: str, **known: Any) -> Row:
    """What was tried to get within the limits, and what it costs on each target."""
    blank: Row = {
        "candidate": candidate,
        "in_danger": None,
        "rule": "",
        "met": None,
        "chosen": "",
        "reason": "",
        "points": [],
        "statements": [],
        "advice": [],
        "n": 0,
        "seconds": None,
        "complete": True,
        "notes": [],
    }
    return filled("recovery", blank, known)


def recovery_point(name: str, **known: Any) -> Row:
    """One way to divide the layers between INT8 and float; ``nodes`` are those in float."""
    blank: Row = {
        "name": name,
        "kind": "prefix",
        "nodes": [],
        "sha256": "",
        "loss": None,
        "agreement": None,
        "meets": None,
        "chosen": False,
        "targets": [],
        "reason": "",
    }
    return filled("recovery point", blank, known)


def recovery_price(target: str, **known: Any) -> Row:
    """What one point takes on one target; ratios above 1 are faster."""
    blank: Row = {
        "target": target,
        "precision": "INT8",
        "p50_ms": None,
        "ci95_ms": None,
        "of_fp32": None,
        "of_fp32_ci95": None,
        "of_int8": None,
        "of_int8_ci95": None,
        "front": False,
        "reason": "",
    }
    return filled("recovery price", blank, known)


def statement(target: str, text: str, *, pays: bool | None = None) -> Row:
    """Whether INT8 pays on a target; ``None``: could not be told."""
    return {"target": target, "text": text, "pays": pays}
