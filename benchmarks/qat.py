"""Quantisation-aware training of small nets: float, PTQ and QAT side by side.

The net is trained here, on the 2,048 calibration pictures and 3,000 of the 5,000 of the test file
(500 of them choose the epoch of QAT and train nothing). The last 2,000 pictures judge: they are
opened once, at the end, when every model is made; ``--no-judge`` leaves them closed and takes the
500 instead, for choosing what is worth a study. Everything runs with one thread on the CPU.

Nets: ``residuals`` (inverted residuals, ReLU6) and ``narrow`` (depthwise-separable, no residuals,
hard swish). Forms: ``u8`` (CPUs), ``s8sym`` (symmetric INT8, float biases), and the one that the
simplest accelerators take, ``s8sym-pertensor`` (the same with one scale per weight tensor).

Rows: the float model; min-max ranges in the form; the best of the plan of ``seatrial quantize``
with every node in INT8; ``seatrial qat``. Drops are paired, with Tango's interval.

Usage: SEATRIAL_DATA=FOLDER python benchmarks/qat.py [--net NAME] [--forms NAME...] [--epochs N]
       [--qat-epochs N] [--work DIR] [--no-judge]
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
import unittest.mock
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import seatrial
from seatrial import results as r
from seatrial.options import QatOptions
from seatrial.registry import Plugin
from seatrial.trial import qat as stages
from seatrial.trial.qat_work import Work
from seatrial.trial.targets import TargetState

CALIBRATION, VALIDATION, TEST = 1024, 500, 2000
#: Forms to train for.
FORMS = {
    "u8": r.QdqDialect(),
    "s8sym": r.QdqDialect(activations="int8", symmetric=True, bias="float"),
    "s8sym-pertensor": r.QdqDialect(
        activations="int8", symmetric=True, bias="float", per_channel=False
    ),
}
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


# --- the net and its data -----------------------------------------------------------------------


class Block(nn.Module):
    """An inverted residual: wide 1x1, depthwise 3x3, narrow 1x1."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        wide = 4 * width
        self.skip = stride == 1 and width == out
        self.body = nn.Sequential(
            nn.Conv2d(width, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(x)
        return x + y if self.skip else y


class Net(nn.Module):
    """Seven inverted residuals for 32 x 32 pictures, 10 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6()
        )
        shapes = ((16, 16, 1), (16, 24, 2), (24, 24, 1), (24, 32, 2), (32, 32, 1), (32, 64, 2))
        self.blocks = nn.Sequential(*(Block(*s) for s in shapes), Block(64, 64, 1))
        self.head = nn.Sequential(
            nn.Conv2d(64, 128, 1, bias=False), nn.BatchNorm2d(128), nn.ReLU6()
        )
        self.classes = nn.Linear(128, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.classes(self.head(self.blocks(self.stem(image))).mean((2, 3)))


class Separable(nn.Sequential):
    """A depthwise 3x3 and a pointwise layer, each with normalisation and hard swish."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__(
            nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.Hardswish(),
            nn.Conv2d(width, out, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.Hardswish(),
        )


class Narrow(nn.Module):
    """Ten depthwise-separable layers without residuals, 10 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish()
        )
        widths = (16, 16, 24, 24, 32, 32, 48, 48, 64, 64, 96)
        strides = (1, 2, 1, 2, 1, 1, 1, 2, 1, 1)
        self.layers = nn.Sequential(
            *(Separable(a, b, s) for a, b, s in zip(widths, widths[1:], strides, strict=False))
        )
        self.classes = nn.Linear(96, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.classes(self.layers(self.stem(image)).mean((2, 3)))


NETS = {"residuals": Net, "narrow": Narrow}


class Pictures(torch.utils.data.Dataset):
    """Pictures as the net takes them; ``moved``: flipped and shifted at random."""

    def __init__(self, images: Any, labels: Any, *, moved: bool = False) -> None:
        self.images, self.labels, self.moved = images, labels, moved

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        x = torch.from_numpy(self.images[i]).permute(2, 0, 1).float() / 255
        x = (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)
        if self.moved:
            x = x.flip(2) if torch.rand(()) < 0.5 else x
            x = nn.functional.pad(x[None], (4, 4, 4, 4), mode="reflect")[0]
            down, right = torch.randint(0, 9, (2,)).tolist()
            x = x[:, down : down + 32, right : right + 32]
        return x, int(self.labels[i])


def _archive(name: str) -> tuple[Any, Any]:
    with np.load(Path(os.environ["SEATRIAL_DATA"]) / "data" / "cifar10" / name) as file:
        return file["images"], file["labels"]


def _training() -> tuple[Any, Any]:
    first = _archive("cifar10_jpeg_train_calib2048.npz")
    second = _archive("cifar10_jpeg_test_A5000.npz")
    return tuple(np.concatenate([a, b[:-TEST]]) for a, b in zip(first, second, strict=True))


def model() -> nn.Module:
    """The trained float net."""
    net = NETS[os.environ["SEATRIAL_QAT_NET"]]()
    net.load_state_dict(torch.load(Path(os.environ["SEATRIAL_QAT_WORK"]) / "float.pt"))
    return net.eval()


def train() -> Any:
    """What trains, moved at random as in float training."""
    images, labels = _training()
    data = Pictures(images[:-VALIDATION], labels[:-VALIDATION], moved=True)
    return torch.utils.data.DataLoader(data, 64, shuffle=True, drop_last=True)


def validation() -> Any:
    """What chooses the epoch."""
    images, labels = _training()
    return torch.utils.data.DataLoader(Pictures(images[-VALIDATION:], labels[-VALIDATION:]), 50)


def calibration() -> Any:
    """What ranges come from: training pictures as they are."""
    images, labels = _training()
    return Pictures(images[:CALIBRATION], labels[:CALIBRATION])


# --- the rows -----------------------------------------------------------------------------------


def main() -> int:
    """Train, quantise, train again, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", choices=NETS, default="residuals")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--qat-epochs", type=int, default=4)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=["u8", "s8sym"])
    parser.add_argument("--no-judge", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    work = args.work or Path(tempfile.mkdtemp(prefix="seatrial-qat-"))
    work.mkdir(parents=True, exist_ok=True)
    os.environ["SEATRIAL_QAT_WORK"], os.environ["SEATRIAL_QAT_NET"] = str(work), args.net
    try:
        minutes, models = _make(work, args)
        _judge(minutes, models, *_judges(args.no_judge))
    finally:
        if args.work is None:
            shutil.rmtree(work)
    return 0


def _make(work: Path, args: Any) -> tuple[dict[str, float], dict[str, Path]]:
    minutes = {"float": _float(work / "float.pt", args.epochs)}
    models: dict[str, Path] = {}
    here = str(Path(__file__).absolute())
    for form in args.forms:
        out = work / f"qat-{form}"
        started = time.monotonic()
        options = QatOptions(
            model=f"{here}:model",
            train=f"{here}:train",
            validation=f"{here}:validation",
            loss="torch.nn:CrossEntropyLoss",
            calibration=f"{here}:calibration",
            epochs=args.qat_epochs,
            threads=1,
            out=str(out),
        )
        with unittest.mock.patch.object(stages, "_choose_dialects", _named(FORMS[form])):
            report = seatrial.qat(options).data
        part = report["qat"]
        losses = [e["validation_loss"] for e in part["epochs"]]
        spent = {t["stage"]: t["seconds"] / 60 for t in report["timings"]}
        print(
            f"{form}: validation loss float {part['float_loss']:.4f}, epochs "
            + " ".join(f"{v:.4f}" for v in losses)
            + f", kept {part['best']}, export equal {[e['equal'] for e in part['exports']]},"
            f" training {part['seconds'] / 60:.1f} min, all {(time.monotonic() - started) / 60:.1f}"
        )
        models.setdefault("float", out / "float.onnx")
        models |= _without_training(report, out, form)
        models[f"QAT {form}"] = out / "qat.onnx"
        minutes[f"QAT {form}"] = part["seconds"] / 60
        minutes[f"PTQ {form}"] = spent["INT8 without training"]
    return minutes, models


def _named(dialect: r.QdqDialect) -> Any:
    """Stands in for the choice of a target: one that takes this form and is only named."""

    def choose(work: Work) -> None:
        state = TargetState("bench:form", Plugin(id="bench", value="bench", dist="", version=""))
        state.target = r.Target(
            id="form",
            title="the form of a benchmark",
            device="form",
            kind=r.TargetKind.DEVICE,
            rules=r.InputRules(qdq=dialect),
        )
        state.asked = True
        work.trial.targets = [state]
        work.dialects = [dialect]

    return choose


def _without_training(report: dict[str, Any], out: Path, form: str) -> dict[str, Path]:
    """Min-max, and the closest candidate with every node in INT8."""
    rows = [c for c in report["candidates"] if c["source"] == "core" and c["sha256"]]
    rows = [c for c in rows if "float" not in c["name"].replace("floatbias", "")]
    for row in rows:
        scores = row["scores"]
        print(f"  {row['name']}: held-out KL {scores['kl']}, agreement {scores['agreement']}")
    best = min(rows, key=lambda c: (c["n"] < max(x["n"] for x in rows), c["scores"]["kl"]))
    plain = next(c for c in rows if c["name"].startswith("core:minmax") and "+" not in c["name"])
    print(f"  PTQ {form} is {best['name']}")
    objects = out / ".seatrial" / "objects"
    return {
        f"{name} {form}": next((objects / row["sha256"]).glob("*.onnx"))
        for name, row in (("min-max", plain), ("PTQ", best))
    }


def _float(path: Path, epochs: int) -> float:
    """Train the float net unless it is there; give the minutes."""
    if path.exists():
        return 0.0
    torch.manual_seed(0)
    started, net, loader = time.monotonic(), NETS[os.environ["SEATRIAL_QAT_NET"]](), train()
    adam = torch.optim.AdamW(net.parameters(), weight_decay=0.02)
    rate = torch.optim.lr_scheduler.OneCycleLR(adam, 6e-3, epochs * len(loader))
    for _ in range(epochs):
        for images, labels in loader:
            adam.zero_grad()
            nn.functional.cross_entropy(net(images), labels).backward()
            adam.step()
            rate.step()
    torch.save(net.state_dict(), path)
    return (time.monotonic() - started) / 60


def _session(path: Path) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _judges(closed: bool) -> tuple[Any, Any]:
    """The pictures that judge: the test slice, or those that chose the epoch."""
    if closed:
        images, labels = _training()
        return images[-VALIDATION:], labels[-VALIDATION:]
    images, labels = _archive("cifar10_jpeg_test_A5000.npz")
    return images[-TEST:], labels[-TEST:]


def _judge(minutes: dict[str, float], models: dict[str, Path], images: Any, labels: Any) -> None:
    """Run every model over the pictures with Q/DQ taken literally, print the table."""
    from seatrial.verdict.proportions import tango

    count = len(labels)
    data = torch.stack([x for x, _ in Pictures(images, labels)]).numpy()
    right, top = {}, {}
    for name, path in models.items():
        session = _session(path)
        feed = session.get_inputs()[0].name
        parts = [session.run(None, {feed: data[k : k + 50]})[0] for k in range(0, count, 50)]
        top[name] = np.concatenate(parts).argmax(1)
        right[name] = top[name] == labels
    heads = f"{'top-1':>6} {'drop':>6} {'95 %':>16} {'agrees':>7} {'minutes':>8}"
    print(f"\n{count} pictures\n{'model':24} {heads}")
    for name in ("float", *sorted(n for n in models if n != "float")):
        lost = int((right["float"] & ~right[name]).sum())
        won = int((~right["float"] & right[name]).sum())
        low, high = tango(lost, won, count)
        print(
            f"{name:24} {100 * right[name].mean():6.2f} {100 * (lost - won) / count:6.2f} "
            f"{f'[{100 * low:.2f}, {100 * high:.2f}]':>16} "
            f"{100 * (top[name] == top['float']).mean():7.2f} {minutes.get(name, 0):8.1f}"
        )
    for form in FORMS:
        ptq, qat = f"PTQ {form}", f"QAT {form}"
        if qat in right:
            won = int((right[qat] & ~right[ptq]).sum())
            lost = int((~right[qat] & right[ptq]).sum())
            low, high = tango(won, lost, count)
            print(
                f"{qat} over {ptq}: {100 * (won - lost) / count:.2f} points "
                f"[{100 * low:.2f}, {100 * high:.2f}], {won} won, {lost} lost"
            )


if __name__ == "__main__":
    raise SystemExit(main())
