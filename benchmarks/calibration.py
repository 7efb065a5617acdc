"""What calibration costs: CPU time and memory against inference alone, measured in one run.

Every row is a fresh process over the same samples with two inferences at a time: inference alone,
the statistics that Seatrial collects (extremes; a histogram of sampled elements; a histogram of
every element), and the calibrators of onnxruntime.quantization for comparison (the one with
histograms on few samples only: it keeps activations). CPU time is user + system of the process
without imports; ``per sample`` is its slope between the two counts, so set-up drops out of it.
Memory is the peak of the process; what it has mapped of the store is let go at intervals in all
rows but the comparison's.

Usage: python benchmarks/calibration.py [MODEL.onnx] [--samples STORE] [--counts N N]
Without a model a small convolutional net is generated, without a store smooth random samples.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from seatrial.calibration.types import STATISTICS

THREADS = 2
#: Comparison rows: name -> how many samples at most. Histograms keep all activations.
OTHERS = {"onnxruntime MinMax": 64, "onnxruntime Percentile": 16}
ALONE = "inference alone"
#: A mapped store is opened anew after this many samples, so that its pages do not count.
REOPEN = 32


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--samples", type=Path)
    parser.add_argument("--counts", type=int, nargs=2, default=(64, 256))
    parser.add_argument("--row", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.row:
        print(json.dumps(_measure(args.row, args.model, args.samples, args.counts[0])))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        model = args.model or _net(Path(folder) / "net.onnx")
        store = args.samples or _random(model, Path(folder) / "samples", max(args.counts))
        _table(model, store, *args.counts)
    return 0


def _table(model: Path, store: Path, few: int, many: int) -> None:
    print(f"{model.name}, {few} and {many} samples, {os.cpu_count()} CPUs")
    print(
        "| row | samples | CPU s | CPU ratio | per sample ms | ratio | peak MB | ratio | growth |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    base: dict[int, dict[str, float]] = {}
    for row in (ALONE, *STATISTICS):
        found = {n: _child(row, model, store, n) for n in (few, many)}
        base = base or found
        each, alone = (1e3 * (f[many]["cpu"] - f[few]["cpu"]) / (many - few) for f in (found, base))
        last, first = found[many], base[many]
        growth = last["peak"] / found[few]["peak"] - 1
        print(
            f"| {row} | {many} | {last['cpu']:.2f} | {last['cpu'] / first['cpu']:.2f} "
            f"| {each:.2f} | {each / alone:.2f} | {last['peak']:.0f} "
            f"| {last['peak'] / first['peak']:.2f} | {100 * growth:+.0f} % |"
        )
    for row, most in OTHERS.items():
        count = min(most, many)
        own, same = _child(row, model, store, count), _child(ALONE, model, store, count)
        print(
            f"| {row} | {count} | {own['cpu']:.2f} | {own['cpu'] / same['cpu']:.2f} | | "
            f"| {own['peak']:.0f} | {own['peak'] / same['peak']:.2f} | |"
        )


def _child(row: str, model: Path, store: Path, count: int) -> dict[str, float]:
    command = [sys.executable, __file__, str(model), "--samples", str(store), "--row", row]
    command += ["--counts", str(count), "0"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _measure(row: str, model: Path, store: Path, count: int) -> dict[str, float]:
    import numpy as np  # noqa: F401  imports are not part of what is measured
    import onnxruntime  # noqa: F401

    if row in STATISTICS:
        work = _collect(row, model, store, count)
    elif row == ALONE:
        work = _infer(model, store, count)
    else:
        work = _other(row, model, store, count)
    begin = time.process_time()
    work()
    return {"cpu": time.process_time() - begin, "peak": _peak()}


def _peak() -> float:
    """Largest resident memory of this process, MB (/proc: the parent's share is not in it)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the kernel does not tell VmHWM")


def _collect(statistics: str, model: Path, store: Path, count: int) -> Callable[[], object]:
    import onnx  # noqa: F401

    from seatrial.calibration.child import ranges
    from seatrial.calibration.types import RangesRequest
    from seatrial.testing.local import LocalJob

    job = LocalJob(Path(tempfile.mkdtemp()))
    request = RangesRequest(
        model=job.add(model),
        samples=job.add(store),
        indices=tuple(range(count)),
        threads=THREADS,
        statistics=statistics,
    )
    return lambda: ranges(request, job)


def _infer(model: Path, store: Path, count: int) -> Callable[[], object]:
    from seatrial.reference import open_model
    from seatrial.samples import Samples

    def work() -> None:
        session = open_model(model, threads=1)
        with ThreadPoolExecutor(THREADS) as pool:
            for start in range(0, count, REOPEN):
                samples = Samples(store)
                part = range(start, min(start + REOPEN, count))
                list(pool.map(lambda i: bool(session.run(samples.feeds([i]))), part))  # noqa: B023

    return work


def _other(row: str, model: Path, store: Path, count: int) -> Callable[[], object]:
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

    from seatrial.samples import Samples

    class Reader:
        """What the calibrators draw samples from."""

        def __init__(self) -> None:
            samples = Samples(store)
            self.feeds: Iterator[Any] = (samples.feeds([i]) for i in range(count))

        def get_next(self) -> Any:
            return next(self.feeds, None)

    def work() -> None:
        method = CalibrationMethod[row.split()[1]]
        scratch = Path(tempfile.mkdtemp()) / "augmented.onnx"
        calibrator = create_calibrator(
            model, augmented_model_path=str(scratch), calibrate_method=method
        )
        calibrator.collect_data(Reader())
        calibrator.compute_data()

    return work


def _random(model: Path, folder: Path, count: int) -> Path:
    """Smooth random samples: low-resolution noise, enlarged."""
    import numpy as np
    import onnxruntime as ort

    from seatrial.samples import StoreWriter

    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    (tensor,) = session.get_inputs()
    _, channels, height, width = tensor.shape
    rng = np.random.default_rng(0)
    folder.mkdir()
    writer = StoreWriter(folder, count)
    for _ in range(count):
        coarse = rng.normal(size=(channels, -(-height // 16), -(-width // 16)))
        fine = coarse.repeat(16, 1).repeat(16, 2)[:, :height, :width]
        fine = fine + 0.2 * rng.normal(size=fine.shape)
        writer.add({tensor.name: fine.astype(np.float32)})
    writer.close([{"id": str(i), "sha256": ""} for i in range(count)])
    return folder


def _net(path: Path) -> Path:
    """Inverted residuals in miniature: expansion, depthwise, projection, sum."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng: Any = np.random.default_rng(0)
    nodes: list[Any] = []
    weights: list[Any] = []

    def conv(source: str, name: str, shape: tuple[int, ...], **more: Any) -> str:
        value = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        weights.append(numpy_helper.from_array(value.astype(np.float32), f"{name}_w"))
        pads = [shape[2] // 2] * 4
        nodes.append(helper.make_node("Conv", [source, f"{name}_w"], [name], pads=pads, **more))
        return name

    def relu(source: str) -> str:
        nodes.append(helper.make_node("Relu", [source], [f"{source}_r"]))
        return f"{source}_r"

    last = relu(conv("x", "stem", (32, 3, 3, 3), strides=[2, 2]))
    for i in range(5):
        wide = relu(conv(last, f"e{i}", (128, 32, 1, 1)))
        deep = relu(conv(wide, f"d{i}", (128, 1, 3, 3), group=128))
        thin = conv(deep, f"p{i}", (32, 128, 1, 1))
        nodes.append(helper.make_node("Add", [thin, last], [f"s{i}"]))
        last = f"s{i}"
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["y"]))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 112, 112])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 32, 1, 1])],
        weights,
    )
    imports = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=9), path)
    return path


if __name__ == "__main__":
    raise SystemExit(main())
