"""Where a rung breaks and why: records of the experiments, and what follows from their figures.

Every quantised layer is put beside the others in one model, each fed with what the reference feeds
it, so that a layer cannot inherit the error of another. A layer is broken where the target gives
more than one step of the output's quantiser off: rounding explains one. It *saturates* if the same
layer with weights in 7 bits gives what the reference gives for them: sums of two 8-bit products
overflow 16 bits, which 7-bit weights cannot. Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence

from seatrial.codec import record
from seatrial.results import Artifact, Ref

#: A layer whose outputs differ by more than a step in more than this share of elements is broken.
MOVED = 1e-3

#: Codes of causes.
SATURATION, REDUCED, LAYOUT, FUSED, FALLBACK, ROUNDING, OTHER = (
    "saturation",
    "reduced-precision",
    "layout",
    "fused",
    "fallback",
    "rounding",
    "unknown",
)


@record
class IsolateRequest:
    """Ask for the layers of a Q/DQ model side by side.

    Attributes:
        model: the model with Q/DQ pairs.
        samples: a sample store of its inputs.
        indices: the samples to take layer inputs from; a few do.
    """

    model: Ref
    samples: Ref
    indices: tuple[int, ...]


@record
class Isolated:
    """One layer of its own.

    Attributes:
        node: label of the node with the weights.
        op_type: its operator.
        tensor: the model's tensor that is compared: behind the layer's quantiser, if it has one.
        output: name of that tensor in the side-by-side model.
        step: of the output's quantiser, 0 without one.
        narrowed: its weights could be had in 7 bits.
    """

    node: str
    op_type: str
    tensor: str
    output: str
    step: float
    narrowed: bool


@record
class SideBySide:
    """The layers side by side, and what the reference makes of them.

    Attributes:
        layers: in the order of the graph.
        wide: the model with weights as they are.
        narrow: the same with weights in 7 bits.
        inputs: sample store of its inputs.
        expected_wide: output store of the reference for ``wide``.
        expected_narrow: likewise for ``narrow``.
        whole: the whole model with weights in 7 bits.
        notes: layers that could not be taken out, and why.
    """

    layers: tuple[Isolated, ...]
    wide: Artifact | None = None
    narrow: Artifact | None = None
    inputs: Artifact | None = None
    expected_wide: Artifact | None = None
    expected_narrow: Artifact | None = None
    whole: Artifact | None = None
    notes: tuple[str, ...] = ()


@record
class CompareLayersRequest:
    """Ask how far a target's layers are from the reference's."""

    layers: tuple[Isolated, ...]
    expected_wide: Ref
    got_wide: Ref
    expected_narrow: Ref | None = None
    got_narrow: Ref | None = None


@record
class LayerFacts:
    """One layer by itself on a target.

    Attributes:
        moved: share of elements more than a step off, weights as they are.
        largest: largest difference in steps, likewise.
        moved_narrow: the share with weights in 7 bits; -1: not tried.
    """

    node: str
    op_type: str
    tensor: str
    moved: float
    largest: float
    moved_narrow: float = -1.0

    @property
    def broken(self) -> bool:
        """It is another computation than the reference's."""
        return self.moved > MOVED

    @property
    def saturates(self) -> bool:
        """It is the reference's with weights in 7 bits, and only then."""
        return self.broken and 0 <= self.moved_narrow <= MOVED


@record
class LayersCompared:
    """All layers, in the order of the graph."""

    layers: tuple[LayerFacts, ...]


@record
class TapRequest:
    """Ask which tensors of a model show how far two runs agree, layer by layer."""

    model: Ref


@record
class Tap:
    """A tensor to look at, and the node that writes it."""

    tensor: str
    node: str
    op_type: str


@record
class Taps:
    """In the order of the graph."""

    taps: tuple[Tap, ...]


@record
class CompareTapsRequest:
    """Ask how far inner tensors of two runs are apart."""

    taps: tuple[Tap, ...]
    expected: Ref
    got: Ref


@record
class TapFacts:
    """One inner tensor: signal over difference in dB; ``None``: no difference or no signal."""

    tensor: str
    node: str
    op_type: str
    sqnr_db: float | None
    identical: bool


@record
class TapsCompared:
    """Those that both runs have, in the order of the graph."""

    taps: tuple[TapFacts, ...]


@record
class MisreadRequest:
    """Ask whether outputs are those of inputs whose layout was taken for another.

    Attributes:
        model: what the reference runs.
        samples: a sample store of its inputs.
        got: the outputs in question, over the same samples.
        optimize: of the reference.
    """

    model: Ref
    samples: Ref
    got: Ref
    optimize: str = "all"


@record
class Misread:
    """Which mix-up gives the outputs, ``""``: none; and how well, in dB."""

    what: str = ""
    sqnr_db: float | None = None


@record
class Break:
    """The first broken rung of a target, and what is known of why.

    Attributes:
        rung: which one.
        against: what it was compared with.
        layer: label of the first broken node; ``""``: not found.
        tensor: its output in the ONNX model.
        cause: one of the codes above.
        confirmed: an experiment shows it; otherwise it is what the figures look like.
        text: one sentence.
        layers: broken nodes in the order of the graph.
        tested: layers that were looked at.
    """

    rung: str
    against: str
    cause: str = OTHER
    confirmed: bool = False
    text: str = ""
    layer: str = ""
    tensor: str = ""
    layers: tuple[str, ...] = ()
    tested: int = 0


def names(layers: Sequence[str], most: int = 3) -> str:
    """The first few of a list, and how many more there are."""
    shown = ", ".join(layers[:most])
    return f"{shown} and {len(layers) - most} more" if len(layers) > most else shown


def first_moved(taps: Sequence[TapFacts], least_db: float) -> TapFacts | None:
    """The first tensor that is further from the reference than two sound runs are."""
    for tap in taps:
        if not tap.identical and (tap.sqnr_db is None or tap.sqnr_db < least_db):
            return tap
    return None


#: An 8-bit tensor whose every element is one step off is about this far from the reference, dB.
STEP_DB = 30.0


def steepest(taps: Sequence[TapFacts], least_db: float) -> TapFacts | None:
    """The tensor at which signal over difference falls most, by ``least_db`` or more.

    Only a fall to below what single steps of rounding make counts.
    """
    best, found = least_db, None
    before: float | None = None
    for tap in taps:
        now = 200.0 if tap.identical else tap.sqnr_db
        if now is None:
            continue
        if before is not None and before - now >= best and now < STEP_DB:
            best, found = before - now, tap
        before = now if before is None else min(before, now)
    return found
