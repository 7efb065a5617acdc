"""Sampled statistics against every element, on the real runtime."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from seatrial.calibration import table as tables
from seatrial.calibration.child import ranges
from seatrial.calibration.choose import STEPS, _error, chosen, distribution
from seatrial.calibration.histogram import BINS, unpacked
from seatrial.calibration.observe import observed
from seatrial.calibration.pick import PICKS, ROWS_MIN, WHOLE, Places
from seatrial.calibration.types import PLACES, RangesRequest, RangeTable, Reading
from seatrial.errors import UserError
from seatrial.quantize.graph import Graph
from seatrial.quantize.prepare import prepare
from seatrial.reference import open_model, with_outputs
from seatrial.results import Ref
from seatrial.testing.local import LocalJob

node = helper.make_node
SIZE = 68

#: Largest difference between a percentile of sampled elements and one of all elements of the same
#: samples, as a fraction of the extremes' range; the last one lies in the far tail of few samples.
PERCENTILES = {"percentile-99.9": 0.02, "percentile-99.99": 0.05, "percentile-99.999": 0.25}

#: Largest growth of the squared error over all elements, where sampled ones chose the range: 1 dB.
#: These elements have heavy tails: the few largest of them carry much of the error.
MORE_ERROR = 0.26


def net(model: Any) -> onnx.ModelProto:
    """Feature maps of 18 and 24 channels (more than is taken whole), then a matrix product."""
    rng = np.random.default_rng(0)
    constants = {
        "w0": (rng.normal(size=(18, 3, 3, 3)) / 4).astype(np.float32),
        "w1": (rng.normal(size=(24, 1, 3, 3)) / 2).astype(np.float32),
        "p": (rng.normal(size=(24, 18, 1, 1)) / 4).astype(np.float32),
        "m": (rng.normal(size=(SIZE, 40)) / 8).astype(np.float32),
    }
    nodes = [
        node("Conv", ["x", "w0"], ["c0"], name="c0", pads=[1] * 4),
        node("LeakyRelu", ["c0"], ["l"], name="leaky"),
        node("Conv", ["l", "p"], ["c1"], name="c1"),
        node("Relu", ["c1"], ["r"], name="relu"),
        node("Conv", ["r", "w1"], ["c2"], name="c2", pads=[1] * 4, group=24),
        node("Transpose", ["c2"], ["t"], name="turn", perm=[0, 2, 1, 3]),
        node("MatMul", ["t", "m"], ["y"], name="fc"),
    ]
    return model(nodes, {"x": ["N", 3, SIZE, SIZE]}, ["y"], constants)


@pytest.fixture
def given_net(model: Any, job: LocalJob, store: Any) -> tuple[Ref, Ref, Any]:
    path = job.scratch / "m.onnx"
    onnx.save_model(net(model), path)
    x = np.random.default_rng(1).standard_t(5, size=(24, 3, SIZE, SIZE)).astype(np.float32)
    return job.add(path), job.add(store({"x": x})), x


def collected(given: tuple[Ref, Ref, Any], job: LocalJob, **more: Any) -> RangeTable:
    result = ranges(RangesRequest(model=given[0], samples=given[1], **more), job)
    table = tables.load(job.out / result.artifact.entry)
    assert table.sha256 == result.sha256
    return table


def tapped(path: Path, names: list[str], x: Any) -> dict[str, Any]:
    graph = prepare(path).graph
    session = open_model(with_outputs(graph.model, [n for n in names if n != "x"]), threads=1)
    return {"x": x, **session.run({"x": x})}


def test_every_element_is_counted_when_asked_for(given_net: Any, job: LocalJob) -> None:
    table = collected(given_net, job, statistics="everything", threads=2)
    values = tapped(job.path(given_net[0]), list(table.tensors), given_net[2])
    for name, tensor in table.tensors.items():
        assert tensor.histogram is not None
        found = unpacked(tensor.histogram)
        assert found.counts.sum() == values[name].size
        scale = BINS / 2.0**found.exponent
        index = np.trunc(values[name].reshape(-1) * np.float32(scale)).astype(int) + BINS - 1
        expected = np.bincount(index, minlength=2 * BINS - 1)
        # The observed graph is optimised otherwise: a value may be rounded into the next bin.
        assert np.abs(np.cumsum(expected) - np.cumsum(found.counts)).max() <= 1e-4 * index.size


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sampled_ranges_are_close_to_those_of_all_elements(
    given_net: Any, job: LocalJob, seed: int
) -> None:
    exact = collected(given_net, job, statistics="everything")
    sampled = collected(given_net, job, statistics="sampled", seed=seed)
    assert any(
        distribution(sampled.tensors[n]).count.sum() < distribution(exact.tensors[n]).count.sum()
        for n in exact.tensors
    )
    for method, limit in PERCENTILES.items():
        want, got = chosen(exact, method), chosen(sampled, method)
        for name, (lo, hi) in want.items():
            size = exact.tensors[name].hi - exact.tensors[name].lo
            assert got[name] == pytest.approx((lo, hi), abs=limit * size), (method, name)
    want, got = chosen(exact, "mse"), chosen(sampled, "mse")
    for name, tensor in exact.tensors.items():
        least, found = (_error(distribution(tensor), r[name], STEPS) for r in (want, got))
        assert found <= least * (1 + MORE_ERROR), name


def test_the_extremes_stay_exact(given_net: Any, job: LocalJob) -> None:
    sampled, bare = collected(given_net, job, statistics="sampled"), collected(given_net, job)
    assert chosen(sampled, "minmax") == chosen(bare, "minmax")
    assert chosen(sampled, "moving-average") == chosen(bare, "moving-average")
    assert all(t.histogram is None for t in bare.tensors.values())


def test_moving_averages_follow_the_samples_in_order(given_net: Any, job: LocalJob) -> None:
    table = collected(given_net, job, method="moving-average", threads=3)
    x = given_net[2]
    low, high = float(x[0].min()), float(x[0].max())
    for value in x[1:]:
        low += 0.01 * (float(value.min()) - low)
        high += 0.01 * (float(value.max()) - high)
    assert chosen(table)["x"] == pytest.approx((low, high))


def test_the_result_depends_on_the_seed_alone(given_net: Any, job: LocalJob) -> None:
    first, again, other = (
        collected(given_net, job, method="mse", seed=seed, threads=threads)
        for seed, threads in ((1, 1), (1, 3), (2, 1))
    )
    assert first.sha256 == again.sha256
    assert first.tensors != other.tensors


TURNS = {
    "rows": ["N", 20, 50, 61],
    "few rows": ["N", 900, 100],
    "lost shape": ["N", "any", 50, 61],
    "too long": ["N", 4000, 20],
}


@pytest.mark.parametrize("kind", list(TURNS))
def test_what_is_picked_is_of_the_tensor_and_from_all_over(model: Any, kind: str) -> None:
    """A counting tensor: the picked values are the places, which change with the sample."""
    dims = TURNS[kind]
    turn = node("Transpose", ["x"], ["t"], name="t", perm=[0, *range(len(dims) - 1, 0, -1)])
    shape = [1, *(20 if d == "any" else d for d in dims[1:])]
    named = [1, *dims[1:]] if kind != "lost shape" else dims
    graph = Graph(model([turn], {"x": named}, ["t"]), Path())
    graph.infer()
    proto, reading = observed(graph, ["t"], "sampled")
    count = int(np.prod(shape))
    assert count > WHOLE
    assert (len(reading.rows), reading.scattered) == ((1, False) if "rows" in kind else (0, True))
    x = np.arange(count, dtype=np.float32).reshape(shape)
    session = open_model(proto.SerializeToString(), threads=1)
    seen = []
    for sample in range(40):
        feeds = {"x": x, **Places(3, sample).feeds(reading)}
        values = session.run({n: feeds[n] for n in session.inputs})[reading.picked[0]]
        seen.append(values.reshape(-1).astype(int))
        assert 0.5 * PICKS <= seen[-1].size <= 2 * PICKS
        assert len(set(seen[-1].tolist())) > 0.8 * seen[-1].size
    assert not np.array_equal(seen[0], seen[1])
    found = np.unravel_index(np.concatenate(seen), shape)
    for axis, size in enumerate(shape):
        share = np.bincount(found[axis], minlength=size) * size / found[0].size
        assert share.min() > 0.3, axis
        assert share.max() < 1.7


@given(st.integers(1, 2**40), st.integers(ROWS_MIN, PICKS), st.integers(0, 100))
@settings(deadline=None)
def test_places_are_one_of_each_stretch(size: int, count: int, sample: int) -> None:
    at = Places(0, sample).of(size, count)
    assert at.min() >= 0
    assert at.max() < size
    stretch = np.arange(count + 1) * (size / count)
    assert (at >= stretch[:-1] - 1).all()
    assert (at <= stretch[1:]).all()


def test_no_place_lies_at_the_end() -> None:
    """A random number next to 1 would round to it."""
    places = Places(0, 0)
    places.random[:] = np.nextafter(1.0, 0.0)
    assert places.of(3 * PICKS).max() < 3 * PICKS
    fractions = places.feeds(
        Reading(tensors=(), sizes=(), high=(), low=(), mean=(), negated=(), scattered=True)
    )[PLACES]
    assert int((fractions * 2.0**32).max()) < 2**32


def test_small_arrays_are_taken_whole() -> None:
    at = Places(0, 0)
    small, large = np.arange(WHOLE), np.arange(3 * WHOLE)
    np.testing.assert_array_equal(at.pick(small), small)
    found = at.pick(large)
    assert len(found) == PICKS
    assert (np.diff(found) > 0).all()


def test_requests_that_do_not_fit_are_refused(given_net: Any, job: LocalJob) -> None:
    with pytest.raises(UserError, match="mse needs histograms"):
        collected(given_net, job, method="mse", statistics="extremes")
    with pytest.raises(UserError, match="most"):
        collected(given_net, job, statistics="most")
