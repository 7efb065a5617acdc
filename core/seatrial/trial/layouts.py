"""The layout stage: the other layout of the image inputs, and camera frames, proven equal.

The proof runs here; the price is measured with everything else in the benchmark's rounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from seatrial import results as r
from seatrial.benchmark.ranking import Ratio, ratio
from seatrial.benchmark.records import Timing
from seatrial.codec import encode
from seatrial.layout.types import CompareRequest, CompareResult
from seatrial.report import rows, target_rows
from seatrial.trial import build, built, execution
from seatrial.trial.build import Piece

if TYPE_CHECKING:
    from seatrial.trial.context import Trial
    from seatrial.trial.targets import TargetState
    from seatrial.trial.timing import Rounds

#: Channel counts that tell where the channel axis of an image input is.
CHANNELS = (1, 2, 3, 4)
#: Samples over which the equivalence is proven.
SAMPLES = 8
#: Names of the pieces whose price is that of a layout.
OTHER, FRAMES = "layout", "frames"


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
    variant = target_rows.layout_variant(wanted, "")
    pieces["fp32"].layout = native
    note(state, native, OTHER, variant)
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
    if result is None and outcome.refusal:
        refuse(variant, outcome.refusal)
        return
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
    # The session loop undoes the artefact's ``perm``, so both stores are in the model's own axes.
    enter(trial, state, OTHER, piece, (samples, samples))


def refuse(variant: rows.Row, findings: Sequence[r.Finding]) -> None:
    """Keep that the compiler does not take a variant: an answer like any other, and no fault."""
    variant["refused"] = [
        {"node": f.node, "op_type": f.op_type, "reason": f.reason} for f in findings[: built.MOST]
    ]
    variant["reason"] = refused_text(findings)


def refused_text(findings: Sequence[r.Finding]) -> str:
    """One line: the first node that a compiler refuses in a form, and how many more."""
    first = findings[0]
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return f"the compiler refuses this form: {first.node or 'the model'}: {first.reason}{more}"


def note(state: TargetState, native: str, name: str, variant: rows.Row) -> None:
    """Keep a variant for the report."""
    state.facts["layout_native"] = native
    state.facts.setdefault("layout_variants", {})[name] = variant


def enter(
    trial: Trial, state: TargetState, name: str, piece: Piece, stores: tuple[r.Ref, r.Ref]
) -> None:
    """Compare a variant's piece with the FP32 one; equal, it joins the benchmark.

    Args:
        trial: the command at work.
        state: the target.
        name: of the variant.
        piece: of it.
        stores: what the FP32 piece is fed, and what the variant is.
    """
    variant = state.facts["layout_variants"][name]
    compared = _compare(trial, state, (state.facts["pieces"]["fp32"], piece), stores)
    if compared is None:
        return
    worst = max((o.max_abs for o in compared.outputs), default=-1.0)
    variant.update(equivalent=compared.equal, max_abs_error=worst if worst >= 0 else None)
    variant["reason"] = "; ".join(
        " ".join(part for part in (o.name, o.reason, o.diagnosis) if part)
        for o in compared.outputs
        if not o.within
    )
    if compared.equal:
        state.facts["pieces"][name] = piece


def observe(trial: Trial, state: TargetState, samples: r.Ref) -> None:
    """Read from a profile of each variant which layout the runtime itself computes in."""
    for name in (OTHER, FRAMES):
        piece = state.facts.get("pieces", {}).get(name)
        if piece is None:
            continue
        trial.progress("profile", f"{state.id} {name}")
        ran = execution.observe(trial, state, piece, piece.feed.samples if piece.feed else samples)
        if ran is not None:
            layers = [execution.layer_row(layer) for layer in ran.layers]
            state.facts["layout_variants"][name].update(
                runtime=execution.main_layout(layers), reorder_ms=execution.moving_ms(layers)
            )


def _compare(
    trial: Trial,
    state: TargetState,
    pair: tuple[Piece, Piece],
    stores: tuple[r.Ref, r.Ref],
) -> CompareResult | None:
    indices = tuple(range(min(SAMPLES * trial.batch, trial.samples_count)))
    outputs = [
        build.run_once(trial, state, piece, store, indices)
        for piece, store in zip(pair, stores, strict=True)
    ]
    if outputs[0] is None or outputs[1] is None:
        return None
    return compare(trial, outputs[0], outputs[1])


def compare(trial: Trial, expected: r.Ref, got: r.Ref) -> CompareResult | None:
    """Whether two stores of outputs are the same up to FP32 rounding."""
    request = CompareRequest(expected=expected, got=got)
    outcome = trial.runner.task(
        "seatrial.layout.child:compare", request, refs=[expected, got], limits=trial.limits()
    )
    result: CompareResult | None = outcome.result
    return result


def layout_row(state: TargetState, rounds: Rounds) -> rows.Row | None:
    """The layout object of a target, with the measured price of each variant."""
    variants: dict[str, rows.Row] = state.facts.get("layout_variants", {})
    own = state.facts.get("layout_native")
    if not variants or own is None:
        return None
    native = rounds.of(state, "fp32")
    first = target_rows.layout_variant(
        own, "as the model has it", equivalent=True, max_abs_error=0.0
    )
    layers = ((state.facts.get("ran") or {}).get("fp32") or {}).get("layers") or []
    first.update(
        p50_ms=_median(native),
        ratio=1.0,
        penalty_percent=0.0,
        host_ms=state.facts.get("layout_host_ms"),
        runtime=execution.main_layout(layers),
        reorder_ms=execution.moving_ms(layers),
    )
    prices = {name: _price(row, native, rounds.of(state, name)) for name, row in variants.items()}
    chosen, reason = own, "the model's own layout: the other one was not measured"
    changed = variants.get(OTHER)
    found = prices.get(OTHER)
    if changed is not None and found is not None:
        chosen, reason = _choice(own, changed["layout"], found)
    elif changed is not None and changed["equivalent"] is False:
        reason = f"{changed['layout']} does not give the same results"
    if prices.get(FRAMES) is not None:
        reason += f"; {_frames(first, variants[FRAMES])}"
    row = target_rows.layout(own, chosen, reason, [first, *variants.values()])
    row["runtime"] = first["runtime"]
    return row


def _price(variant: rows.Row, native: Timing | None, changed: Timing | None) -> Ratio | None:
    """Lay the measured price into a variant: its median over that of the model's own layout."""
    found = ratio(native, changed) if native is not None and changed is not None else None
    variant["p50_ms"] = _median(changed)
    if found is not None:
        # ``ratio`` is the other's median over the model's own: above 1 the other is slower.
        variant.update(
            ratio=found.value,
            ci95=list(found.ci95) if found.ci95 else None,
            penalty_percent=100 * (found.value - 1),
            penalty_ci95=[100 * (end - 1) for end in found.ci95] if found.ci95 else None,
            distinguishable=found.distinguishable,
        )
    return found


def _choice(own: str, changed: str, found: Ratio) -> tuple[str, str]:
    per_cent = 100 * (found.value - 1)
    if not found.distinguishable:
        return own, f"{changed} costs the same within the noise ({per_cent:+.1f} %)"
    if found.value > 1:
        return own, f"{changed} is {per_cent:.1f} % slower"
    return changed, f"{changed} is {100 * (1 / found.value - 1):.1f} % faster"


def _frames(native: rows.Row, frames: rows.Row) -> str:
    """What camera frames cost in the graph, and what they save on the host."""
    text = f"camera frames cost {frames['penalty_percent']:+.1f} % in the graph"
    if native["host_ms"] is not None:
        text += f" and save {native['host_ms']:.2g} ms per call on the host"
    return text


def _median(timing: Timing | None) -> float | None:
    found = timing.quantiles.get("p50") if timing is not None else None
    return found.value if found is not None else None
