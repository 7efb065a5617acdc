"""Layouts, camera frames and the price of generality, net by net, on both runtimes.

Runs `seatrial bench` on nets of well-known sizes with random weights (benchmarks/nets.py), with
an input contract as for ImageNet, and prints tables from its report: layouts (NCHW, NHWC,
uint8 frames with mean and std in the graph) with penalty, interval and what the runtime itself
computes in; batch 1 built static against free shapes; and all forms with CPU time and throughput.

Usage: python benchmarks/speed.py [NET ...] [--seconds S] [--threads N] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from nets import NETS

from seatrial.report.speed_view import label

CONTRACT = """
[input.x]
size = [224, 224]
scale = 0.00392156862745098
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
"""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("nets", nargs="*", default=list(NETS))
    parser.add_argument("--seconds", type=float, default=3.0, help="of the rounds, per artefact")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="where the reports go")
    args = parser.parse_args()
    reports = {}
    with tempfile.TemporaryDirectory() as folder:
        root = args.keep or Path(folder)
        for name in args.nets:
            reports[name] = bench(name, root / name, args.seconds, args.threads)
    for title, head, rows in (
        ("Layouts", LAYOUT_HEAD, layout_rows(reports)),
        ("Batch 1, static against free shapes", GENERAL_HEAD, general_rows(reports)),
        ("All forms", FORM_HEAD, form_rows(reports)),
    ):
        print(f"\n### {title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for row in rows:
            print(f"| {' | '.join(row)} |")
    for name, report in reports.items():
        told = report["conditions"]
        print(
            f"\n{name}: load {told['load_before']:.1f} before, {told['load_after']:.1f} after, "
            f"stolen {told['stolen_percent']:.1f} %; {'; '.join(told['disturbances']) or 'calm'}"
        )
    return 0


def bench(name: str, folder: Path, seconds: float, threads: int) -> dict[str, Any]:
    """The report of one net."""
    folder.mkdir(parents=True, exist_ok=True)
    model, config = folder / f"{name}.onnx", folder / "seatrial.toml"
    NETS[name](model)
    config.write_text(CONTRACT, "utf-8")
    command = [sys.executable, "-m", "seatrial", "bench", str(model), "--config", str(config)]
    command += ["--seconds", str(seconds), "--threads", str(threads), "-q", "-o"]
    subprocess.run([*command, str(folder / "out")], check=True, stdout=subprocess.DEVNULL)
    found: dict[str, Any] = json.loads((folder / "out" / "report.json").read_text("utf-8"))
    return found


LAYOUT_HEAD = ("net", "target", "input", "equal (largest error)", "p50 ms", "penalty %",
               "95 %", "host ms", "computes in", "moves, ms")  # fmt: skip
GENERAL_HEAD = ("net", "target", "precision", "static ms", "free ms", "price %", "95 %")
FORM_HEAD = ("net", "target", "form", "in flight", "threads each", "p50 ms", "95 %", "CPU ms",
             "per second", "95 %")  # fmt: skip


def layout_rows(reports: dict[str, dict[str, Any]]) -> list[list[str]]:
    """One row per variant."""
    rows = []
    for name, report in reports.items():
        for target in report["targets"]:
            for row in (target["layout"] or {"variants": []})["variants"]:
                equal = {True: "yes", False: "NO", None: "-"}[row["equivalent"]]
                error = "" if row["max_abs_error"] is None else f" ({row['max_abs_error']:.1e})"
                rows.append(
                    [name, target["target"], f"{row['layout']} {row['dtype']}".strip(),
                     equal + error, number(row["p50_ms"]),
                     noise(row, number(row["penalty_percent"], 1)),
                     ends(row["penalty_ci95"], 1), number(row["host_ms"], 2),
                     row["runtime"] or "-", number(row["reorder_ms"], 2)]
                )  # fmt: skip
    return rows


def general_rows(reports: dict[str, dict[str, Any]]) -> list[list[str]]:
    """One row per target and precision."""
    rows = []
    for name, report in reports.items():
        for target in report["targets"]:
            for row in target["generality"]:
                price = None if row["ratio"] is None else 100 * (row["ratio"] - 1)
                pair = [100 * (e - 1) for e in row["ci95"]] if row["ci95"] else None
                rows.append(
                    [name, target["target"], row["precision"], number(row["static_ms"]),
                     number(row["dynamic_ms"]), noise(row, number(price, 1)), ends(pair, 1)]
                )  # fmt: skip
    return rows


def form_rows(reports: dict[str, dict[str, Any]]) -> list[list[str]]:
    """One row per timed form; CPU time hardly depends on who else is running."""
    rows = []
    for name, report in reports.items():
        for target in report["targets"]:
            for row in target["benchmark"]:
                rows.append(
                    [name, target["target"], label(row), str(row["streams"]),
                     str(row["threads"]), number(row["p50_ms"]), ends(row["ci95_ms"], 3),
                     number(row["cpu_ms"]), number(row["throughput"], 1),
                     ends(row["throughput_ci95"], 1)]
                )  # fmt: skip
    return rows


def number(value: float | None, digits: int = 3) -> str:
    """A number, or a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def ends(pair: list[float] | None, digits: int) -> str:
    """An interval, or a dash."""
    return "-" if not pair else f"{pair[0]:.{digits}f} to {pair[1]:.{digits}f}"


def noise(row: dict[str, Any], text: str) -> str:
    """The figure, marked where its interval holds 0."""
    marked = text not in ("-", "0.0") and not row["distinguishable"]
    return f"{text} (noise)" if marked else text


if __name__ == "__main__":
    raise SystemExit(main())
