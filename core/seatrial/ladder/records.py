"""What goes into a judgement and what comes out. Plain records: standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from seatrial.codec import record
from seatrial.refusal import Refusal
from seatrial.results import Ref
from seatrial.tasks.base import Doubt, TaskSpec
from seatrial.verdict.stats import Paired

PYTORCH, ONNX_FP32, ONNX_INT8 = "pytorch-fp32", "onnx-fp32", "onnx-int8"
DEVICE_FLOAT, DEVICE_INT8 = "device-float", "device-int8"

#: The rungs from the bottom up.
RUNGS = (PYTORCH, ONNX_FP32, ONNX_INT8, DEVICE_FLOAT, DEVICE_INT8)

#: ``source`` of an INT8 build that the target's own toolchain quantised.
NATIVE = "native"


def base_of(rung: str, source: str | None) -> tuple[str, ...]:
    """The rungs that a rung is judged against (rule: name what every number is against).

    A device's INT8 from portable Q/DQ must equal the same Q/DQ on the reference, and must keep
    the promise against the float model; one that the target's toolchain quantised itself has no
    counterpart to equal.
    """
    if rung == DEVICE_INT8 and source != NATIVE:
        return (ONNX_INT8, ONNX_FP32)
    return {PYTORCH: (), ONNX_FP32: (PYTORCH,)}.get(rung, (ONNX_FP32,))


#: The way of a noise run in which the reference computes a Q/DQ model with its own integer kernels:
#: how many classes flip by sound rounding alone.
INTEGERS = "integer kernels"


@record
class NoiseRun:
    """A further run of the artefact of a rung, in a way that must not matter.

    Attributes:
        what: the way, in words (``1 thread``).
        outputs: its output store.
        indices: the samples that it ran; empty: all.
    """

    what: str
    outputs: Ref
    indices: tuple[int, ...] = ()


@record
class NoiseFacts:
    """How far such a run is from the rung itself: the noise floor.

    Attributes:
        n: samples compared.
        agreed: samples that get the same class; -1: no class scores.
        sqnr_db: signal over difference of the worst float output; ``None``: no difference.
        identical: every element of every output is equal.
    """

    what: str
    n: int
    agreed: int
    sqnr_db: float | None
    identical: bool


@record
class Rung:
    """One run of one artefact over the whole test set.

    Attributes:
        rung: one of :data:`RUNGS`.
        outputs: an output store, see :mod:`seatrial.samples`.
        target: where it ran, ``None`` for the reference and PyTorch.
        source: of INT8 rungs: ``qdq:DIGEST`` or ``native``.
        precision: what really ran, as far as is known (``FP32``, ``BF16``, ``INT8``).
        ran_on: what executed it, in words, for the report.
        artifact: digest of what was executed, likewise.
        noise: further runs of the same artefact (again, other thread counts, optimisation off):
            how much they differ from ``outputs`` is the noise floor of this rung.
    """

    rung: str
    outputs: Ref
    target: str | None = None
    source: str | None = None
    precision: str = ""
    ran_on: str = ""
    artifact: str = ""
    noise: tuple[NoiseRun, ...] = ()


@record
class JudgeRequest:
    """Ask for the numbers of all rungs.

    Attributes:
        rungs: in any order; those they are judged against are found by name and source.
        test: the test store, with labels when they are known.
        task: what the outputs mean.
        max_drop: limit of the drop against ``onnx-fp32``, in the metric's unit.
        device_drop: limit of the drop of a device's INT8 against ``onnx-int8``.
        class_drop: limit of the drop of single classes against ``onnx-fp32``; ``None``: none.
        seed: of the bootstrap.
    """

    rungs: tuple[Rung, ...]
    test: Ref
    task: TaskSpec
    max_drop: float = 1.0
    device_drop: float = 0.5
    class_drop: float | None = None
    seed: int = 0


@record
class ReadyRequest:
    """Ask whether a task can be used."""

    task: TaskSpec


@record
class OutputFacts:
    """One output of one rung, over all samples.

    Attributes:
        output: its name in this rung.
        nonfinite: how many of its elements are NaN or infinite.
        samples: how many samples hold such an element.
        constant: every sample gives the same values (with two samples or more).
    """

    output: str
    nonfinite: int
    samples: int
    constant: bool


@record
class OutputDifference:
    """One output of one rung against the same output of another, over all samples.

    Attributes:
        output: its name in the candidate.
        cosine_min: of the worst sample; ``None``: no sample could be compared.
        cosine_mean: over the samples.
        max_abs: largest absolute difference of two elements; ``None`` likewise.
        sqnr_db: signal power over power of the difference; ``None``: no difference or no signal.
        identical: every element of every sample is equal.
        floating: it holds floats, not indices or flags.
        compared: samples that were compared: equal shapes, finite in both.
        misshapen: samples whose shapes differ.
        worst: index of the sample with the smallest cosine, or -1.
        coarse: ``BF16`` or ``FP16`` when every number of the candidate is one of that type's,
            and the reference's are not: a lower precision made them, whatever was said.
        explained: share of the reference's variance over the samples that the candidate follows
            (coefficient of determination, at most 1); 0 or less: its mean would do as well.
            ``None``: nothing varies, shapes do, or the output is too large to tell.
        column: of an output whose rows are records (x, y, w, h, score): the index on its last axis
            of which that share is smallest; -1: its rows are none, or no column varies.
        column_explained: that share; ``None`` likewise.
        column_std: how that column varies in the reference, one standard deviation.
    """

    output: str
    cosine_min: float | None
    cosine_mean: float | None
    max_abs: float | None
    sqnr_db: float | None
    identical: bool
    floating: bool
    compared: int
    misshapen: int
    worst: int
    coarse: str = ""
    explained: float | None = None
    column: int = -1
    column_explained: float | None = None
    column_std: float | None = None


@record
class ClassDrop:
    """One class that got worse.

    Attributes:
        n: its cases: samples, annotated boxes, pictures that show it.
        before: its share in the reference, 0 to 1: recall, average precision, IoU.
        after: in the candidate.
    """

    index: int
    n: int
    before: float
    after: float


@record
class ClassFall:
    """One class that loses more than its limit, beyond chance.

    Attributes:
        n: its cases.
        before: its share in the reference, 0 to 1, as of :class:`ClassDrop`.
        after: in the candidate.
        classes: how many classes were looked at.
        least: lower end of the interval of its drop, in points, corrected for ``classes``.
        lost: cases that only the reference gets right; -1: they are not right or wrong.
        won: cases that only the candidate gets right; likewise.
    """

    index: int
    n: int
    before: float
    after: float
    classes: int
    least: float = 0.0
    lost: int = -1
    won: int = -1


@record
class RungFacts:
    """One rung by itself.

    Attributes:
        rung: one of :data:`RUNGS`.
        metric: name of the metric, ``""`` without labels.
        higher_is_better: whether a larger value of the metric is a better one.
        value: the metric; ``None`` without labels or when a score is not finite.
        value_ci95: its 95 % interval; ``None`` likewise, and when too few units tell.
        also: further figures by name, in the metric's unit.
        n: samples.
        outputs: one entry per output.
        classes_given: how many different classes it predicted; 0: no class scores.
        bad_scores: samples whose score is not a finite number.
        right: which samples are right, see :mod:`seatrial.ladder.bits`; empty: no such thing.
        noise: the noise floor, run by run.
    """

    rung: str
    target: str | None
    source: str | None
    precision: str
    ran_on: str
    artifact: str
    metric: str
    unit: str
    value: float | None
    value_ci95: tuple[float, ...] | None
    n: int
    outputs: tuple[OutputFacts, ...]
    classes_given: int
    bad_scores: int
    right: tuple[str, ...] = ()
    noise: tuple[NoiseFacts, ...] = ()
    also: Mapping[str, float] = field(default_factory=dict)
    higher_is_better: bool = True


@record
class Comparison:
    """One rung against another on the same samples.

    Attributes:
        paired: drop with its interval; ``None`` without labels.
        agreed: samples for which both give the same class; -1: no class scores.
        n: samples.
        noise_agreed: the same between repeated runs of either rung, the worst of them; -1: none.
        outputs: one entry per output of the candidate.
        unmatched: outputs that only one of the two has.
        vanished: classes that the reference recognises and the candidate no longer does.
        worst_classes: those that lost most, at most five.
        fallen: those that lose more than their limit by themselves, beyond chance.
        unscored: outputs of the candidate that the metric does not read.
        doubts: what the task found between the two, whatever the metric says.
    """

    rung: str
    target: str | None
    source: str | None
    against: str
    paired: Paired | None
    agreed: int
    n: int
    noise_agreed: int
    outputs: tuple[OutputDifference, ...]
    unmatched: tuple[str, ...] = ()
    vanished: tuple[ClassDrop, ...] = ()
    worst_classes: tuple[ClassDrop, ...] = ()
    fallen: tuple[ClassFall, ...] = ()
    unscored: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()


@record
class Baseline:
    """Whether the float baseline deserves the name.

    Attributes:
        rung: which rung it is.
        expected: accuracy in points that guessing with the same class shares would reach.
        excess: how many standard deviations the accuracy lies above that.
        kappa_high: upper 95 % limit of Cohen's kappa.
        classes: different labels in the test set.
        shift: -1 or 1 when labels moved by that much fit far better, else 0.
        shifted: accuracy in points with the labels moved so.
        known: the user said what the float model reaches, and it does.
        untested: a class that no sample has although it is answered; -1: none.
        answered: how often.
        swapped: two classes whose labels are the wrong way round: (first, second, samples of the
            first, of which the second is answered, samples of the second, of which the first is);
            empty: none.
    """

    rung: str
    expected: float
    excess: float
    kappa_high: float
    classes: int
    shift: int
    shifted: float
    known: bool = False
    untested: int = -1
    answered: int = 0
    swapped: tuple[int, ...] = ()


#: The answer that is blind for a metric that nothing is known of.
ANOTHERS = "another sample's"


@record
class Blind:
    """The best answer that never looks at the input.

    Attributes:
        answer: it, in words (``always class 3``).
        value: its metric.
        ahead: how much better the float baseline is, in the metric's unit.
        least: lower end of the 95 % interval of that; ``None``: too few units tell.
    """

    answer: str
    value: float
    ahead: float
    least: float | None


@record
class Ready:
    """Why a task cannot be used; ``None``: it can."""

    refused: Refusal | None = None


@record
class JudgeResult:
    """All numbers of a ladder; :mod:`seatrial.ladder.gates` turns them into rows.

    Attributes:
        doubts: what the task found wrong with the float baseline: labels, preprocessing, settings.
        refused: nothing was judged, and why: the parent raises it as a ``UserError``.
        baseline: ``None`` unless the task is a classification with labels.
        blind: ``None`` where the task does not tell.
        labelled: whether a metric could be computed at all.
        groups: units when samples share groups, else 0.
    """

    rungs: tuple[RungFacts, ...]
    comparisons: tuple[Comparison, ...]
    n: int
    labelled: bool
    groups: int = 0
    baseline: Baseline | None = None
    blind: Blind | None = None
    doubts: tuple[Doubt, ...] = ()
    refused: Refusal | None = None
