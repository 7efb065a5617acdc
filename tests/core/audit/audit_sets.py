"""Good sets to spoil: generated scenes, and real pictures where they are at hand."""

import csv
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from seatrial.audit.child import audit
from seatrial.audit.records import AuditRequest
from seatrial.samples import StoreWriter
from seatrial.testing.local import LocalJob

DATA = Path(os.environ.get("SEATRIAL_DATA", Path(__file__).parents[4] / "shared")) / "data"


def scenes(count, seed, side=48, night=0.2):
    """Pictures (count, side, side, 3) uint8 of a sky, a ground, and things on it; some at night."""
    draw = np.random.default_rng(seed)
    made = np.empty((count, side, side, 3), np.uint8)
    y, x = np.mgrid[:side, :side] / side
    for k in range(count):
        horizon = draw.uniform(0.3, 0.6)
        sky = np.array([0.45, 0.65, 0.9]) + draw.normal(0, 0.06, 3)
        ground = np.array([0.45, 0.4, 0.22]) + draw.normal(0, 0.08, 3)
        picture = np.where((y < horizon)[..., None], sky, ground) * (0.8 + 0.3 * y)[..., None]
        for _ in range(draw.integers(4, 9)):
            cx, cy, r = draw.uniform(0, 1), draw.uniform(0.2, 1), draw.uniform(0.05, 0.22)
            shape = np.abs(x - cx) < r * draw.uniform(0.4, 1.2)
            shape &= np.abs(y - cy) < r * draw.uniform(0.4, 1.2)
            if draw.random() < 0.5:
                shape = (x - cx) ** 2 + (y - cy) ** 2 < r * r
            picture[shape] = draw.uniform(0.1, 0.95, 3)
        grain = draw.normal(0, 1, (side + 2, side + 2))
        grain = sum(grain[i : i + side, j : j + side] for i in range(3) for j in range(3)) / 3
        picture = picture + 0.06 * grain[..., None]
        if draw.random() < night:
            picture = picture * [0.22, 0.25, 0.4]
        made[k] = np.clip(255 * picture, 0, 255)
    made[0, 0, 0], made[0, 0, 1] = 0, 255
    return made


def fed(pictures):
    """(count, 3, H, W) float32 of -1 to 1."""
    values = np.asarray(pictures, np.float32) / np.float32(127.5) - 1
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2), np.float32)


def real(split):
    """Photographs at 224 px, (count, 224, 224, 3) uint8, and their files; skips without them."""
    from PIL import Image

    table = DATA / "imagenet" / "labels.csv"
    if not table.is_file():
        pytest.skip(f"no real pictures: {table} is missing (set SEATRIAL_DATA)")
    with table.open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["split"] == split]
    made = []
    for row in rows:
        image = Image.open(table.parent / row["file"]).convert("RGB")
        left, top = (image.width - 224) // 2, (image.height - 224) // 2
        made.append(np.asarray(image.crop((left, top, left + 224, top + 224))))
    return np.stack(made), [r["file"] for r in rows]


@pytest.fixture
def review(tmp_path):
    """Audits arrays (first axis: sample), the calibration set first."""
    job = LocalJob(tmp_path / "job")

    def store(role, array, name, *, groups=None, metas=None, ids=None, labels=None):
        root = tmp_path / role
        root.mkdir()
        writer = StoreWriter(root, len(array))
        rows = []
        for i, value in enumerate(array):
            writer.add({name: value})
            digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
            row = {"id": ids[i] if ids else f"{role[0]}{i:04}", "sha256": digest}
            row |= {"group": groups[i]} if groups else {}
            row |= {"meta": metas[i]} if metas else {}
            rows.append(row)
        writer.close(rows, labels)
        return job.add(root)

    def run(calibration, test=None, *, name="x", model=None, train=None, again=None, repeated=None,
            groups=None, metas=(None, None), labels=None, ids=(None, None), **more):  # fmt: skip
        refs = {
            "calibration": store(
                "calibration", calibration, name,
                groups=groups, metas=metas[0], labels=labels, ids=ids[0],
            )
        }  # fmt: skip
        if test is not None:
            refs["test"] = store("test", test, name, metas=metas[1], ids=ids[1])
        if train is not None:
            refs["train"] = store("train", train, name)
        for role, array in (("again", again), ("repeated", repeated)):
            if array is not None:
                refs[role] = store(role, array, name, ids=[f"c{i:04}" for i in range(len(array))])
        if model is not None:
            refs["model"] = job.add(model)
        return audit(AuditRequest(**refs, **more), job)

    return run
