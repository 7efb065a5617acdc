"""What calibration costs and how exact it is: one table, every figure measured in one run.

Nets of well-known sizes with random weights (MobileNetV2, SqueezeNet, ResNet-50) at 224 pixels;
64 made pictures, repeated up to the number of samples. Rows: inference alone; Seatrial's pass with
extremes (min-max, moving average), with sampled histograms and with histograms of every element
(percentiles, MSE, entropy); the calibrators of onnxruntime.quantization; NNCF on OpenVINO.

Every row is a fresh process. Processor time is user + system of the process and of those that it
started, from its first line to its last, imports and set-up included; ``per sample`` is its slope
between the smallest and the largest number of samples. Memory is the peak of the process, and of
the process of the set-up beside it if that is more. Both sides read samples the same way, two
inferences at a time of one thread each. Other quantizers run as they are meant to be used, under a
ceiling of memory and time; what ends there is said so.

Usage: python benchmarks/calibration.py [--models NAME ...] [--images N ...] [--repeats N]
           [--rivals] [--exactness]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from nets import NETS, PICTURES, pictures

THREADS = 2
ALONE = "inference alone"
OWN = {"extremes": (1.35, 1.15), "sampled": (2.0, 1.5), "everything": (3.0, 2.2)}
RIVALS = ("ort minmax", "ort percentile", "ort entropy", "nncf")
#: Ceilings of one process of a rival.
MEMORY_GB, TIME_S = 16, 150


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=list(NETS), default=list(NETS))
    parser.add_argument("--images", nargs="+", type=int, default=[64, 256, 1024])
    parser.add_argument("--repeats", type=int, default=1, help="medians of so many rounds")
    parser.add_argument("--rivals", action="store_true", help="other quantizers instead")
    parser.add_argument(
        "--exactness", action="store_true", help="ranges against exact ones instead"
    )
    parser.add_argument("--memory-gb", type=float, default=MEMORY_GB)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="keep models and samples here")
    args = parser.parse_args()
    if args.row:
        print(json.dumps(_measure(args.row, args.folder, args.models[0], args.images[0])))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        _make(folder, args.models)
        for model in args.models:
            if args.exactness:
                _exactness(model, folder, args.images)
            elif args.rivals:
                _against_rivals(model, folder, args.images, args.memory_gb)
            else:
                _table(model, folder, args.images, args.repeats)
    return 0


def _make(folder: Path, models: list[str]) -> None:
    for name in models:
        if not (folder / f"{name}.onnx").exists():
            NETS[name](folder / f"{name}.onnx")
    if not (folder / "store").exists():
        pictures(folder / "store")


def _table(model: str, folder: Path, images: list[int], repeats: int) -> None:
    """Inference alone and our own rows, in turns."""
    rows = (ALONE, *OWN)
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for _ in range(repeats):
        for count in images:
            for row in rows:
                found.setdefault((row, count), []).append(_child(row, folder, model, count))
    print(f"\n{model}, {os.cpu_count()} CPUs, medians of {repeats}")
    print("| row | images | CPU s | ratio | bar | per sample ms | ratio | peak MB | ratio | bar "
          "| set-up MB | growth | forecast s, MB | took s |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    least, most = min(images), max(images)
    for row in rows:
        bars = OWN.get(row, ("", ""))
        for count in images:
            own, alone = found[row, count], found[ALONE, count]
            cpu = [r["cpu"] / a["cpu"] for r, a in zip(own, alone, strict=True)]
            peak = statistics.median(r["peak"] for r in own)
            share = statistics.median(
                r["peak"] / a["peak"] for r, a in zip(own, alone, strict=True)
            )
            slope = _slope(found, row, least, most) if count == most > least else None
            base = _slope(found, ALONE, least, most) if slope else None
            grown = peak / statistics.median(r["peak"] for r in found[row, least]) - 1
            told = own[0].get("forecast")
            print(
                f"| {row} | {count} | {statistics.median(r['cpu'] for r in own):.2f} "
                f"| {statistics.median(cpu):.2f} | {bars[0]} "
                f"| {f'{slope:.2f} | {slope / base:.2f}' if slope and base else '|'} "
                f"| {peak:.0f} | {share:.2f} | {bars[1]} | {own[0].get('setup_mb', 0):.0f} "
                f"| {100 * grown:+.1f} % | {f'{told[0]:.1f}, {told[1]:.0f}' if told else ''} "
                f"| {own[0]['wall']:.1f} |",
                flush=True,
            )


def _slope(found: dict[Any, Any], row: str, least: int, most: int) -> float:
    """Milliseconds of processor time per sample between two counts."""
    ends = [statistics.median(r["cpu"] for r in found[row, n]) for n in (least, most)]
    return 1e3 * (ends[1] - ends[0]) / (most - least)


def _against_rivals(model: str, folder: Path, images: list[int], memory_gb: float) -> None:
    print(f"\n{model}: other quantizers, at most {memory_gb:g} GB and {TIME_S} s each")
    print("| row | images | CPU s | ratio | peak MB | ratio | |\n|---|---|---|---|---|---|---|")
    for row in RIVALS:
        for count in images:
            own = _child(row, folder, model, count, memory_gb=memory_gb)
            if "failed" in own:
                peak = own.get("peak", 0)
                print(f"| {row} | {count} | | | {peak:.0f} | | {own['failed']} |", flush=True)
                break
            alone = _child(ALONE, folder, model, count)
            print(
                f"| {row} | {count} | {own['cpu']:.2f} | {own['cpu'] / alone['cpu']:.2f} "
                f"| {own['peak']:.0f} | {own['peak'] / alone['peak']:.2f} | |",
                flush=True,
            )


def _child(
    row: str, folder: Path, model: str, count: int, *, memory_gb: float = 0
) -> dict[str, Any]:
    command = [sys.executable, __file__, "--folder", str(folder), "--models", model]
    command += ["--row", row, "--images", str(count)]
    with tempfile.TemporaryFile("w+") as answer:
        child = subprocess.Popen(command, stdout=answer, stderr=subprocess.DEVNULL, text=True)
        begin, peak, failed = time.monotonic(), 0.0, ""
        while child.poll() is None:
            if memory_gb:
                peak = max(peak, _resident_mb(child.pid))
                if peak > 1024 * memory_gb or time.monotonic() - begin > TIME_S:
                    over_memory = peak > 1024 * memory_gb
                    failed = f"ended over {memory_gb:g} GB" if over_memory else "ended at its time"
                    child.kill()
            time.sleep(0.02)
        if failed or child.returncode:
            return {"failed": failed or f"ended with status {child.returncode}", "peak": peak}
        answer.seek(0)
        found: dict[str, Any] = json.loads(answer.read().splitlines()[-1])
    return found


def _resident_mb(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(x.split()[1]) / 1024 for x in text.splitlines() if x.startswith("VmRSS")), 0.0)


def _measure(row: str, folder: Path, model: str, count: int) -> dict[str, Any]:
    begin = time.monotonic()
    path, store = folder / f"{model}.onnx", folder / "store"
    more: dict[str, Any] = {}
    if row in OWN:
        more = _collect(row, path, store, count)
    elif row == ALONE:
        _infer(path, store, count)
    elif row == "nncf":
        _nncf(path, store, count)
    else:
        _ort(row.split()[1], path, store, count)
    uses = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(u.ru_utime + u.ru_stime for u in uses)
    return {"cpu": cpu, "peak": max(_peak(), more.get("setup_mb", 0)),
            "wall": time.monotonic() - begin, **more}  # fmt: skip


def _peak() -> float:
    """Largest resident memory of this process, MB (/proc: the parent's share is not in it)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the kernel does not tell VmHWM")


def _indices(count: int) -> tuple[int, ...]:
    return tuple(k % PICTURES for k in range(count))


def _collect(statistics_: str, model: Path, store: Path, count: int) -> dict[str, Any]:
    from seatrial.calibration.child import ranges
    from seatrial.calibration.types import RangesRequest
    from seatrial.testing.local import LocalJob

    with tempfile.TemporaryDirectory() as folder:
        job = LocalJob(Path(folder))
        watch = _Watch()
        result = ranges(
            RangesRequest(
                model=job.add(model),
                samples=job.add(store),
                indices=_indices(count),
                threads=THREADS,
                statistics=statistics_,
            ),
            job,
        )
        told = result.forecast
        return {
            "setup_mb": watch.stop(),
            "forecast": [told.seconds, told.memory_mb] if told else None,
        }


class _Watch:
    """Peak of this process and all that it has started, added up, while any of those lives."""

    def __init__(self) -> None:
        self.peak = 0.0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        own = f"/proc/{os.getpid()}/task/{os.getpid()}/children"
        while not self.over.wait(0.01):
            children = Path(own).read_text().split()
            if children:
                parts = [_shared_mb(int(p)) for p in (os.getpid(), *children)]
                self.peak = max(self.peak, sum(parts))

    def stop(self) -> float:
        """The peak, MB; 0: nothing was started."""
        self.over.set()
        self.thread.join()
        return self.peak


def _shared_mb(pid: int) -> float:
    """Proportional resident memory: pages that two processes share count half in each."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return next((int(x.split()[1]) / 1024 for x in text.splitlines() if x.startswith("Pss:")), 0.0)


def _infer(model: Path, store: Path, count: int) -> None:
    from seatrial.reference import open_model
    from seatrial.samples import Samples

    session, samples = open_model(model, threads=1), Samples(store)
    indices = iter(_indices(count))

    def work(_: int) -> None:
        for i in indices:
            session.run(samples.feeds([i]))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))


def _feeds(store: Path, count: int) -> Iterator[dict[str, Any]]:
    from seatrial.samples import Samples

    samples = Samples(store)
    return (samples.feeds([i]) for i in _indices(count))


def _ort(method: str, model: Path, store: Path, count: int) -> dict[str, tuple[float, float]]:
    import numpy as np
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

    class Reader:
        """What the calibrators draw samples from."""

        def __init__(self) -> None:
            self.feeds = _feeds(store, count)

        def get_next(self) -> Any:
            return next(self.feeds, None)

    with tempfile.TemporaryDirectory() as folder:
        calibrator = create_calibrator(
            model,
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method={"minmax": CalibrationMethod.MinMax, "entropy":
                              CalibrationMethod.Entropy}.get(method, CalibrationMethod.Percentile),
        )  # fmt: skip
        calibrator.collect_data(Reader())
        data = calibrator.compute_data().data
        return {
            name: tuple(float(np.ravel(v)[0]) for v in d.range_value) for name, d in data.items()
        }


def _nncf(model: Path, store: Path, count: int) -> None:
    import nncf
    import openvino as ov

    dataset = nncf.Dataset(list(range(count)), lambda i: next(iter(_feeds_at(store, i).values())))
    nncf.quantize(ov.Core().read_model(model), dataset, subset_size=count)


def _feeds_at(store: Path, i: int) -> dict[str, Any]:
    from seatrial.samples import Samples

    return Samples(store).feeds([i % PICTURES])


def _exactness(model: str, folder: Path, images: list[int]) -> None:
    """Chosen ranges, sampled and counted, against every element in 16 times finer bins."""
    import numpy as np

    from seatrial.calibration import histogram
    from seatrial.calibration.choose import chosen

    count = min(images)
    print(f"\n{model}, {count} images: difference of ranges in % of the exact extremes' range, "
          "median / 95th percentile / largest over tensors")  # fmt: skip
    tables = {s: _ranges(folder, model, count, s) for s in ("sampled", "everything")}
    fine = histogram.BINS
    try:
        histogram.BINS = fine * 16
        exact = _ranges(folder, model, count, "everything")
        want = {m: _limits(chosen, exact, m, 16) for m in _methods()}
    finally:
        histogram.BINS = fine
    print("| method | statistics | median | 95 % | largest |\n|---|---|---|---|---|")
    for method in _methods():
        for name, table in tables.items():
            got = chosen(table, method)
            off = []
            for tensor, limits in want[method].items():
                width = max(exact.tensors[tensor].hi - exact.tensors[tensor].lo, 1e-9)
                ends = zip(got[tensor], limits, strict=True)
                off.append(100 * max(abs(x - y) for x, y in ends) / width)
            cells = [np.median(off), np.percentile(off, 95), max(off)]
            print(f"| {method} | {name} | " + " | ".join(f"{c:.2f}" for c in cells) + " |")


def _methods() -> list[str]:
    from seatrial.calibration.types import METHODS

    return list(METHODS)


def _limits(chosen: Callable[..., Any], table: Any, method: str, finer: int) -> Any:
    from seatrial.calibration import choose

    before = choose.BINS
    choose.BINS = before * finer
    try:
        return chosen(table, method)
    finally:
        choose.BINS = before


def _ranges(folder: Path, model: str, count: int, statistics_: str) -> Any:
    from seatrial.calibration import table
    from seatrial.calibration.child import ranges
    from seatrial.calibration.types import RangesRequest
    from seatrial.testing.local import LocalJob

    with tempfile.TemporaryDirectory() as scratch:
        job = LocalJob(Path(scratch))
        request = RangesRequest(
            model=job.add(folder / f"{model}.onnx"),
            samples=job.add(folder / "store"),
            indices=_indices(count),
            threads=THREADS,
            statistics=statistics_,
        )
        return table.load(job.out / ranges(request, job).artifact.entry)


if __name__ == "__main__":
    raise SystemExit(main())
