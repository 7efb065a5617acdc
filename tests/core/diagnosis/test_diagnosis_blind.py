"""The diagnosis on damage planted by an author who had not seen it.

Scored is what is named first: the layer (one of the plant's nodes or tensors), and the cause twice:
in the words of the plant's author, and by kind, which is stricter: `KINDS` says which of the
diagnosis' codes are right for a plant, and the blame must fall on the right part. Plain rounding is
never a cause. `make test` tries a seeded third, `make test-long` all of them.
"""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
from blind_nets import INPUT
from planted_causes import CASES, Plant, int8, plant

from seatrial.diagnosis import types as t
from seatrial.diagnosis.child import diagnose
from seatrial.samples import StoreWriter
from seatrial.testing.local import LocalJob

#: Samples that calibrate, and others that are diagnosed on.
CALIBRATE, LOOKED_AT = 64, 24

_LOUD = {t.OUTLIER_CHANNEL, t.CHANNEL_SPREAD}
_HEAVY = {t.OUTLIERS, t.OUTLIER_CHANNEL, t.CHANNEL_SPREAD}
#: Codes that name each plant's cause.
KINDS = {
    "loud_channel": _LOUD,
    "loud_branch": _LOUD,
    "loud_feature": _LOUD,
    "loud_unread_channel": _LOUD,
    "heavy_weights_of_dead_channel": _HEAVY,
    "depthwise_input_spread": _LOUD,
    "depthwise_output_spread": _LOUD,
    "bottleneck_offset": _LOUD,
    "heavy_weights_in_projection": _HEAVY,
    "norm_gain": _LOUD,
    "key_offset": {t.OFFSET},
    "loud_unread_unit": _LOUD,
    "heavy_weights_of_dead_unit": _HEAVY,
    "loud_value": _LOUD,
    "coarse_scale": {t.WRONG_SCALE},
    "clipped_range": {t.CLIPPED},
    "input_in_bytes": {t.WRONG_SCALE},
    "rolled_weight_scales": {t.WRONG_SCALE},
    "swapped_axis": {t.WRONG_SCALE},
    "four_bits_left": {t.WRONG_SCALE, t.REWRITTEN},
    "shifted_zero_point": {t.CLIPPED, t.WRONG_SCALE},
    "mismatched_zero_point": {t.WRONG_SCALE},
    "stale_weight_scale": {t.WRONG_SCALE},
    "bias_overflow": {t.BIAS},
    "clipped_softmax": {t.CLIPPED},
    "clipped_norm": {t.CLIPPED},
    "coarse_residual": {t.WRONG_SCALE},
}
#: Damage to the file that sits in a node's constants.
IN_WEIGHTS = ("rolled_weight_scales", "swapped_axis", "four_bits_left", "stale_weight_scale")
IN_WEIGHTS += ("bias_overflow",)


@dataclasses.dataclass
class Outcome:
    """What was said of one plant, and what of it was right."""

    name: str
    layer: bool
    words: bool
    kind: bool
    said: str


def tried(root, name: str, seed: int = 0) -> Outcome:
    made = plant(name, seed)
    found = result(root, made)
    first = found.culprits[0]
    layer = first.node in made.nodes or first.tensor in made.tensors
    told = first.cause.code != t.NOISE
    weights = made.part == "weights" or name in IN_WEIGHTS
    part = first.what == (t.WEIGHTS if weights else t.ACTIVATION)
    said = "; ".join(f"{c.node} {c.what} {c.cause.code}: {c.cause.text}" for c in found.culprits)
    return Outcome(
        name,
        layer,
        layer and told and any(word in first.cause.text.lower() for word in made.words),
        layer and part and first.cause.code in KINDS[name],
        said,
    )


def result(root, made: Plant) -> t.Diagnosis:
    """Quantise as the plant's author does, and diagnose on samples that did not calibrate."""
    logging.disable(logging.WARNING)  # the quantiser advises a preprocessing step
    try:
        quantised = int8(made.damaged, made.samples[:CALIBRATE])
    finally:
        logging.disable(logging.NOTSET)
    (root / "store").mkdir(parents=True)
    writer = StoreWriter(root / "store", LOOKED_AT)
    for sample in made.samples[-LOOKED_AT:]:
        writer.add({INPUT: sample})
    writer.close([{"id": f"s{k}", "sha256": ""} for k in range(LOOKED_AT)])
    (root / "float.onnx").write_bytes(made.damaged)
    (root / "int8.onnx").write_bytes(made.edit(quantised) if made.edit else quantised)
    job = LocalJob(root / "job")
    request = t.DiagnoseRequest(
        candidate=job.add(root / "int8.onnx"),
        model=job.add(root / "float.onnx"),
        samples=job.add(root / "store"),
        evaluations=48,
        worst=3,
    )
    return diagnose(request, job)


def scored(root, names, seed: int = 0) -> list[Outcome]:
    """Try plants and print the score and every miss."""
    outcomes = [tried(root / name, name, seed) for name in names]
    for what in ("layer", "words", "kind"):
        missed = [o for o in outcomes if not getattr(o, what)]
        print(f"\n{what}: {len(outcomes) - len(missed)} of {len(outcomes)}")
        for one in missed:
            print(f"  missed {one.name}: {one.said}")
    return outcomes


def judged(outcomes, layers: int = 0, causes: int = 0) -> None:
    """No more misses than are known."""
    missed = [o.name for o in outcomes if not o.layer]
    assert len(missed) <= layers, missed
    missed = [o.name for o in outcomes if not (o.words and o.kind)]
    assert len(missed) <= causes, missed


def test_every_plant_has_a_kind():
    assert set(KINDS) == set(CASES)


def test_a_third_of_the_plants(tmp_path):
    names = np.random.default_rng(7).permutation(sorted(CASES))[::3]
    judged(scored(tmp_path, [str(n) for n in names]))


@pytest.mark.parametrize("name", ["coarse_scale", "stale_weight_scale", "coarse_residual"])
def test_the_same_net_without_the_fault_is_not_accused(tmp_path, name):
    """The controls: one sound net of each kind, quantised in the same way."""
    made = plant(name)
    found = result(tmp_path, dataclasses.replace(made, damaged=made.sound, edit=None))
    for one in found.culprits:
        assert one.cause.code not in {t.WRONG_SCALE, t.REWRITTEN, t.BIAS, t.OFFSET}, one
        assert one.cause.facts.get("clipped", 0.0) < 0.01, one


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [0, 1])
def test_all_plants(tmp_path, seed):
    outcomes = scored(tmp_path, CASES, seed)
    assert len(outcomes) == 27
    # The rules grew up with the first seed. Of the second, an offset on one channel loses less than
    # the weights behind it.
    judged(outcomes, *((0, 0), (0, 1))[seed])
