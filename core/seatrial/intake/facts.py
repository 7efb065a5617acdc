"""What is known of a model after the walk, for every later stage and for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from seatrial.codec import record
from seatrial.results import Ref, TensorIO

#: Operators with weights that quantizers turn into integers.
QUANTIZABLE = ("Conv", "ConvTranspose", "Gemm", "MatMul")

_TREES = ("TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor")


@record
class Note:
    """Something odd but legal.

    Attributes:
        code: for programs: ``unsorted``, ``weights-nan`` ...
        level: ``warning`` or ``info``.
        place: node or tensor, may be empty. Cleaned, as is ``text``.
        text: one line.
    """

    code: str
    level: str
    place: str
    text: str


@record
class NodeFact:
    """One node.

    Attributes:
        label: its name in the report, unique in the model (see ``results.node_label``).
        index: position in its graph.
        scope: label of the enclosing node and branch, or of the function.
        function: label of the function whose body it is in; ``""`` for the model's own nodes.
        depthwise: a convolution of one input channel per group and more than one group.
        constant_weights: its weight operand follows from constants alone.
    """

    label: str
    op_type: str
    domain: str
    index: int
    scope: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    function: str = ""
    depthwise: bool = False
    constant_weights: bool = False


@record
class ModelFacts:
    """A model in numbers and names. Names are as in the file: clean them before printing.

    Attributes:
        path: as given, for display only.
        sha256: of the whole, external data included; that of the snapshot's ``Ref``.
        file_sha256: of the ``.onnx`` file alone.
        bytes: of the whole.
        producer: name and version.
        opsets: version per domain; ``""`` is the default one.
        inputs: of the graph, without those that an initializer gives a default. An unknown
            dimension is ``"?"``, an unknown rank is the shape ``("...",)``.
        nodes: of the graph, of nested graphs and (``function`` set) of function bodies.
        op_types: count per operator, ``domain:op`` outside the default domain; function bodies
            are left out.
        parameters: elements of all initializers.
        external_files: relative to the model.
        control_flow: labels of nodes that hold graphs.
        has_qdq: holds quantised operators already.
        quantizable: count per operator of :data:`QUANTIZABLE` with constant weights; those in the
            bodies of If, Loop and Scan are left out, for no quantizer here reaches them.
        metadata: the file's own key-value pairs, cleaned and cut.
        nonfinite_weights: initializers with a NaN, or with an infinity in a weight.
        constant_weights: float initializers of more than one element that are zero throughout.
        weights_screened: every weight was looked at.
        batch: first dimension of the first input: ``free``, ``fixed:N`` or ``none``.
    """

    path: str
    sha256: str
    file_sha256: str
    bytes: int
    ir_version: int
    producer: str
    opsets: Mapping[str, int]
    inputs: tuple[TensorIO, ...]
    outputs: tuple[TensorIO, ...]
    nodes: tuple[NodeFact, ...]
    op_types: Mapping[str, int]
    domains: tuple[str, ...]
    functions: tuple[str, ...] = ()
    initializers: int = 0
    parameters: int = 0
    external_files: tuple[str, ...] = ()
    control_flow: tuple[str, ...] = ()
    has_qdq: bool = False
    quantizable: Mapping[str, int] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    nonfinite_weights: tuple[str, ...] = ()
    constant_weights: tuple[str, ...] = ()
    weights_screened: bool = True
    batch: str = "none"


@record
class Admitted:
    """A model that may be handed to backends.

    Attributes:
        ref: the snapshot; what was screened is what backends read.
        facts: what the walk saw.
        notes: what is odd about it.
    """

    ref: Ref
    facts: ModelFacts
    notes: tuple[Note, ...] = ()


def depthwise(facts: ModelFacts) -> tuple[str, ...]:
    """Labels of the depthwise convolutions: per-tensor ranges hurt these most."""
    return tuple(node.label for node in facts.nodes if node.depthwise)


def is_tree_ensemble(facts: ModelFacts) -> bool:
    """Whether decision trees do the work: nothing in them can be quantised."""
    return any(_plain_op(name) in _TREES for name in facts.op_types)


def _plain_op(name: str) -> str:
    return name.rsplit(":", 1)[-1]
