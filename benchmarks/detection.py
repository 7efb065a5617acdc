"""A small detector of digits on canvases, tried as a detector is: letterbox, suppression, mAP.

    python benchmarks/detection.py [-o FOLDER] [--only NAME ...]

Trains in about a minute on one core, then runs the whole trial on ONNX Runtime and
OpenVINO: suppression on the host and in the graph (the same mAP), and what is made wrong on
purpose (each named). Needs scikit-learn's digits, torch and pycocotools; no network.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

FED = 64
STRIDE = 4
CLASSES = 10
CELLS = FED // STRIDE
SIZES = ((64, 128), (128, 64), (72, 120), (96, 96), (120, 80))
LETTERBOX = {"resize": "letterbox", "pad_value": 0}


def canvas(rng: Any, digits: Any, labels: Any) -> tuple[Any, list[Any], list[int]]:
    """A picture (h, w) of bytes with one to four digits, and their boxes and classes."""
    h, w = SIZES[rng.integers(len(SIZES))]
    picture = rng.integers(0, 40, (h, w)).astype(np.float32)
    boxes, classes = [], []
    for _ in range(rng.integers(1, 5)):
        side = int(rng.integers(22, 40) * max(h, w) / 120)
        for _ in range(20):
            x, y = int(rng.integers(0, w - side)), int(rng.integers(0, h - side))
            if all(x + side < a or c < x or y + side < b or d < y for a, b, c, d in boxes):
                break
        else:
            continue
        k = rng.integers(len(labels))
        glyph = Image.fromarray((digits[k] * 255 / 16).astype(np.uint8)).resize((side, side))
        patch = np.asarray(glyph, np.float32) * rng.uniform(0.6, 1.0)
        picture[y : y + side, x : x + side] = np.maximum(picture[y : y + side, x : x + side], patch)
        boxes.append((x, y, x + side, y + side))
        classes.append(int(labels[k]))
    return picture.astype(np.uint8), boxes, classes


def letterboxed(picture: Any, boxes: Any) -> tuple[Any, Any]:
    """Picture (1, 64, 64) and boxes as the contract's letterbox feeds them."""
    h, w = picture.shape
    ratio = min(FED / h, FED / w)
    new = round(h * ratio), round(w * ratio)
    small = Image.fromarray(picture).resize((new[1], new[0]), Image.Resampling.BILINEAR)
    top, left = (FED - new[0]) // 2, (FED - new[1]) // 2
    full = np.zeros((FED, FED), np.float32)
    full[top : top + new[0], left : left + new[1]] = np.asarray(small)
    scale = np.array([new[1] / w, new[0] / h] * 2)
    return full[None] / 255, np.reshape(boxes, (-1, 4)) * scale + [left, top, left, top]


