"""Does the calibration set cover what the test set shows? By feature space and by metadata.

Runs in a child only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from typing import Any

from seatrial.audit import distance
from seatrial.audit.look import Look
from seatrial.audit.records import ClusterRow, Coverage
from seatrial.audit.rules import RED, YELLOW, Finding, finding

#: Columns that may carry labels are never looked at: test labels stay closed.
_LABELS = ("label", "class", "target", "wnid", "synset", "category", "name", "y", "species")
#: Columns that say nothing about a picture.
_ADMIN = ("split", "sha256", "md5", "hash", "id", "group", "url", "file", "path")
#: Calibration samples that a part of the test set must let expect before its absence counts.
EXPECTED = 5.0
#: Distances below this are no drift worth a line.
SMALL, LARGE = 0.012, 0.12


@dataclass
class Side:
    """One set in the feature space.

    Attributes:
        look: what was seen of its inputs.
        rows: positions of the samples in ``features``.
        features: (rows, features).
    """

    look: Look
    rows: Sequence[int]
    features: Any

    @property
    def ids(self) -> list[str]:
        """Ids of the samples in ``features``."""
        return [self.look.ids[i] for i in self.rows]


def coverage(own: Side, test: Side, features: str, seed: int) -> tuple[Coverage, list[Finding]]:
    """Clusters, drift, and test samples far from everything.

    Args:
        own: the calibration set.
        test: the test set.
        features: what they are, for the report.
        seed: of the clustering.
    """
    import numpy as np

    both = np.concatenate([own.features, test.features])
    space = distance.Space(both)
    mine, theirs = space(own.features), space(test.features)
    apart = distance.between(mine, theirs, seed)
    clusters, found = _clusters(mine, theirs, test.ids, seed)
    share, far = distance.far_share(mine, theirs)
    drifted = apart.real and apart.value > SMALL
    if drifted:
        found.insert(0, _drift(own.look, test.look, apart, features))
    if share > 0.08 and len(far) >= 8 and drifted:
        ids = [test.ids[i] for i in far]
        text = (
            f"{len(far)} test samples ({share:.0%}) lie farther from every calibration sample than "
            "calibration samples lie from one another (1 % would be usual)"
        )
        found.append(
            finding("outliers", YELLOW, text, samples=ids, score=share,
                    advice="add calibration samples like the test samples named")
        )  # fmt: skip
    row = Coverage(
        features=features,
        clusters=tuple(clusters),
        distance=max(0.0, apart.value),
        usual=max(0.0, apart.usual),
        far=share,
    )
    return row, found


def _clusters(
    mine: Any, theirs: Any, ids: Sequence[str], seed: int
) -> tuple[list[ClusterRow], list[Finding]]:
    """Clusters of both sets together, and those that calibration leaves out."""
    import numpy as np

    k = int(np.clip(len(theirs) // 20, 2, 16))
    both = np.concatenate([mine, theirs])
    labels, centres = distance.k_means(both, k, seed)
    own, other = labels[: len(mine)], labels[len(mine) :]
    rows: list[ClusterRow] = []
    bare: list[ClusterRow] = []
    for c in np.argsort(-np.bincount(other, minlength=k))[:k]:
        inside = np.flatnonzero(other == c)
        count, expected = int((own == c).sum()), len(inside) * len(mine) / len(theirs)
        near = inside[np.argsort(distance.pairwise(theirs[inside], centres[c][None])[:, 0])[:5]]
        row = ClusterRow(
            cluster=len(rows) + 1,
            test=len(inside),
            calibration=count,
            expected=float(expected),
            samples=tuple(ids[i] for i in near),
        )
        rows.append(row)
        if expected >= EXPECTED and _rarely(count, expected) < 1e-4 and count < 0.34 * expected:
            bare.append(row)
    if not bare:
        return rows, []
    test = sum(r.test for r in bare)
    share = test / len(theirs)
    text = (
        f"{len(bare)} of {len(rows)} clusters of the feature space hold {share:.0%} of the test "
        f"set and {sum(r.calibration for r in bare)} calibration samples where "
        f"{sum(r.expected for r in bare):.0f} would be its share; the test samples named are "
        "in their middle"
    )
    level = RED if share >= 0.1 and sum(r.calibration for r in bare) <= 2 else YELLOW
    names = [s for r in bare for s in r.samples]
    advice = "add calibration samples like the test samples named"
    return rows, [
        finding("uncovered", level, text, samples=names, count=test, advice=advice, score=share)
    ]


def _rarely(count: int, expected: float) -> float:
    """Probability of so few or fewer, Poisson."""
    term, total = exp(-expected), 0.0
    for i in range(count + 1):
        total += term
        term *= expected / (i + 1)
    return total


def _drift(own: Look, test: Look, apart: distance.Distance, features: str) -> Finding:
    level = RED if apart.value > LARGE else YELLOW
    text = (
        f"the calibration set is another kind of data than the test set: distance "
        f"{apart.value:.3f} by {features}, {apart.usual:.3f} at most among random halves"
    )
    told = differences(own, test)
    text += f"; {'; '.join(told[:3])}" if told else ""
    advice = "take calibration and test samples from the same production"
    score = min(1.0, apart.value / 0.3)
    return finding("drift", level, text, count=own.count, advice=advice, score=score)


def differences(own: Look, test: Look, least: float = 0.35) -> list[str]:
    """What differs most between the inputs of both sets, in words, with medians."""
    import numpy as np

    told: list[tuple[float, str]] = []
    names = [n for n in own.names if n in test.names]
    for name in names:
        a, b = own.column(name), test.column(name)
        spread = max(float(b.std()), 1e-3 * abs(float(b.mean())), 1e-6)
        shift = float(a.mean() - b.mean()) / spread
        error = (1 / len(a) + 1 / len(b)) ** 0.5
        if abs(shift) > max(least, 5 * error):
            a_mid, b_mid = float(np.median(a)), float(np.median(b))
            told.append((abs(shift), f"{name} {a_mid:.3g} against {b_mid:.3g}"))
            continue
        ratio = (float(a.std()) + 1e-9) / spread
        if not 0.55 < ratio < 1.8 and min(len(a), len(b)) > 30 and a.std() + b.std() > 1e-4:
            told.append((abs(float(np.log(ratio))) / 2, f"{name} varies {ratio:.2g} times as much"))
    return [text for _, text in sorted(told, reverse=True)]


def quality(own: Look, test: Look) -> list[Finding]:
    """Sharpness, noise, flat parts and steps of value: how pictures were taken and stored."""
    found = []
    for name, more, less in (
        ("sharpness", "noisier or sharper", "blurrier or enlarged"),
        ("share of flat parts", "flatter (saturated, erased or drawn)", "less flat"),
    ):
        if name not in own.names or name not in test.names:
            continue
        a, b = own.column(name), test.column(name)
        shift = float(a.mean() - b.mean()) / max(float(b.std()), 0.01)
        if abs(shift) > 0.9 and min(len(a), len(b)) >= 16:
            text = (
                f"calibration pictures are {more if shift > 0 else less} than the test set's: "
                f"{name} differs by {abs(shift):.1f} of its standard deviations"
            )
            level = RED if abs(shift) > 2.5 else YELLOW
            advice = "same camera, resolution, codec and resizing for both; no augmentation"
            found.append(
                finding("quality", level, text, count=own.count, advice=advice,
                        score=abs(shift) / 4)
            )  # fmt: skip
    return found


def padding(own: Look, test: Look | None) -> list[Finding]:
    """Pictures with constant borders, as random crops and turns leave them."""
    import numpy as np

    if "constant border" not in own.names:
        return []
    bare = own.column("constant border") > 0.02
    usual = float((test.column("constant border") > 0.02).mean()) if test is not None else 0.0
    share = float(bare.mean())
    if share - usual < (0.1 if test is not None else 0.3) or bare.sum() < 5:
        return []
    ids = [own.ids[i] for i in np.flatnonzero(bare)]
    text = f"{len(ids)} of {own.count} calibration pictures have constant borders"
    text += f", {usual:.0%} of the test set's" if test is not None else ""
    text += ": padded, turned or cropped at random?"
    advice = "calibrate on pictures as they are deployed"
    return [finding("padding", YELLOW, text, samples=ids, advice=advice, score=share)]


def metadata(own: Look, test: Look) -> list[Finding]:
    """Values of metadata columns (time of day, camera ...) that calibration lacks."""
    found = []
    columns = {c for m in own.meta for c in m} & {c for m in test.meta for c in m}
    for column in sorted(columns):
        lowered = column.lower()
        if any(w in lowered for w in _LABELS) or lowered in _ADMIN:
            continue
        mine, theirs = (Counter(m.get(column, "") for m in s.meta) for s in (own, test))
        if len(theirs) > 20 or len(theirs) > 0.2 * test.count:
            continue
        for value, count in theirs.items():
            expected = count * own.count / test.count
            have = mine[value]
            if expected >= EXPECTED and have < 0.34 * expected and _rarely(have, expected) < 1e-3:
                share = count / test.count
                names = [i for i, m in zip(test.ids, test.meta, strict=True)
                         if m.get(column, "") == value]  # fmt: skip
                text = (
                    f"{have} of {own.count} calibration samples have {column} = {value}, and "
                    f"{count} of {test.count} test samples ({share:.0%}; some are named)"
                )
                level = RED if share >= 0.1 and have <= 0.05 * expected else YELLOW
                advice = f"add about {round(expected) - have} samples with {column} = {value}"
                found.append(
                    finding("uncovered-meta", level, text, samples=names, advice=advice,
                            score=share)
                )  # fmt: skip
    return found
