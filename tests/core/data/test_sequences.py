"""Sequences: steps in order, states carried by the core, and the model's own states before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seatrial.data.child import materialise
from seatrial.data.contract import InputContract
from seatrial.data.records import MaterialiseRequest
from seatrial.data.source import parse
from seatrial.data.states import guessed
from seatrial.jobs.calls import CallFault
from seatrial.ladder.units import Units, spans
from seatrial.results import LoadRequest, Ref, TensorIO
from seatrial.samples import Samples
from seatrial.session import Loop, RunRequest
from seatrial.testing.local import LocalJob
from seatrial.trial.sequences_child import RolledRequest, roll

INPUTS = (
    TensorIO(name="x", dtype="float32", shape=("batch", 3)),
    TensorIO(name="h", dtype="float32", shape=(2, "batch", 3)),
    TensorIO(name="rate", dtype="int64", shape=()),
)
CONTRACTS = {
    "h": InputContract(mode="state", output="hn"),
    "rate": InputContract(mode="constant", value=(2.0,)),
}


class Sums:
    """y and hn hold the sum of all steps so far, times the rate at each."""

    def run(self, feeds: Any) -> Any:
        assert feeds["rate"].shape == () and int(feeds["rate"]) == 2
        total = feeds["h"] + feeds["x"][None] * feeds["rate"]
        return {"y": total[0], "hn": total.astype(np.float32)}

    def ran(self) -> Any:
        return None

    def close(self) -> None:
        pass


def store(tmp_path: Path, arrays: dict[str, Any], **known: Any) -> tuple[Any, LocalJob]:
    np.savez(tmp_path / "s.npz", **arrays)
    job = LocalJob(tmp_path / "job")
    request = MaterialiseRequest(
        source=parse(str(tmp_path / "s.npz")), inputs=INPUTS, contracts=CONTRACTS, **known
    )
    return materialise(request, job), job


def arrays(steps: int = 5, sequences: int = 3) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(sequences, steps, 3)).astype(np.float32)
    return {"x": x, "labels": rng.integers(0, 2, (sequences, steps))}


def loop(tmp_path: Path) -> Loop:
    request = LoadRequest(artifact=Ref(sha256="a" * 64, entry="m"), format="onnx", target="t")
    return Loop(Sums(), request, tmp_path, 0)


def test_steps_are_run_in_order_with_the_state_of_the_step_before(tmp_path: Path) -> None:
    data = arrays()
    result, job = store(tmp_path, data)
    assert result.refused is None and result.set.count == 15
    samples = Samples(job.out)
    assert samples.state == {"hn": "h"} and not samples.index["batch_axis"]
    assert [samples.follows(i) for i in range(6)] == [False, True, True, True, True, False]
    assert len(set(samples.groups)) == 3 and samples.shape("h") == (2, 1, 3)
    reply = loop(tmp_path).run(RunRequest(path="job/out", keep=True, out="all"))
    assert reply.outputs is not None
    test = Units(samples, spans(samples))
    got = Units(Samples(tmp_path / "out" / "all"), test.spans)
    for i in range(3):
        wanted = 2 * np.cumsum(data["x"][i], axis=0)
        np.testing.assert_allclose(got.one("y", i)[:, 0], wanted, rtol=1e-5)
        assert (test.labels or ())[i] == data["labels"][i].tolist()
    assert got.count == test.count == 3 and test.facts()[0].id == "0#0"


def test_single_steps_are_fed_what_the_store_holds(tmp_path: Path) -> None:
    data = arrays()
    _, _ = store(tmp_path, data)
    reply = loop(tmp_path).run(RunRequest(path="job/out", indices=(0, 1, 2), keep=True, out="some"))
    assert reply.outputs is not None
    got = Samples(tmp_path / "out" / "some")
    np.testing.assert_allclose(got.one("y", 2)[0], 2 * data["x"][0, 2], rtol=1e-6)
    with pytest.raises(CallFault, match="one by one"):
        loop(tmp_path).run(RunRequest(path="job/out", keep=True, batch=2, out="two"))


def test_the_float_models_states_are_filled_in(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    data = arrays()
    _, made = store(tmp_path, data)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["rate"], ["factor"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["x", "factor"], ["scaled"]),
            helper.make_node("Add", ["h", "scaled"], ["hn"]),
            helper.make_node("ReduceSum", ["hn"], ["y"], keepdims=0),
        ],
        "sums",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3]),
            helper.make_tensor_value_info("h", TensorProto.FLOAT, [2, "batch", 3]),
            helper.make_tensor_value_info("rate", TensorProto.INT64, []),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, []),
            helper.make_tensor_value_info("hn", TensorProto.FLOAT, [2, "batch", 3]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "model").mkdir()
    onnx.save(model, tmp_path / "model" / "m.onnx")
    job = LocalJob(tmp_path / "roll")
    request = RolledRequest(model=job.add(tmp_path / "model", "m.onnx"), samples=job.add(made.out))
    roll(request, job)
    filled = Samples(job.out)
    before = np.concatenate([np.zeros((1, 3)), 2 * np.cumsum(data["x"][1], axis=0)[:-1]])
    np.testing.assert_allclose(filled.array("h")[5:10, 0, 0], before, atol=1e-5)
    assert filled.hashes == Samples(made.out).hashes and filled.state == {"hn": "h"}
    assert filled.labels == Samples(made.out).labels


def test_one_label_for_a_whole_sequence(tmp_path: Path) -> None:
    data = arrays() | {"labels": np.array([4, 5, 6])}
    result, job = store(tmp_path, data)
    assert result.refused is None
    samples = Samples(job.out)
    assert Units(samples, spans(samples)).labels == (4, 5, 6)


def test_texts_are_no_class_names(tmp_path: Path) -> None:
    data = arrays() | {"labels": np.array(["two words", "one", "x"])}
    result, job = store(tmp_path, data, texts=True)
    assert result.refused is None
    samples = Samples(job.out)
    assert (Units(samples, spans(samples)).labels or ())[0] == "two words"


def test_silence_is_no_repeat(tmp_path: Path) -> None:
    data = arrays()
    data["x"][:, 1:4] = 0.0
    result, job = store(tmp_path, data)
    assert len(set(Samples(job.out).hashes)) == 15
    assert [f.code for f in result.set.findings if f.code == "duplicate"] == []


def test_steps_that_disagree_are_refused(tmp_path: Path) -> None:
    data = {"x": np.float32(np.random.rand(3, 3)), "labels": np.arange(3)}
    result, _ = store(tmp_path, data)
    assert result.refused is not None and "takes" in result.refused.reason


def pair(name: str, *shape: Any) -> TensorIO:
    return TensorIO(name=name, dtype="float32", shape=shape)


X, Y = pair("x", 1, 9), pair("y", 1, 9)
STATE, STATE_N = pair("state", 2, "b", 8), pair("stateN", "?", "?", "?")
H, C, HN, CN = (pair(n, 1, 8) for n in ("h0", "c0", "hn", "cn"))
H_IN, H_OUT = pair("h_in", 1, 8), pair("h_out", 1, 8)


@pytest.mark.parametrize(
    ("inputs", "outputs", "wanted"),
    [
        ([pair("input", 1, 9), STATE], [pair("output", 1, 1), STATE_N], {"stateN": "state"}),
        ([X, H, C], [Y, HN, CN], {"hn": "h0", "cn": "c0"}),
        ([X, H_IN], [H_OUT], {"h_out": "h_in"}),
        ([X, H_IN], [pair("h_out", 1, 7)], {}),
        ([pair("input", 1, 9)], [pair("output", 1, 9)], {}),
        ([pair("image", 1, 3, 8, 8)], [pair("scores", 1, 10)], {}),
    ],
)
def test_states_are_told_by_names_and_shapes(inputs: Any, outputs: Any, wanted: Any) -> None:
    assert guessed(inputs, outputs) == wanted
