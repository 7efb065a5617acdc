"""Does the float model do better with red and blue exchanged? Asked after everything is judged.

Pictures read by one library come as BGR, by another as RGB, and arrays do not say which they hold.
A net that gets the wrong order is right less often and INT8 keeps that well: the drop is small and
the promise is not worth it. As with :mod:`seatrial.trial.refit` the answer can only turn a verdict
red; what is fed stays as configured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from seatrial import results as r
from seatrial.ladder.refit_child import Fed, RefitRequest, Refitted
from seatrial.samples import Samples
from seatrial.tasks.base import FAIL, Doubt
from seatrial.trial import refit
from seatrial.trial.child import SubsetRequest
from seatrial.trial.reference import reference_outputs

if TYPE_CHECKING:
    from seatrial.trial.context import Trial
    from seatrial.trial.evidence import Evidence

#: Samples that are fed both ways.
SOME = 256
#: Tasks whose metric is counted in points, as the limits of a gain are.
TASKS = ("classify", "detect", "segment", "binary")
#: Sides from which a tensor with three channels is taken for a picture.
SIDE = 8


def doubt(trial: Trial, found: Evidence) -> Doubt | None:
    """What the other order of colours shows, if anything."""
    test = found.test
    if test is None or found.task.name not in TASKS:
        return None
    store = Samples(trial.workspace.path(test.ref))
    axes = _channels(store)
    if not axes or store.labels is None or store.state or not store.index.get("batch_axis", True):
        return None
    size = min(store.count, SOME)
    indices = tuple(k * store.count // size for k in range(size))
    own = _fed(trial, test.ref, indices, {}, "as they are")
    other = _fed(trial, test.ref, indices, axes, "with red and blue exchanged")
    if own is None or other is None:
        return None
    request = RefitRequest(
        task=found.task, own=own, others=(other,), least=refit.GAIN, seed=trial.seed
    )
    outcome = trial.runner.task(
        "seatrial.ladder.refit_child:refit",
        request,
        refs=[ref for f in (own, other) for ref in (f.test, f.outputs)],
        limits=trial.limits(timeout_s=1800),
    )
    result: Refitted | None = outcome.result
    better = [g for g in result.gains if refit.better(g)] if result is not None else []
    if not better:
        return None
    low, high = better[0].gain.ci95 or (0.0, 0.0)
    text = (
        f"the float model does better by {better[0].gain.drop:.1f} points (95 % interval "
        f"{low:.1f} to {high:.1f}, {better[0].gain.n} samples) with red and blue exchanged: it is "
        "fed BGR for RGB, or the other way round"
    )
    return Doubt(gate=FAIL, code="input.colours", text=text)


def _channels(store: Samples) -> dict[str, int]:
    """The axis of the colours of every input that looks like a picture, batch axis left out."""
    found = {}
    for name in store.names:
        shape = store.shape(name)
        if shape is None or len(shape) != 3:
            continue
        axes = [a for a in (0, 2) if shape[a] == 3 and min(shape[1], shape[2 - a]) >= SIDE]
        if len(axes) == 1:
            found[name] = axes[0]
    return found


def _fed(
    trial: Trial, test: r.Ref, indices: tuple[int, ...], reverse: dict[str, int], name: str
) -> Fed | None:
    """Some test samples fed in one way, and the float model's outputs."""
    trial.progress("ladder", f"pictures fed {name}")
    outcome = trial.runner.task(
        "seatrial.trial.child:subset",
        SubsetRequest(samples=test, indices=indices, reverse=reverse),
        refs=[test],
        limits=trial.limits(),
    )
    if outcome.result is None:
        return None
    samples = trial.runner.adopt(outcome, outcome.result.artifact)
    outputs = reference_outputs(trial, trial.model.ref, samples)
    return None if isinstance(outputs, r.Fault) else Fed(name=name, test=samples, outputs=outputs)
