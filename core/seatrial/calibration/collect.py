"""Run the observed model over the samples, in memory that does not grow with them.

Runs in a child only.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Any

from seatrial.quantize.graph import Graph
from seatrial.reference import ReferenceSession, open_model, with_outputs
from seatrial.samples import Samples

from .histogram import Dyadic
from .observe import Probe, observed, open_observed
from .pick import pick, places
from .survey import REOPEN
from .types import EXTREMES, SAMPLED, NonFinite, TensorRange

#: More inferences at a time than this only costs memory.
WORKERS_MAX = 4

#: Weight of a new sample in the moving averages, as in common implementations of Jacob et al.
#: 2018, section 3.1.
MOVING = 0.01

#: How many occurrences of NaN and infinity are named.
NAMED_MAX = 100


@dataclass
class Extremes:
    """Running statistics of one tensor."""

    lo: float = 0.0
    hi: float = 0.0
    count: int = 0
    nonfinite: int = 0
    lo_sum: float = 0.0
    hi_sum: float = 0.0
    lo_sample: str = ""
    hi_sample: str = ""
    lo_moving: float = 0.0
    hi_moving: float = 0.0
    histogram: Dyadic | None = None

    def add(self, lo: float, hi: float, sample: str) -> None:
        """Take in the extremes of one finite sample."""
        if not self.count or lo < self.lo:
            self.lo, self.lo_sample = lo, sample
        if not self.count or hi > self.hi:
            self.hi, self.hi_sample = hi, sample
        weight = MOVING if self.count else 1.0
        self.lo_moving += weight * (lo - self.lo_moving)
        self.hi_moving += weight * (hi - self.hi_moving)
        self.count += 1
        self.lo_sum += lo
        self.hi_sum += hi

    def result(self) -> TensorRange:
        """The finished range."""
        n = max(self.count, 1)
        return TensorRange(
            lo=self.lo,
            hi=self.hi,
            count=self.count,
            nonfinite=self.nonfinite,
            lo_mean=self.lo_sum / n,
            hi_mean=self.hi_sum / n,
            lo_sample=self.lo_sample,
            hi_sample=self.hi_sample,
            lo_moving=self.lo_moving,
            hi_moving=self.hi_moving,
            histogram=self.histogram.packed() if self.histogram is not None else None,
        )


@dataclass
class Collector:
    """Extremes of the chosen tensors over samples.

    Args:
        graph: prepared; it is not kept.
        tensors: activations and inputs to observe.
        scratch: a folder for temporary files.
        again: gives the prepared graph once more, to look for a NaN.
        statistics: one of :data:`seatrial.calibration.types.STATISTICS`.
        seed: of the elements picked for histograms.
    """

    graph: InitVar[Graph]
    tensors: Sequence[str]
    scratch: Path
    again: Callable[[], Graph]
    statistics: str = EXTREMES
    seed: int = 0
    ranges: dict[str, Extremes] = field(default_factory=dict)
    nonfinite: list[NonFinite] = field(default_factory=list)
    note: str = ""

    def __post_init__(self, graph: Graph) -> None:
        inputs = set(graph.inputs)
        self.from_feeds = [t for t in self.tensors if t in inputs]
        computed = [t for t in self.tensors if t not in inputs]
        model, self.probes = observed(graph, computed, self.statistics, self.seed)
        self.session: ReferenceSession | None = None
        if self.probes:
            self.session, self.note = open_observed(model, graph.folder, self.scratch)
        counted = self.statistics != EXTREMES
        self.ranges = {n: Extremes(histogram=Dyadic() if counted else None) for n in self.tensors}
        self.places = places(self.seed) if self.statistics == SAMPLED else None

    def run(self, samples: Samples, indices: Sequence[int], threads: int = 0) -> Iterator[int]:
        """Observe samples, several at a time; yields how many are done."""
        workers = threads or min(os.cpu_count() or 1, WORKERS_MAX)
        ids = samples.ids
        give_back()
        groups: Iterator[tuple[int, ...]] = ((i,) for i in indices)
        if self.session is not None:
            groups = self.session.groups(samples, indices)
        with ThreadPoolExecutor(workers) as pool:
            running = deque(
                self._submit(pool, samples, g) for g in itertools.islice(groups, workers)
            )
            done = 0
            for turn in itertools.count(1):
                if not running:
                    break
                group, feeds, outputs = running.popleft().result()
                if turn % REOPEN == 0:
                    samples = Samples(samples.root)
                running.extend(self._submit(pool, samples, g) for g in itertools.islice(groups, 1))
                self._take(ids[group[0]], feeds, outputs)
                done += len(set(group))
                yield done

    def _submit(
        self, pool: ThreadPoolExecutor, samples: Samples, group: tuple[int, ...]
    ) -> Future[Any]:
        return pool.submit(self._one, samples, group)

    def _one(self, samples: Samples, group: tuple[int, ...]) -> tuple[Any, Any, dict[str, Any]]:
        feeds = samples.feeds(group)
        if self.session is None:
            return group, feeds, {}
        return group, feeds, self.session.run({n: feeds[n] for n in self.session.inputs})

    def _take(self, sample: str, feeds: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        suspects = []
        for name in self.from_feeds:
            value = feeds[name]
            low, high = float(value.min()), float(value.max())  # a NaN goes through both
            if math.isfinite(low) and math.isfinite(high):
                self._count(name, value)
                self.ranges[name].add(low, high, sample)
            else:
                suspects.append(name)
        for probe in self.probes:
            extremes = _extremes(probe, outputs)
            if extremes is None:
                suspects.append(probe.tensor)
            else:
                self.ranges[probe.tensor].add(*extremes, sample)
                if probe.picked:
                    peak = max(-extremes[0], extremes[1])
                    self._count(probe.tensor, outputs[probe.picked], peak)
        if suspects:
            self._examine(sample, feeds, suspects)

    def _count(self, name: str, values: Any, peak: float | None = None) -> None:
        """Take elements into the histogram: picked ones with their bound, else a whole tensor."""
        histogram = self.ranges[name].histogram
        if histogram is not None:
            whole = peak is not None or self.places is None
            histogram.add(values if whole else pick(values, self.places), peak)

    def _examine(self, sample: str, feeds: Mapping[str, Any], suspects: Sequence[str]) -> None:
        """Look at every element of tensors whose statistics were not finite."""
        import numpy as np

        computed = [t for t in suspects if t not in feeds]
        values = dict(feeds)
        if computed:
            graph = self.again()
            source = with_outputs(graph.model, computed)
            session = open_model(source, folder=graph.folder, threads=1)
            values |= session.run({n: feeds[n] for n in session.inputs})
        for name in suspects:
            value = values[name]
            bad = int(np.count_nonzero(~np.isfinite(value)))
            if not bad:  # only the mean overflowed
                self._count(name, value)
                self.ranges[name].add(float(value.min()), float(value.max()), sample)
                continue
            self.ranges[name].nonfinite += 1
            if len(self.nonfinite) < NAMED_MAX:
                self.nonfinite.append(NonFinite(sample=sample, tensor=name, elements=bad))


def give_back() -> None:
    """Return freed memory to the system, where the C library can: set-up leaves twice the model."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _extremes(probe: Probe, outputs: Mapping[str, Any]) -> tuple[float, float] | None:
    """Smallest and largest value of a tensor, or ``None`` when one of them may not be finite."""
    import numpy as np

    high = float(outputs[probe.high].max())
    low = 0.0
    if probe.low:
        value = outputs[probe.low]
        low = -float(value.max()) if probe.channels else float(value.min())
    finite = math.isfinite(high) and math.isfinite(low)
    if probe.mean and not np.isfinite(outputs[probe.mean]).all():
        finite = False
    return (low + 0.0, high) if finite else None
