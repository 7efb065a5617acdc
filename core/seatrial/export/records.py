"""What the export room's tasks take and give. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from seatrial.codec import record
from seatrial.results import Artifact, Ref, TensorIO

DYNAMO, TORCHSCRIPT = "dynamo", "torchscript"
#: The routes in the order in which they are preferred when both pass alike.
ROUTES = (DYNAMO, TORCHSCRIPT)

FACTORY, PROGRAM, ARCHIVE = "factory", "exported program", "TorchScript archive"

ERROR, WARNING, INFO = "error", "warning", "info"

PASS, FAIL, NOT_PROVEN = "pass", "fail", "not proven"

#: Code of the problem that two samples share one answer; an error when a free batch was asked.
NO_ROWS = "no-batch-axis"

FREE, BAKED, CONSTRAINED, FIXED, UNTRIED = "free", "baked in", "constrained", "fixed", "not tried"


@record
class Problem:
    """One thing that keeps a module from being exported, or that the export would hide.

    Attributes:
        code: stable name, ``data-dependent-control-flow``.
        level: ``error`` turns the gate red; ``warning`` and ``info`` do not.
        text: one sentence.
        file: the user's source file.
        line: in that file; 0: unknown.
        module: path in the module tree, ``layers.3.attn``.
        op: operator at fault, ``mylib::foo``.
        advice: what to do.
        route: the route it belongs to, ``""``: the module itself.
    """

    code: str
    level: str
    text: str
    file: str = ""
    line: int = 0
    module: str = ""
    op: str = ""
    advice: str = ""
    route: str = ""


@record
class ModuleSpec:
    """Where the module comes from.

    Attributes:
        kind: ``factory``, ``exported program`` or ``TorchScript archive``.
        location: ``MODULE:CALLABLE`` of a factory; else the file's name, for messages.
        file: the program or archive.
        weights: a checkpoint to load into what the factory gives.
        weights_name: its name, for messages.
        trust_pickle: loading may run the code that a pickle carries.
        inputs: names of forward's parameters that are fed, in order; empty: those without default.
    """

    kind: str
    location: str
    file: Ref | None = None
    weights: Ref | None = None
    weights_name: str = ""
    trust_pickle: bool = False
    inputs: tuple[str, ...] = ()

    @property
    def refs(self) -> tuple[Ref, ...]:
        """Objects that a child needs to build the module."""
        return tuple(r for r in (self.file, self.weights) if r is not None)


@record
class DescribeRequest:
    """Ask what a module takes."""

    spec: ModuleSpec


@record
class Described:
    """A module as it was built.

    Attributes:
        inputs: parameters that must be fed; shape and type where the factory gave an example.
        optional: further parameters, which have defaults.
        example: the factory gave example inputs.
        parameters: how many numbers it holds.
        torch: version.
        notes: what was done to load the weights.
        seconds: until the module stood ready, torch's import included.
    """

    inputs: tuple[TensorIO, ...]
    optional: tuple[str, ...] = ()
    example: bool = False
    parameters: int = 0
    torch: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@record
class Variant:
    """One other size to try: the extent of each axis that changes, by input name.

    Attributes:
        label: ``x[2] = 48``.
        axes: the axes that this variant is about, as ``INPUT:AXIS``.
        sizes: input name -> the whole shape, batch axis included.
        kept: the exported model will be run at this size: keep the tensors and the yardstick's.
    """

    label: str
    axes: tuple[str, ...]
    sizes: Mapping[str, tuple[int, ...]]
    kept: bool = False


@record
class StudyRequest:
    """Ask to run the module itself, watched.

    Attributes:
        spec: the module.
        samples: the sample store.
        indices: which samples.
        variants: other sizes to try.
        seed: of the noise that fills samples up to a larger size.
    """

    spec: ModuleSpec
    samples: Ref
    indices: tuple[int, ...]
    variants: tuple[Variant, ...] = ()
    seed: int = 0


@record
class VariantRun:
    """What the module did at another size; its tensors lie under ``variants/INDEX``."""

    label: str
    ok: bool
    reason: str = ""
    file: str = ""
    line: int = 0


@record
class StudyResult:
    """What the module does by itself, before any export.

    Attributes:
        artifact: stores ``fp32``, and ``fp64`` or ``ulp`` (see ``yardstick``), and ``variants``.
        outputs: names, in order.
        yardstick: ``fp64``, ``ulp`` or ``""``.
        problems: found while watching.
        scripted: lines that read a tensor's value in Python, ``FILE:LINE``.
        lines: lines that computed something, in order, ``FILE:LINE``.
        touched: lines that called any operator.
        call_s: seconds that one sample takes.
    """

    artifact: Artifact
    outputs: tuple[str, ...]
    yardstick: str = ""
    call_s: float = 0.0
    problems: tuple[Problem, ...] = ()
    variants: tuple[VariantRun, ...] = ()
    scripted: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    touched: tuple[str, ...] = ()


@record
class ExportRequest:
    """Ask for one export by one route.

    Attributes:
        spec: the module.
        samples: where the example input comes from.
        route: one of :data:`ROUTES`.
        opset: wanted; the file says what it became.
        dynamic: free axes by input name; empty: static.
        batch: of a static export.
        translations: ``MODULE:TABLE`` of custom translations, dynamo only.
        outputs: names of the outputs, in order.
        scripted: lines that read a tensor's value, from the study.
    """

    spec: ModuleSpec
    samples: Ref
    route: str
    opset: int = 18
    dynamic: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    batch: int = 1
    translations: str = ""
    outputs: tuple[str, ...] = ()
    scripted: tuple[str, ...] = ()


@record
class Exported:
    """What one route gave; without an artefact, ``problems`` say why.

    Attributes:
        guards: where a free axis was tied to a number, as the exporter tells.
    """

    artifact: Artifact | None = None
    problems: tuple[Problem, ...] = ()
    guards: tuple[Problem, ...] = ()
    seconds: float = 0.0


@record
class GraphRequest:
    """Ask what stands in an exported model."""

    model: Ref


@record
class GraphNode:
    """A node worth naming, with its place in the user's source where the file tells."""

    label: str
    op_type: str
    domain: str = ""
    module: str = ""
    file: str = ""
    line: int = 0


