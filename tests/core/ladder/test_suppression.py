"""Thresholds of suppression, read from graphs and held against one another and the task."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from seatrial.ladder.suppression_child import Suppression, SuppressionRequest, read
from seatrial.tasks.base import TaskSpec
from seatrial.testing.local import LocalJob
from seatrial.trial.suppression import against_task, unequal


def model(path: Path, iou: float | None, score: float | None, *, constant: bool = False) -> Path:
    """A graph of one NonMaxSuppression; settings as initializers or as Constant nodes."""
    values = {"most": np.array([9], np.int64)}
    values |= {} if iou is None else {"iou": np.array([iou], np.float32)}
    values |= {} if score is None else {"score": np.array(score, np.float32)}
    inputs = ["boxes", "scores", *(n if n in values else "" for n in ("most", "iou", "score"))]
    node = helper.make_node("NonMaxSuppression", inputs, ["kept"], name="nms")
    tensors = [numpy_helper.from_array(v, n) for n, v in values.items()]
    nodes = [helper.make_node("Constant", [], [t.name], value=t) for t in tensors]
    graph = helper.make_graph(
        [*nodes, node] if constant else [node],
        "g",
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 5, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 2, 5]),
        ],
        [helper.make_tensor_value_info("kept", TensorProto.INT64, ["n", 3])],
        initializer=[] if constant else tensors,
    )
    path.parent.mkdir()
    onnx.save(helper.make_model(graph), path)
    return path


def test_thresholds_are_read_and_compared(tmp_path: Path) -> None:
    job = LocalJob(tmp_path / "job")
    files = [
        model(tmp_path / "a" / "m.onnx", 0.5, 0.25),
        model(tmp_path / "b" / "m.onnx", 0.5, 0.25, constant=True),
        model(tmp_path / "c" / "m.onnx", 0.75, 0.25),
        model(tmp_path / "d" / "m.onnx", None, None),
    ]
    request = SuppressionRequest(models=tuple(job.add(f.parent, f.name) for f in files))
    first, same, other, bare = read(request, job).models
    assert first == (Suppression(node="nms", most=9.0, iou=0.5, score=0.25),)
    assert bare == (Suppression(node="nms", most=9.0, iou=0.0, score=None),)
    assert unequal(first, same) == ""
    assert "iou_threshold of 'nms' is 0.5 in the float model and 0.75 here" in unequal(first, other)
    assert "not set" in unequal(first, (Suppression(node="nms", most=9.0, iou=0.5, score=None),))
    assert "0 NonMaxSuppression nodes, the float model has 1" in unequal(first, ())


def test_a_task_that_cuts_what_the_graph_keeps() -> None:
    own = (Suppression(node="nms", most=100.0, iou=0.5, score=0.05),)

    def told(**options: Any) -> list[str]:
        found: Any = SimpleNamespace(task=TaskSpec(name="detect", options=options))
        return against_task(own, found)

    assert told() == []
    assert "drops boxes" in told(score_threshold=0.3)[0]
    assert "suppressed twice" in told(nms="host")[0]
    assert "fewer than 300" in told(max_detections=300)[0]
