"""Recipes of ``export``: proven on samples, then asked of the targets, before and after.

A recipe is kept if the graph that it gives is equal on the samples, no target refuses more of it
than before, and, for a recipe that is there to make a target take an operator, some target refuses
less of it. Where no target refused anything before, it is the user's wish alone, and is kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from seatrial import intake
from seatrial import results as r
from seatrial.errors import UserError
from seatrial.export import pipeline, recipes, view
from seatrial.export.parity_records import FAIL, NOT_PROVEN, PASS
from seatrial.options import ExportOptions
from seatrial.report import rows
from seatrial.samples import Samples
from seatrial.trial import compile as compile_stage
from seatrial.trial.context import Clock, Trial

#: Recipes whose purpose is that a target takes an operator.
FOR_TARGETS = ("plain", "fuse", "decompose")

Shapes = Mapping[str, tuple[int, ...]]


def run(
    trial: Trial,
    wanted: Sequence[str],
    model: r.Ref | None,
    samples: r.Ref,
    *,
    count: int,
    dynamic: bool,
    clock_s: float,
) -> tuple[list[recipes.Applied], r.Ref | None]:
    """Apply recipes in order; each sees what those before it left.

    Args:
        trial: the command at work, its targets probed.
        wanted: the recipes.
        model: what is changed; ``None``: nothing is.
        samples: what every two models are compared on.
        count: how many of them.
        dynamic: the model has free axes: targets are not told the samples' sizes.
        clock_s: seconds that each target is given for one model.

    Returns:
        What became of each, and the last model that was kept.
    """
    if model is None or not wanted:
        return [], model
    fed = pipeline.input_shapes(Samples(trial.workspace.path(samples)))
    told: Shapes = {} if dynamic else fed
    applied = []
    before = _asked(trial, model, told, clock_s)
    for text in wanted:
        trial.progress("recipe", text)
        done = recipes.apply(trial, model, text, samples, shapes=fed, count=count)
        if done.model is not None:
            after = _asked(trial, done.model, told, clock_s)
            done = judge(done, before, after)
            if done.model is not None:
                model, before = done.model, after
        applied.append(done)
    return applied, model


def judge(
    done: recipes.Applied, before: Mapping[str, int], after: Mapping[str, int]
) -> recipes.Applied:
    """Keep a proven recipe only where it helps.

    Args:
        done: proven equal.
        before: nodes that each target refuses of the model before it.
        after: likewise, of the model that it gave.
    """
    known = [t for t in before if t in after]
    answers = tuple(
        recipes.Answer(target=t, before=before[t], after=after[t])
        for t in known
        if before[t] or after[t]
    )
    done = dataclasses.replace(done, targets=answers)
    worse = [a for a in answers if a.after > a.before]
    if worse:
        one = worse[0]
        why = f"equal, but {one.target} refuses {one.after} nodes of it, {one.before} before"
        return dataclasses.replace(done, model=None, reason=why)
    need = any(a.before for a in answers)
    better = any(a.after < a.before for a in answers)
    if need and not better and done.recipe.partition(":")[0] in FOR_TARGETS:
        return dataclasses.replace(done, model=None, reason="equal, but no target refuses less")
    return done


def _asked(trial: Trial, model: r.Ref, shapes: Shapes, seconds: float) -> dict[str, int]:
    """Nodes that each target refuses, by its compiler, or by its table where there is none."""
    found = {}
    for state in trial.targets:
        trial.progress("compile", state.id)
        count = compile_stage.refused(trial, state, model, shapes=shapes, clock=Clock(seconds))
        if count is not None:
            found[state.id] = count
    return found


def change(
    trial: Trial, options: ExportOptions, samples: r.Ref, clock_s: float
) -> tuple[list[recipes.Applied], r.Ref | None]:
    """Recipes on a model that is ONNX already; the trial has admitted it."""
    count = min(Samples(trial.workspace.path(samples)).count, pipeline.MOST_SAMPLES)
    return run(
        trial,
        options.recipes,
        trial.model.ref,
        samples,
        count=count,
        dynamic=has_free(trial),
        clock_s=clock_s,
    )


def has_free(trial: Trial) -> bool:
    """Whether an input of the admitted model has a free size."""
    return any(not isinstance(d, int) for t in trial.model.facts.inputs for d in t.shape)


def admitted(trial: Trial, options: ExportOptions) -> tuple[r.TensorIO, ...]:
    """Admit the ONNX model and give its inputs; a free batch is 1, as for one sample.

    Raises:
        UserError: the model is refused, or no recipe was named.
    """
    if not options.recipes:
        raise UserError(
            options.model,
            "is ONNX already",
            advice="--recipe RECIPE changes it, seatrial check MODEL says which recipe may help",
        )
    trial.admitted = intake.admit(Path(options.model), trial.workspace)
    return tuple(_sized(t) for t in trial.model.facts.inputs)


def _sized(tensor: r.TensorIO) -> r.TensorIO:
    """Sizes as numbers where all but the batch are known, else none: the user must say them."""
    first, *others = tensor.shape or ("",)
    if not all(isinstance(d, int) for d in others):
        return dataclasses.replace(tensor, shape=())
    return dataclasses.replace(tensor, shape=(first if isinstance(first, int) else 1, *others))


def facts(
    source: str, applied: Sequence[recipes.Applied], *, count: int, synthetic: bool
) -> rows.Row:
    """The ``export`` part of a report on a model that was ONNX already.

    The gate is red where a recipe changed what the model gives, and nothing is proven where one
    was left out for another reason: what was asked for was not done.
    """
    left_out = [a for a in applied if a.model is None]
    reasons = [f"{a.recipe}: {a.reason}" for a in left_out]
    reasons += ["the samples are noise: give real ones with --data"] if synthetic else []
    gate = NOT_PROVEN if reasons else PASS
    if any(not a.equal and a.worst is not None for a in left_out):
        gate = FAIL
    return view.unknown(source, "") | {
        "kind": "onnx",
        "gate": gate,
        "reasons": reasons,
        "samples": count,
        "synthetic": synthetic,
        "recipes": [view.recipe(a) for a in applied],
    }
