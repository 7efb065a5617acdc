"""One layer is damaged on purpose: does the diagnosis name it, and what was done to it?"""

from __future__ import annotations

import sys

import pytest

from seatrial.diagnosis.child import diagnose
from seatrial.diagnosis.types import DiagnoseRequest

plants = sys.modules["seatrial_diagnosis_plants"]

SEEDS = range(4)
#: Two plants of the 36 are known not to come first: the divided weights of the reader of an outlier
#: channel lose as much as the channel itself, and one Softmax with a coarse scale costs less than
#: the plain rounding elsewhere. Both are in the list with the right cause.
SECOND = 2


def found(root, net, damage, seed):
    """Whether the culprit named first is the planted one, and whether any is; with the cause."""
    planted = plants.plant(root, net, damage, seed)
    request = DiagnoseRequest(
        candidate=planted.candidate,
        samples=planted.samples,
        indices=tuple(range(plants.SAMPLES // 2, plants.SAMPLES)),
        model=planted.model,
        evaluations=48,
        worst=3,
    )
    result = diagnose(request, planted.job)
    assert result.evaluations <= 48
    right = [
        planted.label in (c.node, *c.nodes) and c.cause.code in plants.NAMED[damage]
        for c in result.culprits
    ]
    return right[0], any(right), f"{net} {damage} {seed}: {planted.label} {result.culprits}"


def test_every_plant_is_named_with_its_cause(tmp_path):
    cases = [(n, d, s) for n in plants.NETS for d in plants.DAMAGES for s in SEEDS]
    assert len(cases) >= 30
    outcomes = [found(tmp_path / f"{n}-{d}-{s}", n, d, s) for n, d, s in cases]
    missed = [text for _, listed, text in outcomes if not listed]
    assert not missed, missed
    later = [text for first, _, text in outcomes if not first]
    assert len(later) <= SECOND, later


@pytest.mark.parametrize("net", sorted(plants.NETS))
def test_an_undamaged_net_is_not_accused(tmp_path, net):
    planted = plants.plant(tmp_path, net, "wrong scale", 0, harmless=True)
    request = DiagnoseRequest(
        candidate=planted.candidate,
        samples=planted.samples,
        model=planted.model,
        evaluations=48,
    )
    result = diagnose(request, planted.job)
    codes = {c.cause.code for c in result.culprits}
    assert not codes & {"wrong-scale", "rewritten"}, result.culprits
    assert all(
        c.cause.facts["clipped"] < 0.01 for c in result.culprits if c.cause.code == "clipped"
    )
