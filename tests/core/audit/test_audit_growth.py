"""Whether more calibration samples would lower the INT8 loss."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from seatrial.audit import growth
from seatrial.audit.growth_child import measure, merged
from seatrial.audit.growth_records import GrowthRequest
from seatrial.calibration.child import ranges
from seatrial.calibration.choose import chosen
from seatrial.calibration.table import load
from seatrial.calibration.types import RangesRequest
from seatrial.errors import UserError
from seatrial.testing.local import LocalJob

node = helper.make_node

ALL = (0, 1, 2, 3)


def judged(whole: Any, half: Any, quarter: Any = None) -> Any:
    losses = [(ALL, whole), ((0, 1), half), ((2, 3), half)]
    losses += [((0,), quarter)] if quarter is not None else []
    return growth.judge([(used, list(x)) for used, x in losses], 512, "kl", "mse")


def test_the_same_loss_from_half_says_that_more_would_not_help() -> None:
    rng = np.random.default_rng(0)
    whole = rng.exponential(0.05, 64)
    found = judged(whole, whole + rng.normal(0, 0.002, 64), 2 * whole)
    assert found.verdict == growth.SAME
    assert found.text.startswith(
        "256 of the 512 samples that set ranges give the same INT8 loss: more would not help"
    )
    assert [p.n for p in found.curve] == [128, 256, 512]
    assert [p.draws for p in found.curve] == [1, 2, 1]
    assert found.curve[0].more == pytest.approx(whole.mean())
    assert growth.judge_growth(found) == []


def test_a_loss_that_halves_is_still_falling() -> None:
    whole = np.random.default_rng(0).exponential(0.05, 64)
    found = judged(whole, 2 * whole)
    assert found.verdict == growth.FALLING
    low, high = found.curve[-2].ci95
    assert 0 < low < whole.mean() < high
    (finding,) = growth.judge_growth(found)
    assert finding.code == "falling-loss"
    assert "still falling" in finding.text


def test_noise_says_nothing() -> None:
    rng = np.random.default_rng(0)
    whole = rng.exponential(0.05, 16)
    found = judged(whole, whole + rng.normal(0.005, 0.05, 16))
    assert found.verdict == growth.OPEN
    assert "cannot be told" in found.text
    assert growth.judge_growth(found) == []


def test_without_time_for_a_half_nothing_is_claimed() -> None:
    found = growth.judge([(ALL, [0.1] * 20)], 512, "kl", "mse")
    assert found.verdict == growth.OPEN
    assert "too little time" in found.text
    one = growth.judge([(ALL, [0.1] * 20), ((0, 1), [0.1] * 20)], 512, "kl", "mse")
    assert one.verdict == growth.SAME


def test_false_claims_are_as_rare_as_the_interval_says() -> None:
    """Where half of the samples cost exactly what counts as nothing, "same" is said seldom."""
    rng = np.random.default_rng(1)
    said = []
    for _ in range(800):
        whole = rng.normal(0.1, 0.03, 24)
        half = whole + rng.normal(0.01, 0.01, 24)
        found = judged(whole, half)
        said.append((found.verdict == growth.SAME, found.nothing))
    assert np.mean([nothing for _, nothing in said]) == pytest.approx(0.01, rel=0.05)
    assert np.mean([same for same, _ in said]) < 0.06


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=40))
def test_intervals_are_students(values: list[float]) -> None:
    from scipy import stats

    mean, low, high = growth.paired(values, [0.0] * len(values))
    assert low <= mean <= high
    if len(values) >= 8 and np.std(values) > 1e-6:
        n = len(values)
        reach = stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n)
        assert high - mean == pytest.approx(reach, rel=5e-3)


def test_parts_take_turns() -> None:
    assert growth.parts(range(10)) == ((0, 4, 8), (1, 5, 9), (2, 6), (3, 7))


def net() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    constants = {"w1": rng.normal(size=(12, 3, 3, 3)), "w2": rng.normal(size=(12, 10)) * 0.02}
    weights = [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in constants.items()]
    nodes = [
        node("Conv", ["x", "w1"], ["c"], name="conv"),
        node("Relu", ["c"], ["r"], name="relu"),
        node("GlobalAveragePool", ["r"], ["a"], name="pool"),
        node("Flatten", ["a"], ["f"], name="flat"),
        node("MatMul", ["f", "w2"], ["y"], name="fc"),
    ]
    shapes = {"x": ["N", 3, 8, 8], "y": ["N", 10]}
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
    graph = helper.make_graph(nodes, "net", infos[:1], infos[1:], weights)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def stored(folder: Path, store: Any, x: Any) -> tuple[LocalJob, Any, Any]:
    onnx.save_model(net(), folder / "m.onnx")
    job = LocalJob(folder / "job")
    return job, job.add(folder / "m.onnx"), job.add(store({"x": x.astype(np.float32)}))


def test_parts_added_up_are_one_pass_over_all(tmp_path: Path, store: Any) -> None:
    job, model, samples = stored(
        tmp_path, store, np.random.default_rng(0).normal(size=(24, 3, 8, 8))
    )

    def table(indices: tuple[int, ...]) -> Any:
        request = RangesRequest(model=model, samples=samples, indices=indices, statistics="sampled")
        return load(job.out / ranges(request, job).artifact.entry)

    whole = table(())
    added = merged([table(part) for part in growth.parts(range(24))])
    assert added.count == whole.count
    for method in ("minmax", "percentile-99.9", "percentile-99.99"):
        assert chosen(added, method) == chosen(whole, method)
    assert {n: (t.lo_sample, t.hi_sample) for n, t in added.tensors.items()} == {
        n: (t.lo_sample, t.hi_sample) for n, t in whole.tensors.items()
    }


@pytest.mark.parametrize(("few", "verdict"), [(False, growth.SAME), (True, growth.FALLING)])
def test_real_models_on_sets_that_are_large_enough_or_not(
    few: bool, verdict: str, tmp_path: Path, store: Any
) -> None:
    """Of the one set every sample is alike; of the other the range is in one quarter alone."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3, 8, 8))
    held_out = tuple(range(60, 80))
    if few:
        x[:60] *= 0.05  # everything that sets ranges is dim, but for two samples
        x[[3, 6]] *= 20
    job, model, samples = stored(tmp_path, store, x)
    request = GrowthRequest(model=model, samples=samples, held_out=held_out, method="minmax")
    found = measure(request, job)
    assert found.verdict == verdict, found.text
    assert found.rule == "kl"
    assert [p.n for p in found.curve] == [15, 30, 60]
    assert [p.draws for p in found.curve] == [4, 2, 1]
    assert found.held_out == 20
    assert found.curve[0].loss >= found.curve[1].loss * 0.9


def test_little_time_means_fewer_samples_or_models_and_too_few_are_refused(
    tmp_path: Path, store: Any
) -> None:
    x = np.random.default_rng(0).normal(size=(80, 3, 8, 8))
    job, model, samples = stored(tmp_path, store, x)
    held_out = tuple(range(60, 80))
    request = GrowthRequest(model=model, samples=samples, held_out=held_out, seconds=1e-6)
    found = measure(request, job)
    assert found.verdict == growth.OPEN
    assert len(found.curve) == 1
    assert found.curve[0].n == 48
    with pytest.raises(UserError, match="48 samples"):
        measure(GrowthRequest(model=model, samples=samples, held_out=tuple(range(40, 80))), job)
