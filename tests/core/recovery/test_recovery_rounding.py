"""Adaptive rounding: the search, the view of a layer as a matrix, and nets where it pays or not."""

import itertools
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
from seatrial.quantize.child import insert
from seatrial.quantize.graph import Graph
from seatrial.quantize.types import InsertRequest
from seatrial.recovery.child import correct, round_weights
from seatrial.recovery.descent import Moments, descend, loss
from seatrial.recovery.linear import find
from seatrial.recovery.types import CorrectRequest, RoundRequest
from seatrial.reference import open_model
from seatrial.results import QdqDialect
from seatrial.testing.local import LocalJob

node = helper.make_node


def model(nodes: Any, shapes: Any, constants: Any) -> onnx.ModelProto:
    weights = [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in constants.items()]
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
    graph = helper.make_graph(nodes, "net", infos[:1], infos[1:], weights)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def moments(x: Any, r: Any) -> Moments:
    made = Moments(1, x.shape[1], r.shape[1])
    for rows in np.array_split(np.arange(len(x)), 3):
        made.add(x[None, rows], r[None, rows])
    return made


@settings(max_examples=20, deadline=None)
@given(inputs=st.integers(1, 150), outputs=st.integers(1, 5), seed=st.integers(0, 99))
def test_the_error_never_rises_and_every_weight_goes_up_or_down(
    inputs: int, outputs: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(400, 1)) + 0.4 * rng.normal(size=(400, inputs)) + 3).astype(np.float32)
    weight = rng.normal(size=(1, outputs, inputs)).astype(np.float32)
    step = np.full((1, outputs, 1), 0.5, np.float32)
    seen = moments(x, rng.normal(size=(400, outputs)).astype(np.float32) * 0.1)
    nearest = np.clip(np.rint(weight / step), -3, 3)
    found = descend(nearest, weight, step, 3, seen.centred())
    before, after = (loss(q * step - weight, seen.centred()) for q in (nearest, found))
    assert (after <= before * (1 + 1e-4) + 1e-5).all()
    assert np.abs(found).max() <= 3
    inside = np.abs(weight / step) <= 3
    assert (np.abs(found - weight / step)[inside] < 1 + 1e-4).all()


