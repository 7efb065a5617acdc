"""A pass that was ended goes on where it was, with the same result."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from seatrial.calibration import checkpoint, ready
from seatrial.calibration.child import ranges
from seatrial.calibration.ready import Setup, get_ready, make_ready
from seatrial.calibration.types import STATISTICS, RangesRequest
from seatrial.errors import UserError
from seatrial.samples import Samples
from seatrial.testing.local import LocalJob

node = helper.make_node

#: One pass in a process of its own, with a checkpoint after every few samples.
PROGRAM = """
import sys
from pathlib import Path
from seatrial.calibration import checkpoint
from seatrial.calibration.child import ranges
from seatrial.calibration.types import RangesRequest
from seatrial.testing.local import LocalJob

checkpoint.EVERY_S = 0.0
model, samples, folder, statistics = sys.argv[1:]
job = LocalJob(Path(folder) / "killed")
ranges(
    RangesRequest(
        model=job.add(Path(model)),
        samples=job.add(Path(samples)),
        indices=tuple(k % 8 for k in range(2_000)),
        statistics=statistics,
        threads=2,
        checkpoints=folder,
    ),
    job,
)
"""


@pytest.fixture
def request_(model: Any, job: LocalJob, store: Any, tmp_path: Path) -> RangesRequest:
    rng = np.random.default_rng(0)
    constants = {f"w{k}": rng.normal(size=(4, c, 3, 3)).astype(np.float32)
                 for k, c in enumerate([3, 4])}  # fmt: skip
    nodes = [
        node("Conv", ["x", "w0"], ["c"], name="c0"),
        node("Log", ["c"], ["l"], name="log"),
        node("Relu", ["l"], ["r"], name="relu"),
        node("Conv", ["r", "w1"], ["y"], name="c1"),
    ]
    onnx.save_model(model(nodes, {"x": ["N", 3, 8, 8]}, ["y"], constants), tmp_path / "m.onnx")
    x = rng.normal(size=(8, 3, 8, 8)).astype(np.float32)
    x[5] = 0
    return RangesRequest(
        model=job.add(tmp_path / "m.onnx"),
        samples=job.add(store({"x": x})),
        statistics="sampled",
        checkpoints=str(tmp_path / "kept"),
        threads=2,
    )


@pytest.mark.parametrize("statistics", STATISTICS)
def test_a_killed_pass_goes_on_with_the_same_result(
    request_: RangesRequest, job: LocalJob, tmp_path: Path, statistics: str
) -> None:
    folder = tmp_path / "kept"
    names = [str(job.path(r)) for r in (request_.model, request_.samples)]
    command = [sys.executable, "-c", PROGRAM, *names, str(folder), statistics]
    child = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    deadline = time.monotonic() + 60
    while not list(folder.glob("*.part")):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    whole = dataclasses.replace(
        request_, statistics=statistics, indices=tuple(k % 8 for k in range(2_000))
    )
    resumed = ranges(whole, job)
    assert resumed.spent is not None
    assert 0 < resumed.spent.resumed < 2_000
    assert not list(folder.glob("*.part"))
    undisturbed = ranges(dataclasses.replace(whole, checkpoints=""), job)
    assert undisturbed.spent is not None
    assert undisturbed.spent.resumed == 0
    assert resumed.sha256 == undisturbed.sha256
    assert resumed.nonfinite == undisturbed.nonfinite
    assert resumed.flags == undisturbed.flags


def test_another_pass_is_not_gone_on_with(
    request_: RangesRequest, job: LocalJob, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(checkpoint, "EVERY_S", 0.0)
    monkeypatch.setattr(checkpoint.Checkpoints, "remove", lambda _: None)
    few = dataclasses.replace(request_, indices=tuple(range(8)), threads=1)
    ranges(few, job)
    (kept,) = (tmp_path / "kept").glob("*.part")
    monkeypatch.undo()
    for change in ({"seed": 1}, {"statistics": "everything"}, {"indices": tuple(range(7))}):
        other = ranges(dataclasses.replace(few, **change), job)
        assert other.spent is not None
        assert other.spent.resumed == 0
    kept.write_bytes(kept.read_bytes()[:-100])
    again = ranges(few, job)
    assert again.spent is not None
    assert again.spent.resumed == 0


def test_the_set_up_apart_gives_what_it_gives_here(
    request_: RangesRequest, job: LocalJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def setup(name: str) -> Setup:
        (tmp_path / name).mkdir()
        return Setup(
            model=str(job.path(request_.model)),
            folder=str(tmp_path / name),
            samples=str(job.path(request_.samples)),
            sample=0,
            statistics="everything",
        )

    here = make_ready(setup("here"))
    monkeypatch.delitem(sys.modules, "onnx")
    apart = get_ready(setup("apart"))
    assert apart.model != here.model
    assert dataclasses.replace(apart, model="") == dataclasses.replace(here, model="")
    feeds = Samples(job.path(request_.samples)).feeds([3])
    mine, other = (r.open() for r in (here, apart))
    assert mine is not None
    assert other is not None
    expected, got = mine.run(feeds), other.run(feeds)
    assert list(got) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value)
    refused = dataclasses.replace(setup("old"), model=str(tmp_path / "old.onnx"))
    old = onnx.ModelProto()
    old.CopyFrom(onnx.load(job.path(request_.model)))
    old.opset_import[0].version = 9
    old.graph.node[1].op_type = "Unheard"  # no converter knows it
    onnx.save_model(old, tmp_path / "old.onnx")
    with pytest.raises(UserError, match="opset"):
        ready._apart(refused)
    with pytest.raises(RuntimeError, match="ended with status"):
        ready._apart(dataclasses.replace(refused, model=str(tmp_path / "none.onnx")))
