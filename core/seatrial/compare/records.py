"""What two reports are compared by, and what a comparison says. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping

from seatrial.codec import record

SCHEMA = "seatrial.compare/1"

#: What ``--fail-on`` may name. ``memory`` is the process's peak and the artefact's size.
AREAS = ("accuracy", "latency", "memory", "support", "verdict")

#: Kinds of a change, in the order in which they are shown.
REGRESSION, IMPROVEMENT, REFUSED, CHANGED, SAME = KINDS = (
    "regression",
    "improvement",
    "not compared",
    "changed",
    "same",
)


@record
class Tolerances:
    """How far a number may move before it counts, as a ratio above 1 or in points.

    Attributes:
        latency: of medians; their intervals must not meet either.
        memory: of peak memory and artefact size.
        accuracy: in the metric's unit; the whole interval must lie beyond it.
    """

    latency: float = 1.05
    memory: float = 1.05
    accuracy: float = 0.0


@record
class Change:
    """One thing that was looked at.

    Attributes:
        area: one of :data:`AREAS`, or ``versions``, ``limits``, ``inputs``, ``build``: these only
            explain, they are never a regression.
        kind: one of :data:`KINDS`.
        target: ``backend:target``, or ``None``: the whole run.
        subject: what it is about, in few words: a rung, an artefact, an operator.
        text: one sentence.
        old: the value in OLD, a number or a text; ``None``: none.
        new: in NEW.
        unit: of ``old`` and ``new`` when they are numbers.
        difference: NEW minus OLD, positive = worse, for accuracy; NEW over OLD for ratios.
        ci95: 95 % interval of ``difference``.
        method: how it was decided: ``paired``, ``unpaired``, ``intervals``, ``tolerance``,
            ``exact``; empty: nothing was decided.
    """

    area: str
    kind: str
    subject: str
    text: str
    target: str | None = None
    old: float | str | None = None
    new: float | str | None = None
    unit: str = ""
    difference: float | None = None
    ci95: tuple[float, ...] | None = None
    method: str = ""


def change(
    area: str,
    kind: str,
    subject: str,
    text: str,
    target: str | None = None,
    *,
    values: tuple[float | str | None, float | str | None] = (None, None),
    unit: str = "",
    difference: float | None = None,
    ci95: tuple[float, ...] | None = None,
    method: str = "",
) -> Change:
    """A :class:`Change`; ``values`` are OLD's and NEW's."""
    return Change(
        area=area,
        kind=kind,
        subject=subject,
        text=text,
        target=target,
        old=values[0],
        new=values[1],
        unit=unit,
        difference=difference,
        ci95=ci95,
        method=method,
    )


@record
class Rung:
    """A row of the ladder; fields as in the report."""

    rung: str
    target: str | None
    source: str | None
    against: str | None
    artifact: str
    metric: str
    unit: str
    value: float | None
    value_ci95: tuple[float, ...] | None
    right: tuple[str, ...]
    drop: float | None
    n: int
    groups: int | None
    agreement: float | None


@record
class Timing:
    """A row of the benchmark; ``disturbed`` names what disturbed it, by kind."""

    model: str
    artifact: str
    precision: str
    shape: tuple[str, ...]
    layout: str
    streams: int
    threads: int
    p50_ms: float | None
    ci95_ms: tuple[float, ...] | None
    build_s: float | None
    peak_rss_mb: float | None
    artifact_bytes: int | None
    timed_by: str
    emulated: bool
    disturbed: tuple[str, ...]


@record
class Node:
    """A finding of a compiler: a node that is refused or falls back."""

    precision: str
    node: str
    op_type: str
    placement: str
    on: str
    reason: str
    severity: str


@record
class Target:
    """One target of a report.

    Attributes:
        builds: verdict by ``fp32`` and ``int8``; what was not asked is absent.
        versions: toolchain and plugin by name.
    """

    target: str
    decides: bool
    kind: str
    machine_class: str
    usable: bool
    verdict: str | None
    answers: Mapping[str, str]
    builds: Mapping[str, str]
    nodes: tuple[Node, ...]
    timings: tuple[Timing, ...]
    versions: Mapping[str, str]


@record
class Samples:
    """A source of samples: content digest and count."""

    source: str
    sha256: str
    count: int
    synthetic: bool


@record
class Trial:
    """What is read of one report; every text is cleaned.

    Attributes:
        path: where it was read.
        limits: the SLA's values by name, as texts.
        contract: the input contract as canonical JSON, ``""``: arrays were given ready.
        machine: CPU model, cores, governor, platform by name.
        faults: ``(target, kind, stage)``.
    """

    path: str
    command: str
    created: str
    seed: int
    interrupted: bool
    model: str
    model_sha256: str
    verdict: str | None
    answers: Mapping[str, str]
    limits: Mapping[str, str]
    contract: str
    calibration: Samples | None
    test: Samples | None
    ladder: tuple[Rung, ...]
    targets: tuple[Target, ...]
    faults: tuple[tuple[str, str, str], ...]
    versions: Mapping[str, str]
    machine: Mapping[str, str]


@record
class Pair:
    """Two reports of one model, and all that was looked at."""

    old: Trial
    new: Trial
    changes: tuple[Change, ...] = ()
