"""The layers of a Q/DQ model one by one on a target, and the whole with weights in 7 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seatrial import results as r
from seatrial.ladder import breaks as lb
from seatrial.ladder import records as lr
from seatrial.trial import build, ladder
from seatrial.trial.files import part
from seatrial.trial.reference import reference_outputs

if TYPE_CHECKING:
    from seatrial.trial.context import Trial
    from seatrial.trial.evidence import Evidence
    from seatrial.trial.targets import TargetState


class Beside:
    """Experiments on one target.

    Args:
        trial: the command at work.
        found: its evidence: the task and the limits.
        state: the target.
        test: the test store.
    """

    def __init__(self, trial: Trial, found: Evidence, state: TargetState, test: r.Ref) -> None:
        self.trial, self.found, self.state, self.test = trial, found, state, test

    def isolated(
        self, model: r.Ref, feed: r.Ref, indices: tuple[int, ...]
    ) -> tuple[tuple[lb.LayerFacts, ...], r.Ref | None]:
        """Every layer by itself on the target; and the model with weights in 7 bits."""
        trial = self.trial
        request = lb.IsolateRequest(model=model, samples=feed, indices=indices)
        outcome = trial.runner.task(
            "seatrial.ladder.isolate_child:isolate",
            request,
            refs=[model, feed],
            limits=trial.limits(timeout_s=900),
            remember=trial.remembers,
        )
        side: lb.SideBySide | None = outcome.result
        if side is None or side.wide is None or side.inputs is None or side.expected_wide is None:
            return (), None

        def taken(artifact: r.Artifact | None) -> r.Ref | None:
            known = artifact is not None
            return part(trial.workspace, outcome.out, artifact) if known and artifact else None

        inputs, whole = taken(side.inputs), taken(side.whole)
        wide = self._beside(taken(side.wide), inputs), taken(side.expected_wide)
        narrow = self._beside(taken(side.narrow), inputs), taken(side.expected_narrow)
        if wide[0] is None or wide[1] is None:
            return (), whole
        asked = lb.CompareLayersRequest(
            layers=side.layers,
            expected_wide=wide[1],
            got_wide=wide[0],
            expected_narrow=narrow[1] if narrow[0] is not None else None,
            got_narrow=narrow[0],
        )
        compared = trial.runner.task(
            "seatrial.ladder.breaks_child:compare_layers",
            asked,
            refs=[x for x in (*wide, *narrow) if x is not None],
            limits=trial.limits(),
        )
        told: lb.LayersCompared | None = compared.result
        return (told.layers if told is not None else ()), whole

    def _beside(self, model: r.Ref | None, inputs: r.Ref | None) -> r.Ref | None:
        """Outputs of layers side by side on the target."""
        if model is None or inputs is None:
            return None
        piece = build.build_portable(self.trial, self.state, model, {}, [])
        if piece is None:
            return None
        outcome = self.trial.outputs(self.state, piece, inputs, batch=1)
        self.trial.blame(self.state, outcome.fault, decisive=False)
        return outcome.result

    def whole(self, narrow: r.Ref) -> tuple[bool, str] | None:
        """The whole model with weights in 7 bits, on the target and on the reference."""
        trial, state = self.trial, self.state
        expected = reference_outputs(trial, narrow, self.test, optimize="none")
        piece = build.build_portable(trial, state, narrow, state.facts.get("shapes", {}), [])
        got = build.run_once(trial, state, piece, self.test) if piece is not None else None
        if got is None or isinstance(expected, r.Fault):
            return None
        source = f"qdq:{narrow.sha256[:16]}"
        rungs = [
            lr.Rung(rung=lr.ONNX_INT8, outputs=expected, source=source, precision="INT8"),
            lr.Rung(rung=lr.DEVICE_INT8, outputs=got, target=state.id, source=source),
        ]
        judged = ladder.judge(trial, rungs, self.test, self.found.task, self.found.sla)
        steps = () if isinstance(judged, r.Fault) else judged.comparisons
        step = next((s for s in steps if s.against == lr.ONNX_INT8), None)
        if step is None:
            return None
        changed = (
            f"{step.n - step.agreed} of {step.n} samples change class" if step.agreed >= 0 else ""
        )
        if step.paired is None:
            return True, f"with all weights in 7 bits {changed or 'it runs'} against the reference"
        moved = step.paired.ci95 is not None and step.paired.ci95[0] > 0
        verb = "loses" if step.paired.drop >= 0 else "gains"
        told = (
            f"with all weights in 7 bits the model {verb} {abs(step.paired.drop):.2f} here against "
            f"the same on the reference ({changed})"
        )
        return not moved, told
