"""What goes into and comes out of the tasks of this room. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping

from seatrial.codec import digest, record
from seatrial.results import Artifact, Ref

#: Version of the calibration table's form.
SCHEMA = "seatrial.ranges/2"

#: Ways to choose a range from what was observed, see :mod:`seatrial.calibration.choose`.
METHODS = (
    "minmax",
    "moving-average",
    "percentile-99.9",
    "percentile-99.99",
    "percentile-99.999",
    "mse",
    "entropy",
)

#: Methods that extremes alone suffice for; all others need histograms.
FROM_EXTREMES = frozenset({"minmax", "moving-average"})

#: What is collected: extremes of every element; these and a histogram of about 2**14 elements per
#: tensor and inference; these and a histogram of every element.
EXTREMES, SAMPLED, EVERYTHING = "extremes", "sampled", "everything"
STATISTICS = (EXTREMES, SAMPLED, EVERYTHING)

#: Prefix of every name in the observed graph that is not the model's.
MARK = "seatrial_observed"

#: Outputs of the observed graph: maxima per channel of feature maps, shape (N, sum of C, 1, 1);
#: one number of each other statistic, shape (count,).
MAPS, FLAT = f"{MARK}_maps", f"{MARK}_single"

#: Input of the observed graph: fractions of a tensor's length, where elements are picked.
PLACES = f"{MARK}_places"


@record
class Histogram:
    """Counts of a tensor's values, see :mod:`seatrial.calibration.histogram`.

    Attributes:
        exponent: all values are in (-2**exponent, 2**exponent).
        counts: little-endian int64 from the lowest bin up, deflated, in base64.
    """

    exponent: int
    counts: str


@record
class TensorRange:
    """What was observed of one activation tensor.

    Attributes:
        lo: smallest value over all samples; 0 for a tensor that its operator keeps from being
            negative (every quantised range holds 0, so nothing more is needed).
        hi: largest value.
        count: samples in which the tensor was observed and finite.
        nonfinite: samples in which it held a NaN or an infinity; they are not in lo and hi.
        lo_mean: mean over samples of the smallest value.
        hi_mean: mean over samples of the largest value.
        lo_sample: id of the sample that gave ``lo``.
        hi_sample: id of the sample that gave ``hi``.
        lo_moving: exponential moving average of the smallest value, samples in order.
        hi_moving: the same of the largest value.
        histogram: of the sampled or of all values; ``None`` when only extremes were collected.
    """

    lo: float
    hi: float
    count: int
    nonfinite: int = 0
    lo_mean: float = 0.0
    hi_mean: float = 0.0
    lo_sample: str = ""
    hi_sample: str = ""
    lo_moving: float = 0.0
    hi_moving: float = 0.0
    histogram: Histogram | None = None


@record
class NonFinite:
    """A NaN or an infinity: in which sample, in which tensor (an input or an activation)."""

    sample: str
    tensor: str
    elements: int


@record
class Rows:
    """An input of the observed graph that says which rows of some tensors are picked.

    Attributes:
        name: of the input, int64, shape (count, len(sizes)).
        sizes: of all axes but the last.
        count: rows to pick.
    """

    name: str
    sizes: tuple[int, ...]
    count: int


@record
class Reading:
    """How the outputs of the observed graph are read.

    Segments are counted through: first those of the joined maxima per channel, then the single
    numbers. -1 stands for a statistic that is not needed.

    Attributes:
        tensors: the observed activations; everything below is by their position.
        sizes: channels of each segment of the joined maxima.
        high: segment of the largest value.
        low: segment of the smallest value.
        mean: segment that is NaN if an element is.
        negated: the segment of ``low`` holds the largest value of the negated tensor.
        picked: output that holds the elements for the histogram; empty: there are no histograms.
        rows: inputs that say which rows are picked.
        scattered: whether :data:`PLACES` is an input.
    """

    tensors: tuple[str, ...]
    sizes: tuple[int, ...]
    high: tuple[int, ...]
    low: tuple[int, ...]
    mean: tuple[int, ...]
    negated: tuple[bool, ...]
    picked: tuple[str, ...] = ()
    rows: tuple[Rows, ...] = ()
    scattered: bool = False


@record
class RangeTable:
    """All ranges of one model on one set of samples.

    Attributes:
        method: one of :data:`METHODS`, what to choose ranges by unless told otherwise. A table
            with histograms serves every method.
        count: samples observed.
        tensors: by tensor name of the prepared graph.
        schema: version of this form.
        statistics: one of :data:`STATISTICS`.
        seed: of the sampled elements.
        model: sha256 of the model file, where it is known.
        contract: digest of the input contract that the samples were made by, where it is known.
        data: sha256 of the samples' content, where it is known.
    """

    method: str
    count: int
    tensors: Mapping[str, TensorRange]
    schema: str = SCHEMA
    statistics: str = EXTREMES
    seed: int = 0
    model: str = ""
    contract: str = ""
    data: str = ""

    @property
    def sha256(self) -> str:
        """Digest of the whole table."""
        return digest(self)

    def range(self, name: str) -> tuple[float, float] | None:
        """Both extremes of a tensor, or ``None`` when no finite value of it was seen."""
        found = self.tensors.get(name)
        return (found.lo, found.hi) if found is not None and found.count else None


@record
class Identity:
    """Where ranges come from, see :class:`RangeTable`."""

    model: str = ""
    contract: str = ""
    data: str = ""


@record
class RangesRequest:
    """Ask for the ranges of every activation that Q/DQ insertion may need.

    Attributes:
        model: the float ONNX model.
        samples: a sample store.
        method: one of :data:`METHODS`.
        indices: the samples to use; empty: all.
        threads: inferences at a time; 0: one per core, at most 4.
        seed: of sampled statistics.
        statistics: one of :data:`STATISTICS`; empty: the least that the method needs.
        checkpoints: a folder that outlives the job, where statistics are kept on the way; a pass
            that was ended early goes on from there. Empty: none are kept.
        identity: what the table shall say of its origin.
    """

    model: Ref
    samples: Ref
    method: str = "minmax"
    indices: tuple[int, ...] = ()
    threads: int = 0
    seed: int = 0
    statistics: str = ""
    checkpoints: str = ""
    identity: Identity = Identity()


@record
class SampleFlags:
    """Samples that stand out before any model is run; each a tuple of sample ids.

    Attributes:
        constant: one value throughout, in every input, but not zero.
        zero: nothing but zeros in every input.
        nonfinite: with a NaN or an infinity.
    """

    constant: tuple[str, ...] = ()
    zero: tuple[str, ...] = ()
    nonfinite: tuple[NonFinite, ...] = ()


@record
class Forecast:
    """What a calibration will cost, from a few samples of its own pass.

    Attributes:
        seconds: wall time in all, the set-up included.
        setup_s: of it, spent once: preparing the graph and loading it.
        sample_s: wall time per sample, with several at a time.
        memory_mb: peak resident memory of the process.
        timed: samples that this is drawn from.
        count: samples that it is for.
    """

    seconds: float
    setup_s: float
    sample_s: float
    memory_mb: float = 0.0
    timed: int = 0
    count: int = 0


@record
class Spent:
    """What a calibration did cost.

    Attributes:
        seconds: wall time in all, the set-up included.
        setup_s: of it, spent once.
        cpu_s: processor time of this process and of the set-up.
        memory_mb: peak resident memory of the process.
        setup_mb: the same of the process of the set-up, which ended before; 0: there was none.
        resumed: samples that an earlier, interrupted pass had done.
    """

    seconds: float
    setup_s: float
    cpu_s: float
    memory_mb: float
    setup_mb: float = 0.0
    resumed: int = 0


@record
class RangesResult:
    """Ranges, and what went wrong on the way.

    Attributes:
        artifact: the table (format ``ranges``), see :func:`seatrial.calibration.table.load`.
        sha256: digest of the table.
        count: samples observed.
        method: how the ranges were chosen.
        tensors: how many tensors were observed.
        nonfinite: the first occurrences, at most 100, inputs and activations alike.
        flags: samples that stand out.
        forecast: made once a few samples were done; ``None``: there were too few.
        spent: what it came to.
        notes: anything else worth a line.
    """

    artifact: Artifact
    sha256: str
    count: int
    method: str
    tensors: int
    nonfinite: tuple[NonFinite, ...] = ()
    flags: SampleFlags = SampleFlags()
    forecast: Forecast | None = None
    spent: Spent | None = None
    notes: tuple[str, ...] = ()


@record
class SurveyRequest:
    """Ask which samples of a store stand out."""

    samples: Ref


@record
class ForecastRequest:
    """Ask how long a calibration will take.

    Attributes:
        count: for how many samples; 0: all of the store.
        statistics: one of :data:`STATISTICS`.
    """

    model: Ref
    samples: Ref
    count: int = 0
    threads: int = 0
    statistics: str = EXTREMES
