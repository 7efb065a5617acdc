"""Single facts in words."""

from __future__ import annotations

import pytest

from seatrial.report import facts, rows


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"max_drop": 1.0}, "drop at most 1 point"),
        ({"max_drop": 11.0}, "drop at most 11 points"),
        ({"device_drop": 0.5}, "device drop at most 0.5 points"),
    ],
)
def test_a_limit_of_one_is_one_point(limits, said):
    assert facts.limits({"sla": rows.sla(**limits)}) == said


@pytest.mark.parametrize(
    ("resize", "left_out"),
    [
        ({"resize": "none", "resize_to": 0}, "resize interpolation pad_value pad_side resize_to"),
        ({"resize": "crop", "resize_to": 256}, "pad_value pad_side"),
        ({"resize": "letterbox", "resize_to": 0}, "resize_to"),
    ],
)
def test_settings_that_do_nothing_are_not_told(resize, left_out):
    contract = {"mode": "image", "interpolation": "bilinear", "pad_value": 114}
    contract |= {"pad_side": "center", **resize}
    (line,) = facts.inputs({"input_contract": {"x": contract}})
    told = {part.split(" ")[0] for part in line.removeprefix("x: ").split(", ")}
    assert told == set(contract) - set(left_out.split())
