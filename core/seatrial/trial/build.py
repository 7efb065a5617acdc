"""The builds of each target: float pinned to FP32, the runtime's own choice, and INT8.

When a target can be given INT8 in more than one way (a portable Q/DQ model, its own calibration),
each is built, run on the target over held-out calibration data, and the closest to the float
model goes forward. The choice is frozen before the test set is opened.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from seatrial import results as r
from seatrial.benchmark.inputs import Feed
from seatrial.codec import encode
from seatrial.quantize import bakeoff
from seatrial.quantize.types import Score
from seatrial.report import quantize_rows, rows, target_rows
from seatrial.trial.child import ScoreOutputsRequest
from seatrial.trial.quantise import Portable, Split, score_row

if TYPE_CHECKING:
    from seatrial.isolation import Outcome
    from seatrial.trial.context import Trial
    from seatrial.trial.targets import TargetState

NATIVE = "native"


@dataclasses.dataclass
class Piece:
    """One artefact that can be loaded and run.

    Attributes:
        label: short name, ``device-int8``.
        precision: as the request asked (``fp32``, ``native``, ``int8``).
        stated: as the backend stated (``FP32``, ``BF16``, ``INT8``).
        source: of INT8: ``qdq:DIGEST`` or ``native``.
        portable: the Q/DQ model that it was built from.
        form: ``static`` or ``dynamic``: shapes fixed when it was built, or free.
        shape: of its first input, where that is not the model's.
        feed: what it alone is fed; ``None``: what everybody is.
        fault: why it could not be loaded or run; nobody tries again.
    """

    label: str
    ref: r.Ref
    artifact: r.Artifact
    precision: str
    stated: str
    build_s: float
    source: str = ""
    portable: r.Ref | None = None
    form: str = "static"
    shape: tuple[int, ...] = ()
    feed: Feed | None = None
    layout: str = ""
    method: str = ""
    int8: r.Int8Build | None = None
    score: Score | None = None
    notes: tuple[str, ...] = ()
    fault: r.Fault | None = None

    def load(
        self,
        state: TargetState,
        *,
        threads: int,
        streams: int = 1,
        profile: bool = False,
        optimise: bool = True,
        options: Any = None,
    ) -> r.LoadRequest:
        """The request that loads it."""
        return r.LoadRequest(
            artifact=self.ref,
            format=self.artifact.format,
            target=state.target.id if state.target else "",
            precision=self.precision,
            threads=threads,
            streams=streams,
            profile=profile,
            optimise=optimise,
            inputs=self.artifact.inputs,
            outputs=self.artifact.outputs,
            options=dict(options or {}),
        )


def build_float(
    trial: Trial,
    state: TargetState,
    precision: str,
    shapes: Mapping[str, tuple[int, ...]],
    *,
    model: r.Ref | None = None,
    decisive: bool = True,
    refusals: list[r.Finding] | None = None,
) -> Piece | None:
    """The float artefact (``fp32`` or ``native``), or ``None`` with the fault in the state.

    Args:
        trial: the command at work.
        state: the target.
        precision: ``fp32`` or ``native``.
        shapes: static shapes; empty: as the model has them.
        model: built in place of the trial's model.
        decisive: without it there is no verdict on the target.
        refusals: given for a form that no compile-check was asked of: that the compiler refuses
            it is an answer, whose findings are put here, and no fault.
    """
    if not state.offers("seatrial_build"):
        return None
    request = r.BuildRequest(
        model=model or trial.model.ref,
        target=state.target.id if state.target else "",
        precision=precision,
        shapes=dict(shapes),
        options=dict(trial.options(state)),
    )
    outcome = trial.call(state, "seatrial_build", request, [request.model])
    result: r.Build | None = outcome.result
    if result is None:
        if refusals is not None and outcome.refusal:
            refusals += outcome.refusal
            return None
        trial.blame(state, outcome.fault, decisive=decisive and precision == "fp32")
        return None
    return Piece(
        label=f"float-{precision}",
        ref=trial.runner.adopt(outcome, result.artifact),
        artifact=result.artifact,
        precision=precision,
        stated=result.precision,
        build_s=outcome.seconds,
        form=_form(state),
        notes=_noted(outcome, result.notes),
    )


def _form(state: TargetState) -> str:
    """How what ships on a target is built."""
    return "dynamic" if state.facts.get("free") else "static"


def _noted(outcome: Outcome[Any], notes: tuple[str, ...]) -> tuple[str, ...]:
    """With the word that an earlier run did it."""
    if not outcome.remembered:
        return notes
    return (*notes, "built by an earlier run in this folder: the seconds are that run's")


def build_int8(
    trial: Trial,
    state: TargetState,
    *,
    portable: Portable | None,
    data: Split | None,
    reference: r.Ref | None,
    shapes: Mapping[str, tuple[int, ...]],
) -> Piece | None:
    """The INT8 artefact that goes forward, or ``None`` with the reason in the state.

    Args:
        trial: the command at work.
        state: the target.
        portable: the bake-off of the target's dialect.
        data: calibration data, for the target's own calibration and for the choice.
        reference: float outputs over the held-out samples; ``None``: no choice can be judged.
        shapes: static shapes.
    """
    if not state.offers("seatrial_build_int8"):
        state.facts["int8"] = target_rows.int8("", notes=["the backend offers no INT8 build"])
        return None
    forms = state.description.int8_forms if state.description else ()
    pieces = []
    if "qdq" in forms and portable is not None and portable.chosen and portable.chosen.ref:
        source = f"qdq:{portable.chosen.ref.sha256[:16]}"
        pieces.append(
            _int8(trial, state, portable.chosen.ref, source, calibration=None, shapes=shapes)
        )
    time_left = trial.clock.left_s > trial.clock.reserve_s or not pieces
    if "float" in forms and data is not None and time_left:
        pieces.append(
            _int8(trial, state, trial.model.ref, NATIVE, calibration=data.fit, shapes=shapes)
        )
    built = [p for p in pieces if p is not None]
    why_not = portable.why_not if portable is not None else ""
    if not built:
        fault = state.facts.get("int8_fault")
        state.blame(fault)
        state.facts["int8"] = target_rows.int8(
            "", notes=[why_not] if why_not else [], fault=encode(fault) if fault else None
        )
        return None
    chosen, reason = _choose(trial, state, built, data, reference)
    state.facts["int8"] = _int8_row(chosen, reason)
    return chosen


def build_portable(
    trial: Trial,
    state: TargetState,
    ref: r.Ref,
    shapes: Mapping[str, tuple[int, ...]],
    refusals: list[r.Finding] | None = None,
) -> Piece | None:
    """The INT8 artefact of a portable Q/DQ model; a fault costs only this one.

    ``refusals``: as for :func:`build_float`.
    """
    source = f"qdq:{ref.sha256[:16]}"
    return _int8(trial, state, ref, source, calibration=None, shapes=shapes, refusals=refusals)


def build_given(
    trial: Trial, state: TargetState, shapes: Mapping[str, tuple[int, ...]]
) -> Piece | None:
    """The INT8 artefact of a model that carries its own Q/DQ pairs."""
    if not state.offers("seatrial_build_int8"):
        return None
    return build_portable(trial, state, trial.model.ref, shapes)


def _int8(
    trial: Trial,
    state: TargetState,
    model: r.Ref,
    source: str,
    *,
    calibration: r.Ref | None,
    shapes: Mapping[str, tuple[int, ...]],
    refusals: list[r.Finding] | None = None,
) -> Piece | None:
    form = "float" if source == NATIVE else "qdq"
    request = r.Int8Request(
        model=model,
        target=state.target.id if state.target else "",
        form=form,
        calibration=calibration,
        seed=trial.seed,
        shapes=dict(shapes),
        options=dict(trial.options(state)),
    )
    refs = [model, *([calibration] if calibration else [])]
    outcome = trial.call(state, "seatrial_build_int8", request, refs, timeout_s=1800)
    result: r.Int8Build | None = outcome.result
    if result is None and refusals is not None and outcome.refusal:
        refusals += outcome.refusal
        return None
    if result is None:
        state.facts["int8_fault"] = outcome.fault
        trial.blame(state, outcome.fault, decisive=False)
        return None
    return Piece(
        label=f"int8-{form}",
        ref=trial.runner.adopt(outcome, result.artifact),
        artifact=result.artifact,
        precision="int8",
        stated="INT8",
        build_s=outcome.seconds,
        form=_form(state),
        source=source,
        portable=model if form == "qdq" else None,
        method=result.method,
        int8=result,
        notes=_noted(outcome, result.notes),
    )


def _choose(
    trial: Trial,
    state: TargetState,
    pieces: list[Piece],
    data: Split | None,
    reference: r.Ref | None,
) -> tuple[Piece, str]:
    """The piece closest to the float model on the target itself, over held-out samples."""
    if len(pieces) == 1 or reference is None or data is None:
        return pieces[0], "the only INT8 build of this target"
    named = {f"{state.id}:{p.source.partition(':')[0]}": p for p in pieces}
    for piece in pieces:
        piece.score = score_on_target(trial, state, piece, data, reference)
    choice = bakeoff.choose([bakeoff.Entry(name=n, score=p.score) for n, p in named.items()])
    state.facts["int8_candidates"] = [
        quantize_rows.candidate(
            name,
            source=state.plugin.id,
            scheme=piece.method,
            sha256=piece.ref.sha256,
            scores=score_row(piece.score),
            n=piece.score.n if piece.score else 0,
            chosen=name == choice.name,
            reason=choice.reasons.get(name, "did not run"),
        )
        for name, piece in named.items()
    ]
    return named.get(choice.name, pieces[0]), choice.reason


def score_on_target(
    trial: Trial, state: TargetState, piece: Piece, data: Split, reference: r.Ref
) -> Score | None:
    """How far a piece on its target is from the float outputs over the held-out samples."""
    outputs = run_once(trial, state, piece, data.whole, data.held_out, remember=True)
    if outputs is None:
        return None
    request = ScoreOutputsRequest(reference=reference, candidate=outputs, bytes=piece.ref.bytes)
    outcome = trial.runner.task(
        "seatrial.trial.child:score_outputs",
        request,
        refs=[reference, outputs],
        limits=trial.limits(),
        remember=trial.remembers,
    )
    score: Score | None = outcome.result
    return score


def run_once(
    trial: Trial,
    state: TargetState,
    piece: Piece,
    samples: r.Ref,
    indices: tuple[int, ...] | None = None,
    *,
    threads: int | None = None,
    optimise: bool = True,
    decisive: bool = False,
    remember: bool = False,
) -> r.Ref | None:
    """Run a piece over samples in a session of its own; ``None`` with the fault in the state.

    ``decisive``: without this run there is no verdict on the target. ``remember``: the outputs
    choose something, and may come from an earlier run. ``optimise``: as it ships; otherwise with
    the graph as it is, and a fault says nothing of the piece.
    """
    if piece.fault is not None:
        trial.blame(state, piece.fault, decisive=decisive)
        return None
    outcome = trial.outputs(
        state, piece, samples, indices, threads=threads, optimise=optimise, remember=remember
    )
    if outcome.result is None:
        piece.fault = outcome.fault if optimise and not trial.runner.halted else None
        trial.blame(state, outcome.fault, decisive=decisive)
    return outcome.result


def _int8_row(piece: Piece, reason: str) -> rows.Row:
    built = piece.int8
    return target_rows.int8(
        piece.source,
        method=piece.method,
        artifact=target_rows.artifact(piece.artifact.format, piece.ref.sha256, piece.ref.bytes),
        int8_nodes=len(built.int8_nodes) if built else None,
        float_nodes=list(built.float_nodes) if built else [],
        notes=[*piece.notes, reason],
    )
