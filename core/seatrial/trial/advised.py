"""PTQ or QAT, from what a command found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seatrial.codec import encode
from seatrial.ladder import records as lr
from seatrial.quantize import ptq_or_qat
from seatrial.quantize.ptq_or_qat import Measured
from seatrial.report import rows

if TYPE_CHECKING:
    from seatrial.trial.candidates import Candidate
    from seatrial.trial.context import Trial
    from seatrial.trial.evidence import Evidence

#: Sources of candidates that may have been trained.
TRAINED = ("qat", "given")


def advice(trial: Trial, found: Evidence, data: dict[str, Any]) -> rows.Row | None:
    """The key ``advice``; ``None`` before intake and for a model that comes quantised.

    Args:
        trial: the command at work.
        found: what it found.
        data: the report so far, with the ladder where there is one.
    """
    if trial.admitted is None or found.advice is None or trial.model.facts.has_qdq:
        return None
    made = ptq_or_qat.advise(trial.model.facts, _measured(found, data), gain=found.advice.gain)
    return {
        "says": made.says,
        "rule": made.rule,
        "contradicts": made.contradicts,
        "text": made.text,
        "evidence": [_row(e) for e in made.evidence],
    }


def _row(evidence: ptq_or_qat.Evidence) -> rows.Row:
    return {
        "code": evidence.code,
        "speaks": evidence.speaks,
        "kind": evidence.kind,
        "text": evidence.text,
        "nodes": list(evidence.nodes),
    }


def _measured(found: Evidence, data: dict[str, Any]) -> Measured:
    best = _best(found)
    score = best.score if best is not None else None
    ladder = _ladder(data)
    trained = any(p.given for p in found.portables.values())
    known: dict[str, Any] = {"trained": trained}
    if best is not None and score is not None:
        known |= {
            "name": best.name,
            "kl": score.kl,
            "agreement": None if score.agreement is None else 100.0 * score.agreement,
            "n": score.n,
        }
    if ladder is not None:
        low, high = ladder["ci95"]
        known |= {
            "drop": ladder["drop"],
            "low": low,
            "high": high,
            "limit": encode(found.sla)["max_drop"],
            "test_n": ladder["n"],
        }
    return Measured(**known)


def _best(found: Evidence) -> Candidate | None:
    """The candidate without training that is closest to the float model."""
    able = [
        c
        for portable in found.portables.values()
        for c in portable.candidates
        if c.source not in TRAINED and c.score is not None and not c.score.nonfinite
    ]
    chosen = [c for c in able if c.chosen] or able
    return min(chosen, key=_loss, default=None)


def _loss(candidate: Candidate) -> float:
    score = candidate.score
    if score is None or not score.losses:
        return float("inf")
    return sum(score.losses) / len(score.losses)


def _ladder(data: dict[str, Any]) -> rows.Row | None:
    """The worst INT8 rung on the reference that labels judged."""
    judged = [
        row
        for row in data["ladder"]
        if row["rung"] == lr.ONNX_INT8 and row["drop"] is not None and row["ci95"]
    ]
    return max(judged, key=lambda row: row["drop"], default=None)
