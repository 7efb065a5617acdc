"""Ranges against numpy's extremes of tapped tensors, on the real runtime."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from seatrial.calibration import table as tables
from seatrial.calibration.child import forecast, ranges, survey
from seatrial.calibration.types import STATISTICS, ForecastRequest, RangesRequest, SurveyRequest
from seatrial.calibration.verify import check_prepared
from seatrial.errors import UserError
from seatrial.quantize.plan import make_plan
from seatrial.quantize.prepare import prepare
from seatrial.quantize.signs import non_negative
from seatrial.reference import open_model, with_outputs
from seatrial.results import Ref
from seatrial.samples import Samples
from seatrial.testing.local import LocalJob

node = helper.make_node
REAL = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def added(proto: onnx.ModelProto, job: LocalJob, name: str = "m.onnx") -> Ref:
    onnx.save_model(proto, job.scratch / name)
    return job.add(job.scratch / name)


def tapped(path: Path, names: list[str], arrays: dict[str, Any]) -> dict[str, Any]:
    """Values of inner tensors of the prepared graph over all samples."""
    graph = prepare(path).graph
    inner = [n for n in names if n not in graph.inputs]
    session = open_model(with_outputs(graph.model, inner), threads=1)
    return {**arrays, **session.run(arrays)}


@st.composite
def nets(draw: st.DrawFn) -> tuple[list[Any], dict[str, Any], int]:
    """Chains of convolutions, activations, pools and sums with random shapes."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    channels, nodes, constants, last = 3, [], {}, "x"
    earlier: list[tuple[str, int]] = []
    for k in range(draw(st.integers(1, 4))):
        group = draw(st.sampled_from([1, channels]))
        out = channels * draw(st.integers(1, 3)) if group > 1 else draw(st.integers(1, 20))
        weight = rng.normal(size=(out, channels // group, 3, 3))
        constants[f"w{k}"] = weight.astype(np.float32)
        nodes.append(node("Conv", [last, f"w{k}"], [f"c{k}"], name=f"conv{k}", pads=[1] * 4,
                          group=group))  # fmt: skip
        last, channels = f"c{k}", out
        match draw(st.sampled_from(["Relu", "LeakyRelu", "MaxPool", "Add", "Sigmoid", "none"])):
            case "MaxPool":
                nodes.append(node("MaxPool", [last], [f"p{k}"], kernel_shape=[2, 2]))
                last, earlier = f"p{k}", []
            case "Add" if found := [n for n, c in earlier if c == channels]:
                nodes.append(node("Add", [last, found[-1]], [f"s{k}"]))
                last = f"s{k}"
            case "Add" | "none":
                pass
            case op:
                nodes.append(node(op, [last], [f"a{k}"]))
                last = f"a{k}"
        earlier.append((last, channels))
    constants["fc"] = rng.normal(size=(channels, 3)).astype(np.float32)
    nodes += [
        node("GlobalAveragePool", [last], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("MatMul", ["f", "fc"], ["y"]),
    ]
    return nodes, constants, draw(st.integers(1, 3))


@REAL
@given(net=nets())
def test_ranges_are_the_exact_extremes(
    net: Any, model: Any, store: Any, tmp_path_factory: Any
) -> None:
    nodes, constants, threads = net
    job = LocalJob(tmp_path_factory.mktemp("job"))
    proto = model(nodes, {"x": ["N", 3, 9, 9]}, ["y"], constants)
    x = np.random.default_rng(3).normal(size=(5, 3, 9, 9)).astype(np.float32)
    ref = added(proto, job)
    samples = job.add(store({"x": x}))
    result = ranges(RangesRequest(model=ref, samples=samples, threads=threads), job)
    table = tables.load(job.out / result.artifact.entry)
    graph = prepare(job.path(ref)).graph
    assert set(table.tensors) == set(make_plan(graph).observe)
    positive = non_negative(graph)
    values = tapped(job.path(ref), list(table.tensors), {"x": x})
    for name, found in table.tensors.items():
        value = values[name]
        lo = 0.0 if name in positive else float(value.min())
        assert value.min() >= -1e-6 or name not in positive
        scale = float(np.abs(value).max())
        assert found.lo == pytest.approx(lo, abs=1e-5 * scale)
        assert found.hi == pytest.approx(float(value.max()), abs=1e-5 * scale)
        assert (found.count, found.nonfinite) == (5, 0)
        peaks = value.reshape(5, -1).max(1)
        assert found.hi_mean == pytest.approx(float(peaks.mean()), abs=1e-5 * scale)
        assert peaks[int(found.hi_sample.removeprefix("sample"))] == pytest.approx(
            float(value.max()), abs=1e-5 * scale
        )


def small(model: Any) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    constants = {f"w{k}": rng.normal(size=(4, c, 3, 3)).astype(np.float32)
                 for k, c in enumerate([3, 4])}  # fmt: skip
    nodes = [
        node("Conv", ["x", "w0"], ["c0"], name="c0"),
        node("Log", ["c0"], ["l"], name="log"),
        node("Relu", ["l"], ["r"], name="relu"),
        node("Conv", ["r", "w1"], ["y"], name="c1"),
    ]
    return model(nodes, {"x": ["N", 3, 8, 8]}, ["y"], constants)


def test_the_result_is_hashed_and_reloadable(model: Any, job: LocalJob, store: Any) -> None:
    x = np.abs(np.random.default_rng(0).normal(size=(4, 3, 8, 8))).astype(np.float32)
    request = RangesRequest(model=added(small(model), job), samples=job.add(store({"x": x})))
    first = ranges(request, job)
    path = job.out / first.artifact.entry
    table = tables.load(path)
    assert table.sha256 == first.sha256
    assert (table.count, first.count) == (4, 4)
    assert ranges(request, job).sha256 == first.sha256
    assert any("calibrated 4 of 4" in m for m in job.messages)
    broken = json.loads(path.read_text())
    broken["schema"] = "other/9"
    path.write_text(json.dumps(broken))
    with pytest.raises(ValueError, match="other/9"):
        tables.load(path)
    path.write_text("{}")
    with pytest.raises(ValueError, match="not a calibration table"):
        tables.load(path)


def test_a_broken_sample_is_named_and_left_out(model: Any, job: LocalJob, store: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 3, 8, 8)).astype(np.float32)
    x[3, 1, 4, 4] = np.nan
    proto = small(model)
    result = ranges(RangesRequest(model=added(proto, job), samples=job.add(store({"x": x}))), job)
    assert ("sample3", "x", 1) in {(n.sample, n.tensor, n.elements) for n in result.nonfinite}
    assert result.flags.nonfinite[0].sample == "sample3"
    found = tables.load(job.out / result.artifact.entry).tensors["x"]
    assert (found.count, found.nonfinite) == (4, 1)
    assert found.hi == pytest.approx(float(np.nanmax(x[[0, 1, 2, 4]])))


def test_a_nan_born_inside_is_named_though_a_maximum_hides_it(
    model: Any, job: LocalJob, store: Any
) -> None:
    """log of a negative number: GlobalMaxPool does not propagate NaN."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 3, 8, 8)).astype(np.float32)
    proto = small(model)
    for k, name in enumerate(("w0", "w1")):
        weight = onnx.numpy_helper.to_array(proto.graph.initializer[k])
        proto.graph.initializer[k].CopyFrom(onnx.numpy_helper.from_array(np.abs(weight), name))
    x = np.abs(x)
    x[1] *= -1
    result = ranges(RangesRequest(model=added(proto, job), samples=job.add(store({"x": x}))), job)
    named = {(n.sample, n.tensor) for n in result.nonfinite}
    assert ("sample1", "r") in named
    assert {sample for sample, _ in named} == {"sample1"}


def test_infinities_are_named(model: Any, job: LocalJob, store: Any) -> None:
    x = np.ones((3, 3, 8, 8), np.float32)
    x[2] = 0.0
    constants = {"w": np.ones((4, 3, 1, 1), np.float32), "v": np.ones((2, 4, 1, 1), np.float32)}
    nodes = [
        node("Conv", ["x", "w"], ["c"], name="c"),
        node("Reciprocal", ["c"], ["i"], name="i"),
        node("Conv", ["i", "v"], ["y"], name="y"),
    ]
    proto = model(nodes, {"x": ["N", 3, 8, 8]}, ["y"], constants)
    result = ranges(RangesRequest(model=added(proto, job), samples=job.add(store({"x": x}))), job)
    named = {(n.sample, n.tensor): n.elements for n in result.nonfinite}
    assert named == {("sample2", "i"): 256, ("sample2", "y"): 128}
    table = tables.load(job.out / result.artifact.entry)
    assert table.range("i") == pytest.approx((1 / 3, 1 / 3))


def test_chosen_samples_only(model: Any, job: LocalJob, store: Any) -> None:
    x = np.arange(1, 7, dtype=np.float32)[:, None, None, None] * np.ones((6, 3, 8, 8), np.float32)
    request = RangesRequest(
        model=added(small(model), job), samples=job.add(store({"x": x})), indices=(1, 3)
    )
    found = tables.load(job.out / ranges(request, job).artifact.entry)
    assert found.range("x") == (2.0, 4.0)
    assert found.tensors["x"].hi_sample == "sample3"


def test_bad_requests_are_refused(model: Any, job: LocalJob, store: Any) -> None:
    ref = added(small(model), job)
    x = job.add(store({"x": np.ones((1, 3, 8, 8), np.float32)}))
    with pytest.raises(UserError, match="magic"):
        ranges(RangesRequest(model=ref, samples=x, method="magic"), job)


def anonymous_kb() -> int:
    """Memory of this process that is not a mapped file."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    raise AssertionError("the kernel does not tell RssAnon")


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")
def test_memory_does_not_grow_with_the_samples(model: Any, job: LocalJob, store: Any) -> None:
    rng = np.random.default_rng(0)
    constants = {f"w{k}": rng.normal(size=(16, c, 3, 3)).astype(np.float32)
                 for k, c in enumerate([3, 16, 16])}  # fmt: skip
    nodes = []
    for k in range(3):
        source = f"r{k - 1}" if k else "x"
        nodes.append(node("Conv", [source, f"w{k}"], [f"c{k}"], pads=[1] * 4))
        nodes.append(node("Relu", [f"c{k}"], [f"r{k}"]))
    proto = model(nodes, {"x": ["N", 3, 96, 96]}, ["r2"], constants)
    x = rng.normal(size=(256, 3, 96, 96)).astype(np.float32)
    samples = job.add(store({"x": x}))
    del x
    ref = added(proto, job)

    def grow(n: int) -> int:
        before = anonymous_kb()
        request = RangesRequest(model=ref, samples=samples, indices=tuple(range(n)), threads=1)
        assert ranges(request, job).count == n
        return anonymous_kb() - before

    grow(16)
    few, many = grow(16), grow(256)
    # All activations of 240 samples would be 430 MB.
    assert many - few < 20_000


def test_survey_finds_flat_samples(job: LocalJob, store: Any) -> None:
    x = np.random.default_rng(0).normal(size=(5, 3, 4, 4)).astype(np.float32)
    x[1], x[2], x[4, 0, 0, 0] = 0, 7, np.inf
    flags = survey(SurveyRequest(samples=job.add(store({"x": x}))), job)
    assert (flags.zero, flags.constant) == (("sample1",), ("sample2",))
    assert [(n.sample, n.tensor, n.elements) for n in flags.nonfinite] == [("sample4", "x", 1)]


@pytest.mark.parametrize("statistics", STATISTICS)
def test_forecast_scales_with_the_count(
    statistics: str, model: Any, job: LocalJob, store: Any
) -> None:
    x = np.ones((3, 3, 8, 8), np.float32)
    request = ForecastRequest(
        model=added(small(model), job),
        samples=job.add(store({"x": x})),
        count=1000,
        statistics=statistics,
    )
    found = forecast(request, job)
    assert found.seconds == pytest.approx(found.setup_s + 1000 * found.sample_s)
    assert found.sample_s > 0
    assert found.memory_mb > 10
    assert (found.count, found.timed > 0) == (1000, True)


def test_a_model_with_a_fixed_batch_is_fed_whole_batches(
    model: Any, job: LocalJob, store: Any
) -> None:
    rng = np.random.default_rng(0)
    constants = {"w": rng.normal(size=(4, 3, 3, 3)).astype(np.float32)}
    proto = model([node("Conv", ["x", "w"], ["y"])], {"x": [4, 3, 8, 8]}, ["y"], constants)
    x = rng.normal(size=(6, 3, 8, 8)).astype(np.float32)
    result = ranges(RangesRequest(model=added(proto, job), samples=job.add(store({"x": x}))), job)
    found = tables.load(job.out / result.artifact.entry)
    assert found.range("x") == (float(x.min()), float(x.max()))
    assert result.count == 6
    assert any("6 of 6" in m for m in job.messages)


def test_an_edit_that_changes_results_is_refused(model: Any, job: LocalJob, store: Any) -> None:
    rng = np.random.default_rng(0)
    proto = model([node("Conv", ["x", "w"], ["y"], name="c")], {"x": ["N", 3, 8, 8]}, ["y"],
                  {"w": rng.normal(size=(4, 3, 3, 3)).astype(np.float32)})  # fmt: skip
    ref = added(proto, job)
    samples = Samples(store({"x": rng.normal(size=(1, 3, 8, 8)).astype(np.float32)}))
    prepared = prepare(job.path(ref))
    prepared.notes.append("edited")
    check_prepared(job.path(ref), prepared, samples, 0)
    weight = prepared.graph.constant("w")
    prepared.graph.set_constant("w", weight * np.float32(1.01))
    with pytest.raises(UserError, match="y: folding"):
        check_prepared(job.path(ref), prepared, samples, 0)