class Net(nn.Module):
    """Scores (1, cells, classes) and corner boxes (1, cells, 4) in pixels as fed."""

    def __init__(self) -> None:
        super().__init__()
        widths, layers = (1, 16, 32, 48, 48), []
        for k in range(4):
            layers += [nn.Conv2d(widths[k], widths[k + 1], 3, 2 if k < 2 else 1, 1, bias=False)]
            layers += [nn.BatchNorm2d(widths[k + 1]), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.classes = nn.Conv2d(48, CLASSES, 3, padding=1)
        self.sides = nn.Conv2d(48, 4, 3, padding=1)
        nn.init.constant_(self.classes.bias, -4.0)
        at = (torch.arange(CELLS) + 0.5) * STRIDE
        y, x = torch.meshgrid(at, at, indexing="ij")
        self.register_buffer("centres", torch.stack([x, y], dim=-1).reshape(1, -1, 2))

    def heads(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.body(x)
        scores = self.classes(features).flatten(2).transpose(1, 2)
        sides = torch.exp(self.sides(features).clamp(-4, 4)).flatten(2).transpose(1, 2) * STRIDE
        return scores, torch.cat([self.centres - sides[..., :2], self.centres + sides[..., 2:]], -1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scores, boxes = self.heads(image)
        return boxes, torch.sigmoid(scores)


def targets(boxes: Any, classes: Any) -> tuple[Any, Any]:
    """Per cell its class scores and box: the middle of a box belongs to it."""
    score, box = np.zeros((CELLS**2, CLASSES), np.float32), np.zeros((CELLS**2, 4), np.float32)
    at = (np.arange(CELLS) + 0.5) * STRIDE
    y, x = (v.ravel() for v in np.meshgrid(at, at, indexing="ij"))
    for (x0, y0, x1, y1), c in zip(boxes, classes, strict=True):
        near = (abs(x - (x0 + x1) / 2) <= max((x1 - x0) / 4, STRIDE / 2)) & (
            abs(y - (y0 + y1) / 2) <= max((y1 - y0) / 4, STRIDE / 2)
        )
        score[near] = np.eye(CLASSES)[c]
        box[near] = x0, y0, x1, y1
    return score, box


def loss_of(net: Net, image: Any, score: Any, box: Any) -> torch.Tensor:
    """Focal loss of the classes (Lin et al. 2017), 1 - IoU of the boxes."""
    logits, got = net.heads(image)
    p = torch.sigmoid(logits)
    plain = nn.functional.binary_cross_entropy_with_logits(logits, score, reduction="none")
    focal = (plain * (score * (1 - p) ** 2 * 0.5 + (1 - score) * p**2 * 0.5)).sum()
    mine = score.sum(-1) > 0
    a, b = got[mine], box[mine]
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(0)
    inter = shared.prod(-1)
    union = (a[:, 2:] - a[:, :2]).prod(-1) + (b[:, 2:] - b[:, :2]).prod(-1) - inter
    return (focal + (1 - inter / union).sum()) / mine.sum().clamp(1)


def train(canvases: int = 1200, epochs: int = 10, seed: int = 0) -> Net:
    """The net, trained on canvases of the first 1,200 digits."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    data = load_digits()
    rng = np.random.default_rng(seed)
    images, scores, boxes = [], [], []
    for _ in range(canvases):
        picture, where, what = canvas(rng, data.images[:1200], data.target[:1200])
        image, where = letterboxed(picture, where)
        score, box = targets(where, what)
        images.append(image)
        scores.append(score)
        boxes.append(box)
    sets = [torch.tensor(np.stack(v), dtype=torch.float32) for v in (images, scores, boxes)]
    net = Net()
    steps = canvases // 32 * epochs
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-4)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for _ in range(epochs):
        order = torch.randperm(canvases)
        for k in range(0, canvases - 31, 32):
            some = order[k : k + 32]
            optimiser.zero_grad()
            loss_of(net, *(v[some] for v in sets)).backward()
            optimiser.step()
            rate.step()
    return net.eval()


def export(net: Net, path: Path) -> Path:
    """The net as ONNX: boxes (1, cells, 4), scores (1, cells, classes)."""
    with warnings.catch_warnings():
        # That this exporter is the older one is known: it needs no second package.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            net,
            (torch.zeros(1, 1, FED, FED),),
            str(path),
            input_names=["image"],
            output_names=["boxes", "scores"],
            dynamo=False,
            opset_version=17,
        )
    return path


def with_suppression(
    path: Path, out: Path, *, iou: float = 0.5, score: float = 0.05, most: int = 100
) -> Path:
    """The same net with NonMaxSuppression in the graph: boxes (n, 4), scores (n,), labels (n,)."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(path)
    graph = model.graph
    constants = {
        "nms_most": np.array([most], np.int64),
        "nms_iou": np.array([iou], np.float32),
        "nms_score": np.array([score], np.float32),
        "first": np.array(0, np.int64),
        "two": np.array(2, np.int64),
        "one": np.array(1, np.int64),
    }
    graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())
    graph.node.extend(
        [
            helper.make_node("Transpose", ["scores"], ["by_class"], perm=[0, 2, 1]),
            helper.make_node(
                "NonMaxSuppression",
                ["boxes", "by_class", "nms_most", "nms_iou", "nms_score"],
                ["kept"],
                name="suppression",
            ),
            helper.make_node("Gather", ["kept", "two"], ["which"], axis=1),
            helper.make_node("Gather", ["kept", "one"], ["labels"], axis=1),
            helper.make_node("Gather", ["boxes", "first"], ["plain_boxes"], axis=0),
            helper.make_node("Gather", ["plain_boxes", "which"], ["kept_boxes"], axis=0),
            helper.make_node("GatherND", ["by_class", "kept"], ["kept_scores"]),
        ]
    )
    del graph.output[:]
    graph.output.extend(
        [
            helper.make_tensor_value_info("kept_boxes", TensorProto.FLOAT, ["n", 4]),
            helper.make_tensor_value_info("kept_scores", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("labels", TensorProto.INT64, ["n"]),
        ]
    )
    onnx.checker.check_model(model)
    onnx.save(model, out)
    return out


def pictures(folder: Path, count: int, seed: int) -> Path:
    """A folder of PNG files with COCO annotations, of digits that were not trained on."""
    data = load_digits()
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    images, annotations = [], []
    for i in range(count):
        picture, boxes, classes = canvas(rng, data.images[1200:], data.target[1200:])
        Image.fromarray(picture).save(folder / f"{i:04d}.png")
        h, w = picture.shape
        images.append({"id": i, "file_name": f"{i:04d}.png", "height": h, "width": w})
        for (x0, y0, x1, y1), c in zip(boxes, classes, strict=True):
            box = [x0, y0, x1 - x0, y1 - y0]
            annotations.append(
                {"id": len(annotations), "image_id": i, "category_id": c, "bbox": box}
            )
    coco = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": c, "name": str(c)} for c in range(CLASSES)],
    }
    (folder / "annotations.json").write_text(json.dumps(coco))
    return folder


def without_map(folder: Path, out: Path) -> Path:
    """The pictures as arrays that somebody letterboxed, with the annotations of the originals."""
    coco = json.loads((folder / "annotations.json").read_text())
    names = {i["id"]: i for i in coco["images"]}
    kept = {i: ([], []) for i in names}
    for row in coco["annotations"]:
        x, y, w, h = row["bbox"]
        kept[row["image_id"]][0].append([x, y, x + w, y + h])
        kept[row["image_id"]][1].append(row["category_id"])
    most = max(len(b) for b, _ in kept.values())
    images, boxes, labels = [], [], []
    for i, image in names.items():
        picture = np.asarray(Image.open(folder / image["file_name"]))
        images.append(letterboxed(picture, [])[0].astype(np.float32))
        b, c = kept[i]
        boxes.append(np.pad(np.asarray(b, float).reshape(-1, 4), ((0, most - len(b)), (0, 0))))
        labels.append(np.pad(np.asarray(c), (0, most - len(c)), constant_values=-1))
    np.savez(out, image=np.stack(images), boxes=np.stack(boxes), labels=np.stack(labels))
    return out


def config(
    path: Path,
    *,
    calibration: Path,
    test: Path,
    task: dict[str, Any] | None = None,
    contract: dict[str, Any] | None = None,
) -> Path:
    """A ``seatrial.toml``."""
    own = {"kind": "detect", "score_threshold": 0.05, "iou_threshold": 0.5, **(task or {})}
    feed = {
        "mode": "image",
        "color": "GRAY",
        "size": [FED, FED],
        "scale": "1/255",
        **(LETTERBOX if contract is None else contract),
    }
    tables = {
        'input."image"': feed,
        "data.calibration": {"source": str(calibration)},
        "data.test": {"source": str(test)},
        "task": own,
    }
    if contract == {}:
        del tables['input."image"']
    text = ""
    for name, values in tables.items():
        text += f"[{name}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in values.items())
    path.write_text(text)
    return path


def trial(model: Path, settings: Path, out: Path, *more: str) -> dict[str, Any]:
    """One run of the whole trial; the report."""
    words = [sys.executable, "-m", "seatrial", "run", str(model), "--config", str(settings)]
    words += ["-b", "onnxruntime:cpu", "-b", "openvino:CPU", "-o", str(out), *more]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    report = out / "report.json"
    if not report.is_file():
        raise SystemExit(f"{model}: exit {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(report.read_text())


def world(root: Path, calibration: int = 96, test: int = 250) -> float:
    """Everything the cases need; made once."""
    started = time.monotonic()
    net = train()
    spent = time.monotonic() - started
    raw = export(net, root / "raw.onnx")
    with_suppression(raw, root / "nms.onnx")
    with_suppression(raw, root / "nms-other.onnx", iou=0.95, score=0.4)
    pictures(root / "calibration", calibration, seed=1)
    pictures(root / "test", test, seed=2)
    without_map(root / "test", root / "test.npz")
    without_map(root / "calibration", root / "calibration.npz")
    return spent


def quantised(model: Path, settings: Path, out: Path) -> Path:
    """The Q/DQ model that ``seatrial quantize`` makes."""
    if not out.is_file():
        words = [
            sys.executable,
            "-m",
            "seatrial",
            "quantize",
            str(model),
            "--config",
            str(settings),
        ]
        words += ["-b", "onnxruntime:cpu", "-o", str(out)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if not out.is_file():
            raise SystemExit(f"{model}: exit {done.returncode}: {done.stderr[-2000:]}")
    return out


def cases(root: Path) -> dict[str, tuple[Path, Path, tuple[str, ...]]]:
    """Name -> (model, configuration, further words)."""
    sets = {"calibration": root / "calibration", "test": root / "test"}
    arrays = {"calibration": root / "calibration.npz", "test": root / "test.npz"}
    graph = {"nms": "graph"}
    stretch = {"resize": "stretch"}
    return {
        "host": (root / "raw.onnx", config(root / "host.toml", **sets), ()),
        "graph": (root / "nms.onnx", config(root / "graph.toml", task=graph, **sets), ()),
        "stretch": (
            root / "raw.onnx",
            config(root / "stretch.toml", contract=stretch, **sets),
            (),
        ),
        "no-map": (root / "raw.onnx", config(root / "no-map.toml", contract={}, **arrays), ()),
        "cxcywh": (
            root / "raw.onnx",
            config(root / "cxcywh.toml", task={"box_format": "cxcywh"}, **sets),
            (),
        ),
        "config-threshold": (
            root / "nms.onnx",
            config(root / "threshold.toml", task={"nms": "graph", "score_threshold": 0.3}, **sets),
            (),
        ),
        "other-suppression": (
            root / "nms.onnx",
            config(root / "other.toml", task=graph, **sets),
            ("--qdq", str(root / "nms-other-qdq.onnx")),
        ),
    }


def told(name: str, report: dict[str, Any]) -> None:
    """What a run says, in a few lines."""
    print(f"\n== {name}: {report['verdict']}")
    for row in report["ladder"]:
        if row["metric"].startswith("mAP") and row["value"] is not None:
            drop = "" if row["drop"] is None else f" drop {row['drop']:+.2f} {row['ci95']}"
            also = ", ".join(f"{k} {v:.2f}" for k, v in row["also"].items())
            where = row["target"] or "reference"
            print(
                f"   {row['rung']:12} {where:16} {row['metric']} {row['value']:.2f} ({also}){drop}"
            )
    for reason in report["reasons"][:6]:
        print(f"   {reason['level']}: {reason['code']}: {reason['text'][:220]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, default=Path("detection-benchmark"))
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    given.out = given.out.resolve()  # paths in a configuration are relative to its own folder
    given.out.mkdir(parents=True, exist_ok=True)
    if not (given.out / "raw.onnx").is_file():
        print(f"trained in {world(given.out):.0f} s")
    for name, (model, settings, more) in cases(given.out).items():
        if given.only and name not in given.only:
            continue
        started = time.monotonic()
        if "--qdq" in more:
            quantised(given.out / "nms-other.onnx", settings, Path(more[1]))
        words = [*more, *(["--quick"] if given.quick else [])]
        report = trial(model, settings, given.out / f"trial-{name}", *words)
        told(name, report)
        print(f"   {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
