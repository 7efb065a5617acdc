"""Which inputs the rounds are fed, and whether the latency depends on them.

Inputs are taken from the whole store, in an order of which every stretch is spread over it: a
round is short, files are sorted, and a quantile of a few neighbours says nothing of the rest.
Latencies are kept by input. An input that seems slow is timed again beside a quick one, in turns:
a burst of the machine does not come back six times, another path through the model does.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from seatrial.results import Ref
from seatrial.session import PREPARED_BYTES

from .stats import quantile

#: Inputs that rounds go through, at most.
MOST = 1024

#: Of two inputs one is slower than the other from this ratio on.
SLOWER = 1.25

#: And by so many milliseconds: below that it is dispatch.
SLOWER_MS = 0.02

#: A new input may be so much slower than one that was fed before, for caches of the input alone.
NEW_SLOWER = 1.5

#: Pairs of calls after which the interval of a median ratio has a lower end.
PAIRS = 6

#: Suspects that are timed again, and seconds that this may take before it is only one.
SUSPECTS, AGAIN_S = 3, 5.0

#: Steps of this share of the store spread any number of them evenly over it.
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Feed:
    """What a contestant is fed: a store and how many samples it holds."""

    samples: Ref
    count: int


def spread(count: int, most: int) -> tuple[int, ...]:
    """At most ``most`` of ``count`` samples, each once; every stretch of them covers the store."""
    steps = (int(count * (k * _GOLDEN % 1.0)) for k in range(2 * min(count, most)))
    return tuple(dict.fromkeys([*steps, *range(count)]))[: min(count, most)]


@dataclass
class Inputs:
    """The inputs of one contestant, taken in turn from visit to visit, with their latencies.

    Args:
        feed: what they are taken from.
        batch: samples of one input.
    """

    feed: Feed
    batch: int = 1
    seen: dict[int, list[float]] = field(default_factory=dict)
    fed: set[int] = field(default_factory=set)
    _turn: int = 0

    def __post_init__(self) -> None:
        order = spread(self.feed.count, MOST * self.batch)
        many = range(max(1, len(order) // self.batch))
        self._groups = [
            [order[(g * self.batch + j) % len(order)] for j in range(self.batch)] for g in many
        ]
        size = self.feed.samples.bytes * self.batch / max(1, self.feed.count)
        # More than can be prepared before the clock starts are not fed in one visit.
        self._at_once = max(1, int(PREPARED_BYTES / size)) if size else len(many)

    def turns(self, calls: int) -> list[int]:
        """Numbers of the inputs of a visit; the next visit goes on where this one ends."""
        fed = min(calls, self._at_once)
        turns = [(self._turn + k % fed) % len(self._groups) for k in range(calls)]
        self._turn = (self._turn + fed) % len(self._groups)
        self.fed.update(turns)
        return turns

    @property
    def familiar(self) -> list[int]:
        """Inputs that were timed, of middling latency; as many as make the pairs, if there are."""
        order = sorted(self.seen, key=lambda i: min(self.seen[i]))
        start = max(0, (len(order) - PAIRS) // 2)
        return [order[start + k % len(order)] for k in range(PAIRS)] if order else []

    @property
    def strange(self) -> list[int]:
        """Inputs that were never fed, for the pairs."""
        left = (i for i in range(len(self._groups)) if i not in self.fed)
        return list(itertools.islice(left, PAIRS))

    def indices(self, turns: Sequence[int]) -> list[int]:
        """The samples of these inputs."""
        return [i for turn in turns for i in self._groups[turn]]

    def note(self, turns: Sequence[int], latencies: Sequence[float]) -> None:
        """Keep the latencies of a timed visit, milliseconds."""
        for turn, ms in zip(turns, latencies, strict=False):
            self.seen.setdefault(turn, []).append(ms)


def varies(
    seen: Mapping[int, Sequence[float]], again: Callable[[Sequence[int]], Sequence[float]]
) -> tuple[float, float] | None:
    """How long a quick and a slow input take, if the latency depends on the input.

    Args:
        seen: latencies by input, milliseconds.
        again: times inputs in the order given; nothing: it failed.

    Returns:
        The medians of both; ``None`` when no input is slower than others beyond noise.
    """
    # Noise only adds: the least of an input's latencies has the least of it.
    order = sorted(seen, key=lambda i: min(seen[i]))
    if len(order) < 2:
        return None
    quick = order[len(order) // 10]
    bar = SLOWER * min(seen[quick]) + SLOWER_MS
    suspects = [i for i in reversed(order) if min(seen[i]) > bar]
    if not suspects:
        return None
    costly = SUSPECTS * PAIRS * (min(seen[quick]) + min(seen[suspects[0]])) / 1e3 > AGAIN_S
    some = 1 if costly else SUSPECTS
    # The worst of them may be bursts: others from among them are tried as well.
    picked = list(dict.fromkeys(suspects[k * len(suspects) // some] for k in range(some)))

    def differ(one: int) -> tuple[float, float] | None:
        times = again((quick, one) * PAIRS)
        told = slower(times[1::2], times[::2])
        return (statistics.median(times[::2]), statistics.median(times[1::2])) if told else None

    # Twice: on a busy machine six pairs are once in a while all the same way round.
    found = [told for one in picked if differ(one) and (told := differ(one))]
    return max(found, key=lambda pair: pair[1], default=None)


def slower(these: Sequence[float], those: Sequence[float], ratio: float = SLOWER) -> bool:
    """Whether the former of calls made in pairs take ``ratio`` times as long, beyond noise."""
    ratios = [a / b for a, b in zip(these, those, strict=True) if b > 0]
    if not ratios or statistics.median(these) - statistics.median(those) <= SLOWER_MS:
        return False
    low = quantile([ratios], 0.5).low
    return low is not None and low > ratio
