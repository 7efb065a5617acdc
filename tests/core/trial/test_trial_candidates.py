"""The core's candidates for a net that per-tensor activations break: children and runtime real."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from seatrial import config, intake
from seatrial import results as r
from seatrial.options import JobOptions
from seatrial.progress import NoProgress
from seatrial.quantize.recipe import DEPTHWISE_FLOAT, KL_FINE
from seatrial.registry import Plugin
from seatrial.samples import StoreWriter
from seatrial.trial import quantise
from seatrial.trial.context import Trial
from seatrial.trial.targets import TargetState

CHANNELS, SIZE, COUNT = 16, 12, 80


def depthwise_net(path: Path, spread: float, *, limited: bool = True) -> None:
    """Normalisation after ReLU makes channels of unequal size, a depthwise one evens them out.

    Args:
        path: where to write.
        spread: of the channels' sizes; 1 gives a net that INT8 does not hurt.
        limited: a Clip, which nothing reaches, keeps scales from crossing over to the next layer.
    """
    rng = np.random.default_rng(0)
    size = np.geomspace(1, spread, CHANNELS)
    weights = {
        "first": np.eye(CHANNELS)[:, :, None, None] + 0.1,
        "scale": size,
        "zero": np.zeros(CHANNELS),
        "one": np.ones(CHANNELS),
        "low": np.float32(-1e6),
        "high": np.float32(1e6),
        "depth": rng.normal(size=(CHANNELS, 1, 3, 3)) / size[:, None, None, None],
        "point": rng.normal(size=(10, CHANNELS, 1, 1)),
    }
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "first"], ["f"], name="first"),
        node("Relu", ["f"], ["h"], name="relu0"),
        node("BatchNormalization", ["h", "scale", "zero", "zero", "one"], ["g"], name="norm"),
        *([node("Clip", ["g", "low", "high"], ["l"], name="limit")] if limited else []),
        node(
            "Conv",
            ["l" if limited else "g", "depth"],
            ["d"],
            name="depth",
            group=CHANNELS,
            pads=[1] * 4,
        ),
        node("Relu", ["d"], ["r"], name="relu"),
        node("Conv", ["r", "point"], ["p"], name="point"),
        node("GlobalAveragePool", ["p"], ["a"], name="pool"),
        node("Flatten", ["a"], ["y"], name="flat"),
    ]
    shape = ["N", CHANNELS, SIZE, SIZE]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(np.asarray(v, np.float32), n) for n, v in weights.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    with Trial(
        "quantize", tmp_path, jobs=JobOptions(), config=config.load(), progress=NoProgress()
    ) as made:
        yield made


def bake_off(trial: Trial, spread: float, *, limited: bool = True) -> quantise.Portable:
    path = trial.out / "net.onnx"
    depthwise_net(path, spread, limited=limited)
    trial.admitted = intake.admit(path, trial.workspace)
    folder = trial.out / "samples"
    folder.mkdir()
    writer = StoreWriter(folder, COUNT)
    rng = np.random.default_rng(1)
    for _ in range(COUNT):
        means = rng.normal(size=(CHANNELS, 1, 1)) * 2
        noise = rng.normal(size=(CHANNELS, SIZE, SIZE))
        writer.add({"x": (means + noise).astype(np.float32)})
    samples = [{"id": str(i), "sha256": ""} for i in range(COUNT)]
    files = writer.close(samples)
    store = trial.workspace.add({name: folder / name for name in files}, "")
    target = r.Target(
        id="t",
        title="t",
        device="CPU",
        kind=r.TargetKind.DEVICE,
        rules=r.InputRules(qdq=r.QdqDialect()),
    )
    state = TargetState("none:t", Plugin(id="none", value="none", dist="", version=""))
    state.target = target
    data = quantise.split(trial, store, tuple(str(i) for i in range(COUNT)))
    return quantise.bake_off(trial, [state], data, vendors=False)[r.QdqDialect()]


@pytest.mark.long
def test_depthwise_convolutions_stay_float_where_nothing_else_helps(trial: Trial) -> None:
    found = bake_off(trial, spread=3000.0)
    names = [c.name for c in found.candidates]
    plain = ["minmax", "percentile-99.99", "mse"]
    assert names[:3] == [f"core:{m}-u8-perchannel" for m in plain]
    assert all(c.score is not None and c.score.kl > KL_FINE for c in found.candidates[:3])
    assert all("+bias" in n for n in names[3:])
    assert [DEPTHWISE_FLOAT in n for n in names[3:]] == [False] * 4 + [True] * 2
    # A scale may move from the depthwise layer to the last one, which is of no help here.
    assert ["equalised" in n for n in names[3:]] == [False] * 3 + [True, False, True]
    (winner,) = [c for c in found.candidates if c.chosen]
    assert winner.name in names[7:]
    assert winner.score is not None
    assert winner.score.kl < min(c.score.kl for c in found.candidates[:3] if c.score) / 10
    assert found.chosen is not None
    assert "depth" in found.chosen.float_nodes
    assert "point" not in found.chosen.float_nodes
    # Tables are shared: one and its weighted form of the fitting part, one of the equalised model;
    # of the whole for the winner.
    tables = {c.made.table for c in found.candidates if c.made and not c.chosen}
    assert len(tables) == 3
    assert winner.made is found.chosen
    assert found.chosen.table not in tables


def test_equalised_channels_keep_everything_in_int8(trial: Trial) -> None:
    found = bake_off(trial, spread=3000.0, limited=False)
    names = [c.name for c in found.candidates]
    assert sum("+equalised+bias" in n for n in names) == 1
    assert not any("smoothed" in n or DEPTHWISE_FLOAT in n for n in names)
    winner = found.winner
    assert winner is not None
    assert "+equalised" in winner.name
    assert winner.score is not None
    assert winner.score.kl is not None
    assert winner.score.kl < KL_FINE
    assert "layers equalised, scales up to" in winner.reason
    assert "on 8 samples" in winner.reason
    assert found.chosen is not None
    assert not {"depth", "point"} & set(found.chosen.float_nodes)
    # More nodes in float, from the rewritten model again, for which bias and ranges are its own.
    again = winner.remake(found_store(trial), ("point",))
    assert again.model == found.chosen.model != trial.model.ref
    assert "point" in again.float_nodes
    assert "depth" not in again.float_nodes


def test_a_net_that_int8_does_not_hurt_is_left_alone(trial: Trial) -> None:
    found = bake_off(trial, spread=1.0)
    assert all(c.recipe is not None and not c.recipe.kept for c in found.candidates)
    assert len(found.candidates) <= 5
    assert found.chosen is not None
    assert "depth" not in found.chosen.float_nodes


def test_the_winner_can_be_made_again_with_more_nodes_in_float(trial: Trial) -> None:
    found = bake_off(trial, spread=3000.0)
    winner = found.winner
    assert winner is not None and winner.chosen
    assert winner.made is found.chosen
    assert winner.made.table is not None
    again = winner.remake(found_store(trial), ("point",))
    assert {"depth", "point"} <= set(again.float_nodes)


def found_store(trial: Trial) -> r.Ref:
    """The calibration store of :func:`bake_off`."""
    folder = trial.out / "samples"
    return trial.workspace.add({p.name: p for p in folder.iterdir()}, "")
