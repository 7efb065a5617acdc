"""The verdict of a target and of a run: pure functions of what the report shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from seatrial.benchmark.machine import INT8_SETS
from seatrial.export.parity_records import FAIL
from seatrial.export.parity_records import NOT_PROVEN as EXPORT_NOT_PROVEN
from seatrial.report import rows
from seatrial.results import TargetKind

from .accurate import accurate, simulated
from .compiles import compiles, fault_text
from .fast import fast
from .records import (
    DO_NOT_SHIP,
    NOT_ASKED,
    NOT_PROVEN,
    ORDER,
    PARTS,
    SHIP,
    Case,
    Circumstances,
    Part,
    Verdict,
    worst,
)

_LEVELS = ("error", "warning", "info")


def judge_target(case: Case) -> Verdict:
    """The verdict of one target: the worst of its parts."""
    if case.run.export == FAIL:
        return _not_exported(case)
    parts: dict[str, Part] = dict(
        zip(PARTS, (compiles(case), accurate(case), fast(case)), strict=True)
    )
    answers = {name: part.answer for name, part in parts.items()}
    verdict = worst(tuple(answers.values()))
    reasons = [reason for part in parts.values() for reason in part.reasons]
    if simulated(case.target):
        verdict = worst((verdict, NOT_PROVEN))
    target, fault = case.target, case.target["fault"]
    if (own := _itself(target)) is not None:
        verdict = worst((verdict, NOT_PROVEN))
        reasons.append(own)
    if fault is not None:
        verdict = worst((verdict, NOT_PROVEN))
        reasons.append(rows.reason("run.fault", fault_text(fault), target=target["target"]))
    reasons += _broken(target) + _bounds(case, answers)
    return Verdict(
        verdict=verdict,
        answers=answers,
        reasons=tuple(sorted(reasons, key=lambda r: _LEVELS.index(r["level"]))),
        missing=tuple(dict.fromkeys(m for part in parts.values() for m in part.missing)),
        decides=decides(case),
        faulted=case.target["fault"] is not None,
    )


def _not_exported(case: Case) -> Verdict:
    """Another model than the user's, or none: whatever a target makes of it ships nothing."""
    part = "accurate" if case.run.exported else "compiles"
    text = "the exported model is not the module" if case.run.exported else "nothing was exported"
    reason = rows.reason("export.fail", text, target=case.target["target"], part=part)
    answers = {**dict.fromkeys(PARTS, NOT_ASKED), part: DO_NOT_SHIP}
    return Verdict(verdict=DO_NOT_SHIP, answers=answers, reasons=(reason,), decides=decides(case))


def decides(case: Case) -> bool:
    """Whether a target counts: one that cannot be used counts only if the user named it."""
    target = case.target
    if target["target"] in case.run.named:
        return True
    usable = target["availability"] is not None and target["availability"]["usable"]
    return bool(target["decides"] and usable)


def _itself(target: dict[str, Any]) -> dict[str, Any] | None:
    """A lesser machine that was not acted after all, as the kernels that ran tell."""
    ran = target["ran"]
    if target["kind"] != TargetKind.EMULATED.value or ran is None:
        return None
    if ran["where"] == TargetKind.EMULATED.value:
        return None
    told = f" ({ran['instruction_set']} kernels ran)" if ran["instruction_set"] else ""
    text = f"it did not run as {target['machine_class']}{told}: the figures are this machine's"
    return rows.reason("target.not-emulated", text, target=target["target"])


def _broken(target: dict[str, Any]) -> list[dict[str, Any]]:
    """Where its ladder breaks first, and why: explains, decides nothing."""
    found = target["first_break"]
    if found is None:
        return []
    text = f"first broken rung: {found['rung']} against {found['against']}"
    if found["layer"]:
        text += f"; first broken layer: {found['layer']}"
        text += f" (tensor {found['tensor']})" if found["tensor"] else ""
    sure = "confirmed" if found["confirmed"] else "likely"
    cause = f"; {sure} cause: {found['cause']}" if found["cause"] != "unknown" else ""
    text += f"{cause}; {found['text']}" if found["text"] else cause
    return [
        rows.reason(
            "ladder.first-break", text, part="accurate", target=target["target"], level="warning"
        )
    ]


