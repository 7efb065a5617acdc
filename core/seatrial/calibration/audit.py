"""The review of a calibration run: what the ranges themselves say of the samples. Pure.

What samples look like before any model has seen them is the data room's business.
"""

from __future__ import annotations

from collections.abc import Sequence

from seatrial.codec import record

from .types import NonFinite, RangeTable

#: Fewer samples than this are a warning, fewer than that a remark: the field's rule of thumb.
NEEDED, ADVISED = 256, 1024

#: One sample whose extreme is this many times the mean extreme of all sets the range by itself.
STRETCH = 4.0

#: Names listed in one finding.
SHOWN = 20


@record
class Finding:
    """One finding of the audit, in the report's form.

    Attributes:
        code: stable name.
        level: ``refuse``, ``warning`` or ``info``.
        text: one sentence.
        samples: ids, at most 20.
        tensors: names, at most 20.
    """

    code: str
    level: str
    text: str
    samples: tuple[str, ...] = ()
    tensors: tuple[str, ...] = ()


def audit(
    count: int,
    requested: int = 0,
    table: RangeTable | None = None,
    nonfinite: Sequence[NonFinite] = (),
    *,
    synthetic: bool = False,
) -> tuple[Finding, ...]:
    """Everything that is worth a line, worst first.

    Args:
        count: samples that calibrated.
        requested: samples that were asked for; 0: no number was given.
        table: the ranges, if a model was calibrated.
        nonfinite: from the same run.
        synthetic: the samples are random numbers.
    """
    found = []
    if synthetic:
        text = "calibrated on random data: the ranges say nothing about real inputs"
        found.append(Finding(code="synthetic", level="refuse", text=text))
    found += _nonfinite(nonfinite)
    found += _number(count, requested)
    if table is not None:
        found += [*_dead(table), *_stretched(table)]
    order = {"refuse": 0, "warning": 1, "info": 2}
    return tuple(sorted(found, key=lambda f: order[f.level]))


def _number(count: int, requested: int) -> list[Finding]:
    found = []
    if 0 < count < requested:
        text = f"{requested} samples were asked for, {count} were got"
        found.append(Finding(code="fewer-than-asked", level="warning", text=text))
    if count < NEEDED:
        text = f"{count} samples: at least {NEEDED} are needed, {ADVISED} are advised"
        found.append(Finding(code="too-few", level="warning", text=text))
    elif count < ADVISED:
        text = f"{count} samples: enough to begin with, {ADVISED} are advised"
        found.append(Finding(code="few", level="info", text=text))
    return found


def _nonfinite(found: Sequence[NonFinite]) -> list[Finding]:
    if not found:
        return []
    samples = tuple(dict.fromkeys(n.sample for n in found))
    tensors = tuple(dict.fromkeys(n.tensor for n in found))
    first = found[0]
    text = (
        f"NaN or infinity in {len(tensors)} tensors on {len(samples)} samples, first in "
        f"{first.tensor} of {first.sample} ({first.elements} elements)"
    )
    return [_named("non-finite", "refuse", text, samples, tensors)]


def _dead(table: RangeTable) -> list[Finding]:
    never = tuple(n for n, r in table.tensors.items() if not r.count)
    dead = tuple(n for n, r in table.tensors.items() if r.count and r.lo == r.hi)
    found = []
    if never:
        text = f"{len(never)} tensors were never finite: they stay float, first {never[0]}"
        found.append(_named("no-range", "warning", text, (), never))
    if dead:
        text = f"{len(dead)} tensors have one value on all samples, first {dead[0]}"
        found.append(_named("zero-range", "warning", text, (), dead))
    return found


def _stretched(table: RangeTable) -> list[Finding]:
    """Tensors whose range a single sample set, far beyond the others."""
    culprits: dict[str, list[str]] = {}
    for name, r in table.tensors.items():
        if r.count < 2:
            continue
        for peak, mean, sample in ((r.hi, r.hi_mean, r.hi_sample), (r.lo, r.lo_mean, r.lo_sample)):
            # The mean of the others: a lone outlier must not excuse itself.
            others = (mean * r.count - peak) / (r.count - 1)
            if abs(peak) > STRETCH * abs(others) and peak * others >= 0 and others:
                culprits.setdefault(sample, []).append(name)
    if not culprits:
        return []
    worst = max(culprits, key=lambda s: len(culprits[s]))
    tensors = tuple(dict.fromkeys(t for names in culprits.values() for t in names))
    text = (
        f"{len(culprits)} samples stretch the range of {len(tensors)} tensors to more than "
        f"{STRETCH:g} times what the others need, first {worst} ({len(culprits[worst])} tensors)"
    )
    return [_named("outlier-sample", "warning", text, tuple(culprits), tensors)]


def _named(
    code: str, level: str, text: str, samples: Sequence[str], tensors: Sequence[str]
) -> Finding:
    return Finding(
        code=code,
        level=level,
        text=text,
        samples=tuple(samples[:SHOWN]),
        tensors=tuple(tensors[:SHOWN]),
    )
