"""Finds a short run of nodes that still shows a symptom, with few questions. Pure."""

from __future__ import annotations

from collections.abc import Callable

#: Whether the nodes ``first`` to ``end`` (exclusive) alone show the symptom.
Shows = Callable[[int, int], bool]


def shortest(count: int, shows: Shows) -> tuple[int, int]:
    """A run of nodes that shows the symptom and from whose ends nothing more can be taken.

    First the end is brought forward, then the beginning, each by halving, and then single nodes
    are taken from both ends until neither can go. Halving assumes that a longer run shows what a
    shorter one does; where that does not hold the run is longer than it could be, never wrong:
    every run that is given was asked.

    Args:
        count: nodes of the whole model, of which it is known that it shows the symptom.
        shows: asked about runs; each at most once.

    Example:
        >>> shortest(100, lambda first, end: first <= 41 and end > 43)  # nodes 41 to 43 are needed
        (41, 44)
    """
    asked = {(0, count): True}

    def ask(first: int, end: int) -> bool:
        if (first, end) not in asked:
            asked[first, end] = first < end and shows(first, end)
        return asked[first, end]

    first, end = 0, count
    end = _least(lambda n: ask(first, n), end)
    first = end - _least(lambda n: ask(end - n, end), end - first)
    while end - first > 1 and ask(first, end - 1):
        end -= 1
    while end - first > 1 and ask(first + 1, end):
        first += 1
    return first, end


def _least(holds: Callable[[int], bool], high: int) -> int:
    """The least n for which it holds, if it holds for all larger ones; ``high`` is known to."""
    low = 0
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high
