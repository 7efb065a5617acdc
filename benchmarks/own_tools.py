"""Latency of the core's loop against each runtime's own tool, in one interleaved run.

* OpenVINO: a bare loop over its API, against short visits of ours, both with 16 inputs in turn; and
  ``benchmark_app`` of its own package, synchronous, same threads, on the same artefact, started
  anew for each visit (its own warm-up), against a visit of ours that lasts as long and runs one
  input again and again, as the tool does. Its clock is the runtime's own, without the call and the
  handing over of inputs, so a visit of the bare loop read off that clock stands beside it too;
* ONNX Runtime: a bare loop over its API (its perf_test is not in the package).

Rounds visit all of them in turn, in a new order each time; each round gives one median. Printed
are the medians over rounds, the ratio to ours with its 95 % interval over rounds, and whether it is
within 3 %; beside it the same of CPU time per call, which a busy machine hardly moves. Then all of
it again with a process that keeps CPU 0 busy.

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
from overhead import BARE, THREADS, Calls, bare, loaded, net, own

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
APP = "from openvino.tools.benchmark.main import main; raise SystemExit(main())"
BUSY = "import os; os.sched_setaffinity(0, {0})\nwhile True: pass"

#: The tool that is visited once in a round, and ours beside it.
APP_NAME, LONG = "benchmark_app", "ours, as long, with one input"
#: The bare loop as long, by the clock that the tool reads.
CLOCKED = "bare loop by the runtime's clock"

Visit = Callable[[], Calls]


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
        with visits(runner, target, model) as named:
            rows = take_turns(named, rounds)
        short, long = rows.pop("ours"), rows.pop(LONG, [])
        pairs = [
            (other, theirs, long if other == APP_NAME else short)
            for other, theirs in rows.items()
            if other != CLOCKED
        ]
        if CLOCKED in rows:
            pairs.append((f"{APP_NAME}, against the {CLOCKED}", rows[APP_NAME], rows[CLOCKED]))
        for other, theirs, ours in pairs:
            centre, low, high = ratio([o[0] for o in ours], [t[0] for t in theirs])
            if ours is not rows.get(CLOCKED):  # a row that explains another one, and none of ours
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
def visits(runner: Runner, target: str, model: Path) -> Iterator[dict[str, Visit]]:
    """What is visited in each round: ours, the bare loop, the runtime's own tool if it has one."""
    handle, samples, shapes, artefact = loaded(runner, target, model)
    with handle, bare(target, model, shapes) as loop:
        named: dict[str, Visit] = {
            "ours": lambda: own(handle, samples, CALLS),
            "bare loop": lambda: loop(CALLS),
        }
        if target.startswith("openvino"):
            per_call = statistics.median(own(handle, samples, CALLS)[0])
            calls = max(CALLS, round(1000 * VISIT_S / per_call))
            named[APP_NAME] = lambda: benchmark_app(artefact)
            named[LONG] = lambda: own(handle, samples, calls, 1)
            named[CLOCKED] = lambda: loop(calls, inner=True)
        yield named


def take_turns(named: dict[str, Visit], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Median latency and CPU time per call by name, one pair per round; in an order drawn anew.

    Loops that stay loaded are visited several times in a round, so that what passes on the
    machine within it hits all alike. CPU time hardly depends on who else is running.
    """
    order = random.Random(0)
    for one in named.values():
        one()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in named}
    for _ in range(rounds):
        names = [n for n in named for _ in range(1 if n in (APP_NAME, LONG, CLOCKED) else VISITS)]
        order.shuffle(names)
        seen: dict[str, list[Calls]] = {name: [] for name in named}
        for name in names:
            seen[name].append(named[name]())
        for name, visited in seen.items():
            calls = [ms for took, _ in visited for ms in took]
            cpu = sum(used for _, used in visited) / len(calls)
            found[name].append((statistics.median(calls), cpu))
    return found


def benchmark_app(model: Path) -> Calls:
    """Median latency as OpenVINO's own tool says, milliseconds."""
    command = [sys.executable, "-c", APP, "-m", str(model), "-d", "CPU", "-api", "sync"]
    command += ["-hint", "none", "-nstreams", "1", "-nireq", "1", "-nthreads", str(THREADS)]
    command += ["-pin", "NO", "-infer_precision", "f32", "-t", str(VISIT_S)]
    made = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CI": "true"},
        start_new_session=True,
    )
    told = MEDIAN.search(made.stdout)
    if told is None:
        raise SystemExit(f"benchmark_app gave no median:\n{made.stdout[-1500:]}{made.stderr}")
    return [float(told.group(1))], 0.0


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
