"""Does it keep the promised latency and memory?

A latency ships when the upper end of the quantile's 95 % interval is within the limit and does
not ship when the lower end is beyond it. On a disturbed machine only the former counts: who is in
time in spite of it is in time, who is late may be so because of it. Latency on an emulated or
simulated machine is nobody's.
"""

from __future__ import annotations

from typing import Any

from seatrial.benchmark.records import Timing
from seatrial.report import rows
from seatrial.sla import LatencyLimit

from .accurate import simulated
from .compiles import INT8_NAMES, fault_text
from .records import DO_NOT_SHIP, NOT_ASKED, NOT_PROVEN, SHIP, Case, Part, worst

#: Timed calls below which the upper end of a 95 % interval does not exist.
LEAST_CALLS = {"p50": 6, "p90": 36, "p99": 368}


def fast(case: Case) -> Part:
    """The answer of the part ``fast``; not asked without a limit on latency or memory."""
    sla = case.sla
    timing = shipping(case)
    if sla.max_latency is None and sla.max_memory_mb is None:
        return Part(answer=NOT_ASKED, reasons=_remembered(case, timing))
    said: list[tuple[str, str, str]] = []
    missing: list[str] = []
    if timing is None or timing.n == 0:
        said.append(_untimed(case, timing))
        missing.append("a benchmark of the artefact that ships")
    else:
        if sla.max_latency is not None:
            said.append(_calmly(case, _latency(timing, sla.max_latency)))
            if said[-1][0] == NOT_PROVEN:
                missing.append(_wanted(timing, sla.max_latency))
        if sla.max_memory_mb is not None:
            said.append(_memory(timing, sla.max_memory_mb))
        said += _caps(case, timing)
    return Part(
        answer=worst(tuple(answer for answer, _, _ in said)),
        reasons=tuple(
            _reason(case, code, text, "info" if answer == SHIP else "error")
            for answer, code, text in said
        )
        + tuple(_reason(case, "latency.disturbed", t, "warning") for t in case.run.disturbances)
        + _by_input(case, timing)
        + (_remembered(case, timing) if sla.max_latency is None else ()),
        missing=tuple(missing),
    )


def _by_input(case: Case, timing: Timing | None) -> tuple[dict[str, Any], ...]:
    """That the limit was held against latencies that depend on the input."""
    if timing is None or not timing.by_input:
        return ()
    level = "warning" if timing.varies is not None else "info"
    return (_reason(case, "latency.by-input", timing.by_input, level),)


def _remembered(case: Case, timing: Timing | None) -> tuple[dict[str, Any], ...]:
    """That answers are remembered, where no limit on latency falls with it."""
    if timing is None or not timing.remembered:
        return ()
    return (_reason(case, "latency.remembered", timing.remembered, "warning"),)


def _few_inputs(timing: Timing, limit: LatencyLimit) -> bool:
    """Whether the inputs, not the calls, are too few for a quantile over inputs."""
    return bool(timing.by_input) and timing.inputs < LEAST_CALLS.get(limit.quantile, 0) <= timing.n


def _wanted(timing: Timing, limit: LatencyLimit) -> str:
    """What would settle an open latency."""
    if _few_inputs(timing, limit):
        least = LEAST_CALLS[limit.quantile]
        return f"at least {least} different inputs for {limit.quantile}: more samples"
    return "a longer benchmark on a quiet machine"


def shipping(case: Case) -> Timing | None:
    """The timing of the artefact that ships, the fastest when there are several layouts.

    A float model ships in FP32 where that was timed: it is the precision whose accuracy counts.
    """

    def median(timing: Timing) -> float:
        return timing.quantiles["p50"].value if timing.n else float("inf")

    fits = [t for t in case.timings if (t.facts.precision.upper() in INT8_NAMES) == case.run.int8]
    if not case.run.int8:
        fits = [t for t in fits if t.facts.precision.upper() == "FP32"] or fits
    return min(fits, key=median, default=None)


def _reason(case: Case, code: str, text: str, level: str) -> dict[str, Any]:
    return rows.reason(code, text, part="fast", target=case.target["target"], level=level)


def _untimed(case: Case, timing: Timing | None) -> tuple[str, str, str]:
    name = "INT8" if case.run.int8 else "float"
    text = f"the {name} artefact was not timed"
    fault = case.target["fault"]
    if timing is not None and timing.fault is not None:
        text += f": {timing.fault.stage} {timing.fault.kind.value}: {timing.fault.reason}"
    elif fault is not None:
        text += f": {fault_text(fault)}"
    return NOT_PROVEN, "latency.not-run", text


def _calmly(case: Case, said: tuple[str, str, str]) -> tuple[str, str, str]:
    """An answer, softened where a disturbance may be what made it late."""
    answer, code, text = said
    if answer != DO_NOT_SHIP or not case.run.disturbances:
        return said
    return NOT_PROVEN, code, f"{text}; the machine was disturbed meanwhile"


def _latency(timing: Timing, limit: LatencyLimit) -> tuple[str, str, str]:
    name = limit.quantile
    found = timing.quantiles.get(name)
    if found is None:
        return NOT_PROVEN, "latency.limit", f"{name} was not measured"
    if found.high is None:
        few = LEAST_CALLS.get(name, 0)
        made = f"{timing.n} calls"
        if _few_inputs(timing, limit):
            made = f"{timing.inputs} inputs, on which it may depend,"
        text = (
            f"{name} is {found.value:.3g} ms, but {made} do not bound it from above "
            f"({few} are the least); the limit is {limit.ms:g} ms"
        )
        late = found.low is not None and found.low > limit.ms
        return (DO_NOT_SHIP if late else NOT_PROVEN), "latency.limit", text
    low = found.low if found.low is not None else 0.0
    text = (
        f"{name} is {found.value:.3g} ms (95 % interval {low:.3g} to {found.high:.3g}, "
        f"{timing.n} calls in {len(timing.rounds)} rounds); the limit is {limit.ms:g} ms"
    )
    answer = SHIP if found.high <= limit.ms else DO_NOT_SHIP if low > limit.ms else NOT_PROVEN
    return answer, "latency.limit", text


def _memory(timing: Timing, limit: float) -> tuple[str, str, str]:
    if timing.peak_rss_mb is None:
        return NOT_PROVEN, "memory.limit", "peak memory was not measured"
    text = f"peak memory is {timing.peak_rss_mb:.0f} MB; the limit is {limit:g} MB"
    return (SHIP if timing.peak_rss_mb <= limit else DO_NOT_SHIP), "memory.limit", text


def _caps(case: Case, timing: Timing) -> list[tuple[str, str, str]]:
    """What keeps an answer from SHIP however good the numbers look."""
    found = []
    if case.sla.max_latency is not None and timing.remembered:
        found.append((NOT_PROVEN, "latency.remembered", timing.remembered))
    where = (case.target["ran"] or {}).get("where")
    if timing.facts.emulated or "emulated" in (case.target["kind"], where):
        text = "latency on an emulated machine is not that machine's"
        found.append((NOT_PROVEN, "latency.emulated", text))
    if simulated(case.target):
        text = "latency in a simulator is not the device's"
        found.append((NOT_PROVEN, "target.simulator", text))
    return found
