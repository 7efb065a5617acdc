"""Does the model that ships keep the promised accuracy on this target?

The rows that bind: the float baseline (it must deserve the name), the artefact that ships against
``onnx-fp32`` (the promise), and its equality with ``onnx-int8`` (a broken step is a bug: do not
ship). Equality that is merely not proven caps the answer only if the user set ``device_drop``
himself: when the drop from end to end is proven, the promise holds whatever the path.
"""

from __future__ import annotations

from typing import Any

from seatrial.ladder.equality import NOT_THE_PAIRS
from seatrial.ladder.gates import Graded
from seatrial.ladder.health import FAIL, PASS, UNPROVEN
from seatrial.ladder.records import (
    DEVICE_FLOAT,
    DEVICE_INT8,
    NATIVE,
    ONNX_FP32,
    ONNX_INT8,
    PYTORCH,
)
from seatrial.report import rows
from seatrial.report.numbers import plural

from .compiles import fault_text
from .records import DO_NOT_SHIP, NOT_PROVEN, SHIP, Case, Part, worst

_ANSWERS = {PASS: SHIP, FAIL: DO_NOT_SHIP, UNPROVEN: NOT_PROVEN}


class _Tally:
    """Collects answers and reasons of one part."""

    def __init__(self, case: Case) -> None:
        self.target = case.target["target"]
        self.answers: list[str] = []
        self.reasons: list[dict[str, Any]] = []
        self.missing: list[str] = []

    def say(self, answer: str, code: str, text: str, *, missing: str = "") -> None:
        """Count an answer; anything but SHIP is an error, SHIP explains."""
        self.answers.append(answer)
        self.note(code, text, "info" if answer == SHIP else "error")
        if missing and answer != SHIP:
            self.missing.append(missing)

    def note(self, code: str, text: str, level: str = "warning") -> None:
        """Worth knowing, decides nothing."""
        reason = rows.reason(code, text, part="accurate", target=self.target, level=level)
        self.reasons.append(reason)


def accurate(case: Case) -> Part:
    """The answer of the part ``accurate``."""
    tally = _Tally(case)
    if not case.run.tested:
        tally.say(NOT_PROVEN, "accuracy.no-test", "no test data was given", missing="test data")
    else:
        _ladder(case, tally)
    _caps(case, tally)
    return Part(
        answer=worst(tuple(tally.answers)),
        reasons=tuple(tally.reasons),
        missing=tuple(dict.fromkeys(tally.missing)),
    )


def _ladder(case: Case, tally: _Tally) -> None:
    own = case.target["target"]
    shipping = DEVICE_INT8 if case.run.int8 else DEVICE_FLOAT
    pinned = not case.run.int8 and any(
        g.row["rung"] == DEVICE_FLOAT and g.row["target"] == own and g.row["source"] != NATIVE
        for g in case.graded
    )
    main = False
    for graded in case.graded:
        row = graded.row
        if graded.code == "ladder.output" or row["target"] not in (None, own):
            continue
        if row["rung"] in (PYTORCH, ONNX_FP32):
            if row["gate"] in (FAIL, UNPROVEN):
                _say(tally, graded)
        elif pinned and row["source"] == NATIVE:
            # The runtime's own choice of precision stands beside the pinned FP32 that ships.
            if row["gate"] != PASS:
                tally.note(graded.code, _text(graded))
        elif row["rung"] == shipping and row["against"] == ONNX_FP32:
            main = True
            _say(tally, graded)
            _least(case, tally, graded)
        elif row["rung"] == shipping:
            _equality(case, tally, graded)
        elif row["gate"] == FAIL and (case.run.int8 or row["rung"] != ONNX_INT8):
            _beside(tally, graded)
    if main:
        return
    fault = case.target["fault"]
    name = "INT8" if case.run.int8 else "float"
    text = f"the {name} artefact did not run on the test set"
    text += f": {fault_text(fault)}" if fault is not None else ""
    tally.say(NOT_PROVEN, "accuracy.not-run", text, missing=f"a run of the {name} artefact")


#: A model that came quantised can be judged, but not by itself.
_FLOAT = "the float model to compare with: run it, and name this one with --qdq"


def _beside(tally: _Tally, graded: Graded) -> None:
    """A broken rung that does not ship itself.

    The float that a target was told to run in FP32 is what its INT8 is set beside; one that is not
    the model leaves no answer of that target above doubt.
    """
    row = graded.row
    if graded.code != "ladder.not-equal" or row["rung"] != DEVICE_FLOAT or row["source"] == NATIVE:
        tally.note(graded.code, _text(graded))
        return
    missing = "a float artefact of the target that equals the model"
    tally.say(NOT_PROVEN, graded.code, _text(graded), missing=missing)


