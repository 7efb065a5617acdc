"""Run the observed model over the samples, in memory that does not grow with them.

Each worker thread infers and counts by itself, so that activations are let go at once; only
extremes, which are small, are put in order. Runs in a child only.
"""

from __future__ import annotations

import itertools
import os
import queue
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from seatrial.reference import open_model, with_outputs
from seatrial.samples import Samples

from .histogram import Dyadic, count
from .pick import Places
from .ready import Ready, give_back
from .running import Running
from .survey import Flags, ends
from .types import EXTREMES, FLAT, MAPS, SAMPLED, NonFinite, Reading

#: More inferences at a time than this only costs memory.
WORKERS_MAX = 4

#: How many occurrences of NaN and infinity are named.
NAMED_MAX = 100


@dataclass
class Seen:
    """What one inference gave.

    Attributes:
        group: the samples, the last one perhaps repeated.
        lo: smallest value by tensor, float64.
        hi: largest value.
        finite: whether both, and every element where that had to be looked at, are finite.
        rows: by input of numbers: extremes of each sample of the group.
        feeds: kept when something was not finite.
    """

    group: tuple[int, ...]
    lo: Any
    hi: Any
    finite: Any
    rows: dict[str, tuple[Any, Any]]
    feeds: dict[str, Any] | None = None


class Extremes:
    """Reads the joined statistics of an observed graph.

    Args:
        reading: where each lies.
    """

    def __init__(self, reading: Reading) -> None:
        import numpy as np

        self.starts = np.cumsum([0, *reading.sizes[:-1]])
        self.high, self.low, self.mean = (
            np.array(part, np.int64) for part in (reading.high, reading.low, reading.mean)
        )
        self.sign = np.where(reading.negated, -1.0, 1.0)

    def read(self, maps: Any | None, flat: Any | None) -> tuple[Any, Any, Any]:
        """Smallest and largest value of each tensor, and whether it is finite.

        Args:
            maps: maxima per channel, shape (N, channels, 1, 1).
            flat: single numbers, shape (count,).
        """
        import numpy as np

        parts = [np.zeros(0)]
        if maps is not None:
            widest = maps.max(0).reshape(-1).astype(np.float64)  # a NaN goes through
            parts.append(np.maximum.reduceat(widest, self.starts))
        if flat is not None:
            parts.append(flat.astype(np.float64))
        values = np.append(np.concatenate(parts), 0.0)  # -1 finds the 0
        hi, lo = values[self.high], self.sign * values[self.low]
        finite = np.isfinite(hi) & np.isfinite(lo) & np.isfinite(values[self.mean])
        return lo, hi, finite


