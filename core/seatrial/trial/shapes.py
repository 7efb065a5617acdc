"""Static shapes and the batch: what the target is built for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from seatrial.samples import Samples

if TYPE_CHECKING:
    from seatrial.intake.facts import ModelFacts
    from seatrial.trial.context import Trial
    from seatrial.trial.evidence import Evidence
    from seatrial.trial.targets import TargetState


def batch(facts: ModelFacts) -> int:
    """Samples per inference: the model's own fixed batch, else 1, as in deployment."""
    kind, _, size = facts.batch.partition(":")
    return int(size) if kind == "fixed" and size.isdigit() else 1


def known(
    facts: ModelFacts, given: Mapping[str, tuple[int, ...]], *, batch: int
) -> dict[str, tuple[int, ...]]:
    """Static shapes that follow from the model, what was given, and the batch."""
    shapes: dict[str, tuple[int, ...]] = {}
    for tensor in facts.inputs:
        if tensor.name in given:
            shapes[tensor.name] = tuple(given[tensor.name])
            continue
        if tensor.shape in ((), ("...",)):
            continue
        first, *rest = tensor.shape
        dims = [batch if isinstance(first, str) and facts.batch == "free" else first, *rest]
        if all(isinstance(d, int) for d in dims):
            shapes[tensor.name] = tuple(int(d) for d in dims)
    return shapes


def static(
    trial: Trial, state: TargetState, found: Evidence, typed: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """A static shape for every input that can have one, by input name.

    What the user typed wins, then the target's table in the configuration, then the shape of the
    samples at hand with the batch in front.
    """
    given = trial.shapes_of(state, typed)
    store = found.calibration.ref if found.calibration is not None else None
    samples = Samples(trial.workspace.path(store)) if store is not None else None
    if samples is not None:
        stacked = samples.index.get("batch_axis", True)
        for name in samples.names:
            one = samples.shape(name)
            if one is not None and name not in given:
                given[name] = (trial.batch, *one) if stacked else one
    return known(trial.model.facts, given, batch=trial.batch)
