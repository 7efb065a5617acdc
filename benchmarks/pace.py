"""Why INT8 is not faster, net by net and target by target, with what was tried against it.

Runs `seatrial run --all-int8` without a test set on each net (so that nothing is put back to float
before the question is asked) and prints what the report says: INT8 over FP32 with its interval,
the measured causes, the counter-measures that were built and timed beside it, and the conclusion.

Usage: python benchmarks/pace.py FOLDER [NET ...] [--data DATA] [--samples N]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

CROP = 'size = [224, 224]\nresize = "crop"\nresize_to = 256\n'
VIT = "mean = [0.4914, 0.4822, 0.4465]\nstd = [0.2023, 0.1994, 0.2010]\n"
IMAGENET = 'source = "{data}/imagenet"\nwhere = {{split = "calib"}}\nlimit = {n}\n'
CIFAR = 'source = "{data}/cifar10/cifar10_jpeg_train_calib2048.npz[0:{n}]"\n'

#: Net -> model, input, contract, calibration data.
NETS = {
    "etinynet": (
        "nolicence/etinynet_imagenet.onnx",
        "input",
        CROP + "mean = [128.0]\n",
        IMAGENET,
    ),
    "vit": (
        "nolicence/cifar10_vit.onnx",
        "input",
        "scale = 0.00392156862745098\n" + VIT,
        CIFAR,
    ),
    "mobilenet_v2": (
        "onnx/mobilenet_v2_1.0_224_quant_deq_fp32.onnx",
        "input",
        CROP + "scale = 0.00784313725490196\nmean = [1.0]\n",
        IMAGENET,
    ),
    "resnet8": ("onnx/tiny_ic_resnet8.onnx", "input", "scale = 1.0\n", CIFAR),
}


def main() -> int:
    """Run the nets and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="for the trials")
    parser.add_argument("nets", nargs="*", default=["etinynet", "vit"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--samples", type=int, default=96)
    parser.add_argument("-b", dest="targets", action="append", default=[])
    args = parser.parse_args()
    for name in args.nets:
        report = _trial(args.folder / name, name, args)
        if report is None:
            return 1
        _show(name, report)
    return 0


def _trial(folder: Path, name: str, args: argparse.Namespace) -> dict[str, object] | None:
    path, tensor, contract, source = NETS[name]
    folder.mkdir(parents=True, exist_ok=True)
    data = args.data.resolve()
    config = folder / "seatrial.toml"
    config.write_text(
        f'[model]\npath = "{data}/{path}"\n[input."{tensor}"]\n{contract}'
        f"[data.calibration]\n{source.format(data=data, n=args.samples)}",
        "utf-8",
    )
    out = folder / "out"
    command = [sys.executable, "-m", "seatrial", "run", "--config", str(config), "-o", str(out)]
    command += ["--all-int8", "-q", *(word for b in args.targets for word in ("-b", b))]
    subprocess.run(command, check=False, env={**os.environ, "NO_COLOR": "1"})
    report = out / "report.json"
    if not report.is_file():
        print(f"{name}: no report was written")
        return None
    found: dict[str, object] = json.loads(report.read_text("utf-8"))
    return found


def _show(name: str, report: dict[str, object]) -> None:
    conditions = report["conditions"]
    assert isinstance(conditions, dict)
    print(f"\n## {name} (load {conditions['load_before']:.1f} before the rounds)\n")
    targets = report["targets"]
    assert isinstance(targets, list)
    for target in targets:
        pace = target["pace"]
        if pace is None:
            continue
        ends = pace["ci95"] or [float("nan")] * 2
        print(
            f"**{target['target']}**: INT8 {pace['ratio']:.2f}x FP32 "
            f"[{ends[0]:.2f}, {ends[1]:.2f}]. {pace['text']}.\n"
        )
        for cause in pace["causes"]:
            print(f"- {cause['code']}: {cause['text']}")
        for row in pace["tried"]:
            ends = row["of_int8_ci95"] or [float("nan")] * 2
            told = (
                ""
                if row["of_int8"] is None
                else (
                    f", {row['of_int8']:.2f}x INT8 [{ends[0]:.2f}, {ends[1]:.2f}], "
                    f"{row['of_fp32']:.2f}x FP32"
                )
            )
            agree = "" if row["agreement"] is None else f", agreement {row['agreement']:.1f} %"
            print(f"- tried {row['name']}: {row['outcome']}{told}{agree} {row['reason']}")
        print()


if __name__ == "__main__":
    raise SystemExit(main())