def _bounds(case: Case, answers: dict[str, str]) -> list[dict[str, Any]]:
    """Which machines the verdict holds for, where it runs on a CPU."""
    target, availability = case.target, case.target["availability"] or {}
    sets = {str(s).lower() for s in availability.get("instruction_sets", ())}
    if not sets:
        return []
    found = []
    held = target["machine_class"] or "this class of machine"
    text = f"holds for {held}"
    dots = [name for flag, name in INT8_SETS.items() if sets & {flag, name.lower()}]
    for other, name, answer in case.kin:
        said = {SHIP: "also shown for", DO_NOT_SHIP: "does not hold for"}.get(
            answer, "not proven for"
        )
        text += f"; INT8 accuracy {said} {other} ({name}: {answer})"
    if case.run.int8 and dots and answers["accurate"] == SHIP and not case.kin:
        text += (
            f"; INT8 ran with {dots[0]}: not proven for CPUs without it, which round and saturate "
            "differently (run the target's lesser variants)"
        )
    found.append(rows.reason("target.machine-class", text, target=target["target"], level="info"))
    return found


def largest(missing: Sequence[str]) -> tuple[str, ...]:
    """What is missing, once each; of "about N labelled samples" only the largest N."""
    needs: dict[str, tuple[int, str]] = {}
    for text in missing:
        found = re.fullmatch(r"about ([\d,]+) (.+)", text)
        amount, what = (int(found[1].replace(",", "")), found[2]) if found else (0, text)
        needs[what] = max(needs.get(what, (0, text)), (amount, text))
    return tuple(text for _, text in needs.values())


def judge_run(verdicts: Sequence[tuple[str, Verdict]], run: Circumstances) -> Verdict:
    """The verdict of a run: that of the worst target that decides.

    Args:
        verdicts: with the target's name.
        run: what holds for all targets.
    """
    deciding = [(name, v) for name, v in verdicts if v.decides]
    reasons: list[dict[str, Any]] = []
    if run.interrupted:
        text = "the run was interrupted before everything was measured"
        reasons.append(rows.reason("run.interrupted", text))
    if not deciding and run.export == FAIL:
        part = "accurate" if run.exported else "compiles"
        answers = {**dict.fromkeys(PARTS, NOT_ASKED), part: DO_NOT_SHIP}
        return Verdict(verdict=DO_NOT_SHIP, answers=answers, reasons=tuple(reasons))
    if not deciding:
        text = "no target decides: none can be used here and none was named"
        reasons.append(rows.reason("run.no-target", text))
        answers = dict.fromkeys(PARTS, NOT_ASKED)
        return Verdict(
            verdict=NOT_PROVEN,
            answers=answers,
            reasons=tuple(reasons),
            missing=("a target that can be used here",),
        )
    verdict = worst(tuple(v.verdict for _, v in deciding))
    unsure = run.interrupted or run.faulted or run.export == EXPORT_NOT_PROVEN
    if unsure and verdict == SHIP:
        verdict = NOT_PROVEN
    answers = {
        part: NOT_ASKED
        if all(v.answers[part] == NOT_ASKED for _, v in deciding)
        else worst(tuple(v.answers[part] for _, v in deciding))
        for part in PARTS
    }
    told = sorted(deciding, key=lambda pair: -ORDER.index(pair[1].verdict))
    reasons += [r for _, v in told for r in v.reasons]
    return Verdict(
        verdict=verdict,
        answers=answers,
        reasons=tuple(sorted(reasons, key=lambda r: _LEVELS.index(r["level"]))),
        missing=largest([m for _, v in told for m in v.missing]),
        faulted=any(v.faulted for _, v in deciding),
    )
