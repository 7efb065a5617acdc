"""Samples that stand out before any model is run. Runs in a child only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seatrial.samples import Samples

from .types import NonFinite, SampleFlags


class Flags:
    """Samples that are constant, all zero, or not finite, found on the way."""

    def __init__(self, found: SampleFlags | None = None) -> None:
        found = found or SampleFlags()
        self.constant = list(found.constant)
        self.zero = list(found.zero)
        self.nonfinite = list(found.nonfinite)

    def add(
        self,
        names: Sequence[str],
        rows: Mapping[str, tuple[Any, Any]],
        feeds: Mapping[str, Any] | None,
    ) -> None:
        """Take in samples that were fed together.

        Args:
            names: their ids.
            rows: by input: smallest and largest value of each sample, NaN where one is.
            feeds: the inputs, needed only where something is not finite.
        """
        import numpy as np

        for k, name in enumerate(names):
            ends = {t: (low[k], high[k]) for t, (low, high) in rows.items() if k < len(low)}
            bad = [t for t, pair in ends.items() if not np.isfinite(pair).all()]
            for tensor in bad:
                value = (feeds or {})[tensor]
                part = value[k] if len(rows[tensor][0]) > 1 else value
                count = int(np.count_nonzero(~np.isfinite(part)))
                self.nonfinite.append(NonFinite(sample=name, tensor=tensor, elements=count))
            if not bad and ends and all(low == high for low, high in ends.values()):
                zero = all(low == 0 for low, _ in ends.values())
                (self.zero if zero else self.constant).append(name)

    def found(self) -> SampleFlags:
        """All of them."""
        return SampleFlags(
            constant=tuple(self.constant), zero=tuple(self.zero), nonfinite=tuple(self.nonfinite)
        )


def survey_samples(samples: Samples, indices: Sequence[int]) -> SampleFlags:
    """Look at samples without a model, one in memory at a time."""
    flags = Flags()
    for i in indices:
        feeds = samples.feeds([i])
        flags.add([samples.index["samples"][i]["id"]], ends(feeds, 1), feeds)
    return flags.found()


def ends(feeds: Mapping[str, Any], count: int) -> dict[str, tuple[Any, Any]]:
    """Smallest and largest value of each sample, by input of numbers; a NaN goes through both.

    Args:
        feeds: as a session takes them.
        count: samples in them.
    """
    import numpy as np

    found = {}
    for name, value in feeds.items():
        if np.issubdtype(value.dtype, np.number) and value.size:
            rows = value.reshape(count if len(np.atleast_1d(value)) == count else 1, -1)
            found[name] = (rows.min(1), rows.max(1))
    return found
