"""The text that goes with a reproduction: for somebody who has never heard of us."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from seatrial.report.markdown import code, line
from seatrial.report.safe import guard, safe
from seatrial.share.names import Names
from seatrial.share.rules import CUSTOMER
from seatrial.share.scrub import Scrubber
from seatrial.trial.machine import environment_row

from .types import RANDOM

if TYPE_CHECKING:
    from seatrial.trial.targets import TargetState

    from .command import Repro


def text(made: Repro, state: TargetState, op_types: Sequence[str]) -> str:
    """What happens, with which versions, how to see it again, and what of the model is in it."""
    here = environment_row()
    versions = {
        "seatrial": here["seatrial"],
        state.plugin.dist: state.plugin.version,
        "python": here["python"],
        **(state.availability.versions if state.availability else {}),
    }
    parts = [
        f"# {safe(made.target, 60)}: {safe(made.symptom.title, 60)}",
        f"> {line(words(made.symptom.text, made.target)) or 'no words'}",
        f"`model.onnx` has {_nodes(made.nodes)}"
        + (f" ({', '.join(code(safe(op, 40)) for op in op_types)})" if op_types else "")
        + f", of {made.nodes_before} of the model that it was cut from. "
        f"The last {made.asked} tries showed it {made.shown} times.",
        "## See it again",
        f"    {safe(made.next, 300)}",
        "## What of the original model is in it",
        "* " + _weights(made),
        "* " + _names(made),
        "## Versions",
        "\n".join(f"* {safe(name, 60)} {safe(v, 60)}" for name, v in versions.items() if v),
        f"* {safe(here['platform'], 120)}, {safe(here['cpu']['model'], 80)}",
    ]
    return guard("\n\n".join(parts) + "\n")


def _nodes(count: int) -> str:
    return f"{count} node" if count == 1 else f"{count} nodes"


def _weights(made: Repro) -> str:
    if made.weights == RANDOM:
        return "Its weights: none. Numbers of our own stand in their place, or it needs none."
    return (
        "Its weights: **yes**. With other numbers the target does something else, so this file "
        "holds weights of the original: ask before you publish it."
    )


def _names(made: Repro) -> str:
    if made.named:
        return "Its names: **yes**. With other names the target does something else."
    return "Its names: none. Nodes and tensors are numbered."


def words(value: str, target: str) -> str:
    """A toolchain's words without paths, hosts and addresses."""
    nothing: dict[str, object] = {"targets": []}
    scrubber = Scrubber(Names(nothing, CUSTOMER), frozenset((target,)))
    return safe(scrubber.text(value), 600)
