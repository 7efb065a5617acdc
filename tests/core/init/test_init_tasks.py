"""The task that outputs point to, and a table that the configuration reads back."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from seatrial.config import load
from seatrial.errors import UserError
from seatrial.init.render import Plan, render
from seatrial.init.tasks import guess
from seatrial.ladder.child import ready
from seatrial.ladder.records import ReadyRequest
from seatrial.results import TensorIO
from seatrial.tasks.base import TaskSpec
from seatrial.tasks.base import load as load_task


def tensor(name: str, *shape: Any, dtype: str = "float32") -> TensorIO:
    return TensorIO(name=name, dtype=dtype, shape=shape)


IMAGE = tensor("image", 1, 3, 64, 64)
STATE = (tensor("state", 2, "b", 8), tensor("stateN", "?", "?", "?"))


def model(inputs: list[TensorIO], outputs: list[TensorIO], *ops: str) -> Any:
    known = dict.fromkeys(ops, 1)
    return SimpleNamespace(inputs=tuple(inputs), outputs=tuple(outputs), op_types=known)


ROWS, BOXES = tensor("scores", 1, 4420, 2), tensor("boxes", 1, 4420, 4)
LISTS = [tensor("b", "n", 4), tensor("s", "n")]
STEPS = model([tensor("input", 1, 9), STATE[0]], [tensor("output", 1, 1), STATE[1]])


@pytest.mark.parametrize(
    ("facts", "kind", "words"),
    [
        (model([IMAGE], [ROWS, BOXES]), "detect", ('boxes = "boxes"', 'scores = "scores"')),
        (model([IMAGE], LISTS, "NonMaxSuppression"), "detect", ('nms = "graph"',)),
        (model([IMAGE], [tensor("o", 1, 300, 6)]), "detect", ('head = "detections"',)),
        (model([IMAGE], [tensor("o", 1, 1, 100, 7)]), "detect", ('head = "ssd"',)),
        (model([IMAGE], [tensor("o", 1, 84, 8400)]), "detect", ('head = "yolo8"',)),
        (model([IMAGE], [tensor("o", 1, 25200, 85)]), "detect", ('head = "yolo5"',)),
        (model([IMAGE], [tensor("logits", 1, 21, 64, 64)]), "segment", ('output = "logits"',)),
        (STEPS, "sequence", ('"stateN" = "state"', 'output = "output"')),
        (model([IMAGE], [tensor("logits", 1, 1000)]), "", ()),
        (model([IMAGE], [tensor("picture", 1, 3, 64, 64)]), "", ()),
        (model([IMAGE], [tensor("features", 1, 64, 8, 8)]), "", ()),
    ],
)
def test_what_outputs_look_like(
    tmp_path: Path, facts: Any, kind: str, words: tuple[str, ...]
) -> None:
    found = guess(facts)
    assert (found.kind if found else "") == kind
    plan = Plan(model="m.onnx", inputs=(), labelled=True, classifier=True, task=found)
    text = render(plan)
    assert [w for w in words if w not in text] == []
    (tmp_path / "seatrial.toml").write_text(text)
    config = load(tmp_path / "seatrial.toml")
    assert config.task.kind == (kind or "classify")
    if kind == "detect":
        pytest.importorskip("pycocotools", reason="the extra `detect` is not installed")
    load_task(config.task.spec(labelled=True))


def test_without_labels_the_table_is_a_comment(tmp_path: Path) -> None:
    found = guess(model([IMAGE], [tensor("o", 1, 300, 6)]))
    text = render(Plan(model="m.onnx", inputs=(), data=("",), task=found))
    assert '# kind = "detect"' in text
    (tmp_path / "seatrial.toml").write_text(text)
    assert load(tmp_path / "seatrial.toml").task.kind == "none"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('kind = "detect"\niou_treshold = 0.5', "did you mean 'iou_threshold'"),
        ('kind = "detect"\niou_threshold = "high"', "write a number"),
        ("state = 3", "write a table"),
    ],
)
def test_settings_that_nobody_has(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "seatrial.toml").write_text(f"[task]\n{text}\n")
    with pytest.raises(UserError, match=said):
        load(tmp_path / "seatrial.toml")


def test_a_setting_of_another_task_is_refused_before_anything_is_tried(tmp_path: Path) -> None:
    (tmp_path / "seatrial.toml").write_text('[task]\nkind = "classify"\nk = 3\n')
    spec = load(tmp_path / "seatrial.toml").task.spec(labelled=True)
    refused = ready(ReadyRequest(task=spec), None).refused
    assert refused is not None and "'k'" in refused.reason
    assert ready(ReadyRequest(task=TaskSpec(name="regress")), None).refused is None
    assert ready(ReadyRequest(task=TaskSpec(name="nothing")), None).refused is not None
