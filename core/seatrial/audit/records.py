"""What the audit's task takes and gives. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from seatrial.audit.growth_records import Growth
from seatrial.audit.rules import Finding
from seatrial.codec import record
from seatrial.data.source import Source
from seatrial.refusal import Refusal
from seatrial.results import Ref, TensorIO


@record
class AuditRequest:
    """Ask for the audit of a calibration set.

    Attributes:
        calibration: its sample store.
        test: the test set's store, for comparison; its labels are never opened.
        train: a store of training data, for overlap.
        again: some of the calibration samples, read a second time with other seeds.
        repeated: the same, read a second time with the same seeds.
        model: the float ONNX model; without one what needs its activations is left out.
        budget_s: seconds that the model's inferences may take, about.
        seed: of everything random.
        requested: samples that were asked for; 0: no number was given.
    """

    calibration: Ref
    test: Ref | None = None
    train: Ref | None = None
    again: Ref | None = None
    repeated: Ref | None = None
    model: Ref | None = None
    budget_s: float = 60.0
    seed: int = 0
    requested: int = 0


@record
class PeekRequest:
    """Ask what a source holds, without a model that would say it."""

    source: Source


@record
class PeekResult:
    """The inputs that a model for this source would have, or why none can be told."""

    inputs: tuple[TensorIO, ...] = ()
    pictures: bool = False
    refused: Refusal | None = None


@record
class Check:
    """One part of the audit: whether it could be judged.

    Attributes:
        name: what was looked at.
        status: ``done``, ``left out`` (something was not given) or ``failed``.
        reason: why not, in one sentence.
        seconds: wall time.
    """

    name: str
    status: str
    reason: str = ""
    seconds: float = 0.0


@record
class CurvePoint:
    """How much of the final ranges so many samples give.

    Attributes:
        n: samples.
        median: width of the range from ``n`` samples over that from all, median over tensors,
            mean over random draws.
        worst: the same, of the tensor that lacks most.
    """

    n: int
    median: float
    worst: float


@record
class Stability:
    """Whether more samples would still move the ranges.

    Attributes:
        source: ``activations`` or ``inputs``: whose ranges.
        curve: from few samples to half of them.
        half_median: 1 - width from a random half over that from all, median over tensors.
        half_worst: the same, 90th percentile over tensors.
        tensor: the tensor that the second half widened most.
        text: what follows from it.
    """

    source: str
    curve: tuple[CurvePoint, ...] = ()
    half_median: float = 0.0
    half_worst: float = 0.0
    tensor: str = ""
    text: str = ""


@record
class RangeRow:
    """One tensor's range from calibration against what the held-out data reach.

    Attributes:
        tensor: its name.
        lo: smallest value in calibration.
        hi: largest value in calibration.
        seen_lo: smallest value in the held-out data.
        seen_hi: largest value in the held-out data.
        clipped: share of the held-out elements that lie outside [lo, hi].
        beyond: share of the held-out samples with an element outside.
        usual: share of samples outside that equally large sets of the same kind would show.
        sample: id of the held-out sample that goes farthest.
    """

    tensor: str
    lo: float
    hi: float
    seen_lo: float
    seen_hi: float
    clipped: float | None
    beyond: float
    usual: float
    sample: str = ""


@record
class ClusterRow:
    """One cluster of the feature space.

    Attributes:
        cluster: its number, the largest first.
        test: test samples in it.
        calibration: calibration samples in it.
        expected: calibration samples that the test set's share would give.
        samples: ids of test samples near its centre, at most 5.
    """

    cluster: int
    test: int
    calibration: int
    expected: float
    samples: tuple[str, ...] = ()


@record
class Coverage:
    """How the calibration set lies in the test set's feature space.

    Attributes:
        features: ``activations of TENSOR`` or ``statistics of the inputs``.
        clusters: of both sets together.
        distance: energy distance, normalised to 0 (same distribution) ... 1.
        usual: the 95th percentile of that distance between random halves of both sets together.
        far: share of test samples farther from any calibration sample than 99 % of the
            calibration samples are from one another.
    """

    features: str
    clusters: tuple[ClusterRow, ...] = ()
    distance: float = 0.0
    usual: float = 0.0
    far: float = 0.0


@record
class Alternative:
    """The calibration samples fed in another way.

    Attributes:
        name: what was done to them.
        distance: energy distance to the test set, of input statistics; ``None`` without a test
            set.
        activations: the same, of the model's activations.
        information: mutual information of sample and class by the model, nats.
        confidence: mean highest class probability.
        right: share of samples whose label the model says; ``None`` without labels.
        z: of the paired gain in information over the samples as fed.
    """

    name: str
    distance: float | None = None
    activations: float | None = None
    information: float | None = None
    confidence: float | None = None
    right: float | None = None
    z: float | None = None


@record
class Scale:
    """What pixels of 0 and 255 are fed as, read off the values themselves, per channel.

    Attributes:
        tensor: model input.
        low: value of a pixel of 0.
        high: value of a pixel of 255.
        test_low: the same in the test set; empty without one.
        test_high: the same in the test set.
        name: a usual preprocessing that gives these values, or ``""``.
    """

    tensor: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    test_low: tuple[float, ...] = ()
    test_high: tuple[float, ...] = ()
    name: str = ""


@record
class SetRow:
    """One set that was looked at.

    Attributes:
        role: ``calibration``, ``test`` or ``train``.
        count: samples.
        distinct: samples that are no near duplicates of an earlier one.
        groups: how many different groups.
    """

    role: str
    count: int
    distinct: int
    groups: int


@record
class Audit:
    """Everything the audit found and measured.

    Attributes:
        findings: worst first.
        checks: what was judged and what was not.
        sets: the sets.
        stability: whether more samples would move the ranges.
        growth: whether more samples would lower the INT8 loss; ``None``: not measured.
        ranges: tensors against the held-out data, the worst first, at most 20.
        coverage: of the test set's feature space.
        classes: calibration samples per class, by label or as the model predicts.
        classes_by: ``labels``, ``predictions`` or ``""``.
        alternatives: ways to feed the samples, as far as they were tried.
        scales: what pixels are fed as.
        facts: further numbers.
    """

    findings: tuple[Finding, ...] = ()
    checks: tuple[Check, ...] = ()
    sets: tuple[SetRow, ...] = ()
    stability: Stability | None = None
    growth: Growth | None = None
    ranges: tuple[RangeRow, ...] = ()
    coverage: Coverage | None = None
    classes: Mapping[str, int] = field(default_factory=dict)
    classes_by: str = ""
    alternatives: tuple[Alternative, ...] = ()
    scales: tuple[Scale, ...] = ()
    facts: Mapping[str, float] = field(default_factory=dict)
