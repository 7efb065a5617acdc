"""Finding the worst quantisers with few evaluations. Pure: the caller gives the loss of a set.

Groups first, then best-first division: the group with the greatest loss is divided, the members
that are thought worst on one side. A loss that grows with the set bounds the loss of its members,
so once a lone member has more than every group left, nothing in those groups is worse.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Members = tuple[str, ...]

#: Groups with less than this share of the loss are not divided.
NEGLIGIBLE = 0.01


@dataclass
class Evaluations:
    """Losses of sets of quantisers, each evaluated once.

    Args:
        measure: runs the network with exactly these quantisers on.
        most: sets that may be measured.
        left: whether there is time for one more.
        reserve: sets that are kept for later.
    """

    measure: Callable[[frozenset[str]], float]
    most: int
    left: Callable[[], bool] = lambda: True
    known: dict[frozenset[str], float] = field(default_factory=dict)
    reserve: int = 0

    @property
    def spent(self) -> bool:
        """No further set may be measured."""
        return len(self.known) + self.reserve >= self.most or not self.left()

    def loss(self, members: Iterable[str]) -> float:
        """The loss of a set; measured if it is not known."""
        key = frozenset(members)
        if key not in self.known:
            self.known[key] = self.measure(key)
        return self.known[key]


@dataclass
class Found:
    """What the search knows at its end.

    Attributes:
        alone: loss of single members, as measured.
        groups: sets that were not divided any further, with their loss.
        complete: no group left may hold a member worse than the worst that were found.
    """

    alone: dict[str, float] = field(default_factory=dict)
    groups: list[tuple[Members, float]] = field(default_factory=list)
    complete: bool = True

    def estimates(self, prior: Mapping[str, float]) -> dict[str, float]:
        """A loss for every member: measured, or its share of its group's by the prior."""
        found = dict(self.alone)
        for members, loss in self.groups:
            weights = [prior.get(m, 0.0) for m in members]
            total = sum(weights)
            for member, weight in zip(members, weights, strict=True):
                share = weight / total if total > 0 else 1 / len(members)
                found[member] = loss * share
        return found


def worst(
    groups: Sequence[Sequence[str]],
    prior: Mapping[str, float],
    losses: Evaluations,
    *,
    total: float,
    count: int,
) -> Found:
    """The ``count`` members with the greatest loss by themselves.

    Args:
        groups: disjoint sets to start from.
        prior: a guess at each member's loss; only speed depends on it.
        losses: evaluates sets.
        total: loss of everything together.
        count: how many members are wanted.
    """
    found, turn = Found(), itertools.count()
    heap: list[tuple[float, int, Members]] = []

    def push(members: Members) -> None:
        if members:
            heapq.heappush(heap, (-losses.loss(members), next(turn), members))

    for group in groups:
        if group and losses.spent:
            found.complete = False
            found.groups.append((tuple(group), 0.0))
            continue
        push(tuple(sorted(group, key=lambda m: -prior.get(m, 0.0))))
    while heap:
        negative, _, members = heapq.heappop(heap)
        loss = -negative
        if len(members) == 1:
            found.alone[members[0]] = loss
            continue
        enough = len(found.alone) >= count or loss <= NEGLIGIBLE * total
        if enough or losses.spent:
            found.complete = found.complete and enough
            found.groups.append((members, loss))
            continue
        for half in divided(members, prior):
            push(half)
    return found


def divided(members: Members, prior: Mapping[str, float]) -> tuple[Members, Members]:
    """Two parts of about equal weight by the prior; neither is empty.

    Args:
        members: at least two, the heaviest first.
        prior: weights, 0 or more.
    """
    total = sum(prior.get(m, 0.0) for m in members)
    passed, cut = 0.0, 0
    while cut < len(members) - 1 and (cut == 0 or passed < total / 2):
        passed += prior.get(members[cut], 0.0)
        cut += 1
    if total <= 0:
        cut = len(members) // 2
    return members[:cut], members[cut:]
