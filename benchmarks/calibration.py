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

A machine's speed changes while it is measured, so Seatrial's pieces are repeated in rounds: a
figure is the median over them, and a ratio that of the ratios within each round, with their range.

Finished pieces are kept in FOLDER/pieces.jsonl: the same call goes on where it was ended.

Usage: python benchmarks/calibration.py [--folder FOLDER] [--models NAME ...] [--images N ...]
           [--rounds N] [--rival-images N ...] [--seconds S] [--exactness]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
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
    round: int = 0


def main() -> int:
    """Measure what is missing, then print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=list(NETS), default=list(NETS))
    parser.add_argument("--images", nargs="+", type=int, default=[64, 256, 1024])
    parser.add_argument("--rounds", type=int, default=3, help="of Seatrial's own rows")
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
        wanted = list(_pieces(args.models, args.images, args.rounds, args.rival_images))
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


def _pieces(
    models: list[str], images: list[int], rounds: int, rival_images: list[int]
) -> Iterator[Piece]:
    for model in models:
        for count in images:
            yield from (Piece(model, count, (ALONE, *OWN), k) for k in range(rounds))
        for rival in RIVALS:
            yield from (Piece(model, count, (ALONE, rival)) for count in rival_images)


def _kept(folder: Path) -> dict[Piece, Measured]:
    """Pieces that were finished, now or in an earlier call."""
    path = folder / "pieces.jsonl"
    found = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        one = json.loads(line)
        found[Piece(one["model"], one["images"], tuple(one["rows"]), one["round"])] = one["rows"]
    return found


def _measure(folder: Path, wanted: list[Piece], seconds: float) -> None:
    kept, begin = _kept(folder), time.monotonic()
    for piece in wanted:
        if piece in kept or time.monotonic() - begin > seconds:
            continue
        rows = {row: _child(row, folder, piece) for row in piece.rows}
        with (folder / "pieces.jsonl").open("a") as file:
            file.write(json.dumps(piece._asdict() | {"rows": rows}) + "\n")


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
    print(f"{os.cpu_count()} CPUs, {THREADS} inferences at a time")
    for model in models:
        print(f"\n{model}\n\n| row | images | rounds | CPU s | of inference alone | bar | peak MB "
              "| of inference alone | bar | growth | load | |")  # fmt: skip
        print("|---|---|---|---|---|---|---|---|---|---|---|---|")
        rounds: dict[tuple[tuple[str, ...], int], list[Measured]] = {}
        for piece in wanted:
            if piece in kept and piece.model == model:
                rounds.setdefault((piece.rows[1:], piece.images), []).append(kept[piece])
        own = {images: found for (rows, images), found in rounds.items() if rows == OWN}
        for row in (ALONE, *OWN):
            for images, found in own.items():
                _line(row, images, found, own[min(own)])
        for (rows, images), found in rounds.items():
            if rows != OWN:
                _line(rows[0], images, found, [])
    for piece in wanted:
        if piece not in kept:
            print(
                f"not measured: {piece.model}, {piece.images} images, {', '.join(piece.rows[1:])}"
            )


def _line(row: str, images: int, rounds: list[Measured], least: list[Measured]) -> None:
    failed = [one[row] for one in rounds if "failed" in one[row]]
    if failed:
        print(f"| {row} | {images} | {len(rounds)} | | | | {failed[0]['peak']:.0f} | | | | "
              f"| {failed[0]['failed']} |")  # fmt: skip
        return
    cpu, memory = BARS.get(row, ("", ""))
    grown = ""
    if least:
        grown = f"{100 * (_median(row, 'peak', rounds) / _median(row, 'peak', least) - 1):+.1f} %"
    print(
        f"| {row} | {images} | {len(rounds)} | {_median(row, 'cpu', rounds):.2f} "
        f"| {_ratio(row, 'cpu', rounds)} | {cpu} | {_median(row, 'peak', rounds):.0f} "
        f"| {_ratio(row, 'peak', rounds)} | {memory} | {grown} "
        f"| {_median(row, 'load', rounds):.0f} | {_forecast(rounds[-1][row])} |"
    )


def _median(row: str, key: str, rounds: list[Measured]) -> float:
    return float(statistics.median(one[row][key] for one in rounds))


def _ratio(row: str, key: str, rounds: list[Measured]) -> str:
    ratios = [one[row][key] / one[ALONE][key] for one in rounds]
    span = f" ({min(ratios):.2f} to {max(ratios):.2f})" if max(ratios) > min(ratios) else ""
    return f"{statistics.median(ratios):.2f}{span}"


def _forecast(one: dict[str, Any]) -> str:
    told = one.get("forecast")
    return f"forecast {told[0]:.1f} s {told[1]:.0f} MB, took {one['wall']:.1f} s" if told else ""


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
