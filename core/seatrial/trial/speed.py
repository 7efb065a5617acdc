"""The speed stages of ``run`` and ``bench``: other forms and layouts, the rounds, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from seatrial import results as r
from seatrial.report import rows
from seatrial.report.rankings import rankings
from seatrial.trial import execution, forms, frames, layouts, optimised, pace, timing

if TYPE_CHECKING:
    from typing import Any

    from seatrial.data.contract import InputContract
    from seatrial.trial.context import Trial
    from seatrial.trial.evidence import Evidence
    from seatrial.trial.targets import TargetState
    from seatrial.trial.timing import Contestant, Rounds

#: Seconds of the rounds for each further form of an artefact that is timed anyway.
EXTRA_S = 1.5


def prove_layouts(
    trial: Trial,
    samples: r.Ref,
    contracts: Mapping[str, InputContract],
    *,
    deep: bool,
) -> None:
    """The layout variants of every target, and with ``deep`` camera frames as well."""
    camera: frames.Camera | None = None
    for k, state in enumerate(t for t in trial.usable if "fp32" in t.facts.get("pieces", {})):
        trial.progress("layout", state.id)
        shapes = state.facts.get("shapes", {})
        layouts.prove(trial, state, samples, shapes)
        if deep and k == 0:
            camera = frames.make(trial, contracts, samples, shapes)
        if camera is not None:
            frames.prove(trial, state, camera, shapes)


def look(trial: Trial, samples: r.Ref, *, deep: bool) -> None:
    """Profiles of every target; with ``deep`` of the layout variants, and the optimiser's work."""
    execution.observe_all(trial, samples)
    if not deep:
        return
    for state in trial.usable:
        layouts.observe(trial, state, samples)
        optimised.look(trial, state, samples)


def extras(trial: Trial, entered: Sequence[Contestant], streams: int | None) -> list[Contestant]:
    """Free shapes and several calls in flight, as far as memory allows."""
    wanted = [*forms.dynamic(trial, entered), *forms.streams(trial, entered, streams)]
    return forms.affordable(entered, wanted)


def explain(trial: Trial, found: Evidence | None, rounds: Rounds, *, deep: bool) -> None:
    """Why INT8 is as fast as it is, on every target where both forms were timed."""
    for state in trial.usable:
        pace.explain(trial, found, state, rounds, deep=deep)


def enter_rows(state: TargetState, rounds: Rounds) -> None:
    """Lay the measured rows into the target's facts."""
    state.facts["benchmark"] = timing.benchmark_rows(rounds, state)
    state.facts["layout"] = layouts.layout_row(state, rounds)
    state.facts["generality"] = forms.generality_rows(rounds, state)
    told: rows.Row | None = state.facts.get("pace")
    if told is None or told["faster"]:
        return
    for row in state.facts["benchmark"]:
        plain = row["streams"] == 1 and (row["form"] == "static" or bool(state.facts.get("free")))
        if row["precision"] == "INT8" and plain and row["speedup"] is not None:
            row["speedup"]["cause"] = "; ".join(cause["text"] for cause in told["causes"])


def enter_report(data: dict[str, Any], rounds: Rounds | None) -> None:
    """Conditions and rankings, once all targets have their rows."""
    data["conditions"] = rounds.conditions if rounds is not None else None
    data["ranking"] = rankings(data["targets"])
