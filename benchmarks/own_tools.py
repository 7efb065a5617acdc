"""Latency of the core's loop against each runtime's own tool, in one interleaved run.

* OpenVINO: a bare loop over its API, against short visits of ours, both with 16 inputs in turn; and
  ``benchmark_app`` of its own package, synchronous, same threads, on the same artefact, against a
  visit of ours that lasts as long and runs one input again and again, as the tool does. The tool's
  clock is the runtime's own: it starts after the call was handed over. So the same visit of the
  tool is also timed as its caller sees it, around the tool's own ``infer()``, as ours is;
* ONNX Runtime: a bare loop over its API (its perf_test is not in the package).

Each round starts all of them anew, since what a process happens to get (memory, neighbours on the
CPUs) lasts as long as it does; then it visits all in turn, in a new order; each gives one median.
Printed are the medians over rounds, the ratio of ours with its 95 % interval over rounds, and
whether it is within 3 %; beside it the same of CPU time per call, which a busy machine hardly
moves. Then all of it again with a process that keeps CPU 0 busy.

Usage: python benchmarks/own_tools.py [MODEL.onnx] [--net NAME] [--rounds N] [--calm] [--busy]
Without a model a small convolutional net is generated; NAME is one of benchmarks/nets.py.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from nets import NETS
from overhead import BARE, THREADS, Built, Calls, bare, built, net, own

from seatrial.benchmark.machine import disturbed, look, machine
from seatrial.isolation import Runner
from seatrial.workspace import Workspace

#: Seconds that benchmark_app measures in one visit.
VISIT_S = 1
#: Calls of a loop in one visit, and visits in one round.
CALLS, VISITS = 10, 6
#: Bar of the ratio of medians.
BAR = 0.03
MEDIAN = re.compile(r"Median:\s+([0-9.]+)\s*ms")
OUTSIDE = re.compile(r"Outside:\s+([0-9.]+)\s*ms")
#: The tool as it is, and at its end the median of what its caller saw, its first inference apart.
APP = """
import atexit, statistics, time
import openvino as ov
from openvino.tools.benchmark.main import main
infer, seen = ov.InferRequest.infer, []
def timed(*given, **more):
    begin = time.perf_counter_ns()
    told = infer(*given, **more)
    seen.append(time.perf_counter_ns() - begin)
    return told
ov.InferRequest.infer = timed
atexit.register(lambda: print("Outside:", statistics.median(seen[1:]) / 1e6, "ms"))
raise SystemExit(main())
"""
BUSY = "import os; os.sched_setaffinity(0, {0})\nwhile True: pass"

#: Ours; the tool, which is visited once in a round, and ours beside it.
OURS, APP_NAME, LONG = "ours", "benchmark_app", "ours, as long, with one input"
#: The same visit of the tool by the clock that ours is timed with.
SEEN = "benchmark_app, timed as its caller sees it"

#: Latencies of a few calls and their CPU time, by name: a visit may tell more than one.
Visit = Callable[[], dict[str, Calls]]


def main() -> int:
    """Measure and print; 0 if every ratio is within the bar."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--net", choices=sorted(NETS))
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--calm", action="store_true", help="only without a background load")
    parser.add_argument("--busy", action="store_true", help="only with a background load")
    args = parser.parse_args()
    print(f"measured on {machine().model}, {machine().cores} CPUs, {THREADS} threads each")
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        model = args.model or Path(folder) / "net.onnx"
        if args.model is None:
            NETS[args.net](model) if args.net else net(model)
        runner = Runner(Workspace(Path(folder) / "store"))
        for busy in (False, True):
            if (args.calm and busy) or (args.busy and not busy):
                continue
            with background(busy):
                worst = max(worst, table(runner, model.resolve(), args.rounds, busy))
        runner.close()
    print(f"\nlargest distance from 1: {100 * worst:.1f} % (bar {100 * BAR:.0f} %)")
    return 0 if worst <= BAR else 1