def test_moments_do_not_depend_on_how_rows_arrive_and_see_through_large_means() -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(300, 4)) * 0.1 + 1000).astype(np.float32)
    r = rng.normal(size=(300, 2)).astype(np.float32)
    xx, xr, rr = moments(x, r).centred()
    both = np.cov(np.hstack([x, r]).astype(np.float64).T, bias=True)
    np.testing.assert_allclose(xx[0], both[:4, :4], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(xr[0], both[4:, :4], atol=1e-4)
    np.testing.assert_allclose(rr[0], np.diag(both)[4:], rtol=1e-4)


def test_few_weights_are_rounded_as_well_as_can_be() -> None:
    """Against all 2^5 ways, on correlated inputs; nearest rounding is far behind."""
    rng = np.random.default_rng(5)
    x = (rng.normal(size=(500, 1)) + 0.1 * rng.normal(size=(500, 5))).astype(np.float32)
    ratios = []
    for _ in range(20):
        weight = rng.uniform(-1, 1, (1, 1, 5)).astype(np.float32)
        step = np.ones((1, 1, 1), np.float32)
        seen = moments(x, np.zeros((500, 1), np.float32)).centred()
        ways = itertools.product(*zip(*(f(weight[0, 0]) for f in (np.floor, np.ceil)), strict=True))
        best = min(float(loss(np.array(w)[None, None] - weight, seen)[0, 0]) for w in ways)
        nearest = np.rint(weight)
        found = descend(nearest, weight, step, 127, seen)
        errors = [float(loss(q - weight, seen)[0, 0]) for q in (nearest, found)]
        ratios.append([e / best for e in errors])
    nearest_ratio, ratio = np.mean(ratios, axis=0)
    assert np.max(ratios, axis=0)[1] < 1.1
    assert nearest_ratio > 3 * ratio


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    groups=st.sampled_from([1, 2, 4]),
    rank=st.sampled_from([1, 2]),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    pad=st.sampled_from(["none", "uneven", "SAME_UPPER", "SAME_LOWER", "VALID"]),
    most=st.sampled_from([7, 1000]),
    unsigned=st.booleans(),
)
def test_rows_times_weights_are_the_convolution(
    groups: int,
    rank: int,
    stride: int,
    dilation: int,
    pad: str,
    most: int,
    unsigned: bool,
    tmp_path_factory: Any,
) -> None:
    rng = np.random.default_rng(1)
    kernel = (3, 2)[:rank]
    dilation = 1 if pad.startswith("SAME") else dilation  # the runtime has nothing else
    w = rng.normal(size=(8, 4 // groups, *kernel))
    settings_: dict[str, Any] = {"strides": [stride] * rank, "dilations": [dilation] * rank}
    settings_ |= {"pads": [1, 0, 2, 1][: 2 * rank]} if pad == "uneven" else {}
    settings_ |= {"auto_pad": pad} if pad.isupper() else {}
    made = node("Conv", ["x", "w"], ["y"], name="conv", group=groups, **settings_)
    size = [9, 8][:rank]
    proto = model([made], {"x": [1, 4, *size], "y": None}, {"w": w})
    folder = tmp_path_factory.mktemp("rows")
    plain = Graph(proto, folder)
    dialect = QdqDialect(weights="uint8" if unsigned else "int8")
    layer, graph = quantised(proto, folder, dialect)
    x = rng.normal(size=(1, 4, *size)).astype(np.float32)
    y = open_model(proto.SerializeToString()).run({"x": x})["y"]
    a, b = layer.rows(x, y, most, np.random.default_rng(0))
    own = layer.weights(graph, plain)
    assert a.shape[1] == min(most, int(np.prod(y.shape[2:])))
    np.testing.assert_allclose(a @ own.exact.transpose(0, 2, 1), b, atol=1e-4)
    assert np.abs(own.integers * own.step - own.exact).max() <= own.step.max() / 2 + 1e-6
    before = graph.constant(layer.maker.input[0])
    layer.store(graph, own.integers)
    np.testing.assert_array_equal(graph.constant(layer.maker.input[0]), before)


def quantised(proto: onnx.ModelProto, folder: Path, dialect: QdqDialect) -> Any:
    """The only layer of a model, and its Q/DQ graph."""
    onnx.save_model(proto, folder / "m.onnx")
    job = LocalJob(folder / "job")
    request = InsertRequest(model=job.add(folder / "m.onnx"), dialect=dialect, unit_ranges=True)
    graph = Graph.read(job.out / insert(request, job).artifact.entry)  # type: ignore[union-attr]
    (layer,) = find(graph, Graph(proto, folder))
    return layer, graph


@pytest.mark.parametrize("kind", ["MatMul", "Gemm", "GemmT"])
def test_rows_times_weights_are_the_product(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    w = rng.normal(size=(5, 6))
    turned = kind == "GemmT"
    extra = {"transB": 1} if turned else {}
    made = node(kind.removesuffix("T"), ["x", "w"], ["y"], name="fc", **extra)
    proto = model([made], {"x": ["N", 5], "y": ["N", 6]}, {"w": w.T if turned else w})
    layer, graph = quantised(proto, tmp_path, QdqDialect())
    x = rng.normal(size=(3, 5)).astype(np.float32)
    a, b = layer.rows(x, x @ w.astype(np.float32), 99, rng)
    own = layer.weights(graph, Graph(proto, tmp_path))
    np.testing.assert_allclose(a @ own.exact.transpose(0, 2, 1), b, atol=1e-5)
    before = graph.constant(layer.maker.input[0])
    layer.store(graph, own.integers)
    np.testing.assert_array_equal(graph.constant(layer.maker.input[0]), before)


def net(*, common: bool) -> tuple[onnx.ModelProto, Any]:
    """Two layers; the second one's channels hold one large weight, and the others are a few steps.

    ``common``: the channels it reads are nearly one signal, so that errors of rounding add up.
    """
    rng = np.random.default_rng(0)
    width = 32
    first = rng.normal(size=(width, 3, 3, 3)) * 0.02
    first = first + rng.normal(size=(1, 3, 3, 3)) if common else 20 * first
    second = rng.uniform(0.1, 0.9, size=(8, width, 1, 1)) * 0.02
    second[np.arange(8), np.arange(8)] = -4.0 if common else 4.0
    constants = {
        "w1": first, "b1": np.full(width, 2.0), "w2": second, "b2": np.zeros(8),
        "w3": rng.normal(size=(8, 10)), "b3": np.zeros(10),
    }  # fmt: skip
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], name="conv1"),
        node("Relu", ["c1"], ["r1"], name="relu"),
        node("Conv", ["r1", "w2", "b2"], ["c2"], name="conv2"),
        node("GlobalAveragePool", ["c2"], ["a"], name="pool"),
        node("Flatten", ["a"], ["f"], name="flat"),
        node("Gemm", ["f", "w3", "b3"], ["y"], name="fc"),
    ]
    x = rng.normal(size=(96, 3, 8, 8)) + rng.normal(size=(96, 3, 1, 1))
    return model(nodes, {"x": ["N", 3, 8, 8], "y": ["N", 10]}, constants), x.astype(np.float32)


