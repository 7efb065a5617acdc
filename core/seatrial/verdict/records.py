"""What a verdict is made of, and what it is."""

from __future__ import annotations

from typing import Any

from seatrial.benchmark.records import Timing
from seatrial.codec import record
from seatrial.ladder.gates import Graded
from seatrial.sla import SLA

SHIP, DO_NOT_SHIP, NOT_PROVEN, NOT_ASKED = "SHIP", "DO NOT SHIP", "NOT PROVEN", "not asked"

#: From best to worst; a verdict is the worst of its parts.
ORDER = (SHIP, NOT_PROVEN, DO_NOT_SHIP)

#: The three parts of a verdict, in the order they are told.
PARTS = ("compiles", "accurate", "fast")


def worst(answers: tuple[str, ...]) -> str:
    """The worst of the answers that were asked; NOT PROVEN when none was."""
    asked = [a for a in answers if a != NOT_ASKED]
    return max(asked, key=ORDER.index) if asked else NOT_PROVEN


@record
class Circumstances:
    """What holds for all targets of a run.

    Attributes:
        int8: an INT8 artefact is to ship, not the float one.
        tested: a test set was given.
        overlap: calibration samples that are in the test set, exactly or nearly.
        synthetic_calibration: ranges come from data that is not real.
        synthetic_test: the metric comes from data that is not real.
        disturbances: what made the latencies doubtful, from the machine's counters.
        named: targets that the user named; these decide even when they cannot be used.
        interrupted: the run was cut short.
        faulted: a part of the trial that belongs to no target gave no answer.
        export: the parity gate of the export that the run began with; empty: there was none.
        exported: the export gave a model, equal or not.
        unfit: the first red finding of the calibration set's audit.
        copied: what is said of test samples that are copies of one another; empty: not too many.
        varies: the test source gives other samples when it is read again.
        unlisted: what is said of test pictures that their own table has no row for.
    """

    int8: bool = True
    tested: bool = True
    overlap: int = 0
    synthetic_calibration: bool = False
    synthetic_test: bool = False
    disturbances: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    interrupted: bool = False
    faulted: bool = False
    export: str = ""
    exported: bool = True
    unfit: str = ""
    copied: str = ""
    varies: bool = False
    unlisted: str = ""


@record
class Case:
    """One target's evidence.

    Attributes:
        target: its row of the report (``seatrial.report.target_rows.target``).
        graded: all rows of the ladder, the reference's and this target's among them.
        timings: this target's.
        sla: with its defaults filled in.
        run: what holds for all targets.
        kin: targets that act other machines on the same device: the class of machine, the
            target, and how its own part ``accurate`` was answered.
    """

    target: dict[str, Any]
    graded: tuple[Graded, ...]
    timings: tuple[Timing, ...]
    sla: SLA
    run: Circumstances = Circumstances()
    kin: tuple[tuple[str, str, str], ...] = ()


@record
class Part:
    """The answer of one part, why, and what would settle it."""

    answer: str
    reasons: tuple[dict[str, Any], ...] = ()
    missing: tuple[str, ...] = ()


@record
class Verdict:
    """The verdict of a target or of a run.

    Attributes:
        verdict: SHIP, DO NOT SHIP or NOT PROVEN.
        answers: by part.
        reasons: rows of the report, those that decided first.
        missing: what would be needed for a better answer.
        decides: whether it counts for the run.
        faulted: a fault stands in the way of an answer.
    """

    verdict: str
    answers: dict[str, str]
    reasons: tuple[dict[str, Any], ...]
    missing: tuple[str, ...] = ()
    decides: bool = True
    faulted: bool = False
