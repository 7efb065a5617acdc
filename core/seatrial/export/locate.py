"""Where a model leaves its module: the first diverging node, a line left out, one added."""

from __future__ import annotations

import dataclasses

from seatrial import results as r
from seatrial.export import records as er
from seatrial.export.locate_records import Divergence, DivergeRequest, Tapped, TapRequest
from seatrial.export.parity_records import FAIL
from seatrial.export.problems import ERROR, Problem
from seatrial.export.stage import Made, Stage, export_request, kept


def divergence(stage: Stage, made: Made) -> Divergence | None:
    """The first diverging node of the chosen model, where its numbers are wrong."""
    chosen = made.chosen
    if chosen is None or chosen.model is None or chosen.parity is None:
        return None
    worst = max(
        (o for o in chosen.parity.outputs if o.gate == FAIL),
        key=lambda o: o.max_rel if o.max_rel is not None else float("inf"),
        default=None,
    )
    if worst is None or worst.constant:
        return None
    return bisect(
        stage, made, chosen.model, export_request(made, chosen.route), max(worst.worst_index, 0)
    )


def bisect(
    stage: Stage, made: Made, model: r.Ref, request: er.ExportRequest, index: int
) -> Divergence | None:
    """The first node of a model that leaves the module, on one sample.

    Args:
        stage: the command at work.
        made: where faults are kept.
        model: the exported model, by the route of ``request``.
        request: how it was exported.
        index: the sample.
    """
    taps = tap(stage, made, model, request, index)
    return search(stage, made, model, taps) if taps is not None else None


@dataclasses.dataclass(frozen=True)
class Taps:
    """The module's inner tensors for one sample: the store, and their names."""

    request: er.ExportRequest
    index: int
    ref: r.Ref
    names: tuple[str, ...]


def tap(
    stage: Stage, made: Made, model: r.Ref, request: er.ExportRequest, index: int
) -> Taps | None:
    """The module's inner tensors that a model names alike; arguments as of :func:`bisect`."""
    known = kept(stage, made, "bisect_child:tensors_of", er.GraphRequest(model=model))
    if known is None:
        return None
    outcome = stage.runner.task(
        "seatrial.export.bisect_child:taps",
        TapRequest(export=request, index=index, wanted=known.names, modules=known.modules),
        refs=(request.samples, *request.spec.refs),
        limits=stage.limits(timeout_s=1800),
        user=True,
    )
    tapped: Tapped | None = outcome.result
    if tapped is None or tapped.artifact is None:
        if outcome.fault is not None:
            made.faults.append(outcome.fault)
        return None
    return Taps(request, index, stage.runner.adopt(outcome, tapped.artifact), tapped.names)


def search(stage: Stage, made: Made, model: r.Ref, taps: Taps) -> Divergence | None:
    """The first node that is wrong by itself.

    Args:
        stage: the command at work.
        made: where faults are kept.
        model: the exported model.
        taps: the module's tensors, see :func:`tap`.
    """
    compare = DivergeRequest(
        model=model,
        samples=taps.request.samples,
        index=taps.index,
        taps=taps.ref,
        names=taps.names,
    )
    found: Divergence | None = kept(stage, made, "bisect_child:diverge", compare)
    return found


def left_out(made: Made) -> None:
    """Where translation is right and numbers wrong, capture took another way: name the line."""
    chosen, study = made.chosen, made.study
    wrong = chosen is not None and (
        chosen.gate == FAIL or any(p.code == "baked-in-shape" for p in chosen.problems)
    )
    if chosen is None or study is None or not wrong or not chosen.graph:
        return
    if (made.divergence is not None and made.divergence.found) or not chosen.graph.lines:
        return
    missing = next((x for x in study.lines if x not in chosen.graph.lines), "")
    added = next((x for x in chosen.graph.sources if x not in study.touched), "")
    if not missing and not added:
        return
    file, _, number = (missing or added).rpartition(":")
    problem = Problem(
        code="left-out" if missing else "added",
        level=ERROR,
        text="this line computes something in PyTorch and nothing in the exported model"
        if missing
        else "this line computes something in the exported model and nothing in PyTorch",
        file=file,
        line=int(number),
        advice="forward must not ask whether it is being exported or traced",
        route=chosen.route,
    )
    made.attempts = [
        dataclasses.replace(a, problems=(*a.problems, problem)) if a.chosen else a
        for a in made.attempts
    ]
