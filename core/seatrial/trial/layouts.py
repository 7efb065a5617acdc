"""The layout stage: the other layout of the image inputs, proven equal by the core.

The proof runs here; the price is measured with everything else in the benchmark's rounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from seatrial import results as r
from seatrial.benchmark.ranking import ratio
from seatrial.benchmark.records import Timing
from seatrial.codec import encode
from seatrial.layout.types import CompareRequest, CompareResult
from seatrial.report import rows
from seatrial.trial import build
from seatrial.trial.build import Piece

if TYPE_CHECKING:
    from seatrial.trial.context import Trial
    from seatrial.trial.targets import TargetState

#: Channel counts that tell where the channel axis of an image input is.
CHANNELS = (1, 2, 3, 4)
#: Samples over which the equivalence is proven.
SAMPLES = 8


def image_layout(shape: tuple[int | str, ...]) -> str | None:
    """``NCHW`` or ``NHWC`` of a 4-D image input; ``None`` when its shape does not tell.

    An axis of 1 to 4 channels beside two larger ones; both or neither is no answer.
    """
    if len(shape) != 4:
        return None
    first, last = shape[1] in CHANNELS, shape[3] in CHANNELS
    if first == last:
        return None
    return "NCHW" if first else "NHWC"


def image_inputs(inputs: tuple[r.TensorIO, ...]) -> dict[str, str]:
    """Layout by name of the inputs that are images."""
    return {i.name: found for i in inputs if (found := image_layout(i.shape)) is not None}


def other(layout: str) -> str:
    """The layout to compare with."""
    return "NHWC" if layout == "NCHW" else "NCHW"


def prove(
    trial: Trial,
    state: TargetState,
    samples: r.Ref,
    shapes: Mapping[str, tuple[int, ...]],
) -> None:
    """Transform, run both forms on the target, compare; the piece joins the benchmark if equal.

    Args:
        trial: the command at work.
        state: the target, with its FP32 piece built.
        samples: calibration samples.
        shapes: static shapes.
    """
    images = image_inputs(trial.model.facts.inputs)
    pieces: dict[str, Piece] = state.facts.get("pieces", {})
    if not images or not state.offers("seatrial_transform_layout") or "fp32" not in pieces:
        return
    native = next(iter(images.values()))
    wanted = other(native)
    names = tuple(name for name, layout in images.items() if layout == native)
    variant = rows.layout_variant(wanted, "")
    pieces["fp32"].layout = native
    state.facts["layout_variant"] = variant
    state.facts["layout_native"] = native
    request = r.LayoutRequest(
        model=trial.model.ref,
        target=state.target.id if state.target else "",
        layout=wanted,
        inputs=names,
        shapes=dict(shapes),
        options=dict(trial.options(state)),
    )
    outcome = trial.call(state, "seatrial_transform_layout", request, [request.model])
    result: r.LayoutResult | None = outcome.result
    if result is None:
        variant["fault"] = encode(outcome.fault) if outcome.fault else None
        trial.blame(state, outcome.fault, decisive=False)
        return
    piece = Piece(
        label=f"layout-{wanted}",
        ref=trial.runner.adopt(outcome, result.artifact),
        artifact=result.artifact,
        precision="fp32",
        stated="FP32",
        build_s=outcome.seconds,
        layout=wanted,
        notes=result.notes,
    )
    variant.update(
        method=result.method,
        transposes_added=result.transposes_added,
        transposes_removed=result.transposes_removed,
    )
    compared = _compare(trial, state, pieces["fp32"], piece, samples)
    if compared is None:
        return
    worst = max((o.max_abs for o in compared.outputs), default=-1.0)
    variant.update(equivalent=compared.equal, max_abs_error=worst if worst >= 0 else None)
    state.facts["layout_reasons"] = [
        " ".join(part for part in (o.reason, o.diagnosis) if part)
        for o in compared.outputs
        if not o.within
    ]
    if compared.equal:
        pieces["layout"] = piece


def _compare(
    trial: Trial, state: TargetState, first: Piece, second: Piece, samples: r.Ref
) -> CompareResult | None:
    # The session loop undoes the artefact's ``perm``, so both stores are in the model's own axes.
    indices = tuple(range(min(SAMPLES * trial.batch, trial.samples_count)))
    outputs = [build.run_once(trial, state, p, samples, indices) for p in (first, second)]
    if outputs[0] is None or outputs[1] is None:
        return None
    request = CompareRequest(expected=outputs[0], got=outputs[1])
    outcome = trial.runner.task(
        "seatrial.layout.child:compare",
        request,
        refs=[outputs[0], outputs[1]],
        limits=trial.limits(),
    )
    result: CompareResult | None = outcome.result
    return result


def layout_row(
    state: TargetState, native: Timing | None, changed: Timing | None
) -> rows.Row | None:
    """The layout object of a target, with the measured price of the other layout."""
    variant = state.facts.get("layout_variant")
    own = state.facts.get("layout_native")
    if variant is None or own is None:
        return None
    first = rows.layout_variant(own, "as the model has it", equivalent=True, max_abs_error=0.0)
    first.update(p50_ms=_median(native), ratio=1.0)
    reason = "the model's own layout: the other one was not measured"
    chosen = own
    if native is not None and changed is not None:
        found = ratio(native, changed)
        variant["p50_ms"] = _median(changed)
        if found is not None:
            # ``ratio`` is the other's median over the model's own: above 1 the other is slower.
            variant["ratio"] = found.value
            variant["ci95"] = list(found.ci95) if found.ci95 else None
            chosen, reason = _choice(own, variant["layout"], found.value, found.distinguishable)
    elif variant["equivalent"] is False:
        reason = f"{variant['layout']} does not give the same results"
    return rows.layout(own, chosen, reason, [first, variant])


def _choice(own: str, changed: str, price: float, told_apart: bool) -> tuple[str, str]:
    per_cent = 100 * (price - 1)
    if not told_apart:
        return own, f"{changed} costs the same within the noise ({per_cent:+.1f} %)"
    if price > 1:
        return own, f"{changed} is {per_cent:.1f} % slower"
    return changed, f"{changed} is {100 * (1 / price - 1):.1f} % faster"


def _median(timing: Timing | None) -> float | None:
    found = timing.quantiles.get("p50") if timing is not None else None
    return found.value if found is not None else None
