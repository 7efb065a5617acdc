"""One row of the calibration table, in a process of its own; see ``calibration.py``.

Usage: python benchmarks/passes.py FOLDER MODEL ROW IMAGES
FOLDER holds MODEL.onnx and the sample store; one line of JSON comes out.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from nets import PICTURES

THREADS = 2
ALONE = "inference alone"
OWN = ("extremes", "sampled", "everything")
RIVALS = ("ort minmax", "ort percentile", "ort entropy", "nncf")


def main() -> int:
    """Measure one row."""
    folder, model, row, count = sys.argv[1:]
    print(json.dumps(measure(row, Path(folder), model, int(count))))
    return 0


def measure(row: str, folder: Path, model: str, count: int) -> dict[str, Any]:
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


if __name__ == "__main__":
    raise SystemExit(main())
