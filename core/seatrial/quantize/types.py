"""What goes into and comes out of the tasks of this room. Standard library only."""

from __future__ import annotations

from seatrial.codec import record
from seatrial.results import Artifact, QdqDialect, Ref

#: Reasons for a node to stay float; the text after a colon, if any, names what it depends on.
KEEP_FLOAT = "keep_float"
NO_DIALECT = "no kernel dialect"
NOT_QUANTIZABLE = "not quantizable"
NO_RANGE = "no calibrated range"
FLOAT_NEIGHBOURS = "float neighbours"

#: Forms besides pairs around everything: integer weights that are dequantised before use; matrix
#: products in integers whose activations are quantised anew at every inference.
WEIGHT_ONLY, DYNAMIC = "weight-only", "dynamic"


@record
class InsertRequest:
    """Ask for the portable Q/DQ form of a float model.

    Attributes:
        model: the float ONNX model.
        ranges: a table of :mod:`seatrial.calibration.table`; not needed for ``unit_ranges``.
        dialect: the form of the pairs.
        keep_float: labels of nodes that must stay in float.
        unit_ranges: every range is [-1, 1], or [0, 1] after a ReLU: structure only, for ``check``.
        method: one of :data:`seatrial.calibration.types.METHODS`; empty: the table's own.
        form: ``""``: pairs around activations and weights; :data:`WEIGHT_ONLY` and
            :data:`DYNAMIC` need no ranges.
    """

    model: Ref
    ranges: Ref | None = None
    dialect: QdqDialect = QdqDialect()
    keep_float: tuple[str, ...] = ()
    unit_ranges: bool = False
    method: str = ""
    form: str = ""


@record
class FloatNode:
    """A node that stays float, and why.

    Attributes:
        node: see :func:`seatrial.results.node_label`.
        reason: one of the constants of this module, perhaps with ``: detail``.
    """

    node: str
    op_type: str
    reason: str


@record
class InsertResult:
    """The model with Q/DQ pairs.

    Attributes:
        artifact: format ``onnx``; ``None`` when nothing in the model could be quantised.
        method: ``core:...``, or ``already Q/DQ`` when the model was passed through.
        int8_nodes: labels of the nodes between Q/DQ pairs.
        float_nodes: every other node of the main graph.
        tensors: how many activation tensors carry a pair.
        folded: labels of BatchNormalization nodes folded into the layer before them.
        notes: opset conversion and anything else worth a line.
    """

    artifact: Artifact | None
    method: str
    int8_nodes: tuple[str, ...] = ()
    float_nodes: tuple[FloatNode, ...] = ()
    tensors: int = 0
    folded: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@record
class ScoreRequest:
    """Ask how far a candidate's outputs are from the float model's.

    Attributes:
        model: the float model.
        candidate: the same model with Q/DQ pairs; both run on the reference, Q/DQ literally.
        samples: the calibration store.
        indices: the held-out samples, see :func:`seatrial.quantize.bakeoff.held_out`.
        reference: the float model's outputs over exactly these samples, in this order, as a
            store; without it the float model runs as well.
    """

    model: Ref
    candidate: Ref
    samples: Ref
    indices: tuple[int, ...]
    threads: int = 0
    reference: Ref | None = None


@record
class Score:
    """How close a candidate is to the float model, on held-out calibration samples.

    Attributes:
        n: samples compared.
        classification: the first output is (classes,) per sample.
        agreement: fraction of samples with the same argmax; ``None`` if not classification-like.
        cosine: mean cosine similarity of the outputs.
        sqnr_db: 10 log10(signal power / error power), summed over samples and outputs.
        kl: mean Kullback-Leibler divergence float || candidate in nats; ``None`` if not
            classification-like.
        losses: the ruling loss of each sample: KL, or error power over signal power.
        errors: error power over signal power of each sample.
        nonfinite: samples whose candidate output holds a NaN or an infinity.
        bytes: size of the candidate.
        stopped: the race ended for it after ``n`` samples: it was far behind.
    """

    n: int
    classification: bool
    agreement: float | None = None
    cosine: float | None = None
    sqnr_db: float | None = None
    kl: float | None = None
    losses: tuple[float, ...] = ()
    errors: tuple[float, ...] = ()
    nonfinite: int = 0
    bytes: int = 0
    stopped: bool = False


@record
class Entrant:
    """One candidate of a race: a model that exists, or one to be made.

    Attributes:
        name: unique in its race.
        made: the model.
        insert: how to make it.
    """

    name: str
    made: Ref | None = None
    insert: InsertRequest | None = None


@record
class RaceRequest:
    """Ask for several candidates to be made and scored in one go.

    Attributes:
        entrants: in order of promise.
        reference: the float model's outputs over ``indices``, in this order, as a store.
        samples: the calibration store.
        indices: the held-out samples.
        rival: losses of the best candidate so far, in the order of ``indices``; empty: none.
        seconds: no further entrant is started after this time; 0: no limit.
    """

    entrants: tuple[Entrant, ...]
    reference: Ref
    samples: Ref
    indices: tuple[int, ...]
    rival: tuple[float, ...] = ()
    seconds: float = 0.0


@record
class Finish:
    """What became of one entrant.

    Attributes:
        inserted: the model and what is in it, if it was made here.
        score: ``None`` when there is no model or no time was left.
        reason: why there is no score.
    """

    name: str
    inserted: InsertResult | None = None
    score: Score | None = None
    reason: str = ""


@record
class RaceResult:
    """One entry per entrant, in their order."""

    finishes: tuple[Finish, ...]


@record
class FormRequest:
    """Ask in which form a model's Q/DQ pairs are."""

    model: Ref


@record
class Form:
    """The form of the pairs that a model carries; ``None`` when it carries no pair at all."""

    dialect: QdqDialect | None = None
