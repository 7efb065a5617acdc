"""Duplicates as findings: within the set, with the test set, with training data; and re-reading.

Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seatrial.audit import similar
from seatrial.audit.look import Look
from seatrial.audit.rules import NOTE, RED, YELLOW, Finding, finding, named
from seatrial.report.numbers import plural
from seatrial.samples import Samples

#: Relations that an augmentation makes, and time does not.
_MADE = ("mirrored", "upside down", "turned", "a part")
#: Agreement of fine structure from which a near duplicate is beyond doubt.
VERIFIED = 0.7


def within(own: Look) -> tuple[int, list[Finding]]:
    """Duplicates within the set: how many samples differ, and what was found."""
    same = similar.exact(own, own)
    near = [p for p in similar.near(own, own) if own.hashes[p.first] != own.hashes[p.second]]
    found = []
    if same:
        ids = [own.ids[j] for _, j in same]
        pairs = [(own.ids[i], own.ids[j], own.role, "equal") for i, j in same]
        text = f"{len(ids)} of {own.count} samples repeat another one exactly: {named(ids)}"
        level = RED if len(ids) > 0.1 * own.count else YELLOW
        found.append(
            finding("duplicate", level, text, samples=ids, pairs=pairs, score=len(ids) / own.count,
                    advice="leave the repeats out: they add nothing")
        )  # fmt: skip
    joined = similar.clusters(own.count, [*same, *((p.first, p.second) for p in near)])
    distinct = own.count - sum(len(c) - 1 for c in joined)
    if near:
        found += _near(own, near)
        found += _sequences(own, joined)
    return distinct, found


def _near(own: Look, near: Sequence[similar.Pair]) -> list[Finding]:
    found = []
    made = [p for p in near if any(w in p.how for w in _MADE)]
    alike = [p for p in near if p not in made]
    involved = {i for p in made for i in (p.first, p.second)}
    if len(made) >= max(3, 0.02 * own.count):
        ids = [own.ids[i] for i in sorted(involved)]
        kinds = sorted({w for p in made for w in p.how.split(", ")})
        text = (
            f"{len(ids)} of {own.count} samples are copies of one another ({', '.join(kinds)}): "
            "the set is augmented"
        )
        level = RED if len(ids) > 0.1 * own.count else YELLOW
        found.append(
            finding("augmented-copies", level, text, samples=ids, pairs=_pairs(own, own, made),
                    advice="calibrate on the pictures themselves", score=len(ids) / own.count)
        )  # fmt: skip
    elif made:
        alike = [*alike, *made]
    if alike:
        ids = [own.ids[i] for i in sorted({p.second for p in alike})]
        share = len(ids) / own.count
        many = plural(len(ids), "sample is a near duplicate", "samples are near duplicates")
        text = f"{many} of others in the set: {named(ids)}"
        level = RED if share > 0.3 else YELLOW if share > 0.03 else NOTE
        found.append(
            finding("near-duplicate", level, text, samples=ids, pairs=_pairs(own, own, alike),
                    advice="keep one of each", score=share)
        )  # fmt: skip
    return found


def _sequences(own: Look, joined: Sequence[Sequence[int]]) -> list[Finding]:
    """Runs of neighbours that are near duplicates, without a group that says so."""
    runs = []
    for cluster in joined:
        rows = sorted(cluster)
        if len(rows) < 3 or rows[-1] - rows[0] > 2 * len(rows):
            continue
        if len({own.groups[i] for i in rows} - {""}) == 1 and all(own.groups[i] for i in rows):
            continue
        runs.append(rows)
    if sum(len(r) for r in runs) < max(6, 0.05 * own.count):
        return []
    ids = [own.ids[i] for r in runs for i in r]
    text = (
        f"{len(runs)} sequences of near duplicates ({len(ids)} samples, the longest "
        f"{max(len(r) for r in runs)}) without a group: a video or a burst?"
    )
    level = RED if len(ids) > 0.3 * own.count else YELLOW
    advice = "name the sequence of each sample in a column group, and take few samples of each"
    score = len(ids) / own.count
    return [finding("sequence", level, text, samples=ids, advice=advice, score=score)]


def across(own: Look, other: Look) -> list[Finding]:
    """Duplicates between the calibration set and the test set or training data."""
    same = similar.exact(own, other)
    seen = {j for _, j in same}
    near = [p for p in similar.near(own, other) if p.second not in seen]
    name = "test set" if other.role == "test" else "training data"
    found = []
    if same:
        ids = [own.ids[i] for i, _ in same]
        pairs = [(own.ids[i], other.ids[j], other.role, "equal") for i, j in same]
        many = plural(len(set(ids)), "calibration sample is", "calibration samples are")
        text = f"{many} in the {name}: {named(ids)}"
        level = RED if other.role == "test" else YELLOW
        found.append(
            finding(f"overlap-{other.role}", level, text, samples=ids, pairs=pairs,
                    advice=f"take them out of the {name} or of calibration",
                    score=len(set(ids)) / own.count)
        )  # fmt: skip
    if near:
        ids = [own.ids[i] for i in dict.fromkeys(p.first for p in near)]
        share = len(ids) / own.count
        kinds = sorted({p.how for p in near})
        many = plural(
            len(ids),
            "calibration sample is a near duplicate",
            "calibration samples are near duplicates",
        )
        text = f"{many} of samples of the {name} ({named(kinds, 4)}): {named(ids)}"
        if other.role == "test":  # a leak is a leak, however small: as with exact copies
            level = RED if any(p.score >= VERIFIED for p in near) else YELLOW
        else:  # data sets of the field hold a few per cent of near duplicates themselves
            level = RED if share > 0.3 else YELLOW if share > 0.03 else NOTE
        found.append(
            finding(f"near-{other.role}", level, text, samples=ids,
                    pairs=_pairs(own, other, near), score=share,
                    advice="look at the pairs; keep each picture on one side only")
        )  # fmt: skip
    return found + _groups(own, other)


def _groups(own: Look, other: Look) -> list[Finding]:
    shared = sorted((set(own.groups) & set(other.groups)) - {""})
    if not shared or other.role != "test":
        return []
    rows = [i for i, g in zip(own.ids, own.groups, strict=True) if g in shared]
    text = f"{len(shared)} groups are in both calibration and test set: {named(shared)}"
    advice = "put whole groups on one side"
    return [finding("groups-test", RED, text, samples=rows, advice=advice)]


def _pairs(own: Look, other: Look, near: Sequence[similar.Pair]) -> list[tuple[str, ...]]:
    return [(own.ids[p.first], other.ids[p.second], other.role, p.how) for p in near]


def reread(first: Samples, again: Samples | None, repeated: Samples | None) -> list[Finding]:
    """Samples that came out otherwise when they were read a second time.

    Args:
        first: the calibration store.
        again: some of them, read with other seeds.
        repeated: the same with the same seeds.
    """
    if again is None:
        return []
    by_id = {name: i for i, name in enumerate(first.ids)}
    common = [(by_id[n], j) for j, n in enumerate(again.ids) if n in by_id]
    moved = [(i, j) for i, j in common if first.hashes[i] != again.hashes[j]]
    if not moved:
        return []
    ids = [first.ids[i] for i, _ in moved]
    hashes = set(first.hashes)
    if all(again.hashes[j] in hashes for _, j in moved):
        text = f"the order of the samples changes with the seed ({len(moved)} of {len(common)})"
        advice = "switch shuffling off, so that ids and samples stay together"
        return [finding("seeded", NOTE, text, samples=ids, advice=advice)]
    steady = repeated is not None and all(
        first.hashes[by_id[n]] == h
        for n, h in zip(repeated.ids, repeated.hashes, strict=True)
        if n in by_id
    )
    how = sorted({relation(first, again, i, j) for i, j in moved})
    when = "with another seed" if steady else "when they are read a second time"
    text = (
        f"{len(moved)} of {len(common)} samples differ {when} ({', '.join(how)}): augmentation is "
        "switched on"
    )
    advice = "give calibration a data set without random transforms"
    share = len(moved) / len(common)
    return [finding("not-repeatable", RED, text, samples=ids, advice=advice, score=share)]


def relation(one: Samples, two: Samples, i: int, j: int) -> str:
    """How a sample differs from itself read again, in a word."""
    import numpy as np

    words = set()
    for name in one.names:
        a, b = (np.asarray(s.one(name, k), np.float64) for s, k in ((one, i), (two, j)))
        if a.shape != b.shape:
            return "another shape"
        if np.array_equal(a, b):
            continue
        words.add(_relation(a, b))
    return ", ".join(sorted(words)) or "equal"


def _relation(a: Any, b: Any) -> str:
    import numpy as np

    spread = a.std() + 1e-12
    for axis in range(a.ndim):
        if np.allclose(np.flip(a, axis), b, atol=1e-3 * spread):
            return "mirrored"
    x, y = a.ravel() - a.mean(), b.ravel() - b.mean()
    gain = float(x @ y) / (float(x @ x) + 1e-12)
    left = float(np.std(y - gain * x)) / (float(y.std()) + 1e-12)
    if left < 0.02:
        return "other brightness or contrast"
    return "noise or colour" if left < 0.5 else "crop, shift or turn"