@record
class GraphFacts:
    """An exported model, read back.

    Attributes:
        opset: of the default domain.
        nodes: how many, subgraphs included.
        control_flow: If, Loop and Scan nodes.
        foreign: nodes of non-standard domains without a function body in the file.
        lines: the user's lines that its nodes come from, ``FILE:LINE``; empty: the file tells none.
        sources: of these, the innermost line of every node.
        needs: operator -> the opset in which its present form came, the highest first.
        inputs: as declared.
        outputs: as declared.
    """

    opset: int
    nodes: int
    control_flow: tuple[GraphNode, ...] = ()
    foreign: tuple[GraphNode, ...] = ()
    lines: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    needs: Mapping[str, int] = field(default_factory=dict)
    inputs: tuple[TensorIO, ...] = ()
    outputs: tuple[TensorIO, ...] = ()


@record
class ParityRequest:
    """Ask to compare stores of outputs.

    Attributes:
        torch: outputs of the module in float32.
        exact: outputs of the yardstick, see :mod:`seatrial.export.gate`.
        onnx: outputs of the exported model on the reference.
        yardstick: ``fp64``, ``ulp`` or ``""``.
    """

    torch: Ref
    onnx: Ref
    exact: Ref | None = None
    yardstick: str = ""


@record
class OutputParity:
    """One output of the exported model against the module, over all samples.

    Attributes:
        output: name.
        gate: ``pass``, ``fail`` or ``not proven``.
        reason: the rule that decided.
        max_abs: largest absolute error; ``None``: could not be compared.
        max_rel: largest error over the output's own scale in that sample.
        beyond: share of elements whose scale-aware error exceeds 1e-5.
        own: the module's own rounding error, on the same scale; ``None``: no yardstick.
        allowed: what the gate allowed ``max_rel`` to be.
        worst: id of the worst sample.
        worst_index: its position.
        nonfinite: elements that are NaN or infinite in the exported model's output.
        nonfinite_torch: the same of the module.
        constant: every sample gives the same values.
        n: samples.
    """

    output: str
    gate: str
    reason: str
    max_abs: float | None
    max_rel: float | None
    beyond: float
    own: float | None
    allowed: float
    worst: str
    worst_index: int
    nonfinite: int
    nonfinite_torch: int
    constant: bool
    n: int


