"""Rewrites of the float model: the function stays, INT8 gets better where channels differ."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from seatrial.calibration.child import ranges
from seatrial.calibration.types import RangesRequest
from seatrial.quantize.child import insert, score
from seatrial.quantize.graph import Graph
from seatrial.quantize.types import InsertRequest, ScoreRequest
from seatrial.recovery import rescale as rescaling
from seatrial.recovery.child import rescale
from seatrial.recovery.sites import Sites
from seatrial.recovery.types import EQUALISED, SMOOTHED, RescaleRequest
from seatrial.reference import open_model
from seatrial.results import QdqDialect
from seatrial.testing.local import LocalJob

node = helper.make_node
CHANNELS = 8

#: What may lie between two layers, with its further inputs.
BETWEEN: dict[str, Any] = {
    "nothing": [],
    "Relu": [],
    "LeakyRelu": [],
    "PRelu": ["slope"],
    "Clip": ["zero"],
    "MaxPool": [],
    "AveragePool": [],
}


def model(nodes: Any, shapes: Any, constants: Any) -> onnx.ModelProto:
    used = {name for n in nodes for name in n.input}
    weights = [
        numpy_helper.from_array(np.asarray(v, np.float32), k)
        for k, v in constants.items()
        if k in used
    ]
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
    graph = helper.make_graph(nodes, "net", infos[:1], infos[1:], weights)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def convolutions(
    between: str,
    *,
    group: int = 1,
    biased: bool = True,
    norm: bool = False,
    spread: float = 1.0,
    logits: float = 0.02,
) -> onnx.ModelProto:
    """Conv -> between -> Conv -> Relu -> pool -> classes; channels between differ in size."""
    rng = np.random.default_rng(3)
    size = rng.permutation(np.geomspace(1, spread, CHANNELS))
    first, second = (
        rng.normal(size=(CHANNELS, 3, 3, 3)),
        rng.normal(size=(CHANNELS, CHANNELS, 3, 3)),
    )
    scaled = second / size[None, :, None, None]
    per_group = CHANNELS // group
    parts = [scaled[g * per_group : (g + 1) * per_group, g * per_group : (g + 1) * per_group]
             for g in range(group)]  # fmt: skip
    constants = {
        "w1": first if norm else first * size[:, None, None, None],
        "b1": rng.normal(size=CHANNELS) * (1 if norm else size),
        "w2": np.concatenate(parts),
        "b2": rng.normal(size=CHANNELS),
        "w3": rng.normal(size=(10, CHANNELS, 1, 1)) * logits,
        "slope": np.full((CHANNELS, 1, 1), 0.2),
        "zero": np.float32(0),
        "six": np.float32(6),
        "scale": size,
        "none": np.zeros(CHANNELS),
        "one": np.ones(CHANNELS),
    }
    attributes: dict[str, Any] = {"kernel_shape": [2, 2]} if "Pool" in between else {}
    bias = ["b1"] if biased else []
    nodes = [node("Conv", ["x", "w1", *bias], ["c1"], name="conv1")]
    last = "c1"
    if norm:
        nodes += [
            node("Relu", ["c1"], ["r0"], name="relu0"),
            node("BatchNormalization", ["r0", "scale", "none", "none", "one"], ["n"], name="norm"),
        ]
        last = "n"
    if between != "nothing":
        extra = ["zero", "six"] if between == "Clip6" else BETWEEN[between]
        kind = between.removesuffix("6")
        nodes.append(node(kind, [last, *extra], ["m"], name="between", **attributes))
        last = "m"
    nodes += [
        node("Conv", [last, "w2", "b2"], ["c2"], name="conv2", group=group, pads=[1] * 4),
        node("Relu", ["c2"], ["r"], name="relu"),
        node("Conv", ["r", "w3"], ["c3"], name="conv3"),
        node("GlobalAveragePool", ["c3"], ["a"], name="pool"),
        node("Flatten", ["a"], ["y"], name="flat"),
    ]
    return model(nodes, {"x": ["N", 3, 8, 8], "y": ["N", 10]}, constants)


def block(*, outlier: float, gemm: bool = False, decomposed: bool = False) -> onnx.ModelProto:
    """A normalisation whose scale has outlier channels, two products that read it, one after."""
    rng = np.random.default_rng(4)
    width = 32
    size = np.ones(width)
    size[[3, 17]] = outlier
    weights = {k: rng.normal(size=(width, width)) / size[:, None] for k in ("wq", "wk")}
    constants = weights | {
        "scale": size,
        "shift": rng.normal(size=width) * 0.1 * size,
        "wo": rng.normal(size=(width, 10)),
    }
    if gemm:
        constants |= {k: v.T for k, v in weights.items()}
    if decomposed:
        nodes = [node("Mul", ["x", "scale"], ["s"], name="mul"),
                 node("Add", ["s", "shift"], ["n"], name="add")]  # fmt: skip
    else:
        nodes = [node("LayerNormalization", ["x", "scale", "shift"], ["n"], name="norm")]
    kind, extra = ("Gemm", {"transB": 1}) if gemm else ("MatMul", {})
    nodes += [
        node(kind, ["n", "wq"], ["q"], name="q", **extra),
        node(kind, ["n", "wk"], ["k"], name="k", **extra),
        node("Relu", ["k"], ["g"], name="relu"),
        node("Add", ["q", "g"], ["h"], name="sum"),
        node("MatMul", ["h", "wo"], ["y"], name="out"),
    ]
    return model(nodes, {"x": ["N", width], "y": ["N", 10]}, constants)


class Bench:
    """A model and samples of it in a job."""

    def __init__(self, folder: Path, store: Any, proto: onnx.ModelProto, count: int = 32) -> None:
        self.job = LocalJob(folder / "job")
        onnx.save_model(proto, folder / "m.onnx")
        shape = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim][1:]
        self.x = np.random.default_rng(1).normal(size=(count, *shape)).astype(np.float32)
        self.model = self.job.add(folder / "m.onnx")
        self.samples = self.job.add(store({"x": self.x}))

    def rescaled(self, kind: str) -> Any:
        return rescale(RescaleRequest(model=self.model, kind=kind, samples=self.samples), self.job)

    def kl(self, model: Any) -> float:
        """Of the plain INT8 form of a model to the original."""
        request = RangesRequest(model=model, samples=self.samples)
        table = self.job.adopt(ranges(request, self.job).artifact)
        made = insert(InsertRequest(model=model, ranges=table, dialect=QdqDialect()), self.job)
        asked = ScoreRequest(
            model=self.model,
            candidate=self.job.adopt(made.artifact),
            samples=self.samples,
            indices=tuple(range(len(self.x))),
        )
        found = score(asked, self.job).kl
        assert found is not None
        return found


def same(bench: Bench, made: Any) -> float:
    """Largest difference of the outputs as a share of their peak, over other data."""
    x = np.random.default_rng(9).normal(size=bench.x.shape).astype(np.float32)
    before, after = (
        next(iter(open_model(p).run({"x": x}).values()))
        for p in (bench.job.path(bench.model), bench.job.out / made.artifact.entry)
    )
    return float(np.abs(before - after).max() / np.abs(before).max())


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    between=st.sampled_from(sorted(BETWEEN)),
    group=st.sampled_from([1, 2, CHANNELS]),
    biased=st.booleans(),
    norm=st.booleans(),
    spread=st.sampled_from([1.0, 30.0, 1000.0]),
)
def test_equalisation_keeps_the_function(
    between: str,
    group: int,
    biased: bool,
    norm: bool,
    spread: float,
    store: Any,
    tmp_path_factory: Any,
) -> None:
    proto = convolutions(between, group=group, biased=biased, norm=norm, spread=spread)
    bench = Bench(tmp_path_factory.mktemp("cle"), store, proto, count=8)
    made = bench.rescaled(EQUALISED)
    assert made.artifact is not None
    assert made.sites == 2
    assert made.difference <= rescaling.ROUNDING
    assert same(bench, made) < 1e-5


@pytest.mark.parametrize("gemm", [False, True])
@pytest.mark.parametrize("decomposed", [False, True])
def test_smoothing_recovers_outlier_channels(
    tmp_path: Path, store: Any, gemm: bool, decomposed: bool
) -> None:
    bench = Bench(tmp_path, store, block(outlier=200.0, gemm=gemm, decomposed=decomposed))
    made = bench.rescaled(SMOOTHED)
    assert made.artifact is not None, made.note
    assert made.sites == 1
    assert "smoothed at 1 places" in made.note
    assert same(bench, made) < 1e-5
    before, after = bench.kl(bench.model), bench.kl(bench.job.adopt(made.artifact))
    assert after < before / 10


@pytest.mark.parametrize("group", [1, CHANNELS])
@pytest.mark.parametrize("norm", [False, True])
def test_equalisation_recovers_unequal_channels(
    tmp_path: Path, store: Any, group: int, norm: bool
) -> None:
    # Of a size at which no class is certain: certainty would hide the damage.
    logits = 0.02 if group == 1 else 0.1
    proto = convolutions("Relu", group=group, norm=norm, spread=3000.0, logits=logits)
    bench = Bench(tmp_path, store, proto)
    made = bench.rescaled(EQUALISED)
    assert made.artifact is not None, made.note
    assert made.spread > 20
    before, after = bench.kl(bench.model), bench.kl(bench.job.adopt(made.artifact))
    assert before > 0.02
    assert after < before / 5


def test_where_there_is_no_such_place_nothing_is_rewritten(tmp_path: Path, store: Any) -> None:
    products = Bench(tmp_path, store, block(outlier=1.0))
    found = products.rescaled(EQUALISED)
    assert (found.sites, found.artifact, found.note) == (0, None, "no channels to scale")
    (tmp_path / "conv").mkdir()
    found = Bench(tmp_path / "conv", store, convolutions("Relu")).rescaled(SMOOTHED)
    assert (found.sites, found.artifact) == (0, None)


def sites(proto: onnx.ModelProto) -> tuple[int, int]:
    graph = Graph(proto, Path())
    graph.infer()
    finder = Sites(graph)
    return len(list(finder.convolutions())), len(list(finder.products()))


def test_no_scale_crosses_a_limit_or_a_second_reader() -> None:
    assert sites(convolutions("Relu")) == (2, 0)
    assert sites(convolutions("Clip6")) == (1, 0)
    twice = convolutions("Relu")
    twice.graph.output.append(helper.make_tensor_value_info("m", TensorProto.FLOAT, None))
    assert sites(twice) == (1, 0)
    read = block(outlier=2.0)
    assert sites(read) == (0, 1)
    read.graph.node.append(node("Relu", ["n"], ["z"], name="other"))
    assert sites(read) == (0, 0)


def test_a_rewrite_that_changes_the_function_is_refused(
    tmp_path: Path, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, store, convolutions("Relu", spread=100.0), count=4)

    def wrong(graph: Graph, site: Any, scales: Any) -> None:
        name = site.readers[0].name
        graph.set_constant(name, (graph.constant(name) * np.float32(1.001)).astype(np.float32))

    monkeypatch.setattr(rescaling, "apply", wrong)
    made = bench.rescaled(EQUALISED)
    assert made.artifact is None
    assert made.sites > 0
    assert made.note.startswith("refused: its outputs are off by")
