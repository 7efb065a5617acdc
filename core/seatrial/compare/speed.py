"""Latency, memory, artefact size and build time, artefact by artefact.

A latency is worse when the 95 % intervals of the medians do not meet *and* the ratio is beyond the
tolerance: the first excludes noise within a run, the second what differs between two runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .records import (
    CHANGED,
    IMPROVEMENT,
    REFUSED,
    REGRESSION,
    SAME,
    Change,
    Target,
    Timing,
    Tolerances,
    Trial,
    change,
)

#: Peak memory moves by this much from run to run, in MiB, whatever the tolerance says.
MEMORY_FLOOR_MB = 4.0
#: A build is worth a note when it takes this many times as long, and this many seconds more.
BUILD_RATIO, BUILD_SECONDS = 1.5, 1.0

_WORDS = {"fp32": "float", "int8": "INT8", "native": "INT8 of its own"}


def changes(
    pair: tuple[Trial, Trial], old: Target, new: Target, tolerances: Tolerances
) -> Iterator[Change]:
    """All artefacts of one target that is in both reports."""
    first, second = _timings(pair[0], old), _timings(pair[1], new)
    for key in dict.fromkeys((*first, *second)):
        before, after = first.get(key), second.get(key)
        row = after or before
        assert row is not None
        subject = _subject(row)
        if before is None or after is None:
            yield _alone(new.target, subject, before, after)
            continue
        machine = _other_machine(pair, old, new)
        yield _latency(new.target, subject, (before, after), machine, tolerances.latency)
        yield from _memory(new.target, subject, (before, after), machine, tolerances.memory)
        yield from _size(new.target, subject, (before, after), tolerances.memory)
        yield from _build(new.target, subject, (before, after))


def _timings(trial: Trial, target: Target) -> Mapping[tuple[object, ...], Timing]:
    """Rows by what was timed; the digest of the report's own model is nobody's name."""
    found: dict[tuple[object, ...], Timing] = {}
    for row in target.timings:
        model = "" if row.model == trial.model_sha256 else row.model
        found.setdefault((model, row.precision, row.shape, row.layout, row.streams), row)
    return found


def _subject(row: Timing) -> str:
    shape = "x".join(row.shape)
    parts = [_WORDS.get(row.precision, row.precision), row.layout, shape]
    if row.streams > 1:
        parts.append(f"{row.streams} streams")
    return " ".join(filter(None, parts))


def _alone(target: str, subject: str, old: Timing | None, new: Timing | None) -> Change:
    return change(
        area="latency",
        kind=REFUSED if old else CHANGED,
        target=target,
        subject=subject,
        text="NEW did not time it" if old else "new: OLD did not time it",
        values=(
            old.p50_ms if old else None,
            new.p50_ms if new else None,
        ),
        unit="ms",
    )


def _other_machine(pair: tuple[Trial, Trial], old: Target, new: Target) -> str:
    """What differs between the machines, or nothing."""
    if old.machine_class != new.machine_class:
        return f"another class of machine: {old.machine_class or '?'}, {new.machine_class or '?'}"
    if old.kind != new.kind:
        return f"another kind of machine: {old.kind}, {new.kind}"
    for key, word in (("cpu", "CPU"), ("cores", "number of CPUs"), ("governor", "CPU governor")):
        first, second = (trial.machine.get(key, "") for trial in pair)
        if first != second:
            return f"another {word}: {first or '?'}, {second or '?'}"
    return ""


def _other_terms(old: Timing, new: Timing) -> str:
    if old.threads != new.threads:
        first, second = (str(n or "the runtime's choice") for n in (old.threads, new.threads))
        return f"another number of threads: {first}, {second}"
    if old.timed_by != new.timed_by:
        return f"timed by another clock: {old.timed_by}, {new.timed_by}"
    if old.emulated or new.emulated:
        return "emulated: its time says nothing"
    return ""


def _other_load(old: Timing, new: Timing) -> str:
    if old.disturbed == new.disturbed:
        return ""
    first, second = (" and ".join(row.disturbed) or "quiet" for row in (old, new))
    return f"another load on the machine: {first}, {second}"


def _latency(
    target: str, subject: str, rows: tuple[Timing, Timing], machine: str, tolerance: float
) -> Change:
    old, new = rows
    why = machine or _other_terms(old, new) or _other_load(old, new)
    if not why and not (old.p50_ms and new.p50_ms):
        why = "no median in a report"
    if not why and (old.ci95_ms is None or new.ci95_ms is None):
        why = "no interval of the median in a report"
    if why or not old.p50_ms or not new.p50_ms or not old.ci95_ms or not new.ci95_ms:
        return change(
            "latency", REFUSED, subject, why, target, values=(old.p50_ms, new.p50_ms), unit="ms"
        )
    ratio = new.p50_ms / old.p50_ms
    apart = old.ci95_ms[1] < new.ci95_ms[0] or new.ci95_ms[1] < old.ci95_ms[0]
    kind = _kind(old.p50_ms, new.p50_ms, tolerance) if apart else SAME
    text = f"{_times(ratio, 'slower', 'faster')}: {_because(kind, apart, tolerance)}"
    if old.disturbed:
        text += f"; both under {' and '.join(old.disturbed)}"
    return change(
        "latency",
        kind,
        subject,
        text,
        target=target,
        values=(
            old.p50_ms,
            new.p50_ms,
        ),
        unit="ms",
        difference=ratio,
        ci95=(new.ci95_ms[0] / old.ci95_ms[1], new.ci95_ms[1] / old.ci95_ms[0])
        if old.ci95_ms[0] > 0
        else None,
        method="intervals",
    )


def _because(kind: str, apart: bool, tolerance: float) -> str:
    if kind != SAME:
        return "the intervals of the medians do not meet"
    if not apart:
        return "the intervals of the medians meet"
    return f"within the tolerance of {100 * (tolerance - 1):.3g} %"


def _kind(old: float, new: float, tolerance: float) -> str:
    """Worse is larger. Both directions are tested alike, so that OLD and NEW can change places."""
    if new > old * tolerance:
        return REGRESSION
    return IMPROVEMENT if old > new * tolerance else SAME


def _times(ratio: float, more: str, less: str) -> str:
    if ratio == 1:
        return "equal"
    share = 100 * (ratio - 1)
    return f"{abs(share):.1f} % {more if share > 0 else less}"


def _memory(
    target: str, subject: str, rows: tuple[Timing, Timing], machine: str, tolerance: float
) -> Iterator[Change]:
    old, new = rows[0].peak_rss_mb, rows[1].peak_rss_mb
    if not old and not new:
        return
    why = machine or _other_terms(*rows)
    subject = f"peak, {subject}"
    if why or not old or not new:
        why = why or "a report does not say"
        yield change("memory", REFUSED, subject, why, target=target, values=(old, new), unit="MB")
        return
    kind = _kind(old, new, tolerance) if abs(new - old) > MEMORY_FLOOR_MB else SAME
    yield _sized(target, subject, (old, new), unit="MB", kind=kind, tolerance=tolerance)


def _size(
    target: str, subject: str, rows: tuple[Timing, Timing], tolerance: float
) -> Iterator[Change]:
    old, new = rows[0].artifact_bytes, rows[1].artifact_bytes
    if old and new:
        kind = _kind(old, new, tolerance)
        yield _sized(
            target, f"artefact, {subject}", (old, new), unit="bytes", kind=kind, tolerance=tolerance
        )


def _sized(
    target: str,
    subject: str,
    values: tuple[float, float],
    *,
    unit: str,
    kind: str,
    tolerance: float,
) -> Change:
    ratio = values[1] / values[0]
    text = _times(ratio, "more", "less")
    if kind == SAME and ratio != 1:
        text += f": within the tolerance of {100 * (tolerance - 1):.3g} %"
        if unit == "MB":
            text += f" or {MEMORY_FLOOR_MB:.0f} MB"
    return change(
        "memory",
        kind,
        subject,
        text,
        target=target,
        values=values,
        unit=unit,
        difference=ratio,
        method="tolerance",
    )


def _build(target: str, subject: str, rows: tuple[Timing, Timing]) -> Iterator[Change]:
    """A note, never a regression: build time depends on what else the machine did."""
    old, new = rows[0].build_s, rows[1].build_s
    if not old or not new or abs(new - old) < BUILD_SECONDS:
        return
    if max(old, new) > BUILD_RATIO * min(old, new):
        text = f"the build takes {'longer' if new > old else 'less time'}"
        yield change("build", CHANGED, subject, text, target=target, values=(old, new), unit="s")
