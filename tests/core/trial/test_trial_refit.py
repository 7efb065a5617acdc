"""Which other ways of feeding are tried, and when there is nothing to tell."""

from __future__ import annotations

from seatrial.data.contract import InputContract
from seatrial.trial.refit import _matters, _others, _title


def test_the_other_ways_are_those_that_differ() -> None:
    stretch = InputContract(size=(64, 64), resize="stretch")
    titles = [_title(c) for c in _others(stretch)]
    assert titles[0] == "crop" and len(titles) == len(set(titles)) == 5
    assert "letterbox (centred, padded with 0)" in titles
    boxed = InputContract(size=(64, 64), resize="letterbox", pad_value=(7.0,))
    assert [_title(c) for c in _others(boxed)] == [
        "stretch",
        "crop",
        "letterbox (top left, padded with 7)",
    ]


def test_pictures_of_the_inputs_own_aspect_tell_nothing() -> None:
    contract = InputContract(size=(64, 64), resize="stretch")

    def rows(*sizes: tuple[int, int]) -> list[dict[str, object]]:
        return [{"geometry": {"x": {"size": list(size)}}} for size in sizes]

    assert not _matters(rows((100, 100), (64, 66)), contract)
    assert not _matters([], contract)
    assert _matters(rows((100, 100), (64, 100)), contract)
