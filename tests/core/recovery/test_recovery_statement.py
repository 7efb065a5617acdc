"""Whether INT8 pays is said from the interval, never from the ratio alone."""

from __future__ import annotations

import pytest

from seatrial.benchmark.ranking import Ratio
from seatrial.trial.points import statement


def of(value, low=None, high=None):
    ends = None if low is None else (low, high)
    apart = ends is not None and not low <= 1 <= high
    return Ratio(value=value, ci95=ends, distinguishable=apart)


FASTER, SLOWER, OPEN = of(2.47, 2.41, 2.52), of(0.8, 0.7, 0.9), of(0.97, 0.9, 1.05)
#: Too few rounds for an interval.
FEW = of(0.97)


@pytest.mark.parametrize(
    ("over", "pays", "said"),
    [
        ([FASTER], True, "INT8 pays here: 2.47x FP32, 95 % [2.41, 2.52]"),
        ([FASTER, FASTER], True, "2.47x FP32, 95 % [2.41, 2.52] and 2.47x BF16"),
        ([OPEN], False, "no faster than FP32 (0.97x its speed, 95 % [0.90, 1.05])"),
        ([of(1.03, 0.9, 1.2)], False, "no faster than FP32"),
        ([FASTER, OPEN], False, "no faster than BF16"),
        ([SLOWER], False, "slower than FP32 (0.80x its speed"),
        ([FASTER, SLOWER], False, "slower than BF16"),
        ([OPEN, SLOWER], False, "slower than BF16"),
        ([FEW], None, "too few rounds tell whether INT8 is faster than FP32 (0.97x"),
        ([of(3.0)], None, "too few rounds"),
        ([FASTER, FEW], None, "faster than BF16"),
        ([SLOWER, FEW], False, "slower than FP32"),
    ],
)
def test_int8_pays_only_if_its_whole_interval_is_above_every_float(over, pays, said):
    row = statement("t", list(zip(("FP32", "BF16"), over, strict=False)))
    assert row["pays"] is pays and said in row["text"]
    assert ("INT8 pays here" in row["text"]) is (pays is True)


def test_nothing_is_said_where_no_float_was_timed():
    assert statement("t", []) is None
