"""What the core costs: latency against a bare loop, start-up, and the cost of a child.

Prints ratios measured in one run, side by side, and where they were measured:

* latency: ``seatrial bench`` of a model on each runtime against a bare loop over the same runtime
  with the same threads, both fed the same kind of input, in alternating rounds; medians, their
  ratio, and a 95 % interval of the ratio over rounds;
* start-up: ``seatrial --help`` against ``python -c pass``;
* isolation: one hook call in a child against the same call in this process.

Usage: python benchmarks/overhead.py [MODEL.onnx] [--rounds N]
Without a model a small convolutional net is generated.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from seatrial import intake, registry
from seatrial import results as r
from seatrial.benchmark.machine import look, machine
from seatrial.isolation import Runner, SessionHandle
from seatrial.trial.child import SyntheticRequest
from seatrial.workspace import Workspace

THREADS = 2
#: Calls of one side in one round.
CALLS = 30

#: A bare loop over each runtime: load once, then latencies on request. No Seatrial in it.
BARE = {
    "onnxruntime:cpu": """
import onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = THREADS
options.add_session_config_entry("session.force_spinning_stop", "1")
session = ort.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
names = [o.name for o in session.get_outputs()]
def call(feeds): return session.run(names, feeds)
""",
    "openvino:CPU": """
import openvino as ov
core = ov.Core()
model = core.read_model(MODEL)
model.reshape({name: list(shape) for name, shape in SHAPES.items()})
compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32",
    "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": THREADS, "NUM_STREAMS": 1,
    "ENABLE_CPU_PINNING": False})
request = compiled.create_infer_request()
def call(feeds): return [t.data.copy() for t in (request.infer(feeds), request)[1].output_tensors]
""",
}

LOOP = """
import sys, time, json
import numpy as np
rng = np.random.default_rng(0)
feeds = [{n: np.array(rng.random(s), dtype=np.float32) for n, s in SHAPES.items()}
         for _ in range(16)]
print("ready", flush=True)
for line in sys.stdin:
    took = []
    cpu = time.process_time_ns()
    for i in range(int(line)):
        f = feeds[i % 16]
        t = time.perf_counter_ns()
        call(f)
        took.append(time.perf_counter_ns() - t)
    cpu = time.process_time_ns() - cpu
    print(json.dumps({"took": took, "cpu": cpu}), flush=True)
