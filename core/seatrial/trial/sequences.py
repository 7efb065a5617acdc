"""Sequences with state: which outputs feed which inputs, and what states a model really sees.

Calibration and everything that feeds single steps need the states that occur in use. They are
made once, by running the float model on the reference step by step; the ladder runs every rung
with its own states instead (see :mod:`seatrial.session`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from seatrial import data as data_room
from seatrial.data import Loaded
from seatrial.data.contract import InputContract
from seatrial.data.states import fits, guessed
from seatrial.errors import UserError
from seatrial.results import Fault, FaultKind
from seatrial.trial.sequences_child import RolledRequest

if TYPE_CHECKING:
    from seatrial.config import Config
    from seatrial.intake import ModelFacts
    from seatrial.trial.context import Trial


def settled(config: Config, facts: ModelFacts) -> Config:
    """The configuration with a contract for every state input.

    ``[task] state`` names the pairs; a ``sequence`` without it takes those that names and shapes
    tell.

    Raises:
        UserError: a pair that the model does not have or whose shapes cannot fit, or none is found.
    """
    named = dict(config.task.state)
    named |= {c.output: name for name, c in config.inputs.items() if c.mode == "state"}
    if not named and config.task.kind != "sequence":
        return config
    pairs = named or guessed(facts.inputs, facts.outputs)
    if not pairs:
        raise UserError(
            "[task]",
            "no output of the model looks like the state of one of its inputs",
            place="state",
            advice='state = { OUTPUT = "INPUT" }',
        )
    _check(pairs, facts)
    states = {name: InputContract(mode="state", output=output) for output, name in pairs.items()}
    return dataclasses.replace(config, inputs={**config.inputs, **states})


def _check(pairs: Mapping[str, str], facts: ModelFacts) -> None:
    inputs, outputs = ({t.name: t for t in part} for part in (facts.inputs, facts.outputs))
    for output, name in pairs.items():
        for kind, key, known in (("output", output, outputs), ("input", name, inputs)):
            if key not in known:
                reason = f"the model has no {kind} {key!r}, only {', '.join(known)}"
                raise UserError("[task]", reason, place="state")
        if not fits(outputs[output], inputs[name]):
            shapes = [
                f"{t.dtype} {'x'.join(map(str, t.shape))}" for t in (outputs[output], inputs[name])
            ]
            reason = f"{output!r} is {shapes[0]} and {name!r} takes {shapes[1]}"
            raise UserError("[task]", reason, place="state")


def samples(trial: Trial, config: Config, source: data_room.Source, *, force: bool) -> Loaded:
    """The calibration set as the model is fed it in use, states included.

    Args:
        trial: the command at work.
        config: settled, see :func:`settled`.
        source: where it lies.
        force: accept synthetic data.

    Raises:
        UserError: it cannot be read, or is refused.
    """
    loaded = data_room.load(
        trial.runner,
        source,
        config.inputs,
        trial.model.facts.inputs,
        role="calibration",
        force=force,
        texts=config.task.texts,
        limits=trial.limits(timeout_s=1800),
    )
    loaded = rolled(trial, loaded)
    if not isinstance(loaded, Loaded):
        raise UserError(source.text, f"could not be read: {loaded.reason}")
    return loaded


def rolled(trial: Trial, loaded: Loaded | Fault) -> Loaded | Fault:
    """A set of sequences with the states that the float model goes through; others as they are."""
    if isinstance(loaded, Fault) or not any(
        c.mode == "state" for c in loaded.info.contracts.values()
    ):
        return loaded
    trial.progress("data", f"states of the {loaded.role} sequences")
    request = RolledRequest(model=trial.model.ref, samples=loaded.ref)
    outcome = trial.runner.task(
        "seatrial.trial.sequences_child:roll",
        request,
        refs=[request.model, request.samples],
        limits=trial.limits(timeout_s=1800),
    )
    if outcome.result is None:
        return outcome.fault or Fault(kind=FaultKind.RAISED, stage="states", reason="gave none")
    ref = trial.runner.adopt(outcome, outcome.result.artifact)
    return dataclasses.replace(loaded, ref=ref)
