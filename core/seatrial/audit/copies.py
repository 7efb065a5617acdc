"""The test set held against itself: near copies count as many samples and inform as one.

Intervals take samples (or their groups) as independent. Where each has copies, they come out too
narrow by the root of the design effect (Kish, Survey Sampling, 1965: 1 + (size - 1) * rho, here
with rho = 1, since copies get one answer): the mean size, over samples, of the cluster of copies
that a sample is in. Runs in a child only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from seatrial.audit import similar
from seatrial.audit.look import REOPEN, Look, elements, picture_of
from seatrial.audit.rules import RED, STUCK, TEST_COPIES, YELLOW, Finding, finding, named
from seatrial.audit.similar import CLOSE, Pair
from seatrial.samples import Samples

#: Samples that are held against the whole set; of a larger one so many, evenly spaced.
ASKED = 2000
#: Mean size of a sample's cluster from which the test proves nothing: intervals are 5 % too narrow.
#: Sets of the field have 1.00 to 1.01 (5,000 of CIFAR-10, 600 spoken words, 1,797 digits, 244 of
#: ImageNet), with 0 to 1 % of their samples in clusters.
MOST = 1.1
#: A column of samples that are no pictures tells them apart if it takes more values than this;
#: so many such columns, of so many dimensions, must agree before that is no chance.
VALUES, COLUMNS = 8, 8
#: By what share of their largest element further inputs of a copy may differ.
EQUAL = 0.01
#: Samples by which the dimensions are counted.
COUNTED = 1024


def copies(own: Look, store: Samples) -> list[Finding]:
    """The finding that too many samples of the test set are copies of one another.

    Samples of one declared group are resampled together: copies among them are none.
    """
    asked = range(own.count)
    if own.count > ASKED:
        asked = range(0, own.count, -(-own.count // ASKED))
    pairs = [p for p in _pairs(own, store, asked) if not _together(own, p)]
    pairs = [p for p in pairs if _others_too(store, p)] if _more_inputs(store) else pairs
    joined = similar.clusters(own.count, [(p.first, p.second) for p in pairs])
    size = {i: len(cluster) for cluster in joined for i in cluster}
    effect = sum(size.get(i, 1) for i in asked) / max(len(asked), 1)
    if effect <= MOST:
        return []
    touched = [i for i in asked if i in size]
    share = len(touched) / len(asked)
    looked = "" if len(asked) == own.count else f" looked at (of {own.count:,})"
    text = (
        f"{len(touched):,} of {len(asked):,} test samples{looked} are near copies of other test "
        f"samples ({share:.1%}): they inform like 1 in {effect:.1f}, and intervals come out "
        f"{1 - effect**-0.5:.0%} too narrow"
    )
    advice = "give the copies of one original one group, or leave all but one of them out"
    shown = [(own.ids[p.first], own.ids[p.second], own.role, p.how) for p in pairs]
    ids = [own.ids[i] for i in touched]
    return [finding(TEST_COPIES, RED, text, samples=ids, pairs=shown, advice=advice, score=share)]


def stuck(store: Samples) -> list[Finding]:
    """The finding that an input holds the same values in every test sample, one for all such.

    Inputs that the core makes (declared constants, states) are meant to; of a model's only input,
    equal samples are told as copies.
    """
    if store.count < 2 or not _more_inputs(store):
        return []
    names = [n for n in _names(store) if _never_changes(store, n)]
    if not names:
        return []
    are = "input {} holds" if len(names) == 1 else "inputs {} hold"
    text = (
        f"{are.format(named([repr(n) for n in names]))} the same values in all {store.count:,} "
        "test samples: what the model makes of it is untested"
    )
    advice = 'give test samples in which it varies, or declare it constant (mode = "constant")'
    return [finding(STUCK, YELLOW, text, tensors=names, advice=advice)]


def _never_changes(store: Samples, name: str) -> bool:
    """It ends with the first sample that differs."""
    import numpy as np

    first = np.array(store.one(name, 0))
    for i in range(1, store.count):
        if not np.array_equal(first, store.one(name, i)):
            return False
        if i % REOPEN == 0:
            store.forget()
    return True


def _pairs(own: Look, store: Samples, asked: Sequence[int]) -> list[Pair]:
    """Pairs of near copies, of which one at least was asked about; the surest first."""
    if own.steps or own.small is None:
        return []  # neighbouring steps are alike by nature
    if not own.pictures:
        return list(_arrays(own, store, asked))
    if len(asked) == own.count:
        return similar.near(own, own)
    part = dataclasses.replace(
        own,
        ids=tuple(own.ids[i] for i in asked),
        groups=tuple(own.groups[i] for i in asked),
        hashes=tuple(own.hashes[i] for i in asked),
        small=own.small[list(asked)],
    )
    found = similar.near(own, part, places=asked)
    moved: dict[tuple[int, int], Pair] = {}  # each once: both of a pair may have been asked about
    for p in found:
        i, j = sorted((p.first, asked[p.second]))
        moved.setdefault((i, j), dataclasses.replace(p, first=i, second=j))
    first = {digest: i for i, digest in reversed(list(enumerate(own.hashes)))}
    again = [(first[own.hashes[i]], i) for i in asked if first[own.hashes[i]] != i]
    return [*moved.values(), *(Pair(i, j, 1.0, "equal") for i, j in again)]


def _arrays(own: Look, store: Samples, asked: Sequence[int]) -> Iterable[Pair]:
    """Samples that are no pictures: near one another in every column, by the set's own spread.

    Rows of few columns, or of columns that go together, come near one another by chance; rows of
    few values (categories) are equal by chance. There, nothing is told.
    """
    import numpy as np

    step = -(-own.count // COUNTED)
    # As fed: the small ones are standardised each by itself, which gives categories many values.
    fed = [elements({n: np.asarray(store.one(n, i)) for n in _names(store)})
           for i in range(0, own.count, step)]  # fmt: skip
    if len({row.shape for row in fed}) > 1:
        return
    telling = [len(np.unique(column)) > VALUES for column in np.stack(fed).T]
    rows = np.asarray(own.small, np.float32)[:, telling]
    if rows.shape[1] < COLUMNS:
        return
    for i, j in similar.exact(own, own):
        yield Pair(i, j, 1.0, "equal")
    rows = (rows - rows.mean(axis=0)) / (rows.std(axis=0) + 1e-9)
    thin = rows[::step]
    products = thin @ thin.T
    if float(np.trace(products)) ** 2 < COLUMNS * float((products**2).sum()):
        return
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(norms > 1e-6, norms, np.inf)
    block = max(1, 2**24 // len(rows))
    for start in range(0, len(asked), block):
        places = np.asarray(asked[start : start + block])
        alike = rows[places] @ rows.T
        alike[np.arange(len(places)), places] = -1
        best = alike.argmax(axis=1)
        near = alike[np.arange(len(places)), best] > 1 - CLOSE**2 / 2
        for i, j in zip(best[near].tolist(), places[near].tolist(), strict=True):
            yield Pair(min(i, j), max(i, j), 1.0, "the same")


def _together(own: Look, pair: Pair) -> bool:
    group = own.groups[pair.first]
    return bool(group) and group == own.groups[pair.second]


def _more_inputs(store: Samples) -> bool:
    return len(_names(store)) > 1


def _names(store: Samples) -> list[str]:
    """Inputs that are not made by the core."""
    return [n for n in store.names if n not in store.made]


def _others_too(store: Samples, pair: Pair) -> bool:
    """Whether all inputs agree: one picture with two questions is two samples."""
    import numpy as np

    for name in _names(store):
        a, b = (np.asarray(store.one(name, i)) for i in (pair.first, pair.second))
        if a.shape != b.shape:
            return False
        if a.dtype.kind not in "fiub" or picture_of({name: a}) is not None:
            continue
        # Whole numbers name things: 1,000 and 1,001 are not near one another.
        within = EQUAL if a.dtype.kind == "f" else 0.0
        x, y = a.astype(np.float64), b.astype(np.float64)
        if np.abs(x - y).max(initial=0.0) > within * float(np.abs(x).max(initial=0.0)):
            return False
    return True
