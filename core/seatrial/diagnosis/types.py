"""What goes into and comes out of a diagnosis. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from seatrial.codec import record
from seatrial.results import Ref

#: What a quantiser is laid over.
ACTIVATION, WEIGHTS = "activation", "weights"

#: Causes, see :mod:`seatrial.diagnosis.causes`.
CLIPPED = "clipped"
WRONG_SCALE = "wrong-scale"
SHARED_SCALE = "shared-scale"
OUTLIER_CHANNEL = "outlier-channel"
CHANNEL_SPREAD = "channel-spread"
OUTLIERS = "outliers"
HALF_UNUSED = "half-unused"
OFFSET = "offset"
FINE_VALUES = "fine-values"
BIAS = "bias"
NOISE = "noise"
REWRITTEN = "rewritten"
CAUSES = (
    CLIPPED,
    WRONG_SCALE,
    SHARED_SCALE,
    OUTLIER_CHANNEL,
    CHANNEL_SPREAD,
    OUTLIERS,
    HALF_UNUSED,
    OFFSET,
    FINE_VALUES,
    BIAS,
    NOISE,
    REWRITTEN,
)


@record
class DiagnoseRequest:
    """Ask why a Q/DQ model is far from its float model.

    Attributes:
        candidate: the model with Q/DQ pairs, from whatever quantizer.
        samples: a sample store; for decisions only calibration data may be in it.
        indices: the samples to look at, best held out from the calibration; empty: all.
        model: the float model; ``None``: only activations can be blamed.
        table: the calibration table of the core, if one was made: names ranges it never saw.
        evaluations: how often the network may be run over the samples, at most.
        budget_s: no new evaluation is begun after so many seconds.
        worst: how many culprits to name.
        threads: of one inference; 0: the runtime's own choice.
    """

    candidate: Ref
    samples: Ref
    indices: tuple[int, ...] = ()
    model: Ref | None = None
    table: Ref | None = None
    evaluations: int = 72
    budget_s: float = 120.0
    worst: int = 6
    threads: int = 0


@record
class Group:
    """Only these quantisers on, everything else in float.

    Attributes:
        name: in words, ``inputs of depthwise Conv``.
        what: :data:`ACTIVATION`, :data:`WEIGHTS` or empty for both.
        members: how many quantisers.
        loss: mean over samples.
    """

    name: str
    what: str
    members: int
    loss: float


@record
class Layer:
    """Signal against noise at the output of one layer, in dB.

    Attributes:
        node: label of the layer's node.
        op_type: its operator, ``depthwise Conv`` set apart.
        tensor: the tensor that was compared.
        sqnr_db: 10 log10(signal power / error power), the whole model quantised.
        new_db: the same with float inputs: only what this layer's own quantisers add.
        inherited: share of the error power that comes from earlier layers, 0 to 1.
    """

    node: str
    op_type: str
    tensor: str
    sqnr_db: float | None = None
    new_db: float | None = None
    inherited: float | None = None


@record
class Cause:
    """What is wrong with one quantiser.

    Attributes:
        code: one of :data:`CAUSES`.
        text: in plain words, with the figures that show it.
        advice: what helps.
        facts: the figures by name.
    """

    code: str
    text: str
    advice: str = ""
    facts: Mapping[str, float] = field(default_factory=dict)


@record
class Culprit:
    """One quantiser that costs accuracy.

    Attributes:
        node: label of the layer it belongs to: whose weights, or whose output.
        op_type: operator of that node, ``depthwise Conv`` set apart.
        nodes: labels of all nodes between this quantiser and the one before it.
        readers: labels of the nodes that read the tensor.
        tensor: the quantised tensor.
        what: :data:`ACTIVATION` or :data:`WEIGHTS`.
        loss: of the model with only this quantiser on.
        without: of the model with all but this one on; ``None``: not measured.
        noise_db: 10 log10(signal / error power) of the quantiser by itself.
        cause: the main cause.
        also: codes of further causes.
    """

    node: str
    op_type: str
    nodes: tuple[str, ...]
    readers: tuple[str, ...]
    tensor: str
    what: str
    loss: float
    without: float | None
    noise_db: float | None
    cause: Cause
    also: tuple[str, ...] = ()


@record
class Diagnosis:
    """The whole finding.

    Attributes:
        rule: ``kl`` (nats) or ``error`` (error power over signal power): what losses are.
        n: samples looked at.
        loss: everything quantised.
        weights: only weights quantised; ``None``: could not be told.
        activations: only activations quantised.
        groups: by class of operator, worst first.
        layers: in graph order.
        culprits: worst first.
        order: labels of quantised nodes, by how much leaving each in float is expected to help.
        gains: the expectation, same order, in the unit of the loss.
        dominated: the share of the loss that the worst quantiser has by itself.
        evaluations: passes over the samples that it took.
        quantisers: how many there are.
        seconds: wall time.
        complete: the search ended by itself, not at its budget.
        dead: tensors with channels that never change, as ``tensor: 3 of 32 channels``.
        notes: anything else worth a line.
    """

    rule: str
    n: int
    loss: float
    weights: float | None
    activations: float
    groups: tuple[Group, ...] = ()
    layers: tuple[Layer, ...] = ()
    culprits: tuple[Culprit, ...] = ()
    order: tuple[str, ...] = ()
    gains: tuple[float, ...] = ()
    dominated: float = 0.0
    evaluations: int = 0
    quantisers: int = 0
    seconds: float = 0.0
    complete: bool = True
    dead: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
