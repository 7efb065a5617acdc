"""Boxes and masks as people keep them: the same annotations in every form, and broken ones."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seatrial.data.child import materialise
from seatrial.data.contract import InputContract, complete
from seatrial.data.records import MaterialiseRequest, MaterialiseResult
from seatrial.data.source import Source, parse
from seatrial.data.structured import boxes_of, mask_of
from seatrial.results import TensorIO
from seatrial.samples import Samples
from seatrial.testing.local import LocalJob

IMAGE = TensorIO(name="x", dtype="float32", shape=(1, 3, 32, 32))
SIZES = {"a.png": (40, 60), "b.png": (30, 30), "c.png": (20, 50)}
BOXES = {
    "a.png": [([5.0, 5.0, 25.0, 35.0], "dog"), ([30.0, 0.0, 60.0, 20.0], "cat")],
    "b.png": [([0.0, 0.0, 15.0, 30.0], "cat")],
    "c.png": [],
}
NAMES = ["cat", "dog"]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Three pictures in a folder."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    for name, (h, w) in SIZES.items():
        pixels = np.cumsum(rng.integers(0, 9, (h, w, 3)), axis=1) % 256
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / name)
    return folder


def coco(root: Path, name: str = "annotations.json", **change: Any) -> None:
    ids = {file: k for k, file in enumerate(SIZES)}
    rows = [
        {"id": 1, "image_id": ids[f], "category_id": {"cat": 7, "dog": 90}[c],
         "bbox": [b[0], b[1], b[2] - b[0], b[3] - b[1]], "iscrowd": 0}
        for f, pairs in BOXES.items() for b, c in pairs
    ]  # fmt: skip
    images = [
        {"id": k, "file_name": f, "height": SIZES[f][0], "width": SIZES[f][1]}
        for f, k in ids.items()
    ]
    kinds = [{"id": 90, "name": "dog"}, {"id": 7, "name": "cat"}]
    data = {"images": images, "annotations": rows, "categories": kinds} | change
    (root / name).write_text(json.dumps(data))


def yolo(root: Path) -> None:
    (root / "labels").mkdir()
    for file, pairs in BOXES.items():
        h, w = SIZES[file]
        lines = []
        for (x0, y0, x1, y1), name in pairs:
            box = (x0 + x1) / 2 / w, (y0 + y1) / 2 / h, (x1 - x0) / w, (y1 - y0) / h
            lines.append(" ".join([str(NAMES.index(name)), *(f"{v:.8f}" for v in box)]))
        if lines:
            (root / "labels" / file).with_suffix(".txt").write_text("\n".join(lines))


def table(root: Path) -> None:
    with (root / "labels.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["file", "label", "xmin", "ymin", "xmax", "ymax", "split"])
        for name, pairs in BOXES.items():
            for box, kind in pairs or [(["", "", "", ""], "")]:
                out.writerow([f"images/{name}", kind, *box, "test"])


def read(tmp_path: Path, source: Source) -> tuple[MaterialiseResult, Samples | None]:
    contract = complete(InputContract(resize="letterbox", dtype="float32"), IMAGE)
    job = LocalJob(tmp_path / f"job{len(list(tmp_path.iterdir()))}")
    request = MaterialiseRequest(source=source, inputs=(IMAGE,), contracts={"x": contract})
    result = materialise(request, job)
    return result, Samples(job.out) if result.set is not None else None


@pytest.mark.parametrize("form", [coco, yolo, table])
def test_every_form_gives_the_same_boxes(world: Path, tmp_path: Path, form: Any) -> None:
    form(world)
    result, store = read(tmp_path, parse(str(world)))
    assert store is not None, result.refused
    assert store.ids == ("images/a.png", "images/b.png", "images/c.png")
    for label, (file, pairs) in zip(store.labels or (), BOXES.items(), strict=True):
        found = boxes_of(label)
        wanted = np.array([b for b, _ in pairs]).reshape(-1, 4)
        np.testing.assert_allclose(found.boxes, wanted, atol=1e-4)
        assert found.classes.tolist() == [NAMES.index(c) for _, c in pairs]
        assert found.size == (SIZES[file] if form is coco else ())
    geometry = store.index["samples"][0]["geometry"]["x"]
    assert geometry["size"] == [40, 60] and geometry["fed"] == [32, 32]


def test_listed_classes_number_a_coco_files_categories(world: Path, tmp_path: Path) -> None:
    coco(world, "boxes.json")
    source = parse(str(world))
    named = Source(
        kind="folder",
        location=source.location,
        labels=str(world / "boxes.json"),
        classes=("dog", "bird", "cat"),
    )
    _, store = read(tmp_path, named)
    assert store is not None
    assert [label["classes"] for label in store.labels or ()] == [[0, 2], [2], []]


def test_closed_labels_are_not_read(world: Path, tmp_path: Path) -> None:
    import dataclasses

    yolo(world)
    (world / "labels" / "a.txt").write_text("nonsense")
    _, store = read(tmp_path, dataclasses.replace(parse(str(world)), closed=True))
    assert store is not None and store.labels is None and store.count == 3


@pytest.mark.parametrize("mode", ["L", "P"])
def test_masks_are_class_indices_as_stored(world: Path, tmp_path: Path, mode: str) -> None:
    (world / "masks").mkdir()
    masks = {}
    for name, (h, w) in SIZES.items():
        masks[name] = np.arange(h * w).reshape(h, w).astype(np.uint8) % 5
        image = Image.fromarray(masks[name])
        if mode == "P":
            image.putpalette([k for c in range(256) for k in (c, 255 - c, 0)])
        image.save(world / "masks" / name)
    _, store = read(tmp_path, parse(str(world)))
    assert store is not None
    for label, mask in zip(store.labels or (), masks.values(), strict=True):
        assert (mask_of(label) == mask).all()
    (world / "masks" / "b.png").unlink()
    result, _ = read(tmp_path, parse(str(world)))
    assert result.refused is not None and result.refused.place == "images/b.png"


def break_json(world: Path) -> None:
    (world / "annotations.json").write_text('{"images": [')


def break_box(world: Path) -> None:
    row = {"image_id": 0, "category_id": 7, "bbox": [1, 2, -3, 4]}
    coco(world, annotations=[row])


def break_category(world: Path) -> None:
    coco(world, annotations=[{"image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4]}])


def break_line(world: Path) -> None:
    yolo(world)
    (world / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n0 17 2 3 4\n")


def break_cell(world: Path) -> None:
    table(world)
    text = (world / "labels.csv").read_text().replace("25.0", "wide")
    (world / "labels.csv").write_text(text)


def break_path(world: Path) -> None:
    images = [{"id": 0, "file_name": "../../secret.png", "height": 1, "width": 1}]
    coco(world, images=images, annotations=[])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (break_json, "no COCO file"),
        (break_box, "is no box"),
        (break_category, "annotation 0 cannot be read"),
        (break_line, "line 2"),
        (break_cell, "is no box"),
        (break_path, "outside its folder"),
    ],
)
def test_broken_annotations_are_one_line(
    world: Path, tmp_path: Path, change: Any, said: str
) -> None:
    change(world)
    result, _ = read(tmp_path, parse(str(world)))
    assert result.refused is not None
    assert said in f"{result.refused.subject} {result.refused.place} {result.refused.reason}"


def test_boxes_and_masks_of_arrays(tmp_path: Path) -> None:
    tensor = TensorIO(name="x", dtype="float32", shape=("n", 2))
    boxes = np.zeros((3, 2, 4))
    boxes[0, 0] = 1, 2, 3, 4
    labels = np.array([[5, -1], [-1, -1], [0, 1]])
    np.savez(tmp_path / "b.npz", x=np.random.rand(3, 2).astype("f4"), boxes=boxes, labels=labels)
    masks = np.arange(3 * 4 * 5).reshape(3, 4, 5) % 3
    np.savez(tmp_path / "m.npz", x=np.random.rand(3, 2).astype("f4"), labels=masks)
    found = []
    for name in ("b.npz", "m.npz"):
        job = LocalJob(tmp_path / f"job-{name}")
        request = MaterialiseRequest(source=parse(str(tmp_path / name)), inputs=(tensor,))
        assert materialise(request, job).refused is None
        found.append(Samples(job.out).labels)
    assert [len(label["boxes"]) for label in found[0] or ()] == [1, 0, 2]
    assert (found[0] or ())[0]["classes"] == [5]
    assert all((mask_of(v) == m).all() for v, m in zip(found[1] or (), masks, strict=True))
