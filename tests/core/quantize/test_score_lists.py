"""Likeness of lists, whose length and order are not fixed: a detector's boxes."""

from __future__ import annotations

import numpy as np
import pytest

from seatrial.errors import UserError
from seatrial.quantize.score import Totals


def score(expected: np.ndarray, got: np.ndarray) -> float:
    totals = Totals()
    totals.add({"boxes": np.float32(expected)[None]}, {"boxes": np.float32(got)[None]})
    return totals.relative[0]


def test_a_row_more_costs_what_it_is_away_from_its_nearest() -> None:
    rng = np.random.default_rng(0)
    boxes = rng.uniform(0, 60, (8, 4))
    twin = np.concatenate([boxes[::-1], boxes[3:4] + 0.5])
    stray = np.concatenate([boxes, [[0, 0, 500, 500]]])
    assert score(boxes, twin) < 1e-4
    assert score(boxes, boxes[:7]) > score(boxes, twin)
    assert score(boxes, stray) > 10 * score(boxes, boxes[:7])


def test_an_empty_list_is_all_or_nothing() -> None:
    boxes = np.full((3, 4), 5.0)
    assert score(boxes, np.zeros((0, 4))) == pytest.approx(1.0)
    assert score(np.zeros((0, 4)), boxes) == 1.0
    assert score(np.zeros((0, 4)), np.zeros((0, 4))) == 0.0


def test_other_shapes_are_another_output() -> None:
    with pytest.raises(UserError, match="lacks this output"):
        score(np.zeros((3, 4)), np.zeros((2, 5)))