def _text(graded: Graded) -> str:
    row = graded.row
    return f"{row['rung']} {row['reason']}"


def _say(tally: _Tally, graded: Graded) -> None:
    row = graded.row
    need = row["n_needed"]
    unit = "groups of labelled samples" if row["groups"] else "labelled test samples"
    missing = f"about {need:,} {unit}" if need else ""
    if graded.code == "accuracy.no-labels":
        missing = "labels for the test set (or --accept-agreement)"
    if graded.code in NOT_THE_PAIRS and row["gate"] == UNPROVEN:
        missing = "an INT8 artefact that computes what its Q/DQ model says"
    if graded.code == "ladder.branch" and row["gate"] == UNPROVEN:
        missing = "a task that scores every output, or an INT8 model that keeps them all"
    if graded.code == "ladder.reference":
        base = row["against"]
        missing = _FLOAT if base == ONNX_FP32 else f"a run of {base}"
    tally.say(_ANSWERS[row["gate"]], graded.code, _text(graded), missing=missing)


def _equality(case: Case, tally: _Tally, graded: Graded) -> None:
    """The device's INT8 against the same Q/DQ on the reference."""
    few = graded.row["gate"] == UNPROVEN and graded.code not in NOT_THE_PAIRS
    if few and "device_drop" in case.sla.defaults:
        tally.note(graded.code, _text(graded))
    elif graded.row["gate"] != PASS:
        _say(tally, graded)


def _least(case: Case, tally: _Tally, graded: Graded) -> None:
    """The metric itself against ``min_metric``, by its own interval."""
    least, value = case.sla.min_metric, graded.row["value"]
    if least is None:
        return
    if value is None or graded.row["metric"] == "agreement":
        text = f"at least {least:g} is asked of the metric, which needs labels"
        tally.say(NOT_PROVEN, "accuracy.min-metric", text, missing="labels for the test set")
        return
    metric, limits = graded.row["metric"], graded.value_ci95
    if limits is None:
        text = f"{metric} is {value:.2f} without an interval; at least {least:g} is asked"
        tally.say(NOT_PROVEN, "accuracy.min-metric", text, missing="more test samples")
        return
    low, high = limits
    up = graded.row["higher_is_better"]
    text = (
        f"{metric} is {value:.2f} (95 % interval {low:.2f} to {high:.2f}); "
        f"at {'least' if up else 'most'} {least:g} is asked"
    )
    met, missed = (low >= least, high < least) if up else (high <= least, low > least)
    answer = SHIP if met else DO_NOT_SHIP if missed else NOT_PROVEN
    tally.say(answer, "accuracy.min-metric", text, missing="more test samples")


def _caps(case: Case, tally: _Tally) -> None:
    """What keeps an answer from SHIP however good the numbers look."""
    run = case.run
    if run.overlap:
        text = f"{plural(run.overlap, 'calibration sample is', 'calibration samples are')} in the "
        text += "test set: the test is not held out"
        tally.say(NOT_PROVEN, "data.overlap", text, missing="a test set apart from calibration")
    elif run.unfit and run.int8:
        text = f"the calibration set is not fit to prove it: {run.unfit}"
        tally.say(NOT_PROVEN, "data.unfit", text, missing="a calibration set without red findings")
    if run.copied:
        advice = "a column group for the copies, or a test set without them"
        tally.say(NOT_PROVEN, "data.copies", run.copied, missing=advice)
    if run.varies:
        text = "the test source is not repeatable: samples differ when it is read twice"
        advice = "a test source without augmentation, or with a fixed seed"
        tally.say(NOT_PROVEN, "data.not-repeatable", text, missing=advice)
    if run.unlisted:
        advice = "a whole labels.csv (or name it, labels = FILE, if the part is meant)"
        tally.say(NOT_PROVEN, "data.unlisted", f"test set: {run.unlisted}", missing=advice)
    if run.synthetic_calibration and run.int8:
        text = "calibration was forced on synthetic data: its ranges are nobody's"
        tally.say(NOT_PROVEN, "data.synthetic-calibration", text, missing="real calibration data")
    if run.synthetic_test:
        text = "the test set is synthetic: its metric is nobody's"
        tally.say(NOT_PROVEN, "data.synthetic-test", text, missing="real test data")
    if simulated(case.target):
        text = "it ran on a simulator, not on the device"
        tally.say(NOT_PROVEN, "target.simulator", text, missing="a run on the device")


def simulated(target: dict[str, Any]) -> bool:
    """Whether a simulator stood in for the device, by its kind or by what really ran."""
    return "simulator" in (target["kind"], (target["ran"] or {}).get("where"))
