"""A race of candidates on the real runtime: who stops, who goes on, and with what figures."""

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from seatrial.quantize.bakeoff import Entry, choose
from seatrial.quantize.child import race, score
from seatrial.quantize.race import FIRST, behind, spread
from seatrial.quantize.types import Entrant, InsertRequest, RaceRequest, ScoreRequest
from seatrial.reference import open_model
from seatrial.testing.local import LocalJob

COUNT = 40


class Field:
    """A linear model, samples, float outputs, and candidates that are off by a known amount."""

    def __init__(self, model: Any, job: LocalJob, store: Any) -> None:
        self.job, self.model = job, model
        rng = np.random.default_rng(0)
        self.weight = rng.normal(size=(6, 5)).astype(np.float32)
        self.noise = rng.normal(size=(6, 5)).astype(np.float32)
        self.x = rng.normal(size=(COUNT, 6)).astype(np.float32)
        self.samples = job.add(store({"x": self.x}))
        self.float = self.add("float", 0.0)
        session = open_model(job.path(self.float))
        outs = [session.run({"x": v[None]})["y"][0] for v in self.x]
        self.indices = tuple(range(4, COUNT))
        self.reference = job.add(store({"y": np.stack([outs[i] for i in self.indices])}))

    def add(self, name: str, off: float) -> Any:
        weight = self.weight + off * self.noise
        proto = self.model(
            [helper.make_node("MatMul", ["x", "w"], ["y"], name="fc")],
            {"x": ["N", 6]}, ["y"], {"w": weight.astype(np.float32)},
        )  # fmt: skip
        path = self.job.scratch / f"{name}.onnx"
        onnx.save_model(proto, path)
        return self.job.add(path)

    def run(self, entrants: dict[str, float], **more: Any) -> dict[str, Any]:
        made = tuple(Entrant(name=n, made=self.add(n, off)) for n, off in entrants.items())
        request = RaceRequest(
            entrants=made, reference=self.reference, samples=self.samples, indices=self.indices,
            **more,
        )  # fmt: skip
        return {f.name: f for f in race(request, self.job).finishes}


@pytest.fixture
def field(model: Any, job: LocalJob, store: Any) -> Field:
    return Field(model, job, store)


def test_the_hopeless_stop_and_the_close_run_to_the_end(field: Field) -> None:
    found = field.run({"far": 2.0, "near": 0.1, "nearer": 0.08, "nan": float("nan")})
    assert found["far"].score.stopped
    assert found["far"].score.n == FIRST
    assert found["nan"].score.stopped
    assert [found[n].score.n for n in ("near", "nearer")] == [len(field.indices)] * 2
    choice = choose([Entry(n, f.score, f.reason) for n, f in found.items()])
    assert choice.name in ("near", "nearer")
    assert f"stopped after {FIRST} samples" in choice.reasons["far"]


def test_a_score_of_a_race_is_that_of_a_score_alone(field: Field) -> None:
    found = field.run({"near": 0.1})["near"].score
    common = {"model": field.float, "candidate": field.add("near", 0.1)}
    common |= {"samples": field.samples, "indices": field.indices}
    alone = score(ScoreRequest(**common), field.job)
    stored = score(ScoreRequest(**common, reference=field.reference), field.job)
    for other in (alone, stored):
        assert other.losses == pytest.approx(found.losses, rel=1e-4, abs=1e-7)
        assert other.errors == pytest.approx(found.errors, rel=1e-4)
        assert other.agreement == found.agreement
        assert other.bytes == found.bytes


def test_a_rival_of_an_earlier_race_counts(field: Field) -> None:
    best = field.run({"best": 0.01})["best"].score
    assert field.run({"far": 2.0})["far"].score.n == len(field.indices)
    later = field.run({"far": 2.0}, rival=best.losses)["far"].score
    assert later.stopped
    assert later.n == FIRST


def test_no_time_means_the_first_still_gets_a_score(field: Field) -> None:
    found = field.run({"a": 0.1, "b": 0.01}, seconds=1e-9)
    assert found["a"].score.n == len(field.indices)
    assert found["b"].score is None
    assert "time" in found["b"].reason


def test_one_that_cannot_be_made_or_run_spoils_nothing(field: Field) -> None:
    other = field.add("other", 0.0)
    proto = onnx.load(field.job.path(other))
    proto.graph.node[0].op_type = "NoSuchOperator"
    onnx.save_model(proto, field.job.path(other))
    refused = InsertRequest(model=field.float)
    entrants = (
        Entrant(name="refused", insert=refused),
        Entrant(name="made", insert=InsertRequest(model=field.float, unit_ranges=True)),
        Entrant(name="broken", made=other),
    )
    request = RaceRequest(
        entrants=entrants,
        reference=field.reference,
        samples=field.samples,
        indices=field.indices,
    )
    found = {f.name: f for f in race(request, field.job).finishes}
    assert "calibration table" in found["refused"].reason
    assert found["broken"].score is None
    assert found["broken"].reason
    assert found["made"].score is not None
    files = found["made"].inserted.artifact.files
    assert all((field.job.out / name).is_file() for name in files)


@given(st.integers(0, 300), st.integers(1, 40))
def test_the_first_samples_are_spread_and_distinct(count: int, wanted: int) -> None:
    found = spread(count, wanted)
    assert len(found) == min(count, wanted)
    assert found == sorted(set(found))
    assert all(0 <= k < count for k in found)


def test_behind_needs_distance_and_certainty() -> None:
    best = [1.0, 1.1, 0.9, 1.0]
    assert behind([3.0, 3.1, 2.9, 3.0], best)
    assert not behind([1.2, 1.3, 1.1, 1.2], best)
    assert not behind([9.0, 0.1, 0.1, 0.1], best)
    assert not behind([3.0], [1.0])
