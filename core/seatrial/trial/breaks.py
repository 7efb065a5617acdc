"""The first broken rung and the first broken layer of each target, and the likely cause.

Runs after everything is judged and measured: it explains, and decides nothing. A cause is called
confirmed only if an experiment shows it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from seatrial import results as r
from seatrial.ladder import breaks as lb
from seatrial.ladder import gates
from seatrial.ladder import records as lr
from seatrial.ladder.equality import EQUAL_DB, IN_FLOAT, NOT_THE_PAIRS
from seatrial.ladder.gates import Graded
from seatrial.ladder.health import FAIL
from seatrial.trial.beside import Beside
from seatrial.trial.fusion import Unfused
from seatrial.trial.reference import reference_outputs

if TYPE_CHECKING:
    from seatrial.trial.build import Piece
    from seatrial.trial.context import Trial
    from seatrial.trial.evidence import Evidence
    from seatrial.trial.targets import TargetState

#: Samples that layers are looked at with.
SAMPLES = 4
#: Sessions that a search for tensors which a target can show may open.
LOADS = 16
#: A fall of the signal-to-difference ratio by so much at one layer is that layer's doing, dB.
FALL_DB = 10.0
#: Seconds that must be left of a budget for an experiment to be begun.
LEAST_S = 20.0
#: Flips of classes beyond the floor from which on a layer is looked for.
WORTH_A_LOOK, LEAST_FLIPS = 1.5, 5
#: Precisions below float32, as runtimes spell them.
LESSER = ("BF16", "FP16", "TF32")


def explain(trial: Trial, found: Evidence) -> None:
    """Fill ``facts["first_break"]`` of every target that has a broken rung."""
    if found.judged is None or found.test is None:
        return
    graded = gates.grade(found.judged, found.sla)
    if any(g.row["gate"] == FAIL and g.row["rung"] == lr.ONNX_FP32 for g in graded):
        return  # the float model itself is broken: no target is to blame
    for state in trial.usable:
        step = first_broken(graded, state.id, found.judged)
        if step is None:
            continue
        trial.progress("breaks", f"{state.id} {step.row['rung']}")
        blank = lb.Break(rung=step.row["rung"], against=step.row["against"] or "")
        search = _Search(trial, found, state, blank)
        floats = step.row["rung"] == lr.DEVICE_FLOAT
        told = search.lesser() if floats else None
        if told is None and trial.clock.left_s < LEAST_S:
            text = "where it breaks was not looked for: the time was spent"
            told = dataclasses.replace(blank, text=text)
        told = told or (search.floats() if floats else search.int8())
        state.facts["first_break"] = _unquantised(told) if step.code == IN_FLOAT else told


def _unquantised(told: lb.Break) -> lb.Break:
    """Of a device that is rather the float model: what it leaves out is no rounding."""
    if told.cause != lb.ROUNDING:
        return told
    text = (
        f"none of {told.tested} layers, each by itself, is off by more than a step, and the whole "
        "is closer to float than to its Q/DQ model: it leaves quantisers between layers out"
    )
    return dataclasses.replace(told, cause=lb.OTHER, text=text)


def _flips(judged: lr.JudgeResult, row: dict[str, Any]) -> bool:
    """Whether a device's INT8 flips half as many classes again as sound rounding does.

    More is needed to call it broken; this much is worth a look.
    """
    steps = [c for c in judged.comparisons if (c.rung, c.target) == (row["rung"], row["target"])]
    step = next((c for c in steps if c.against == lr.ONNX_INT8 and c.source == row["source"]), None)
    if step is None or step.agreed < 0 or step.noise_agreed < 0:
        return False
    return step.n - step.agreed > WORTH_A_LOOK * (step.n - step.noise_agreed) + LEAST_FLIPS


def first_broken(graded: tuple[Graded, ...], target: str, judged: lr.JudgeResult) -> Graded | None:
    """The lowest rung of a target that is not what it must equal.

    Broken are float that is another computation (also one that says so: a baseline told to be
    FP32 that ran in less), and INT8 that moves away from the same Q/DQ on the reference by more
    than chance, or fails there. What INT8 itself costs is no break.
    """
    for rung in (lr.DEVICE_FLOAT, lr.DEVICE_INT8):
        for step in graded:
            row = step.row
            if row["target"] != target or row["rung"] != rung or step.code == "ladder.output":
                continue
            if rung == lr.DEVICE_INT8 and row["against"] != lr.ONNX_INT8:
                continue
            if rung == lr.DEVICE_INT8:
                beyond_chance = row["ci95"] is not None and row["ci95"][0] > 0
                moved = beyond_chance or _flips(judged, row) or step.code in NOT_THE_PAIRS
            else:  # float that is not equal is judged by its drop
                moved = row["source"] != lr.NATIVE and step.code.startswith("accuracy.")
            if row["gate"] == FAIL or moved:
                return step
    return None


class _Search:
    """The search for one broken rung.

    Args:
        trial: the command at work.
        found: its evidence.
        state: the target.
        blank: rung and reference.
    """

    def __init__(self, trial: Trial, found: Evidence, state: TargetState, blank: lb.Break) -> None:
        assert found.test is not None
        self.trial, self.found, self.state, self.blank = trial, found, state, blank
        self.test: r.Ref = found.test.ref
        self.beside = Beside(trial, found, state, self.test)
        self.feed: r.Ref = found.feed or found.test.ref
        count = trial.samples_count if found.feed is not None else found.test.info.count
        self.indices = tuple(range(min(SAMPLES * trial.batch, count)))

    def _told(self, cause: str, text: str, **known: Any) -> lb.Break:
        return dataclasses.replace(self.blank, cause=cause, text=text, **known)

    def _piece(self, name: str) -> Piece | None:
        found: Piece | None = self.state.facts.get("pieces", {}).get(name)
        return found

    def _layers_ran(self, name: str) -> list[dict[str, Any]]:
        ran = (self.state.facts.get("ran") or {}).get(name) or {}
        return list(ran.get("layers") or ())

    # --- float ----------------------------------------------------------------------------------

    def lesser(self) -> lb.Break | None:
        """Whether a lower precision ran, by what the kernels or the numbers themselves tell."""
        coarse = self._coarse()
        lesser = [x for x in self._layers_ran("fp32") if str(x["precision"]).upper() in LESSER]
        if coarse or lesser:
            kinds = sorted({str(x["precision"]).upper() for x in lesser}) or [coarse]
            how = (
                f"{len(lesser)} layers of what was to be FP32 ran in {', '.join(kinds)}"
                if lesser
                else f"every number of its outputs is a {coarse} number, which the reference's "
                f"are not: it ran in {coarse}, whatever it says"
            )
            first = next((n for x in lesser for n in x["nodes"]), "")
            return self._told(lb.REDUCED, how, confirmed=True, layer=first)
        return None

    def floats(self) -> lb.Break:
        """Why the target's FP32 is another computation than the model's."""
        mixed = self._misread(self.trial.model.ref, "all")
        if mixed is not None:
            return mixed
        piece = self._piece("fp32")
        taps = self._taps(self.trial.model.ref, piece, "all") if piece is not None else ()
        first_tap = lb.first_moved(taps, EQUAL_DB)
        if first_tap is not None:
            told = self._of_tap(first_tap, len(taps), "fp32")
        else:
            text = "no inner tensor of the target could be set beside the reference's"
            if taps:
                text = f"the {len(taps)} inner tensors that the target shows are the reference's"
            told = self._told(lb.OTHER, text, tested=len(taps))
        if piece is None:
            return told
        runs = Unfused(self.trial, self.state, piece, self.feed, self.indices)
        return runs.explained(told, taps)

    def _of_tap(self, tap: lb.TapFacts, tested: int, name: str) -> lb.Break:
        """A layer whose output is the first that differs, with what the runtime did to it."""
        size = "another number throughout" if tap.sqnr_db is None else f"{tap.sqnr_db:.0f} dB"
        text = f"{tap.op_type} {tap.node} is the first of {tested} whose output differs ({size})"
        ran = [x for x in self._layers_ran(name) if tap.node in x["nodes"]]
        cause = lb.OTHER
        if any(x["on"] in self._elsewhere(name) for x in ran):
            cause, text = lb.FALLBACK, f"{text}; it fell back to {ran[0]['on']}"
        elif ran and len(ran[0]["nodes"]) > 1:
            cause = lb.FUSED
            text += f"; it ran fused with {lb.names([n for n in ran[0]['nodes'] if n != tap.node])}"
        return self._told(cause, text, layer=tap.node, tensor=tap.tensor, tested=tested)

    def _elsewhere(self, name: str) -> set[str]:
        """Devices that nodes fell back to, as the compiler and the session tell."""
        built = self.state.facts.get("built") or {}
        told = {f["on"] for f in built.get("findings", ()) if f["placement"] == "fallback"}
        ran: r.Ran | None = self.state.facts.get("observed", {}).get(name)
        places = ran.placements if ran is not None else ()
        told |= {p.on for p in places if p.placement is r.Placement.FALLBACK}
        at_home = {p.on for p in places if p.placement is r.Placement.TARGET}
        return told - at_home - {""}

    def _coarse(self) -> str:
        steps = self.found.judged.comparisons if self.found.judged else ()
        for step in steps:
            if (step.rung, step.target) == (lr.DEVICE_FLOAT, self.state.id):
                kinds = [o.coarse for o in step.outputs if o.floating]
                if kinds and all(kinds):
                    return kinds[0]
        return ""

    def _misread(self, model: r.Ref, optimize: str) -> lb.Break | None:
        """Whether the outputs are those of pictures in a wrong layout."""
        rung = next(
            (
                x
                for x in self.found.rungs
                if x.rung == self.blank.rung and x.target == self.state.id
            ),
            None,
        )
        if rung is None:
            return None
        request = lb.MisreadRequest(
            model=model, samples=self.test, got=rung.outputs, optimize=optimize
        )
        outcome = self.trial.runner.task(
            "seatrial.ladder.breaks_child:misread",
            request,
            refs=[model, self.test, rung.outputs],
            limits=self.trial.limits(),
        )
        told: lb.Misread | None = outcome.result
        if told is None or not told.what:
            return None
        text = (
            f"its outputs are those of the reference for {told.what} ({told.sqnr_db:.0f} dB): the "
            "layout of its inputs is mixed up"
        )
        return self._told(lb.LAYOUT, text, confirmed=True)

    # --- INT8 -----------------------------------------------------------------------------------

    def int8(self) -> lb.Break:
        """Why the target's INT8 is another computation than the same Q/DQ on the reference."""
        model, piece = self._source(), self._piece("int8")
        if model is None or piece is None:
            return self._told(lb.OTHER, "the target quantised it itself: there is no twin of it")
        layers, whole = self.beside.isolated(model, self.feed, self.indices)
        broken = [x for x in layers if x.broken]
        if not broken:
            mixed = self._misread(model, "none")
            return mixed if mixed is not None else self._between(model, piece, layers)
        saturating = [x for x in broken if x.saturates]
        first = broken[0]
        known = {
            "layer": first.node,
            "tensor": first.tensor,
            "layers": tuple(x.node for x in broken),
            "tested": len(layers),
        }
        if saturating and first.saturates:
            return self._saturation(saturating, broken, whole, known)
        text = (
            f"{len(broken)} of {len(layers)} layers, each by itself, give something else than the "
            f"reference (by up to {max(x.largest for x in broken):.0f} steps; first "
            f"{first.op_type} {first.node}); weights in 7 bits do not mend it"
        )
        return self._told(lb.OTHER, text, confirmed=True, **known)

    def _saturation(
        self,
        saturating: list[lb.LayerFacts],
        broken: list[lb.LayerFacts],
        whole: r.Ref | None,
        known: dict[str, Any],
    ) -> lb.Break:
        """Sums that overflow: the whole model with 7-bit weights must be equal again."""
        names = lb.names([x.node for x in saturating])
        most = max(x.largest for x in saturating)
        text = (
            f"its INT8 sums saturate: {len(saturating)} of {known['tested']} layers, each by "
            f"itself, are off by up to {most:.0f} steps, and by rounding alone with weights in 7 "
            f"bits ({names})"
        )
        if len(broken) > len(saturating):
            text += f"; {len(broken) - len(saturating)} more are off in 7 bits as well"
        proof = self.beside.whole(whole) if whole is not None else None
        if proof is None:
            return self._told(lb.SATURATION, text, confirmed=True, **known)
        mended, told = proof
        return self._told(lb.SATURATION, f"{text}; {told}", confirmed=mended, **known)

    def _source(self) -> r.Ref | None:
        """The Q/DQ model that the target's INT8 was built from."""
        piece = self._piece("int8")
        refs = [p.chosen.ref for p in self.found.portables.values() if p.chosen is not None]
        known = [ref for ref in refs if ref is not None]
        source = piece.source if piece is not None else ""
        return next((ref for ref in known if source == f"qdq:{ref.sha256[:16]}"), None)

    def _between(self, model: r.Ref, piece: Piece, layers: tuple[lb.LayerFacts, ...]) -> lb.Break:
        """No layer is broken by itself: what happens between them?"""
        taps = self._taps(model, piece, "none")
        fall = lb.steepest(taps, FALL_DB)
        if fall is not None:
            return self._of_tap(fall, len(taps), "int8")
        if not layers:
            text = "its layers could not be looked at one by one"
            return self._told(lb.OTHER, text, tested=len(taps))
        text = (
            f"none of {len(layers)} layers, each by itself, is off by more than a step: what "
            "differs is rounding that adds up, or lies between the layers"
        )
        return self._told(lb.ROUNDING, text, tested=len(layers))

    # --- inner tensors --------------------------------------------------------------------------

    def _taps(self, model: r.Ref, piece: Piece, optimize: str) -> tuple[lb.TapFacts, ...]:
        """Inner tensors of the target beside the reference's, as far as the target shows them."""
        trial = self.trial
        listed = trial.runner.task(
            "seatrial.ladder.breaks_child:taps",
            lb.TapRequest(model=model),
            refs=[model],
            limits=trial.limits(),
        )
        known: lb.Taps | None = listed.result
        if known is None or not known.taps:
            return ()
        facts: list[lb.TapFacts] = []
        waiting, loads = [known.taps], 0
        while waiting and loads < LOADS:
            taps, loads = waiting.pop(0), loads + 1
            told = self._tapped(model, piece, optimize, taps)
            if told is not None:
                facts += told
            elif len(taps) > 1:  # one of them is folded away here: look for the others
                middle = len(taps) // 2
                waiting += [taps[:middle], taps[middle:]]
        place = {tap.tensor: k for k, tap in enumerate(known.taps)}
        return tuple(sorted(facts, key=lambda f: place[f.tensor]))

    def _tapped(
        self, model: r.Ref, piece: Piece, optimize: str, taps: tuple[lb.Tap, ...]
    ) -> tuple[lb.TapFacts, ...] | None:
        trial, names = self.trial, tuple(t.tensor for t in taps)
        outcome = trial.outputs(self.state, piece, self.feed, self.indices, taps=names)
        if outcome.result is None:
            return None
        expected = reference_outputs(
            trial, model, self.feed, self.indices, optimize=optimize, taps=names
        )
        if isinstance(expected, r.Fault):
            return None
        compared = trial.runner.task(
            "seatrial.ladder.breaks_child:compare_taps",
            lb.CompareTapsRequest(taps=taps, expected=expected, got=outcome.result),
            refs=[expected, outcome.result],
            limits=trial.limits(),
        )
        told: lb.TapsCompared | None = compared.result
        return told.taps if told is not None else None
