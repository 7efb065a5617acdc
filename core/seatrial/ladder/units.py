"""What is judged as one: a sample, or all steps of a sequence, behind one face.

Stores hold steps, one row each, in order; the test store's index says which rows belong together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seatrial.codec import decode, digest
from seatrial.data.contract import Geometry
from seatrial.samples import Samples
from seatrial.tasks.base import Sample


class Units:
    """A sample store, seen in units of what is judged.

    Args:
        samples: test samples, or the outputs for them.
        spans: (first row, row after the last) of each sequence; ``None``: every row is a sample.
    """

    def __init__(self, samples: Samples, spans: Sequence[tuple[int, int]] | None = None) -> None:
        self.samples = samples
        self.spans = spans
        self.names = samples.names
        self.count = samples.count if spans is None else len(spans)

    @property
    def sequences(self) -> bool:
        """Whether a unit is many steps."""
        return self.spans is not None

    def _rows(self, values: Sequence[Any]) -> list[Any]:
        return list(values) if self.spans is None else [values[a] for a, _ in self.spans]

    @property
    def ids(self) -> tuple[str, ...]:
        """Identity of each unit; of a sequence, that of its first step."""
        return tuple(self._rows(self.samples.ids))

    @property
    def groups(self) -> tuple[str, ...]:
        """Group of each unit."""
        return tuple(self._rows(self.samples.groups))

    @property
    def hashes(self) -> tuple[str, ...]:
        """Content of each unit."""
        hashes = self.samples.hashes
        if self.spans is None:
            return hashes
        return tuple(digest(list(hashes[a:b])) for a, b in self.spans)

    @property
    def labels(self) -> tuple[Any, ...] | None:
        """One label per unit; of a sequence whose steps are labelled, the list of theirs."""
        labels = self.samples.labels
        if labels is None or self.spans is None:
            return labels
        if not self.samples.index.get("step_labels"):
            return tuple(self._rows(labels))
        return tuple(list(labels[a:b]) for a, b in self.spans)

    def ragged(self, name: str) -> bool:
        """Whether the shape of a tensor differs from sample to sample."""
        return self.samples.shape(name) is None

    def one(self, name: str, i: int) -> Any:
        """One tensor of one unit; of a sequence, a row per step."""
        if self.spans is None:
            return self.samples.one(name, i)
        import numpy as np

        first, last = self.spans[i]
        return np.stack([self.samples.one(name, k) for k in range(first, last)])

    def facts(self) -> list[Sample]:
        """What tasks are told of each unit."""
        shape = _picture(self.samples)
        return [
            Sample(
                id=row["id"],
                geometry={n: decode(Geometry, g) for n, g in row.get("geometry", {}).items()},
                shape=shape,
            )
            for row in self._rows(self.samples.index["samples"])
        ]


def spans(test: Samples) -> tuple[tuple[int, int], ...] | None:
    """Rows of each sequence of a test store; ``None`` when it holds none."""
    if not test.index.get("state"):
        return None
    starts = [i for i in range(test.count) if not test.follows(i)]
    return tuple(zip(starts, [*starts[1:], test.count], strict=True))


def _picture(samples: Samples) -> tuple[int, ...]:
    """(height, width) of the first input with 1, 3 or 4 channels; empty: there is none."""
    for name in samples.names:
        shape = tuple(d for d in samples.shape(name) or ())
        shape = shape[1:] if len(shape) == 4 and shape[0] == 1 else shape
        if len(shape) == 3 and shape[0] in (1, 3, 4):
            return shape[1:]
        if len(shape) == 3 and shape[2] in (1, 3, 4):
            return shape[:2]
    return ()
