"""Findings, and the rules behind them. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from seatrial.codec import record

#: Levels as the report has them: shown as red, yellow and note.
RED, YELLOW, NOTE = "error", "warning", "info"
_ORDER = (RED, YELLOW, NOTE)

#: Names listed in one finding; ``count`` says how many there are.
SHOWN = 20

#: The finding that test samples are copies of test samples; both of its pairs are in the test set.
TEST_COPIES = "copies-test"

#: The finding that an input never changes in the test set.
STUCK = "stuck-input"

#: Samples that are needed, and that are advised.
NEEDED, ADVISED = 256, 1024

_FIELD = "practice of the field: 256 samples to begin with, 1,024 advised"
_HELD_OUT = "a test set is held out: nothing in it was seen before"
_AS_DEPLOYED = "calibration samples are prepared exactly as in deployment"
_PLAIN = "calibration without augmentation: the device never sees augmented pictures"
_LIKE_TEST = "calibration covers what deployment meets; the test set stands for deployment"
_NUMBERS = "a range needs finite values that differ"
_REAL = "ranges of random data say nothing about real inputs"
_RANGES = "values outside a calibrated range are clipped"
_APART = "near duplicates add no information; samples of one sequence belong to one group"
_BALANCE = "every class that occurs needs samples that set its ranges"

#: Where each rule comes from, by finding code.
SOURCES = {
    "too-few": _FIELD,
    "few": _FIELD,
    "fewer-than-asked": "the number of samples asked for",
    "fewer-distinct": _FIELD,
    "falling-loss": "the INT8 loss with half of the samples against the loss with all",
    "unstable": "ranges from one half of the samples against ranges from all",
    "overlap-test": _HELD_OUT,
    "near-test": _HELD_OUT,
    "groups-test": _HELD_OUT,
    STUCK: _LIKE_TEST,
    TEST_COPIES: "intervals take samples, or their groups, as independent",
    "overlap-train": "calibration data come from production, not from training",
    "near-train": "calibration data come from production, not from training",
    "duplicate": _APART,
    "near-duplicate": _APART,
    "sequence": _APART,
    "augmented-copies": _PLAIN,
    "not-repeatable": _PLAIN,
    "seeded": _PLAIN,
    "padding": _PLAIN,
    "preprocessing": _AS_DEPLOYED,
    "scale": _AS_DEPLOYED,
    "layout": _AS_DEPLOYED,
    "double-normalised": _AS_DEPLOYED,
    "narrow": _AS_DEPLOYED,
    "interleaved": _AS_DEPLOYED,
    "quality": _AS_DEPLOYED,
    "coarse": _AS_DEPLOYED,
    "drift": _LIKE_TEST,
    "uncovered": _LIKE_TEST,
    "uncovered-meta": _LIKE_TEST,
    "outliers": _LIKE_TEST,
    "one-class": _BALANCE,
    "missing-classes": _BALANCE,
    "unbalanced": _BALANCE,
    "clipping": _RANGES,
    "outlier-sample": "one sample alone sets a range far beyond all others",
    "non-finite": _NUMBERS,
    "constant": _NUMBERS,
    "all-zero": _NUMBERS,
    "zero-range": _NUMBERS,
    "no-range": _NUMBERS,
    "synthetic": _REAL,
    "noise": _REAL,
}


@record
class Finding:
    """One finding.

    Attributes:
        code: stable name, a key of :data:`SOURCES` (or one of the data room's).
        level: :data:`RED`, :data:`YELLOW` or :data:`NOTE`.
        text: one sentence.
        samples: ids of calibration samples (of the test set where the text says so), at most 20.
        tensors: names of model inputs or activations, at most 20.
        count: how many samples it is about; 0: not about single samples.
        pairs: (id, id in the other set or in the same, the other set, how they are related), at
            most 20; of :data:`TEST_COPIES` both in the test set.
        rule: where the rule comes from.
        advice: what to do.
        score: how bad, 0 to 1 where that can be said.
    """

    code: str
    level: str
    text: str
    samples: tuple[str, ...] = ()
    tensors: tuple[str, ...] = ()
    count: int = 0
    pairs: tuple[tuple[str, ...], ...] = ()
    rule: str = ""
    advice: str = ""
    score: float | None = None


def finding(
    code: str,
    level: str,
    text: str,
    *,
    samples: Iterable[str] = (),
    tensors: Iterable[str] = (),
    pairs: Iterable[tuple[str, ...]] = (),
    count: int | None = None,
    advice: str = "",
    score: float | None = None,
) -> Finding:
    """A finding with its rule; long lists are cut, and ``count`` keeps their length."""
    names = tuple(dict.fromkeys(samples))
    return Finding(
        code=code,
        level=level,
        text=text,
        samples=names[:SHOWN],
        tensors=tuple(dict.fromkeys(tensors))[:SHOWN],
        count=len(names) if count is None else count,
        pairs=tuple(pairs)[:SHOWN],
        rule=SOURCES.get(code, ""),
        advice=advice,
        score=None if score is None else min(1.0, max(0.0, score)),
    )


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Worst first; the order within a level stays."""
    return tuple(sorted(findings, key=lambda f: _ORDER.index(f.level)))


def number(count: int, requested: int = 0, distinct: int | None = None) -> list[Finding]:
    """Whether there are enough samples.

    Args:
        count: samples that calibrate.
        requested: samples that were asked for; 0: no number was given.
        distinct: samples that are no near duplicates of one another; ``None``: not known.
    """
    found = []
    if 0 < count < requested:
        text = f"{requested} samples were asked for, {count} were got"
        found.append(finding("fewer-than-asked", YELLOW, text))
    advice = f"add samples from production up to {ADVISED}"
    if count < NEEDED:
        level = RED if count < NEEDED // 8 else YELLOW
        text = f"{count} samples: at least {NEEDED} are needed, {ADVISED:,} are advised"
        score = 1 - count / NEEDED
        found.append(finding("too-few", level, text, advice=advice, score=score))
    elif distinct is not None and distinct < 0.95 * NEEDED:
        text = f"{count} samples, of which only {distinct} differ: {NEEDED} are needed"
        level = RED if distinct < NEEDED // 2 else YELLOW
        score = 1 - distinct / NEEDED
        found.append(finding("fewer-distinct", level, text, advice=advice, score=score))
    elif count < ADVISED:
        text = f"{count} samples: enough to begin with, {ADVISED:,} are advised"
        found.append(finding("few", NOTE, text))
    return found


def named(names: Sequence[str], most: int = 3) -> str:
    """``a, b, c and 5 more``."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