@record
class ParityResult:
    """All outputs; the gate is that of the worst."""

    gate: str
    outputs: tuple[OutputParity, ...]
    reason: str = ""


@record
class ReplayRequest:
    """Ask to run an exported model at other sizes, on the variants of a study."""

    model: Ref
    study: Ref
    variants: tuple[Variant, ...]
    runs: tuple[VariantRun, ...]
    outputs: tuple[str, ...]


@record
class Replay:
    """What the exported model did at another size; ``agrees`` says it gave what the module gave."""

    label: str
    ran: bool
    agrees: bool
    reason: str = ""


@record
class ReplayResult:
    """One replay per variant that the module itself accepted."""

    replays: tuple[Replay, ...] = ()


@record
class AxisFact:
    """One axis of one input.

    Attributes:
        status: ``free`` (other sizes ran and agreed), ``baked in`` (the module takes other sizes,
            the exported model does not or gives something else), ``constrained`` (the module takes
            some other sizes), ``fixed`` (it takes none) or ``not tried``.
        asked: the user asked for it to be free.
        evidence: what was tried and what happened.
        low: smallest size that was tried and ran; where it was asked for, the exported model too.
        high: the largest one.
    """

    input: str
    axis: int
    size: int
    status: str
    asked: bool = False
    evidence: str = ""
    file: str = ""
    line: int = 0
    low: int = 0
    high: int = 0


@record
class Attempt:
    """One route: how it went and what it gave.

    Attributes:
        gate: of its parity.
        reason: why it was kept or not.
    """

    route: str
    ok: bool
    gate: str = NOT_PROVEN
    opset: int = 0
    asked_opset: int = 0
    seconds: float = 0.0
    reason: str = ""
    chosen: bool = False
    problems: tuple[Problem, ...] = ()
    graph: GraphFacts | None = None
    parity: ParityResult | None = None
    axes: tuple[AxisFact, ...] = ()
    model: Ref | None = None
    sha256: str = ""


@record
class Tensors:
    """Tensors of an exported model in topological order; ``modules``: tensor -> module path."""

    names: tuple[str, ...]
    modules: Mapping[str, str] = field(default_factory=dict)


@record
class TapRequest:
    """Ask for the module's inner tensors for one sample.

    Attributes:
        wanted: names of the exported model's tensors, in topological order.
        modules: tensor name -> module path whose output it is (TorchScript route).
    """

    export: ExportRequest
    index: int
    wanted: tuple[str, ...] = ()
    modules: Mapping[str, str] = field(default_factory=dict)


@record
class Tapped:
    """Inner tensors, one ``.npy`` each: ``names[i]`` lies in ``taps/i.npy``."""

    artifact: Artifact | None
    names: tuple[str, ...] = ()


@record
class DivergeRequest:
    """Ask for the first node whose output differs from the module's."""

    model: Ref
    samples: Ref
    index: int
    taps: Ref
    names: tuple[str, ...]


@record
class Divergence:
    """The first node that diverges, in topological order.

    Attributes:
        node: its label.
        before: largest scale-aware error of the nodes before it, each by itself.
        after: its own error, on what the module computed before it.
        compared: tensors that both sides have.
        region: labels of the nodes between it and its nearest compared ancestors.
        found: False: no compared tensor diverges.
    """

    found: bool
    node: str = ""
    op_type: str = ""
    tensor: str = ""
    module: str = ""
    file: str = ""
    line: int = 0
    before: float = 0.0
    after: float = 0.0
    compared: int = 0
    region: tuple[str, ...] = ()


@record
class SyntheticRequest:
    """Ask for noise in the shape of the inputs, when there are no samples."""

    inputs: tuple[TensorIO, ...]
    count: int = 16
    seed: int = 0


@record
class SyntheticResult:
    """The store."""

    artifact: Artifact
    count: int


@record
class OutputsRequest:
    """Ask for the module's outputs over samples: rung 0 of the ladder.

    Attributes:
        indices: which samples; ``None``: all.
        batch: samples per call.
        outputs: names to give them, those of the exported model.
    """

    spec: ModuleSpec
    samples: Ref
    outputs: tuple[str, ...] = ()
    indices: tuple[int, ...] | None = None
    batch: int = 1


@record
class OutputsResult:
    """The store of outputs."""

    artifact: Artifact
    names: tuple[str, ...]
