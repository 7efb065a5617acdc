"""What is timed and what came out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from seatrial.codec import record
from seatrial.report import speed_rows
from seatrial.results import Fault

from .stats import Quantile, over_rounds, spread


@record
class Facts:
    """What is known of an artefact before it is timed; goes into its row unchanged.

    Attributes:
        target: ``backend:target``.
        artifact: digest.
        precision: what it runs in, ``FP32``, ``BF16``, ``INT8``.
        shape: of the first input.
        form: ``static`` or ``dynamic``: shapes fixed when it was built, or free.
        build_s: seconds that building took.
        emulated: on a lesser machine that is emulated: the latency is nobody's.
        timed_by: ``core`` or ``vendor``.
        branches: operators of the model that may take another path for another input.
    """

    target: str
    artifact: str = ""
    model: str = ""
    precision: str = ""
    form: str = "static"
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
    branches: tuple[str, ...] = ()


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
        throughput: samples per second in each round, with the streams of ``facts``.
        prepare_ms: per call, outside the latency: feeds put into the artefact's form.
        finish_ms: likewise, outputs brought back.
        copy_ms: per call, inside the latency: host to device and back; ``None``: not told.
        energy_mj: of the processor packages, millijoules per sample; ``None``: not counted.
        peak_rss_mb: of the session's process.
        steady_rss_mb: of it after the last round.
        inputs: different ones that were timed.
        varies: of a quick and of a slow input, milliseconds; ``None``: they take alike.
        beside: of inputs that were fed before and of new ones, milliseconds; ``None``: not known.
        remembers: new ones take longer, beyond noise and caches of the input.
        fault: why it dropped out; ``rounds`` holds what came before.
    """

    facts: Facts
    rounds: tuple[tuple[float, ...], ...] = ()
    quantiles: Mapping[str, Quantile] = field(default_factory=dict)
    steady: bool = False
    load_ms: float | None = None
    first_ms: float | None = None
    mean_cpu_ms: float | None = None
    throughput: tuple[float, ...] = ()
    prepare_ms: float | None = None
    finish_ms: float | None = None
    copy_ms: float | None = None
    energy_mj: float | None = None
    peak_rss_mb: float | None = None
    steady_rss_mb: float | None = None
    inputs: int = 0
    varies: tuple[float, float] | None = None
    beside: tuple[float, float] | None = None
    remembers: bool = False
    fault: Fault | None = None

    @property
    def by_input(self) -> str:
        """In a sentence, whether the latency depends on the input; ``""``: nothing says so."""
        if self.varies is not None:
            low, high = self.varies
            return (
                f"latency depends on the input: from {low:.3g} to {high:.3g} ms "
                f"over {self.inputs} inputs"
            )
        if self.facts.branches and self.inputs:
            names = ", ".join(self.facts.branches)
            return (
                f"the model has control flow ({names}): latency may depend on the input, though "
                f"the {self.inputs} that were timed take alike"
            )
        return ""

    @property
    def remembered(self) -> str:
        """In a sentence, that answers are remembered; ``""``: nothing says so."""
        if self.beside is None or not self.remembers:
            return ""
        again, new = self.beside
        return (
            f"inputs that were fed before take {again:.3g} ms, new ones {new:.3g} ms: answers are "
            "remembered, and the latency of repeated inputs is nobody's"
        )

    @property
    def n(self) -> int:
        """Timed calls."""
        return sum(len(one) for one in self.rounds)

    def row(self) -> dict[str, Any]:
        """The benchmark row of the report."""
        facts, named = self.facts, self.quantiles
        notes = list(facts.notes)
        if self.n and not self.steady:
            notes.append("the warm-up had not settled when it ended")
        notes += [said for said in (self.by_input, self.remembered) if said]
        median = named.get("p50")
        ends = _ends(median)
        per_second = over_rounds(self.throughput)
        return speed_rows.benchmark(
            facts.precision,
            model=facts.model,
            artifact=facts.artifact,
            form=facts.form,
            shape=list(facts.shape),
            layout=facts.layout,
            streams=facts.streams,
            threads=facts.threads,
            n=self.n,
            rounds=len(self.rounds),
            steady=self.steady if self.n and facts.timed_by == "core" else None,
            p50_ms=median.value if median else None,
            p90_ms=named["p90"].value if "p90" in named else None,
            p99_ms=named["p99"].value if "p99" in named else None,
            quantiles_ms=spread(self.rounds),
            ci95_ms=ends if ends and None not in ends else None,
            p90_ci95_ms=_ends(named.get("p90")),
            p99_ci95_ms=_ends(named.get("p99")),
            throughput=per_second[0] if per_second else None,
            throughput_ci95=list(per_second[1]) if per_second and per_second[1] else None,
            prepare_ms=self.prepare_ms,
            finish_ms=self.finish_ms,
            copy_ms=self.copy_ms,
            cpu_ms=self.mean_cpu_ms,
            energy_mj=self.energy_mj,
            first_run_ms=self.first_ms,
            load_ms=self.load_ms,
            build_s=facts.build_s,
            peak_rss_mb=self.peak_rss_mb,
            steady_rss_mb=self.steady_rss_mb,
            artifact_bytes=facts.artifact_bytes,
            timed_by=facts.timed_by,
            emulated=facts.emulated,
            notes=notes,
        )


def _ends(quantile: Quantile | None) -> list[float | None] | None:
    """The interval of a quantile; ``None`` when neither end is bounded."""
    if quantile is None or (quantile.low is None and quantile.high is None):
        return None
    return [quantile.low, quantile.high]
