"""What calibration costs and how exact it is, against inference alone and other quantizers.

Nets of well-known sizes with random weights (MobileNetV2, SqueezeNet, ResNet-50) at 224 pixels;
64 made pictures, repeated up to the number of samples. Rows: inference alone; Seatrial's pass with
extremes (min-max, moving average), with sampled histograms and with histograms of every element
(percentiles, MSE, entropy); the calibrators of onnxruntime.quantization; NNCF on OpenVINO.

Every row is a fresh process (``passes.py``), and every piece (a net, a number of samples, Seatrial
or one rival) begins with its own inference alone. Processor time is user + system of the process
and of those that it started, from its first line to its last, imports and set-up included. Memory
is the peak of the process, and of the process of the set-up beside it if that is more. Both sides
read samples the same way, two inferences at a time of one thread each. Other quantizers run as
they are meant to be used, under a ceiling of memory and time; what ends there is said so.

Finished pieces are kept in FOLDER/pieces.jsonl: the same call goes on where it was ended.

Usage: python benchmarks/calibration.py [--folder FOLDER] [--models NAME ...] [--images N ...]
           [--rival-images N ...] [--seconds S] [--exactness]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from nets import NETS, PICTURES, pictures
from passes import ALONE, OWN, RIVALS, THREADS

#: Ratios to inference alone that are asked for: processor time, memory.
BARS = {"extremes": (1.35, 1.15), "sampled": (2.0, 1.5), "everything": (3.0, 2.2)}
#: Ceilings of one process of a rival.
MEMORY_GB, TIME_S = 16, 300
#: Rows of one child's measurements, by name.
Measured = dict[str, dict[str, Any]]


class Piece(NamedTuple):
    """What is measured side by side."""

    model: str
    images: int
    rows: tuple[str, ...]


def main() -> int:
    """Measure what is missing, then print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=list(NETS), default=list(NETS))
    parser.add_argument("--images", nargs="+", type=int, default=[64, 256, 1024])
    parser.add_argument("--rival-images", nargs="*", type=int, default=[64])
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no piece later")
    parser.add_argument("--exactness", action="store_true", help="sampled ranges against all")
    parser.add_argument("--folder", type=Path, help="keep nets, samples and pieces here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        _make(folder, args.models)
        if args.exactness:
            for model in args.models:
                _exactness(model, folder, min(args.images))
            return 0
        wanted = list(_pieces(args.models, args.images, args.rival_images))
        _measure(folder, wanted, args.seconds)
        _print(args.models, wanted, _kept(folder))
    return 0


def _make(folder: Path, models: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in models:
        if not (folder / f"{name}.onnx").exists():
            NETS[name](folder / f"{name}.onnx")
    if not (folder / "store").exists():
        pictures(folder / "store")


def _pieces(models: list[str], images: list[int], rival_images: list[int]) -> Iterator[Piece]:
    for model in models:
        yield from (Piece(model, count, (ALONE, *OWN)) for count in images)
        for rival in RIVALS:
            yield from (Piece(model, count, (ALONE, rival)) for count in rival_images)


def _kept(folder: Path) -> dict[Piece, Measured]:
    """Pieces that were finished, now or in an earlier call."""
    path = folder / "pieces.jsonl"
    found = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        one = json.loads(line)
        found[Piece(one["model"], one["images"], tuple(one["rows"]))] = one["rows"]
    return found


def _measure(folder: Path, wanted: list[Piece], seconds: float) -> None:
    kept, begin = _kept(folder), time.monotonic()
    for piece in wanted:
        if piece in kept or time.monotonic() - begin > seconds:
            continue
        rows = {row: _child(row, folder, piece) for row in piece.rows}
        with (folder / "pieces.jsonl").open("a") as file:
            file.write(json.dumps({"model": piece.model, "images": piece.images, "rows": rows}))
            file.write("\n")


def _child(row: str, folder: Path, piece: Piece) -> dict[str, Any]:
    """One row; a rival's is ended when it goes beyond its ceilings."""
    script = Path(__file__).with_name("passes.py")
    command = [sys.executable, str(script), str(folder), piece.model, row, str(piece.images)]
    with tempfile.TemporaryFile("w+") as answer:
        child = subprocess.Popen(command, stdout=answer, stderr=subprocess.DEVNULL, text=True)
        begin, peak, failed = time.monotonic(), 0.0, ""
        while child.poll() is None:
            if row in RIVALS:
                peak = max(peak, _resident_mb(child.pid))
                over = peak > 1024 * MEMORY_GB
                if over or time.monotonic() - begin > TIME_S:
                    failed = f"ended over {MEMORY_GB} GB" if over else f"ended after {TIME_S} s"
                    child.kill()
            time.sleep(0.02)
        if failed or child.returncode:
            return {"failed": failed or f"ended with status {child.returncode}", "peak": peak}
        answer.seek(0)
        found: dict[str, Any] = json.loads(answer.read().splitlines()[-1])
    return {**found, "load": os.getloadavg()[0]}


def _resident_mb(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(x.split()[1]) / 1024 for x in text.splitlines() if x.startswith("VmRSS")), 0.0)


def _print(models: list[str], wanted: list[Piece], kept: dict[Piece, Measured]) -> None:
    """The table; growth is that of the peak from the fewest samples to these."""
    missing = [p for p in wanted if p not in kept]
    print(f"{os.cpu_count()} CPUs, {THREADS} inferences at a time")
    for model in models:
        print(f"\n{model}\n\n| row | images | CPU s | of inference alone | bar | peak MB "
              "| of inference alone | bar | growth | load | |")  # fmt: skip
        print("|---|---|---|---|---|---|---|---|---|---|---|")
        pieces = [p for p in wanted if p in kept and p.model == model]
        own = [p for p in pieces if p.rows[1:] == OWN]
        least = min(own, key=lambda p: p.images, default=None)
        for row in (ALONE, *OWN):
            for piece in own:
                first = kept[least][row]["peak"] if least else 0
                _line(row, piece.images, kept[piece], first)
        for piece in pieces:
            if piece not in own:
                _line(piece.rows[1], piece.images, kept[piece], 0)
    for piece in missing:
        print(f"not measured: {piece.model}, {piece.images} images, {', '.join(piece.rows[1:])}")


def _line(row: str, images: int, measured: Measured, first: float) -> None:
    one, alone = measured[row], measured[ALONE]
    if "failed" in one:
        print(f"| {row} | {images} | | | | {one['peak']:.0f} | | | | | {one['failed']} |")
        return
    cpu, memory = BARS.get(row, ("", ""))
    told = one.get("forecast")
    more = f"forecast {told[0]:.1f} s {told[1]:.0f} MB, took {one['wall']:.1f} s" if told else ""
    grown = f"{100 * (one['peak'] / first - 1):+.1f} %" if first else ""
    print(
        f"| {row} | {images} | {one['cpu']:.2f} | {one['cpu'] / alone['cpu']:.2f} | {cpu} "
        f"| {one['peak']:.0f} | {one['peak'] / alone['peak']:.2f} | {memory} | {grown} "
        f"| {one['load']:.0f} | {more} |"
    )


def _exactness(model: str, folder: Path, count: int) -> None:
    """Ranges chosen from sampled elements against those from every element of the same samples.

    (Those from every element are held against brute force in the tests.)
    """
    import numpy as np

    from seatrial.calibration.choose import chosen
    from seatrial.calibration.types import METHODS

    sampled, exact = (_ranges(folder, model, count, s) for s in ("sampled", "everything"))
    print(f"\n{model}, {count} images: difference in % of the extremes' range, over tensors\n\n"
          "| method | median | 95 % | largest |\n|---|---|---|---|")  # fmt: skip
    for method in METHODS:
        want, got = chosen(exact, method), chosen(sampled, method)
        off = []
        for tensor, limits in want.items():
            width = max(exact.tensors[tensor].hi - exact.tensors[tensor].lo, 1e-9)
            ends = zip(got[tensor], limits, strict=True)
            off.append(100 * max(abs(x - y) for x, y in ends) / width)
        cells = [np.median(off), np.percentile(off, 95), max(off)]
        print(f"| {method} | " + " | ".join(f"{c:.2f}" for c in cells) + " |", flush=True)


def _ranges(folder: Path, model: str, count: int, statistics: str) -> Any:
    from seatrial.calibration import table
    from seatrial.calibration.child import ranges
    from seatrial.calibration.types import RangesRequest
    from seatrial.testing.local import LocalJob

    with tempfile.TemporaryDirectory() as scratch:
        job = LocalJob(Path(scratch))
        request = RangesRequest(
            model=job.add(folder / f"{model}.onnx"),
            samples=job.add(folder / "store"),
            indices=tuple(k % PICTURES for k in range(count)),
            threads=THREADS,
            statistics=statistics,
        )
        return table.load(job.out / ranges(request, job).artifact.entry)


if __name__ == "__main__":
    raise SystemExit(main())