def table(runner: Runner, model: Path, rounds: int, busy: bool) -> float:
    """One table; gives the largest distance of a ratio from 1."""
    before = look()
    name = "a busy loop on CPU 0" if busy else "nothing of ours"
    print(f"\n### beside {name}; load {before.load:.1f} before\n")
    print(
        "| target | measured by | p50 ms | ours p50 ms | ratio | 95 % interval | within 3 % "
        "| CPU time per call, ratio | 95 % interval |"
    )
    print("|---|---|---:|---:|---:|---|---|---:|---|")
    worst = 0.0
    for target in BARE:
        made = built(runner, target, model)
        rows = take_turns(lambda: visits(target, model, made), rounds)  # noqa: B023 - used at once
        short, long = rows.pop(OURS), rows.pop(LONG, [])
        for other, theirs in rows.items():
            ours = long if other in (APP_NAME, SEEN) else short
            centre, low, high = ratio([o[0] for o in ours], [t[0] for t in theirs])
            worst = max(worst, abs(centre - 1))
            cells = [target, other, f"{statistics.median(t[0] for t in theirs):.3f}"]
            cells += [f"{statistics.median(o[0] for o in ours):.3f}", f"{centre:.3f}"]
            cells += [f"{low:.3f} to {high:.3f}", "yes" if abs(centre - 1) <= BAR else "no"]
            if all(t[1] for t in theirs):
                centre, low, high = ratio([o[1] for o in ours], [t[1] for t in theirs])
                cells += [f"{centre:.3f}", f"{low:.3f} to {high:.3f}"]
            else:
                cells += ["not told", ""]
            print(f"| {' | '.join(cells)} |")
    for text in disturbed(before, look(), machine().cores):
        print(f"\n{text}")
    return worst


@contextlib.contextmanager
def visits(target: str, model: Path, made: Built) -> Iterator[dict[str, Visit]]:
    """What is visited in a round: ours, the bare loop, the runtime's own tool if it has one."""
    with made.open() as handle, bare(target, model, made.shapes) as loop:
        per_call = statistics.median(own(handle, made.samples, CALLS)[0])
        loop(CALLS)
        named: dict[str, Visit] = {
            OURS: lambda: {OURS: own(handle, made.samples, CALLS)},
            "bare loop": lambda: {"bare loop": loop(CALLS)},
        }
        if target.startswith("openvino"):
            calls = max(CALLS, round(1000 * VISIT_S / per_call))
            named[APP_NAME] = lambda: benchmark_app(made.artefact)
            named[LONG] = lambda: {LONG: own(handle, made.samples, calls, 1)}
        yield named


def take_turns(
    opened: Callable[[], contextlib.AbstractContextManager[dict[str, Visit]]], rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Median latency and CPU time per call by name, one pair per round; in an order drawn anew.

    Loops that stay loaded are visited several times in a round, so that what passes on the
    machine within it hits all alike. CPU time hardly depends on who else is running.
    """
    order = random.Random(0)
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(rounds):
        seen: dict[str, list[Calls]] = {}
        with opened() as named:
            names = [n for n in named for _ in range(1 if n in (APP_NAME, LONG) else VISITS)]
            order.shuffle(names)
            for name in names:
                for what, calls in named[name]().items():
                    seen.setdefault(what, []).append(calls)
        for what, visited in seen.items():
            took = [ms for many, _ in visited for ms in many]
            cpu = sum(used for _, used in visited) / len(took)
            found.setdefault(what, []).append((statistics.median(took), cpu))
    return found


def benchmark_app(model: Path) -> dict[str, Calls]:
    """Median latency as OpenVINO's own tool says and as its caller sees it, milliseconds."""
    command = [sys.executable, "-c", APP, "-m", str(model), "-d", "CPU", "-api", "sync"]
    command += ["-hint", "none", "-nstreams", "1", "-nireq", "1", "-nthreads", str(THREADS)]
    # Left to itself it makes inputs that look like images uint8: another model than the artefact.
    command += ["-pin", "NO", "-infer_precision", "f32", "-ip", "f32", "-t", str(VISIT_S)]
    made = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CI": "true"},
        start_new_session=True,
    )
    found = {name: said.search(made.stdout) for name, said in ((APP_NAME, MEDIAN), (SEEN, OUTSIDE))}
    medians = {name: float(told.group(1)) for name, told in found.items() if told}
    if len(medians) < len(found):
        raise SystemExit(f"benchmark_app gave no median:\n{made.stdout[-1500:]}{made.stderr}")
    return {name: ([median], 0.0) for name, median in medians.items()}


def ratio(ours: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """Ours over theirs, paired by round, with a 95 % interval (Student's, of logarithms)."""
    from seatrial.benchmark.stats import over_rounds

    found = over_rounds([a / b for a, b in zip(ours, theirs, strict=True)])
    assert found is not None
    value, ends = found
    low, high = ends or (math.nan, math.nan)
    return value, low, high


@contextlib.contextmanager
def background(busy: bool) -> Iterator[None]:
    """A process that keeps CPU 0 busy, or nothing."""
    if not busy:
        yield
        return
    child = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        child.kill()
        child.wait()


if __name__ == "__main__":
    raise SystemExit(main())
