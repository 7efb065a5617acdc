"""Whether what a target fuses changes its numbers: shown by keeping it from fusing.

Two experiments. A tensor that is asked for as an output must be computed as it is, so a runtime
cannot fuse across it: if the model's outputs are the reference's with it and are not without it,
fusing its node with a neighbour is what changes them. A runtime that can execute the graph as it
is (:attr:`seatrial.results.Description.optimise_off`) is simply asked to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from seatrial import results as r
from seatrial.ladder import breaks as lb
from seatrial.ladder.equality import EQUAL_DB
from seatrial.trial.reference import reference_outputs

if TYPE_CHECKING:
    from seatrial.trial.build import Piece
    from seatrial.trial.context import Trial
    from seatrial.trial.targets import TargetState


@dataclasses.dataclass
class Unfused:
    """A float artefact, run so that it cannot fuse.

    Args:
        trial: the command at work.
        state: the target.
        piece: its artefact.
        feed: a sample store.
        indices: which samples.
    """

    trial: Trial
    state: TargetState
    piece: Piece
    feed: r.Ref
    indices: tuple[int, ...]

    def explained(self, told: lb.Break, taps: Sequence[lb.TapFacts]) -> lb.Break:
        """What is known of a broken float rung, after the experiments that fit it.

        Args:
            told: from its inner tensors: a layer that ran fused is a suspect, one that is first
                to differ by itself is not; without a layer nothing inside differs.
            taps: the inner tensors.
        """
        if told.layer and told.cause != lb.FUSED:
            return told
        found = None if told.layer else self.across(taps)
        if found is not None:
            text = (
                f"{told.text}, and so are its outputs as long as {found.tensor} is one of them: "
                f"fusing {found.op_type} {found.node} with what follows changes the numbers"
            )
            return dataclasses.replace(
                told,
                cause=lb.FUSED,
                confirmed=True,
                layer=found.node,
                tensor=found.tensor,
                text=text,
            )
        mended = self.off()
        if mended is None:
            return told
        outputs = "are the model's" if mended else "differ as well: fusing is not why"
        text = f"{told.text}; with graph optimisation off its outputs {outputs}"
        cause = lb.FUSED if mended else lb.OTHER
        return dataclasses.replace(told, cause=cause, confirmed=mended, text=text)

    def across(self, taps: Sequence[lb.TapFacts]) -> lb.TapFacts | None:
        """The tensor that mends the outputs if it is kept; ``None``: none does.

        Args:
            taps: inner tensors that the target can show, in the order of the graph.
        """
        if not taps or not self._mended(taps):
            return None
        least, most = 0, len(taps)  # the first ``most`` mend it, the first ``least`` do not
        while most - least > 1:
            middle = (least + most) // 2
            least, most = (least, middle) if self._mended(taps[:middle]) else (middle, most)
        return taps[most - 1]

    def off(self) -> bool | None:
        """Whether the graph as it is gives the model's outputs; ``None``: cannot be asked."""
        described = self.state.description
        if described is None or not described.optimise_off:
            return None
        outcome = self.trial.outputs(
            self.state, self.piece, self.feed, self.indices, optimise=False
        )
        return None if outcome.result is None else self._equal(outcome.result)

    def _mended(self, taps: Sequence[lb.TapFacts]) -> bool:
        names = tuple(t.tensor for t in taps)
        outcome = self.trial.outputs(self.state, self.piece, self.feed, self.indices, taps=names)
        return outcome.result is not None and self._equal(outcome.result)

    def _equal(self, got: r.Ref) -> bool:
        """Whether all outputs of the model are the reference's within float rounding."""
        trial, model = self.trial, self.trial.model.ref
        expected = reference_outputs(trial, model, self.feed, self.indices)
        if isinstance(expected, r.Fault):
            return False
        outputs = tuple(
            lb.Tap(tensor=t.name, node="", op_type="") for t in trial.model.facts.outputs
        )
        compared = trial.runner.task(
            "seatrial.ladder.breaks_child:compare_taps",
            lb.CompareTapsRequest(taps=outputs, expected=expected, got=got),
            refs=[expected, got],
            limits=trial.limits(),
        )
        told: lb.TapsCompared | None = compared.result
        return told is not None and bool(told.taps) and lb.first_moved(told.taps, EQUAL_DB) is None