"""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=40)
    args = parser.parse_args()
    here = machine()
    print(f"measured on {here.model}, {here.cores} CPUs, load {look().load:.1f}\n")
    with tempfile.TemporaryDirectory() as folder:
        model = args.model or net(Path(folder) / "net.onnx")
        print(f"| {model.name} | Seatrial p50 ms | bare loop p50 ms | ratio | 95 % interval |")
        print("|---|---|---|---|---|")
        with Runner(Workspace(Path(folder) / "store")) as runner:
            for target in BARE:
                _latency(runner, target, model.resolve(), args.rounds)
            print()
            _children(runner)
    _startup()
    return 0


@dataclass(frozen=True)
class Built:
    """A target's FP32 artefact, and what it is fed.

    Attributes:
        open: loads it into a session of its own.
        samples: 16 inputs.
        shapes: of one, by input name.
        artefact: its file.
    """

    open: Callable[[], SessionHandle]
    samples: r.Ref
    shapes: dict[str, tuple[int, ...]]
    artefact: Path


def built(runner: Runner, target: str, path: Path) -> Built:
    """Build a model for a target."""
    backend, _, name = target.partition(":")
    plugin = next(p for p in registry.discover() if p.id == backend)
    model = intake.admit(path, runner.workspace)
    shapes = {t.name: (1, *[int(d) for d in t.shape[1:]]) for t in model.facts.inputs}
    request = r.BuildRequest(model=model.ref, target=name, shapes=shapes)
    build = runner.hook(plugin, "seatrial_build", request)
    artefact = runner.adopt(build, build.result.artifact)
    load = r.LoadRequest(
        artifact=artefact,
        format=build.result.artifact.format,
        target=name,
        precision="fp32",
        threads=THREADS,
        inputs=build.result.artifact.inputs,
        outputs=build.result.artifact.outputs,
    )
    made = runner.task(
        "seatrial.trial.child:synthetic",
        SyntheticRequest(inputs=model.facts.inputs, count=16, seed=0),
    )
    samples = runner.adopt(made, made.result.artifact)

    def session() -> SessionHandle:
        opened = runner.open(plugin, "seatrial_load", load)
        if opened.result is None:
            raise SystemExit(f"{target}: {opened.fault}")
        return opened.result

    return Built(session, samples, shapes, runner.workspace.path(artefact))


def _latency(runner: Runner, target: str, path: Path, rounds: int) -> None:
    """Alternate rounds of a session of ours and of the bare loop."""
    made = built(runner, target, path)
    with made.open() as handle, bare(target, path, made.shapes) as theirs_:
        ours, theirs = _alternate(lambda n: own(handle, made.samples, n), theirs_, rounds)
    logs = [math.log(a / b) for a, b in zip(ours, theirs, strict=True)]
    half = 1.96 * statistics.stdev(logs) / math.sqrt(len(logs))
    centre = statistics.fmean(logs)
    print(
        f"| {target} | {statistics.median(ours):.3f} | {statistics.median(theirs):.3f} "
        f"| {math.exp(centre):.3f} "
        f"| {math.exp(centre - half):.3f} to {math.exp(centre + half):.3f} |"
    )


def _alternate(
    ours: Callable[[int], Calls], theirs: Callable[[int], Calls], rounds: int
) -> tuple[list[float], list[float]]:
    """Median latency of each round, milliseconds; who goes first alternates."""
    for warm in (ours, theirs):
        warm(CALLS)
    medians: tuple[list[float], list[float]] = ([], [])
    for i in range(rounds):
        for k in (0, 1) if i % 2 else (1, 0):
            medians[k].append(statistics.median((ours, theirs)[k](CALLS)[0]))
    return medians


#: Latencies of a few calls in milliseconds, and the CPU time of all of them.
Calls = tuple[list[float], float]


def own(handle: SessionHandle, samples: r.Ref, n: int, inputs: int = 16) -> Calls:
    """So many calls of our loop, with so many inputs in turn."""
    outcome = handle.run(samples, [i % inputs for i in range(n)], keep=False)
    assert outcome.result is not None, outcome.fault
    return [ns / 1e6 for ns in outcome.result.latencies_ns], outcome.result.cpu_ns / 1e6


class Loop(Protocol):
    """Asks the bare loop for so many calls."""

    def __call__(self, n: int) -> Calls:
        """Their latencies."""


@contextlib.contextmanager
def bare(target: str, path: Path, shapes: dict[str, tuple[int, ...]]) -> Iterator[Loop]:
    """A child with the bare loop."""
    import json

    head = f"MODEL = {str(path)!r}\nSHAPES = {shapes!r}\nTHREADS = {THREADS}\n"
    child = subprocess.Popen(
        [sys.executable, "-c", head + BARE[target] + LOOP],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "CI": "true"},
        # As our children: a session is what the scheduler shares the CPUs out to.
        start_new_session=True,
    )
    assert child.stdin and child.stdout
    child.stdout.readline()

    def run(n: int) -> Calls:
        assert child.stdin and child.stdout
        child.stdin.write(f"{n}\n")
        child.stdin.flush()
        told = json.loads(child.stdout.readline())
        return [ns / 1e6 for ns in told["took"]], told["cpu"] / 1e6

    try:
        yield run
    finally:
        child.stdin.close()
        child.wait()


def _children(runner: Runner) -> None:
    """One probe in a child, and the same probe in this process."""
    plugin = next(p for p in registry.discover() if p.id == "onnxruntime")
    request = r.ProbeRequest(target="cpu")
    times = []
    for _ in range(8):
        begin = time.perf_counter()
        runner.hook(plugin, "seatrial_probe", request)
        times.append(time.perf_counter() - begin)
    with Runner(runner.workspace, in_process=True) as inside:
        inside.hook(plugin, "seatrial_probe", request)
        begin = time.perf_counter()
        inside.hook(plugin, "seatrial_probe", request)
        bare = time.perf_counter() - begin
    print(
        f"one probe in a child: {statistics.median(times):.3f} s, runtime import included; "
        f"in this process, imported already: {bare:.3f} s"
    )


def _startup() -> None:
    commands: dict[str, list[str]] = {
        "seatrial --help": [sys.executable, "-m", "seatrial", "--help"],
        "python -c pass": [sys.executable, "-c", "pass"],
    }
    took: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(15):
        for name, command in commands.items():
            begin = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            took[name].append(1e3 * (time.perf_counter() - begin))
    medians = {name: statistics.median(times) for name, times in took.items()}
    print("start-up: " + ", ".join(f"{name} {ms:.0f} ms" for name, ms in medians.items()))


def net(path: Path) -> Path:
    """A convolutional net of about 5 ms: what dominates must be the runtime."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng: Any = np.random.default_rng(0)
    nodes, weights, last, width = [], [], "x", 3
    for i, (wider, stride) in enumerate([(32, 2), (64, 2), (128, 1), (128, 2), (256, 1)]):
        value = (rng.standard_normal((wider, width, 3, 3)) * 0.05).astype(np.float32)
        weights.append(numpy_helper.from_array(value, f"w{i}"))
        kwargs = {"strides": [stride, stride], "pads": [1, 1, 1, 1]}
        nodes.append(helper.make_node("Conv", [last, f"w{i}"], [f"c{i}"], **kwargs))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
        last, width = f"r{i}", wider
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["y"]))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 128, 128])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", width, 1, 1])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


if __name__ == "__main__":
    raise SystemExit(main())
