"""The one schema of ``seatrial.toml``: which keys there are, and how each value is read.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from seatrial.config import values as v
from seatrial.sla import FAIL_ON

Fields = Mapping[str, v.Parser]

MODEL: Fields = {
    "path": v.text,
    "opset": v.integer(1),
    "exporter": v.choice("", "dynamo", "torchscript"),
    "weights": v.text,
    "trust_pickle": v.flag,
}
INPUT: Fields = {
    "mode": v.choice("image", "tensor", "constant", "state"),
    "value": v.numbers,
    "output": v.text,
    "size": v.integers,
    "resize": v.choice("none", "stretch", "crop", "letterbox"),
    "resize_to": v.integer(1),
    "interpolation": v.text,
    "pad_value": v.numbers,
    "pad_side": v.text,
    "exif": v.flag,
    "color": v.text,
    "zero_point": v.number,
    "scale": v.number,
    "mean": v.numbers,
    "std": v.numbers,
    "layout": v.text,
    "dtype": v.text,
    "reshape": v.shape,
}
SET: Fields = {
    "source": v.text,
    "where": v.mapping(v.scalar_text),
    "arrays": v.mapping(v.text),
    "labels": v.text,
    "classes": v.texts,
    "class_index": v.text,
    "limit": v.integer(1),
    "sample_seed": v.integer(0),
}
#: Of ``[data]`` itself: one source to be split in two, or a set each.
DATA: Fields = {**SET, "split_seed": v.integer(0), "split_count": v.integer(1)}
#: Settings of the tasks that come along; each task says which are its own.
TASK_SETTINGS: Fields = {
    **dict.fromkeys(("metric", "output", "unit", "alphabet", "layout"), v.text),
    **dict.fromkeys(("boxes", "scores", "labels", "head", "box_format"), v.text),
    **dict.fromkeys(("activation", "nms"), v.text),
    **dict.fromkeys(("normalised", "class_aware", "multi_label", "lower"), v.flag),
    **dict.fromkeys(("threshold", "factor", "score_threshold", "iou_threshold"), v.number),
    **{key: v.integer(-1) for key in ("background", "ignore", "blank")},
    **{key: v.integer(1) for key in ("k", "classes", "candidates", "max_detections")},
    **{key: v.integer(0) for key in ("positive", "warmup")},
}
TASK: Fields = {
    "kind": v.text,
    "callable": v.text,
    "top_k": v.integer(1),
    "label_offset": v.integer(-1_000_000),
    "state": v.mapping(v.text),
    "expected": v.number,
    "options": v.mapping(v.option),
    **TASK_SETTINGS,
}
SLA: Fields = {
    "max_drop": v.amount,
    "max_latency": v.latency,
    "max_memory": v.memory_mb,
    "min_metric": v.amount,
    "device_drop": v.amount,
    "class_drop": v.amount,
    "accept_agreement": v.points,
    "fail_on": v.choice(*FAIL_ON),
}
TARGET: Fields = {
    "env": v.text,
    "threads": v.integer(1),
    "streams": v.integer(1),
    "shapes": v.mapping(v.shape),
    "timeout_s": v.positive,
    "memory_mb": v.integer(1),
    "options": v.mapping(v.option),
}
ENV: Fields = {"python": v.text, "launcher": v.texts, "variables": v.mapping(v.scalar_text)}
RUN: Fields = {
    "seed": v.integer(0),
    "threads": v.integer(1),
    "quick": v.flag,
    "targets": v.texts,
    "out": v.text,
}


@dataclass(frozen=True)
class Table:
    """One table of the file; ``named`` ones hold a table per name, ``subtables`` further ones."""

    fields: Fields
    named: bool = False
    subtables: tuple[str, ...] = ()


TABLES: Mapping[str, Table] = {
    "model": Table(MODEL),
    "input": Table(INPUT, named=True),
    "data": Table(DATA, subtables=("calibration", "test")),
    "task": Table(TASK),
    "sla": Table(SLA),
    "target": Table(TARGET, named=True),
    "env": Table(ENV, named=True),
    "run": Table(RUN),
}
#: Tables under ``[data]``.
SETS: Mapping[str, Table] = {"calibration": Table(SET), "test": Table(SET)}
