"""Live sessions: the feed loop, the tensor mapping, kept outputs, several children at once."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial import results as r
from seatrial.isolation import Limits, Runner
from seatrial.jobs.calls import CallFault
from seatrial.jobs.tensors import TensorMap, checked_outputs
from seatrial.results import FaultKind as K
from seatrial.samples import Samples, StoreWriter
from seatrial.session import Loop, RunRequest


def store(folder, values, *, batch_axis=True, name="x"):
    """A sample store of one tensor."""
    folder.mkdir(parents=True)
    writer = StoreWriter(folder, len(values), batch_axis=batch_axis)
    for value in values:
        writer.add({name: np.asarray(value, np.float32)})
    rows = [{"id": f"s{i}", "sha256": "", "group": f"g{i // 2}"} for i in range(len(values))]
    return writer.close(rows)


@pytest.fixture
def samples(workspace, tmp_path):
    """Ten samples of shape (2,), adopted."""
    values = [[i, -i] for i in range(10)]
    files = store(tmp_path / "samples", values)
    artifact = r.Artifact(format="seatrial-samples", entry="", files=files)
    return workspace.adopt(tmp_path / "samples", artifact)


def load_request(model, **options):
    fields = {k: options.pop(k) for k in ("inputs", "outputs") if k in options}
    return r.LoadRequest(artifact=model, format="blob", target="cpu", options=options, **fields)


def opened(runner, plugin, model, fault="", **options):
    variables = {"SEATRIAL_FAULT": fault} if fault else {}
    limits = options.pop("limits", None)
    return runner.open(
        plugin, "seatrial_load", load_request(model, **options), variables=variables, limits=limits
    )


def test_nobody_takes_threads_from_the_kernels_of_a_session(runner, faults, model):
    with opened(runner, faults, model).result:
        written = [json.loads(p.read_text()) for p in runner.workspace.jobs.glob("*/job.json")]
    (load,) = [job for job in written if job["name"] == "seatrial_load"]
    assert not [name for name in load["environment"] if name.endswith("_NUM_THREADS")]


def test_a_round_is_timed_kept_and_adopted(runner, faults, model, samples):
    outcome = opened(runner, faults, model)
    assert outcome.ok, outcome.fault
    with outcome.result as session:
        assert session.load_ns > 0
        done = session.run(samples, keep=True, warmup=2, repeat=3, batch=4)
        assert done.ok, done.fault
        reply = done.result
        assert len(reply.latencies_ns) == 9 and min(reply.latencies_ns) > 0
        assert reply.first_run_ns > 0 and reply.load_ns == session.load_ns
        assert reply.cpu_ns >= 0
        outputs = Samples(runner.workspace.path(runner.adopt(done, reply.outputs)))
        assert outputs.names == ("y",) and outputs.count == 10 and outputs.shape("y") == (2,)
        assert np.array_equal(outputs.array("y")[:, 0], 2 * np.arange(10))
        assert outputs.ids == tuple(f"s{i}" for i in range(10))
        assert outputs.groups[:4] == ("g0", "g0", "g1", "g1")
        assert session.ran().result.device == "CPU"
        assert session.rss_mb > 1 and session.peak_rss_mb >= 5


def test_indices_choose_and_order(runner, faults, model, samples):
    with opened(runner, faults, model).result as session:
        done = session.run(samples, [7, 1, 7], keep=True, batch=2)
        outputs = Samples(runner.workspace.path(runner.adopt(done, done.result.outputs)))
        assert outputs.array("y")[:, 0].tolist() == [14.0, 2.0, 14.0]
        assert outputs.ids == ("s7", "s1", "s7")
        assert len(done.result.latencies_ns) == 2


def test_equal_outputs_are_one_object(runner, faults, model, samples):
    with opened(runner, faults, model).result as session:
        refs = set()
        for _ in range(2):
            done = session.run(samples, keep=True)
            refs.add(runner.adopt(done, done.result.outputs))
        assert len(refs) == 1


def test_several_sessions_live_at_once_and_one_death_hurts_no_other(
    runner, faults, model, samples, token, survivors
):
    first = opened(runner, faults, model).result
    doomed = opened(runner, faults, model, "run:sigsegv").result
    third = opened(runner, faults, model).result
    assert first.run(samples).ok
    died = doomed.run(samples)
    assert (died.fault.kind, died.fault.signal, died.fault.stage) == (K.CRASHED, "SIGSEGV", "run")
    assert doomed.run(samples).fault == died.fault
    assert doomed.ran().fault == died.fault
    for session in (first, third):
        assert session.run(samples, keep=True).ok
        session.close()
    doomed.close()


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        ("run:raises", K.RAISED, "ValueError: node 'conv_1'"),
        ("run:memory_error", K.OUT_OF_MEMORY, "MemoryError"),
        ("run:half_record", K.BROKE_CONTRACT, "half a record"),
        ("run:silent_exit", K.CRASHED, "exited 0 without a result record"),
        ("run:hang", K.TIMED_OUT, "no answer within 0.5 s"),
        ("run:native_hang", K.TIMED_OUT, "no answer within 0.5 s"),
        ("run:eat", K.OUT_OF_MEMORY, "250 MB allowed"),
    ],
)
def test_faults_while_running(fault, kind, reason, runner, faults, model, samples):
    session = opened(runner, faults, model, fault, limits=Limits(memory_mb=250)).result
    outcome = session.run(samples, limits=Limits(timeout_s=60 if "eat" in fault else 0.5))
    assert outcome.fault.kind is kind and reason in outcome.fault.reason


def test_a_session_that_raised_may_go_on(runner, faults, model, samples):
    session = opened(runner, faults, model, "run:raises").result
    assert session.run(samples).fault.kind is K.RAISED
    assert session.ran().ok


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        ("load:raises", K.RAISED, "ValueError"),
        ("load:abort", K.CRASHED, "SIGABRT"),
        ("load:hang", K.TIMED_OUT, "no answer within 1 s"),
        ("load:no_session", K.BROKE_CONTRACT, "gave a object, not a Session"),
    ],
)
def test_faults_while_loading(fault, kind, reason, runner, faults, model):
    outcome = opened(runner, faults, model, fault, limits=Limits(timeout_s=1))
    assert outcome.result is None
    assert outcome.fault.kind is kind and reason in outcome.fault.reason


def test_what_ran_is_checked(runner, faults, model):
    outcome = opened(runner, faults, model, "ran:not_a_number").result.ran()
    assert outcome.fault.kind is K.BROKE_CONTRACT and "nan is not a JSON number" in (
        outcome.fault.reason
    )


@pytest.mark.parametrize(
    ("shape", "reason"),
    [("objects", "element type object"), ("list", "'y' is a list, not a numpy array")],
)
def test_outputs_must_be_arrays_of_numbers(shape, reason, runner, faults, model, samples):
    with opened(runner, faults, model, output=shape).result as session:
        outcome = session.run(samples)
    assert outcome.fault.kind is K.BROKE_CONTRACT and reason in outcome.fault.reason


def test_outputs_without_batch_axis_keep_their_shape(runner, faults, model, samples):
    with opened(runner, faults, model, output="boxes").result as session:
        # Sample 1 gives one box: taken alone it looks like a batch axis, until sample 3 comes.
        done = session.run(samples, [1, 3, 1, 2], keep=True)
        outputs = Samples(runner.workspace.path(runner.adopt(done, done.result.outputs)))
        shapes = [outputs.one("y", i).shape for i in range(4)]
        assert shapes == [(1, 3), (3, 3), (1, 3), (2, 3)]
        assert outputs.one("y", 0).tolist() == [[1.0, 1.0, 1.0]]
        refused = session.run(samples, [3, 3], keep=True, batch=2)
        assert refused.fault.kind is K.RAISED and "use batch 1" in refused.fault.reason


def test_a_closed_session_says_so(runner, faults, model, samples):
    session = opened(runner, faults, model).result
    session.close()
    session.close()
    assert session.run(samples).fault.reason == "session closed"


def test_closing_the_runner_ends_every_session(workspace, faults, model, token, survivors):
    with Runner(workspace) as runner:
        request = load_request(model)
        variables = {"TOKEN": token}
        for _ in range(3):
            assert runner.open(faults, "seatrial_load", request, variables=variables).ok
        assert len(survivors(token)) == 3
    assert survivors(token) == []


def test_scratch_goes_with_the_session(workspace, faults, model):
    with Runner(workspace) as runner:
        one, two = opened(runner, faults, model), opened(runner, faults, model)
        scratch = [o.out.parent / "scratch" for o in (one, two)]
        assert all(s.is_dir() for s in scratch)
        one.result.close()
        assert [s.is_dir() for s in scratch] == [False, True]
    assert not scratch[1].exists()


def test_the_reference_is_a_session_of_the_core(runner, workspace, samples, tmp_path):
    import onnx
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 2]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [x], [y])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, tmp_path / "neg.onnx")
    model = workspace.add({"neg.onnx": tmp_path / "neg.onnx"}, "neg.onnx")
    request = r.LoadRequest(artifact=model, format="onnx", target="cpu", threads=1)
    outcome = runner.open("seatrial.reference:load", None, request)
    assert outcome.ok, outcome.fault
    with outcome.result as session:
        done = session.run(samples, keep=True, batch=5)
        outputs = Samples(workspace.path(runner.adopt(done, done.result.outputs)))
    assert outputs.array("y")[3].tolist() == [-3.0, 3.0]


def test_damaged_samples_are_refused(runner, faults, model, samples):
    with opened(runner, faults, model).result as session:
        assert session.run(samples).ok
        file = runner.workspace.path(samples) / "0.npy"
        file.chmod(0o644)
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
        outcome = session.run(samples)
    assert outcome.fault.kind is K.UNAVAILABLE and "digest" in outcome.fault.reason


def test_in_process_sessions_answer_alike(workspace, faults, model, samples):
    with Runner(workspace, in_process=True) as runner:
        session = opened(runner, faults, model).result
        done = session.run(samples, keep=True, batch=3)
        outputs = Samples(workspace.path(runner.adopt(done, done.result.outputs)))
        assert np.array_equal(outputs.array("y")[:, 0], 2 * np.arange(10))
        session.close()


def test_the_tensor_map_reaches_the_session_and_back(runner, faults, model, workspace, tmp_path):
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2) / 10
    files = store(tmp_path / "nchw", values)
    ref = workspace.adopt(
        tmp_path / "nchw", r.Artifact(format="seatrial-samples", entry="", files=files)
    )
    io = r.TensorIO(name="in_q", onnx="x", dtype="uint8", perm=(0, 2, 3, 1), scale=0.1)
    back = r.TensorIO(name="in_q", onnx="z", dtype="uint8", perm=(0, 2, 3, 1), scale=0.1)
    outcome = opened(runner, faults, model, output="echo", inputs=(io,), outputs=(back,))
    with outcome.result as session:
        done = session.run(ref, keep=True, batch=2)
        outputs = Samples(workspace.path(runner.adopt(done, done.result.outputs)))
    assert outputs.names == ("z",) and outputs.shape("z") == (3, 2, 2)
    assert np.allclose(outputs.array("z"), values, atol=1e-6)


@settings(max_examples=60)
@given(
    perm=st.permutations([1, 2, 3]),
    scale=st.floats(1e-3, 10),
    zero_point=st.integers(-128, 127),
    seed=st.integers(0, 1000),
)
def test_quantise_and_transpose_come_back(perm, scale, zero_point, seed):
    rng = np.random.default_rng(seed)
    steps = rng.integers(-128 - zero_point, 128 - zero_point, (2, 3, 4, 5))
    value = (steps * np.float32(scale)).astype(np.float32)
    io = r.TensorIO(
        name="q", onnx="x", dtype="int8", perm=(0, *perm), scale=scale, zero_point=zero_point
    )
    tensors = TensorMap((io,), (io,))
    fed = tensors.feeds({"x": value})["q"]
    assert fed.dtype == np.int8 and fed.flags.c_contiguous
    assert fed.shape == tuple(np.transpose(value, (0, *perm)).shape)
    back = tensors.results({"q": fed})["x"]
    assert back.shape == value.shape
    assert np.array_equal(back, (steps.astype(np.float32)) * np.float32(scale))


def test_values_beyond_the_range_saturate():
    io = r.TensorIO(name="q", dtype="uint8", scale=1.0, zero_point=10)
    fed = TensorMap((io,), ()).feeds({"q": np.array([-1000.0, 0.5, 1.5, 1000.0], np.float32)})
    assert fed["q"].tolist() == [0, 10, 12, 255]


@pytest.mark.parametrize(
    ("io", "reason"),
    [
        (r.TensorIO(name="q", onnx="other"), "stands for 'other'"),
        (r.TensorIO(name="x", dtype="uint8"), "states no scale"),
    ],
)
def test_a_map_that_does_not_fit_breaks_the_contract(io, reason):
    with pytest.raises(CallFault, match=reason):
        TensorMap((io,), ()).feeds({"x": np.zeros(3, np.float32)})
    with pytest.raises(CallFault, match="no output 'gone'"):
        TensorMap((), (r.TensorIO(name="gone"),)).results({"x": np.zeros(3)})


@pytest.mark.parametrize("bad", [None, [], {}, {"y": 1.0}, {"y": np.array(["a"])}, {1: np.ones(1)}])
def test_other_outputs_break_the_contract(bad):
    with pytest.raises(CallFault) as caught:
        checked_outputs(bad)
    assert caught.value.kind is K.BROKE_CONTRACT


class Recorder:
    """Counts calls and remembers feeds."""

    def __init__(self):
        self.seen = []

    def run(self, feeds):
        self.seen.append({n: np.array(v) for n, v in feeds.items()})
        return {"y": feeds["x"]}

    def ran(self):
        return r.Ran(where=r.TargetKind.DEVICE, device="x")

    def close(self):
        pass


def test_the_last_group_is_filled_and_warm_up_is_not_timed(tmp_path):
    store(tmp_path / "s", [[float(i)] for i in range(5)])
    session = Recorder()
    request = r.LoadRequest(artifact=r.Ref(sha256="a", entry=""), format="f", target="t")
    loop = Loop(session, request, tmp_path, 1)
    reply = loop.run(RunRequest(path="s", warmup=4, repeat=2, batch=2))
    assert len(session.seen) == 4 + 6 and len(reply.latencies_ns) == 6
    assert [f["x"].shape for f in session.seen] == [(2, 1)] * 10
    assert session.seen[6]["x"][:, 0].tolist() == [4.0, 4.0]


def test_a_model_without_batch_axis_gets_the_sample_itself(tmp_path):
    store(tmp_path / "s", [[1.0, 2.0], [3.0, 4.0]], batch_axis=False)
    (tmp_path / "out").mkdir()
    session = Recorder()
    request = r.LoadRequest(artifact=r.Ref(sha256="a", entry=""), format="f", target="t")
    loop = Loop(session, request, tmp_path, 1)
    loop.run(RunRequest(path="s", keep=True, out="kept"))
    assert session.seen[0]["x"].shape == (2,)
    kept = Samples(tmp_path / "out" / "kept")
    assert kept.shape("y") == (2,) and kept.index["batch_axis"] is False


def test_no_samples_no_latencies(tmp_path):
    store(tmp_path / "s", [[1.0]])
    loop = Loop(
        Recorder(),
        r.LoadRequest(artifact=r.Ref(sha256="a", entry=""), format="f", target="t"),
        tmp_path,
        1,
    )
    reply = loop.run(RunRequest(path="s", indices=(), warmup=3))
    assert reply.latencies_ns == ()


class Places(Recorder):
    """Remembers where its feeds lay."""

    def run(self, feeds):
        self.seen.append((feeds["x"].ctypes.data, feeds["x"].item()))
        return {"y": feeds["x"]}


def test_an_input_that_comes_again_is_fed_from_the_same_memory(tmp_path):
    session = Places()
    reply = looped(tmp_path, session).run(RunRequest(path="s", indices=(2, 0, 2, 2, 1, 0)))
    assert [value for _, value in session.seen] == [2.0, 0.0, 2.0, 2.0, 1.0, 0.0]
    assert len(set(session.seen)) == 3
    assert reply.prepare_ns > 0


class Concurrent(Recorder):
    """Takes two calls at once and notes how many there were."""

    def __init__(self, fails=False):
        super().__init__()
        self.streams, self.copied_ns = 2, 7
        self.inside = self.most = 0
        self.lock = threading.Lock()
        self.fails = fails

    def run(self, feeds):
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        time.sleep(0.02)
        with self.lock:
            self.inside -= 1
        if self.fails:
            raise OSError("no more")
        return super().run(feeds)


def looped(tmp_path, session, samples=3):
    store(tmp_path / "s", [[float(i)] for i in range(samples)])
    request = r.LoadRequest(artifact=r.Ref(sha256="a", entry=""), format="f", target="t")
    return Loop(session, request, tmp_path, 1)


def test_streams_run_at_once_and_the_wall_is_shorter_than_their_sum(tmp_path):
    session = Concurrent()
    reply = looped(tmp_path, session).run(RunRequest(path="s", repeat=4, streams=2))
    assert session.most == 2
    assert len(reply.latencies_ns) == len(session.seen) == 12
    assert sorted({f["x"].item() for f in session.seen}) == [0.0, 1.0, 2.0]
    assert 12 * 0.02e9 / 2 <= reply.wall_ns < 0.8 * sum(reply.latencies_ns)


def test_a_session_that_takes_one_call_is_not_asked_for_more(tmp_path):
    with pytest.raises(CallFault, match="takes 1 call at a time, not 2") as caught:
        looped(tmp_path, Recorder()).run(RunRequest(path="s", streams=2))
    assert caught.value.kind is K.NOT_OFFERED


def test_a_failure_in_any_stream_ends_the_round(tmp_path):
    session = Concurrent(fails=True)
    with pytest.raises(CallFault, match="no more") as caught:
        looped(tmp_path, session).run(RunRequest(path="s", repeat=50, streams=2))
    assert caught.value.kind is K.RAISED
    assert session.most <= 2


def test_what_lies_outside_the_latency_is_told_apart(tmp_path):
    reply = looped(tmp_path, Concurrent()).run(RunRequest(path="s", repeat=2))
    assert reply.wall_ns == sum(reply.latencies_ns)
    assert reply.copied_ns == 6 * 7
    assert 0 < reply.prepare_ns < reply.wall_ns
    assert 0 < reply.finish_ns < reply.wall_ns
    assert reply.rss_mb > 1
    plain = Recorder()
    assert (
        Loop(
            plain,
            r.LoadRequest(artifact=r.Ref(sha256="a", entry=""), format="f", target="t"),
            tmp_path,
            1,
        )
        .run(RunRequest(path="s"))
        .copied_ns
        == -1
    )
