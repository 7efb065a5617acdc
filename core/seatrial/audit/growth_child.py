"""Core task: INT8 loss by the number of calibration samples; see :mod:`seatrial.audit.growth`."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seatrial.audit import growth
from seatrial.audit.growth_records import Growth, GrowthRequest
from seatrial.calibration.child import ranges
from seatrial.calibration.histogram import unpacked
from seatrial.calibration.table import load, save
from seatrial.calibration.types import (
    EXTREMES,
    FROM_EXTREMES,
    SAMPLED,
    RangesRequest,
    RangeTable,
    TensorRange,
)
from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.quantize.child import insert_into
from seatrial.quantize.score import Judge, Totals
from seatrial.quantize.types import InsertRequest
from seatrial.results import Ref
from seatrial.samples import Samples

#: Share of the time that collecting ranges may take; models and their losses have the rest.
COLLECT = 0.5


def measure(request: GrowthRequest, job: Job) -> Growth:
    """Calibrate on parts of the samples and judge each on the held-out ones.

    Raises:
        UserError: too few samples, or a model that cannot be quantised.
    """
    return _Growth(request, job).run()


class _Growth:
    """One measurement at work."""

    def __init__(self, request: GrowthRequest, job: Job) -> None:
        self.request, self.job = request, job
        self.started = time.monotonic()
        self.samples = Samples(job.path(request.samples))
        held_out = frozenset(request.held_out)
        own = [i for i in range(self.samples.count) if i not in held_out]
        if len(own) < growth.FEWEST or len(held_out) < growth.JUDGES:
            text = f"needs {growth.FEWEST} samples for ranges and {growth.JUDGES} to judge"
            raise UserError("growth of the loss", text)
        self.parts = growth.parts(own)
        self.judge = Judge(self.samples, request.held_out, job)

    @property
    def left(self) -> float:
        return self.request.seconds - (time.monotonic() - self.started)

    def run(self) -> Growth:
        """Ranges of all parts first, then model by model."""
        # The insertion needs it anyway, and with it no set-up needs a process of its own.
        import onnx  # noqa: F401

        self.job.progress("float outputs of the held-out samples", 0.0)
        self.judge.run(self.job.path(self.request.model))
        tables = self._tables()
        losses: list[tuple[tuple[int, ...], Totals]] = []
        cost = 0.0
        for number, used in enumerate(growth.PLAN):
            before = time.monotonic()
            if number and self.left < cost:
                break
            told = sum(len(self.parts[k]) for k in used)
            self.job.progress(f"INT8 loss from {told} samples", 0.5 + number / 14)
            losses.append((used, self._loss(merged([tables[k] for k in used]))))
            cost = time.monotonic() - before
        if any(t.nonfinite for _, t in losses):
            raise UserError("growth of the loss", "NaN or infinity in the outputs")
        kl = all(t.classified == t.n for _, t in losses)
        return growth.judge(
            [(used, t.kls if kl else t.relative) for used, t in losses],
            sum(map(len, self.parts)),
            "kl" if kl else "error",
            self.request.method,
            round(time.monotonic() - self.started, 3),
        )

    def _tables(self) -> list[RangeTable]:
        """One table per part; where there is little time, of fewer samples."""
        before = time.monotonic()
        first = self._table(self.parts[0], 0)
        spent = growth.PARTS * (time.monotonic() - before)
        allowed = COLLECT * self.left
        if spent > allowed:
            few = max(growth.FEWEST // growth.PARTS, int(len(self.parts[0]) * allowed / spent))
            self.parts = tuple(part[:few] for part in self.parts)
            first = self._table(self.parts[0], 0)
        return [first, *(self._table(self.parts[k], k) for k in range(1, growth.PARTS))]

    def _table(self, part: Sequence[int], number: int) -> RangeTable:
        folder = self._folder(f"ranges-{number}")
        request = RangesRequest(
            model=self.request.model,
            samples=self.request.samples,
            indices=tuple(part),
            seed=self.request.seed,
            statistics=EXTREMES if self.request.method in FROM_EXTREMES else SAMPLED,
        )
        found = ranges(request, _Inner(self.job, folder))
        return load(folder / found.artifact.entry)

    def _loss(self, table: RangeTable) -> Totals:
        """The loss of the model with these ranges, on every held-out sample."""
        folder = self._folder("candidate")
        path = folder / save(table, folder).entry
        own = Ref(sha256="growth", entry=path.name)
        request = InsertRequest(
            model=self.request.model,
            ranges=own,
            dialect=self.request.dialect,
            method=self.request.method,
        )
        made = insert_into(request, _Inner(self.job, folder, {own: path}), folder)
        if made.artifact is None:
            raise UserError("growth of the loss", "; ".join(made.notes) or "nothing is quantised")
        totals = Totals()
        self.judge.score(folder / made.artifact.entry, range(len(self.judge.indices)), totals)
        return totals

    def _folder(self, name: str) -> Path:
        folder = self.job.scratch / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


class _Inner:
    """The job of a task within this one: other folders, a file of its own, no progress."""

    def __init__(self, job: Job, folder: Path, own: dict[Ref, Path] | None = None) -> None:
        self.job, self.out, self.scratch = job, folder, job.scratch
        self.own = own or {}

    def path(self, ref: Ref) -> Path:
        """Where an object is."""
        return self.own.get(ref) or self.job.path(ref)

    def progress(self, text: str, fraction: float | None = None) -> None:
        """Keeps the deadline away."""
        self.job.progress(text)


def merged(tables: Sequence[RangeTable]) -> RangeTable:
    """The table of all samples together: what one pass over them would have given.

    But for moving averages, which depend on the order of the samples and are left out.
    """
    return functools.reduce(_both, tables)


def _both(one: RangeTable, two: RangeTable) -> RangeTable:
    tensors = {n: _added(t, two.tensors[n]) for n, t in one.tensors.items() if n in two.tensors}
    return replace(one, count=one.count + two.count, tensors=tensors)


def _added(a: TensorRange, b: TensorRange) -> TensorRange:
    if not (a.count and b.count):
        kept = a if a.count else b
        return replace(kept, nonfinite=a.nonfinite + b.nonfinite)
    count = a.count + b.count
    histogram: Any = None
    if a.histogram is not None and b.histogram is not None:
        total = unpacked(a.histogram)
        total.merge(unpacked(b.histogram))
        histogram = total.packed()
    low, high = (a if a.lo <= b.lo else b), (a if a.hi >= b.hi else b)
    return TensorRange(
        lo=low.lo,
        hi=high.hi,
        count=count,
        nonfinite=a.nonfinite + b.nonfinite,
        lo_mean=(a.lo_mean * a.count + b.lo_mean * b.count) / count,
        hi_mean=(a.hi_mean * a.count + b.hi_mean * b.count) / count,
        lo_sample=low.lo_sample,
        hi_sample=high.hi_sample,
        histogram=histogram,
    )