def corrected(folder: Path, store: Any, proto: onnx.ModelProto, x: Any, dialect: QdqDialect) -> Any:
    """A job, the float model, samples, and a Q/DQ model with corrected biases."""
    job = LocalJob(folder / "job")
    onnx.save_model(proto, folder / "m.onnx")
    base, samples = job.add(folder / "m.onnx"), job.add(store({"x": x}))
    request = RangesRequest(model=base, samples=samples, statistics="sampled")
    table = job.adopt(ranges(request, job).artifact)
    made = insert(InsertRequest(model=base, ranges=table, dialect=dialect, method="minmax"), job)
    (job.out / made.artifact.entry).rename(folder / "qdq.onnx")  # type: ignore[union-attr]
    asked = CorrectRequest(model=base, candidate=job.add(folder / "qdq.onnx"), samples=samples)
    (job.out / correct(asked, job).artifact.entry).rename(folder / "corrected.onnx")
    return job, base, samples, job.add(folder / "corrected.onnx")


def error(path: Path, exact: Path, x: Any) -> float:
    """Error power over signal power of the outputs."""
    got, wanted = (open_model(p, optimize="literal").run({"x": x})["y"] for p in (path, exact))
    return float(np.square(got - wanted).sum() / np.square(wanted - wanted.mean(0)).sum())


@pytest.mark.parametrize(
    "dialect", [QdqDialect(reduce_range=True), QdqDialect(weights="uint8", reduce_range=True)]
)
def test_it_wins_where_nearest_rounding_and_bias_correction_lose(
    dialect: QdqDialect, tmp_path: Path, store: Any
) -> None:
    proto, x = net(common=True)
    job, base, samples, made = corrected(tmp_path, store, proto, x[:64], dialect)
    asked = RoundRequest(model=base, candidate=made, samples=samples, limit=63)
    made_of = round_weights(asked, job)
    done, after = made_of.done, job.out / made_of.artifact.entry
    onnx.checker.check_model(onnx.load(after), full_check=True)
    fresh = x[64:]
    nearest = error(tmp_path / "corrected.onnx", tmp_path / "m.onnx", fresh)
    adaptive = error(after, tmp_path / "m.onnx", fresh)
    assert nearest > 0.003
    assert adaptive < nearest / 4
    assert done.changed >= 1
    assert 0 < done.moved <= done.weights
    assert done.after < done.before / 2
    assert done.samples == 64
    integers = [numpy_helper.to_array(t) for t in onnx.load(after).graph.initializer]
    middle = 128 if dialect.weights == "uint8" else 0
    weights = [w.astype(int) - middle for w in integers if w.ndim > 1 and w.dtype.itemsize == 1]
    assert weights
    assert max(np.abs(w).max() for w in weights) <= 63


def test_only_integers_and_biases_change_and_it_can_be_repeated(tmp_path: Path, store: Any) -> None:
    proto, x = net(common=True)
    job, base, samples, made = corrected(
        tmp_path, store, proto, x[:64], QdqDialect(reduce_range=True)
    )
    request = RoundRequest(model=base, candidate=made, samples=samples, limit=63, seed=3)
    files = []
    for k in range(2):
        done = round_weights(request, job)
        (job.out / done.artifact.entry).rename(tmp_path / f"{k}.onnx")
        files.append(onnx.load(tmp_path / f"{k}.onnx"))
    assert files[0] == files[1]
    before = onnx.load(tmp_path / "corrected.onnx")
    assert [n.op_type for n in files[0].graph.node] == [n.op_type for n in before.graph.node]
    old = {t.name: t.SerializeToString() for t in before.graph.initializer}
    new = {t.name: t.SerializeToString() for t in files[0].graph.initializer}
    changed = {k for k in old if k in new and old[k] != new[k]}
    assert changed
    assert all(k.startswith("w") and k.endswith("_quantized") for k in changed)
    assert all("bias" in k for k in set(new) ^ set(old))


def test_eight_bits_of_even_weights_leave_it_nothing_to_gain(tmp_path: Path, store: Any) -> None:
    proto, x = net(common=False)
    job, base, samples, made = corrected(tmp_path, store, proto, x[:64], QdqDialect())
    done = round_weights(RoundRequest(model=base, candidate=made, samples=samples), job)
    before = error(tmp_path / "corrected.onnx", tmp_path / "m.onnx", x[64:])
    after = error(job.out / done.artifact.entry, tmp_path / "m.onnx", x[64:])
    assert before < 0.001
    assert after < 1.2 * before


def test_a_deadline_leaves_the_rest_as_it_was(tmp_path: Path, store: Any) -> None:
    proto, x = net(common=True)
    job, base, samples, made = corrected(
        tmp_path, store, proto, x[:16], QdqDialect(reduce_range=True)
    )
    request = RoundRequest(model=base, candidate=made, samples=samples, limit=63, seconds=1e-9)
    found = round_weights(request, job)
    assert (found.done.layers, found.done.changed, found.done.late) == (3, 0, 3)
    before = onnx.load(tmp_path / "corrected.onnx")
    assert onnx.load(job.out / found.artifact.entry).graph.initializer == before.graph.initializer
