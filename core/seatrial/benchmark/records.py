"""What is timed and what came out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from seatrial.codec import record
from seatrial.report import rows
from seatrial.results import Fault

from .stats import Quantile, spread


@record
class Facts:
    """What is known of an artefact before it is timed; goes into its row unchanged.

    Attributes:
        target: ``backend:target``.
        artifact: digest.
        precision: what it runs in, ``FP32``, ``BF16``, ``INT8``.
        shape: of the first input.
        build_s: seconds that building took.
        emulated: on a lesser machine that is emulated: the latency is nobody's.
        timed_by: ``core`` or ``vendor``.
    """

    target: str
    artifact: str = ""
    model: str = ""
    precision: str = ""
    shape: tuple[int, ...] = ()
    layout: str = ""
    streams: int = 1
    threads: int = 0
    batch: int = 1
    artifact_bytes: int | None = None
    build_s: float | None = None
    emulated: bool = False
    timed_by: str = "core"
    notes: tuple[str, ...] = ()


@record
class Timing:
    """One contestant, timed.

    Attributes:
        facts: whose.
        rounds: latencies in milliseconds, one entry per round.
        quantiles: by name, ``p50``, ``p90``, ``p99``.
        steady: the warm-up settled before its cap.
        load_ms: loading the artefact.
        first_ms: the session's very first call.
        mean_cpu_ms: CPU time per call: above the latency when several threads work.
        peak_rss_mb: of the session's process.
        fault: why it dropped out; ``rounds`` holds what came before.
    """

    facts: Facts
    rounds: tuple[tuple[float, ...], ...] = ()
    quantiles: Mapping[str, Quantile] = field(default_factory=dict)
    steady: bool = False
    load_ms: float | None = None
    first_ms: float | None = None
    mean_cpu_ms: float | None = None
    peak_rss_mb: float | None = None
    fault: Fault | None = None

    @property
    def n(self) -> int:
        """Timed calls."""
        return sum(len(one) for one in self.rounds)

    def row(self) -> dict[str, Any]:
        """The benchmark row of the report."""
        facts, named = self.facts, self.quantiles
        median = named.get("p50")
        bounded = median is not None and median.low is not None and median.high is not None
        notes = list(facts.notes)
        if self.n and not self.steady:
            notes.append("the warm-up had not settled when it ended")
        if self.mean_cpu_ms is not None:
            notes.append(f"{self.mean_cpu_ms:.3g} ms of CPU time per call")
        return rows.benchmark(
            facts.precision,
            model=facts.model,
            artifact=facts.artifact,
            shape=list(facts.shape),
            layout=facts.layout,
            streams=facts.streams,
            threads=facts.threads,
            n=self.n,
            rounds=len(self.rounds),
            p50_ms=median.value if median else None,
            p90_ms=named["p90"].value if "p90" in named else None,
            p99_ms=named["p99"].value if "p99" in named else None,
            ci95_ms=[median.low, median.high] if bounded and median else None,
            quantiles_ms=spread(self.rounds),
            first_run_ms=self.first_ms,
            load_ms=self.load_ms,
            build_s=facts.build_s,
            peak_rss_mb=self.peak_rss_mb,
            artifact_bytes=facts.artifact_bytes,
            timed_by=facts.timed_by,
            emulated=facts.emulated,
            notes=notes,
        )
