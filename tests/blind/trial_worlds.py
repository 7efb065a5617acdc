"""A small honest trial on disk, made of a net that works and pictures that it works on.

The author of this module had not seen the checks that are tried on it: everything here is what a
user can put into a folder, and the command line is what the README shows.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from blind_nets import INPUT, OUTPUT, SIZE, Floats, Net, build
from blind_pictures import CLASSES, Bytes, scene
from PIL import Image
from spoiled_sets import Recipe

CALIBRATION, TEST = 264, 300
COMMAND = (
    "run",
    "model.onnx",
    "--config",
    "seatrial.toml",
    "--calibration",
    "calibration",
    "--test",
    "test",
    "--backend",
    "onnxruntime:cpu",
    "--max-drop",
    "4",
    "--quick",
    "-o",
    "trial",
)


@dataclass(frozen=True)
class Step:
    """One thing a user does: files changed by hand, or a command.

    Attributes:
        argv: Arguments of `seatrial`, run in the world's folder; empty when nothing is run.
        files: Contents that replace files of the folder before it (times of change are kept).
    """

    argv: tuple[str, ...]
    files: tuple[tuple[str, bytes], ...] = ()


@functools.cache
def shots(seed: int, count: int) -> tuple[tuple[Bytes, ...], tuple[int, ...]]:
    """Daylight pictures of the nets' size, classes in turn."""
    rng = np.random.default_rng([77, seed])
    labels = tuple(i % len(CLASSES) for i in range(count))
    lights = ("day", "neon")
    return tuple(scene(rng, k, lights[i // 6 % 2], SIZE) for i, k in enumerate(labels)), labels


@functools.cache
def _net(kind: str, seed: int) -> Net:
    frames, labels = shots(seed * 3 + 2, 540)
    return build(kind, seed, tensors(frames), labels, len(CLASSES))


def net(kind: str = "convnet", seed: int = 0) -> Net:
    """A net that knows these pictures, free to be changed."""
    kept = _net(kind, seed)
    return Net(
        kept.classes,
        np.random.default_rng(seed),
        [onnx.NodeProto.FromString(n.SerializeToString()) for n in kept.nodes],
        {name: value.copy() for name, value in kept.weights.items()},
        list(kept.layers),
        kept.features,
    )


def tensors(frames: Sequence[Bytes]) -> Floats:
    """Frames as the nets take them: float32 N x 3 x 48 x 48, RGB / 255."""
    x = np.stack(list(frames)).astype(np.float32).transpose(0, 3, 1, 2) / np.float32(255)
    return np.ascontiguousarray(x)


def calibration(seed: int) -> tuple[tuple[Bytes, ...], tuple[int, ...]]:
    """Pictures that calibrate."""
    return shots(seed * 3, CALIBRATION)


def judged(seed: int) -> tuple[tuple[Bytes, ...], tuple[int, ...]]:
    """Pictures that judge."""
    return shots(seed * 3 + 1, TEST)


def put(folder: Path, frames: Sequence[Bytes], labels: Sequence[int], suffix: str = "png") -> None:
    """Write pictures and their labels.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (frame, label) in enumerate(zip(frames, labels, strict=True)):
        name = f"{folder.name[0]}{number:05d}.{suffix}"
        Image.fromarray(frame).save(folder / name)
        rows.append((name, label))
    (folder / "labels.csv").write_bytes(table(rows))


def table(rows: Sequence[tuple[str, int]]) -> bytes:
    """A labels.csv of name and label."""
    lines = ["file,label", *(f"{name},{label}" for name, label in rows)]
    return ("\n".join(lines) + "\n").encode()


def labels_of(folder: Path) -> list[tuple[str, int]]:
    """Rows of a labels.csv."""
    with (folder / "labels.csv").open(newline="") as handle:
        return [(row["file"], int(row["label"])) for row in csv.DictReader(handle)]


def configure(folder: Path, contract: str = "", extra: str = "") -> None:
    """Write seatrial.toml."""
    contract = contract or Recipe().toml(INPUT, tensor=False)
    text = f'[model]\npath = "model.onnx"\n\n{contract}\n[task]\nkind = "classify"\ntop_k = 1\n'
    (folder / "seatrial.toml").write_text(text + extra)


def honest(folder: Path, seed: int = 0, kind: str = "convnet") -> Net:
    """Write model.onnx, seatrial.toml, calibration and test; returns the net."""
    folder.mkdir(parents=True, exist_ok=True)
    made = net(kind, seed)
    (folder / "model.onnx").write_bytes(made.model())
    put(folder / "calibration", *calibration(seed))
    put(folder / "test", *judged(seed))
    configure(folder)
    return made


def replaced(command: tuple[str, ...], **changes: str) -> tuple[str, ...]:
    """A command with other values: `test="other"` replaces what follows `--test`."""
    out = list(command)
    for flag, value in changes.items():
        out[out.index("--" + flag.replace("_", "-")) + 1] = value
    return tuple(out)


def with_tail(data: bytes, tail: Sequence[onnx.NodeProto], **weights: Floats) -> bytes:
    """A model whose logits go on through `tail`, which reads `inner` and writes `logits`."""
    model = onnx.load_model_from_string(data)
    last = model.graph.node[-1]
    assert last.output[0] == OUTPUT
    last.output[0] = "inner"
    model.graph.node.extend(tail)
    for name, value in weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    onnx.checker.check_model(model)
    out: bytes = model.SerializeToString()
    return out