@dataclass
class Collector:
    """Statistics of the observed tensors over samples.

    Args:
        ready: the observed graph.
        again: gives the prepared graph once more, to look for a NaN.
        statistics: one of :data:`seatrial.calibration.types.STATISTICS`.
        seed: of the elements picked for histograms.

    Attributes:
        running: extremes of all tensors, inputs first.
        histograms: by tensor, or none; complete when no inference is under way.
        done: samples taken in.
        late: what was counted of suspects, after all.
    """

    ready: Ready
    again: Callable[[], Any]
    statistics: str = EXTREMES
    seed: int = 0
    nonfinite: list[NonFinite] = field(default_factory=list)
    flags: Flags = field(default_factory=Flags)
    done: int = 0
    late: list[Dyadic] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.running = Running(self.ready.tensors)
        self.histograms = self._empty()
        self.session = self.ready.open()
        self.extremes = Extremes(self.ready.reading)

    def _empty(self) -> list[Dyadic]:
        counted = self.statistics != EXTREMES
        return [Dyadic() for _ in self.ready.tensors] if counted else []

    def run(
        self,
        samples: Samples,
        indices: Sequence[int],
        threads: int = 0,
        pause: Callable[[], bool] = lambda: False,
    ) -> Iterator[bool]:
        """Observe samples, several at a time, going on where :attr:`done` says.

        Args:
            samples: the store.
            indices: all samples of the pass.
            threads: inferences at a time; 0: one per core, at most :data:`WORKERS_MAX`.
            pause: asked after each inference whether to let all threads come to an end.

        Yields:
            After each inference: whether the statistics are complete up to :attr:`done`.
        """
        workers = worker_count(threads)
        groups: Iterator[tuple[int, ...]] = ((i,) for i in indices[self.done :])
        if self.session is not None:
            groups = self.session.groups(samples, indices[self.done :])
        spare: queue.SimpleQueue[list[Dyadic]] = queue.SimpleQueue()
        spare.put(self.histograms)
        for _ in range(workers - 1):
            spare.put(self._empty())

        def work(group: tuple[int, ...]) -> Seen:
            histograms = spare.get()
            try:
                return self._one(samples, group, histograms)
            finally:
                spare.put(histograms)

        give_back()
        with ThreadPoolExecutor(workers) as pool:
            under_way: deque[Future[Seen]] = deque()
            pausing = False
            while True:
                wanted = 0 if pausing else workers + 1 - len(under_way)
                under_way.extend(pool.submit(work, g) for g in itertools.islice(groups, wanted))
                if not under_way:
                    return
                self._take(samples, under_way.popleft().result(), len(indices))
                pausing = (pausing or pause()) and bool(under_way)
                if not under_way:
                    self._gather(spare, workers)
                yield not under_way

    def _gather(self, spare: queue.SimpleQueue[list[Dyadic]], workers: int) -> None:
        """Add up what the threads have counted."""
        parts = [spare.get() for _ in range(workers)]
        others = [part for part in (*parts, self.late) if part and part is not self.histograms]
        for part in others:
            for total, more in zip(self.histograms, part, strict=True):
                total.merge(more)
        for part in parts:
            spare.put(part)

    def _one(self, samples: Samples, group: tuple[int, ...], histograms: list[Dyadic]) -> Seen:
        """One inference and its counting; in a worker thread."""
        import numpy as np

        feeds = samples.feeds(group)
        rows = ends(feeds, len(group))
        own = [rows[name] for name in self.ready.inputs]
        lo = np.array([low.min() for low, _ in own], np.float64)
        hi = np.array([high.max() for _, high in own], np.float64)
        finite = np.isfinite(lo) & np.isfinite(hi)
        outputs: Mapping[str, Any] = {}
        places = self._places(group)
        if self.session is not None:
            given = feeds if places is None else {**feeds, **places.feeds(self.ready.reading)}
            outputs = self.session.view({n: given[n] for n in self.session.inputs})
            inner = self.extremes.read(outputs.get(MAPS), outputs.get(FLAT))
            lo, hi, finite = (
                np.concatenate(pair) for pair in zip((lo, hi, finite), inner, strict=True)
            )
        if histograms:
            picked = {
                n: feeds[n] if places is None else places.pick(feeds[n]) for n in self.ready.inputs
            }
            self._count(histograms, {**outputs, **picked}, lo, hi, finite)
        whole = finite.all() and all(np.isfinite(pair).all() for pair in rows.values())
        return Seen(group, lo, hi, finite, rows, None if whole else feeds)

    def _count(
        self, histograms: list[Dyadic], picked: Mapping[str, Any], lo: Any, hi: Any, finite: Any
    ) -> None:
        names, peaks = (
            (*self.ready.inputs, *self.ready.reading.picked),
            [max(-low, high) for low, high in zip(lo, hi, strict=True)],
        )
        count(
            (histograms[k], picked[names[k]], float(peaks[k]), bool(lo[k] >= 0))
            for k in finite.nonzero()[0]
        )

    def _places(self, group: tuple[int, ...]) -> Places | None:
        return Places(self.seed, group[0]) if self.statistics == SAMPLED else None

    def _take(self, samples: Samples, seen: Seen, total: int) -> None:
        """Take in what one inference gave; in the order of the samples."""
        self.running.add(seen.lo, seen.hi, seen.finite, seen.group[0])
        new = seen.group[: total - self.done]
        names = [samples.index["samples"][i]["id"] for i in new]
        self.flags.add(names, seen.rows, seen.feeds)
        self.done += len(new)
        if not seen.finite.all() and seen.feeds is not None:
            self._examine(seen, names[0], seen.feeds)

    def _examine(self, seen: Seen, sample: str, feeds: Mapping[str, Any]) -> None:
        """Look at every element of tensors whose statistics were not finite."""
        import numpy as np

        suspects, places = (~seen.finite).nonzero()[0], self._places(seen.group)
        values = self._values([self.ready.tensors[k] for k in suspects], feeds)
        fine = np.zeros_like(seen.finite)
        for k in suspects:
            name = self.ready.tensors[k]
            value = values[name]
            bad = int(np.count_nonzero(~np.isfinite(value)))
            if bad:
                self.running.values["nonfinite"][k] += 1
                if len(self.nonfinite) < NAMED_MAX:
                    self.nonfinite.append(NonFinite(sample=sample, tensor=name, elements=bad))
                continue
            # Only the mean overflowed.
            fine[k], seen.lo[k], seen.hi[k] = True, value.min(), value.max()
            if self.histograms:
                self.late = self.late or self._empty()
                self.late[k].add(value if places is None else places.pick(value))
        self.running.add(seen.lo, seen.hi, fine, seen.group[0])

    def _values(self, tensors: Sequence[str], feeds: Mapping[str, Any]) -> dict[str, Any]:
        computed = [t for t in tensors if t not in feeds]
        if not computed:
            return dict(feeds)
        graph = self.again()
        source = with_outputs(graph.model, computed)
        session = open_model(source, folder=graph.folder, threads=1)
        return {**feeds, **session.run({n: feeds[n] for n in session.inputs})}


def worker_count(threads: int) -> int:
    """How many inferences run at a time."""
    return threads or min(os.cpu_count() or 1, WORKERS_MAX)
