"""Scores of candidates, run for real on the reference."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from seatrial.errors import UserError
from seatrial.quantize.child import insert, score
from seatrial.quantize.score import Totals, kl_divergence
from seatrial.quantize.types import InsertRequest, ScoreRequest
from seatrial.testing.local import LocalJob

node = helper.make_node


def linear(model: Any, factor: float = 1.0, *, softmax: bool = False) -> onnx.ModelProto:
    weight = (np.random.default_rng(0).normal(size=(6, 4)) * factor).astype(np.float32)
    nodes = [node("MatMul", ["x", "w"], ["m" if softmax else "y"], name="fc")]
    if softmax:
        nodes.append(node("Softmax", ["m"], ["y"], name="softmax"))
    return model(nodes, {"x": ["N", 6]}, ["y"], {"w": weight})


def scored(job: LocalJob, store: Any, a: Any, b: Any, n: int = 20) -> Any:
    refs = []
    for k, proto in enumerate((a, b)):
        onnx.save_model(proto, job.scratch / f"m{k}.onnx")
        refs.append(job.add(job.scratch / f"m{k}.onnx"))
    x = np.random.default_rng(1).normal(size=(n, 6)).astype(np.float32)
    samples = job.add(store({"x": x}))
    request = ScoreRequest(
        model=refs[0], candidate=refs[1], samples=samples, indices=tuple(range(4, n))
    )
    return score(request, job)


def test_an_identical_candidate_is_perfect(model: Any, job: LocalJob, store: Any) -> None:
    found = scored(job, store, linear(model), linear(model))
    assert found.n == 16
    assert found.classification
    assert found.agreement == 1
    assert found.kl == pytest.approx(0, abs=1e-9)
    assert found.cosine == pytest.approx(1)
    assert found.sqnr_db > 100
    assert len(found.losses) == len(found.errors) == 16
    assert found.bytes > 0


def test_figures_against_their_definitions(model: Any, job: LocalJob, store: Any) -> None:
    found = scored(job, store, linear(model), linear(model, 0.5))
    assert found.agreement == 1
    assert found.cosine == pytest.approx(1)
    assert found.sqnr_db == pytest.approx(20 * np.log10(2), rel=1e-4)
    assert found.errors[0] == pytest.approx(0.25, rel=1e-4)
    assert found.kl > 0.01


def test_a_negated_candidate_agrees_with_nothing(model: Any, job: LocalJob, store: Any) -> None:
    found = scored(job, store, linear(model), linear(model, -1.0))
    assert found.agreement == 0
    assert found.cosine == pytest.approx(-1)


def test_a_quantised_candidate_is_close(model: Any, job: LocalJob, store: Any) -> None:
    proto = linear(model)
    onnx.save_model(proto, job.scratch / "f.onnx")
    result = insert(InsertRequest(model=job.add(job.scratch / "f.onnx"), unit_ranges=True), job)
    candidate = onnx.load(job.out / result.artifact.entry)
    found = scored(job, store, proto, candidate)
    assert 5 < found.sqnr_db < 60


def test_nan_is_counted_and_never_averaged_away(model: Any, job: LocalJob, store: Any) -> None:
    found = scored(job, store, linear(model), linear(model, float("nan")))
    assert found.nonfinite == found.n == 16
    assert found.agreement is None
    assert found.sqnr_db is None
    assert found.kl is None


def test_bad_requests_are_refused(model: Any, job: LocalJob, store: Any) -> None:
    with pytest.raises(UserError, match="no held-out samples"):
        scored(job, store, linear(model), linear(model), 4)
    other = linear(model)
    other.graph.output[0].name = other.graph.node[0].output[0] = "z"
    with pytest.raises(UserError, match="y"):
        scored(job, store, linear(model), other)


def test_probabilities_are_not_passed_through_softmax_again() -> None:
    p = np.array([[0.7, 0.2, 0.1]])
    q = np.array([[0.6, 0.3, 0.1]])
    exact = float((p * np.log(p / q)).sum())
    assert kl_divergence(p, q) == pytest.approx(exact)
    assert kl_divergence(np.log(p), np.log(q)) == pytest.approx(exact)


def test_pictures_are_not_taken_for_class_scores() -> None:
    totals = Totals()
    totals.add({"y": np.ones((1, 3, 4, 4))}, {"y": np.ones((1, 3, 4, 4)) * 1.1})
    found = totals.score(0)
    assert not found.classification
    assert found.kl is None
    assert found.losses == pytest.approx((0.01,))
