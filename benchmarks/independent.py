"""Recompute the accuracies of a finished trial by calling the runtimes directly.

For each trial folder: its own preprocessing (Pillow and numpy, nothing of Seatrial's data room),
its own loop, the artefacts of the trial's store, and the runtimes' plain Python APIs. Prints, per
rung, how many samples are right in the report and here; they must be equal to the image.

Usage: python benchmarks/independent.py TRIAL_FOLDER...
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import openvino as ov
from PIL import Image

Run = Callable[[Any], Any]


def main(folders: list[str]) -> int:
    """Compare all rungs of all folders; exit code 1 when any differs."""
    wrong = 0
    print("| model | rung | report: right of n | recomputed | equal |")
    print("|---|---|---|---|---|")
    for folder in folders:
        report = json.loads((Path(folder) / "report.json").read_text("utf-8"))
        samples = list(read_samples(report))
        for row in _rungs(report):
            right = round(row["value"] * row["n"] / 100)
            again = _right(loader(report, row, Path(folder)), samples)
            same = right == again and row["n"] == len(samples)
            wrong += not same
            name = Path(report["model"]["path"]).name
            what = f"{row['rung']} {row['target'] or ''} {row['source'] or ''}"
            print(
                f"| {name} | {what} | {right} of {row['n']} | {again} | {'yes' if same else 'NO'} |"
            )
    return 1 if wrong else 0


def _rungs(report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    seen = set()
    for row in report["ladder"]:
        key = (row["rung"], row["target"], row["source"])
        if row["metric"] == "top-1 accuracy" and key not in seen:
            seen.add(key)
            yield row


def _right(run: Run, samples: list[tuple[Any, int]]) -> int:
    return sum(int(np.asarray(run(x)).reshape(-1).argmax()) == label for x, label in samples)


def loader(report: dict[str, Any], row: dict[str, Any], folder: Path) -> Run:
    """A plain call of the runtime on the rung's own artefact."""
    root = folder / ".seatrial" / "objects" / row["artifact"]
    if row["target"] is None or row["target"].startswith("onnxruntime"):
        options = ort.SessionOptions()
        options.log_severity_level = 3
        if row["rung"] == "onnx-int8":
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        (path,) = root.glob("*.onnx")
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda x: session.run(None, {name: x})[0]
    (path,) = root.glob("*.xml")
    hint = {} if row["source"] == "native" and row["rung"] == "device-float" else _F32
    compiled = ov.Core().compile_model(path, row["target"].partition(":")[2], hint)
    return lambda x: compiled(x)[0]


_F32 = {"INFERENCE_PRECISION_HINT": "f32"}


def read_samples(report: dict[str, Any], role: str = "test") -> Iterator[tuple[Any, int]]:
    """Samples (1, ...) and class indices of a role, by this script's own reading of the contract.

    Labelled folders are told apart by the ``split`` column: ``test`` or ``calib``.
    """
    (contract,) = report["input_contract"].values()
    source = report["data"][role]["source"]
    config = report["command_line"]
    offset = _offset(config)
    place, _, part = source.partition("[")
    if Path(place).is_dir():
        split = "test" if role == "test" else "calib"
        with (Path(place) / "labels.csv").open(newline="") as file:
            rows = [r for r in csv.DictReader(file) if r["split"] == split]
        for r in sorted(rows, key=lambda r: r["file"]):
            yield _picture(Path(place) / r["file"], contract), int(r["class_index"]) + offset
        return
    data = np.load(place)
    key = next(k for k in data if data[k].ndim > 1)
    start, _, stop = part.rstrip("]").partition(":")
    cut = slice(int(start or 0), int(stop) if stop else None)
    for x, y in zip(data[key][cut], data["labels"][cut], strict=True):
        yield _array(x, contract), int(y) + offset


def _offset(command: list[str]) -> int:
    import tomllib

    if "--config" not in command:
        return 0
    path = Path(command[command.index("--config") + 1])
    return int(tomllib.loads(path.read_text("utf-8")).get("task", {}).get("label_offset", 0))


def _picture(path: Path, contract: dict[str, Any]) -> Any:
    image = Image.open(path).convert("RGB")
    height, width = contract["size"]
    short = contract["resize_to"]
    if short and min(image.size) != short:
        scale = short / min(image.size)
        size = (round(image.width * scale), round(image.height * scale))
        image = image.resize(size, Image.Resampling.BILINEAR)
    # An odd rest is split as torchvision's CenterCrop does it: round half to even.
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return _array(np.asarray(image.crop((left, top, left + width, top + height))), contract)


def _array(x: Any, contract: dict[str, Any]) -> Any:
    value = x.astype(np.float64)
    if contract["mode"] == "image":
        if contract["color"] == "BGR":
            value = value[..., ::-1]
        value = (value * contract["scale"] - contract["mean"]) / contract["std"]
        if contract["layout"] == "NCHW":
            value = value.transpose(2, 0, 1)
    else:
        value = (value - contract["zero_point"]) * contract["scale"]
        value = (value - contract["mean"]) / contract["std"]
        if contract["reshape"]:
            value = value.reshape(contract["reshape"])
    return np.ascontiguousarray(value, dtype=np.float32)[None]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
