"""Every type that crosses a hook: frozen, keyword-only, JSON-able.

A plugin takes one request and gives one result. New fields always have defaults, so that a
plugin written for an older minor version of the contract keeps working. Requests hold digests
(:class:`Ref`), never paths: ``job.path(ref)`` resolves them inside the child.
Standard library only, Python 3.10 and newer.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import field
from typing import Union

from .codec import record

#: Version of the contract, semver. A plugin built for another major version is refused by name.
CONTRACT = "1.0"

#: Values an option may have; options come from ``[target."NAME"] options`` in the configuration.
Option = Union[bool, int, float, str]


class Verdict(str, enum.Enum):
    """What a compiler said of one model. ``UNKNOWN`` whenever no compiler was asked."""

    SUPPORTED = "supported"
    PARTIAL = "partial"
    UNSUPPORTED = "unsupported"
    UNKNOWN = "unknown"


class FaultKind(str, enum.Enum):
    """Why a hook call gave no result. Only the core assigns these, never a plugin."""

    UNAVAILABLE = "unavailable"
    NOT_OFFERED = "not offered"
    RAISED = "raised"
    CRASHED = "crashed"
    TIMED_OUT = "timed out"
    OUT_OF_MEMORY = "out of memory"
    BROKE_CONTRACT = "broke contract"
    INTERRUPTED = "interrupted"


class Depth(str, enum.Enum):
    """How deep a compile-check came: read by the front end, mapped to the device, or built."""

    PARSE = "parse"
    MAP = "map"
    ARTEFACT = "artefact"


class Claim(str, enum.Enum):
    """What a static table says of one node. There is no ``supported``: no compiler was asked."""

    LISTED = "listed"
    UNSUPPORTED = "unsupported"
    UNKNOWN = "unknown"


class TargetKind(str, enum.Enum):
    """What stands behind a target. Anything but a device caps the verdict at NOT PROVEN."""

    DEVICE = "device"
    SIMULATOR = "simulator"
    EMULATED = "emulated"


class Placement(str, enum.Enum):
    """Where one node of the model went."""

    TARGET = "target"
    FALLBACK = "fallback"
    NOWHERE = "nowhere"
    UNKNOWN = "unknown"


# --- shared parts -------------------------------------------------------------------------------


@record
class Ref:
    """An immutable object in the store: a folder of files, addressed by its content.

    Attributes:
        sha256: of the canonical JSON of {file name: [sha256, bytes]}; external data included.
        entry: the file to open, relative to the object (``""``: the folder itself).
        bytes: total size.
    """

    sha256: str
    entry: str
    bytes: int = 0


@record
class TensorIO:
    """One input or output of a model or artefact.

    Attributes:
        name: the name that ``Session.run`` uses.
        onnx: the ONNX tensor it stands for (``""``: the same name).
        dtype: numpy's name of the element type (``float32``, ``uint8``, ``int64`` ...).
        shape: a dimension is an int, or a text when it is free.
        perm: how the artefact's axes are taken from the ONNX tensor's, as in
            ``numpy.transpose(onnx_value, perm)``; empty: unchanged.
        scale: value of one step when the artefact takes or gives quantised integers, else 0.
        zero_point: the integer that stands for 0.0.
    """

    name: str
    onnx: str = ""
    dtype: str = ""
    shape: tuple[Union[int, str], ...] = ()
    perm: tuple[int, ...] = ()
    scale: float = 0.0
    zero_point: int = 0


@record
class Artifact:
    """Files that a plugin wrote under ``job.out``; the core hashes and adopts them.

    Attributes:
        format: the backend's name of the form (``onnx``, ``engine`` ...).
        entry: the file to open, relative to ``job.out``.
        files: every file that belongs to it, ``entry`` among them.
        inputs: what it takes; empty: the ONNX model's own inputs, unchanged.
        outputs: what it gives; they may be inner ONNX tensors when it covers part of a model.
    """

    format: str
    entry: str
    files: tuple[str, ...]
    inputs: tuple[TensorIO, ...] = ()
    outputs: tuple[TensorIO, ...] = ()


@record
class NodePlacement:
    """Where one node went: ``node`` as given by :func:`node_label`, ``on`` in the SDK's words."""

    node: str
    op_type: str
    on: str
    placement: Placement
    domain: str = ""


def node_label(name: str, op_type: str, index: int, scope: str = "") -> str:
    """The one name of a node that all backends and the report share.

    Args:
        name: the ONNX node's own name, may be empty.
        op_type: its operator.
        index: its position in its graph.
        scope: label of the enclosing control-flow node and branch, ``"loop_1/body"``.
    """
    own = name or f"{op_type}#{index}"
    return f"{scope}/{own}" if scope else own


@record
class Fault:
    """Why there is no result. Assigned by the core; the JSON report carries it as it is.

    Attributes:
        kind: see :class:`FaultKind`.
        stage: hook or task that was running.
        reason: one line.
        signal: name of the signal that ended the child (``SIGSEGV``), ``""`` otherwise.
        log: the child's log, relative to the output folder.
    """

    kind: FaultKind
    stage: str
    reason: str
    signal: str = ""
    log: str = ""


# --- describe and probe -------------------------------------------------------------------------


@record
class QdqDialect:
    """The Q/DQ form that a target wants in an ONNX model.

    Attributes:
        activations: ``uint8`` or ``int8``; ``uint16`` or ``int16`` where a target computes with
            16-bit activations (biases are then ``float``).
        symmetric: activation zero point pinned (0 if signed, else the middle).
        weights: ``int8`` or ``uint8``; always symmetric.
        per_channel: one scale per output channel of a weight.
        bias: ``int32`` (quantised with scale input x weight) or ``float``.
        reduce_range: weights in 7 bits, for CPUs whose u8 x s8 sums saturate in 16 bits.
        domain: operator domain of 16-bit pairs: ``""`` needs opset 21, to which the model is
            converted; some runtimes know them as ``com.microsoft`` in any opset.
    """

    activations: str = "uint8"
    symmetric: bool = False
    weights: str = "int8"
    per_channel: bool = True
    bias: str = "int32"
    reduce_range: bool = False
    domain: str = ""


@record
class InputRules:
    """What a target's compiler asks of the model before it looks at a node.

    Attributes:
        opset_min: lowest ``ai.onnx`` opset it reads.
        opset_max: highest one; 0: unknown.
        static_shapes: every dimension must be a number.
        layouts: the layouts its inputs may have, its own choice first.
        qdq: the Q/DQ dialect it wants; ``None``: it takes float models only.
    """

    opset_min: int = 1
    opset_max: int = 0
    static_shapes: bool = False
    layouts: tuple[str, ...] = ("NCHW",)
    qdq: Union[QdqDialect, None] = None


@record
class Target:
    """One thing a backend can build for.

    Attributes:
        id: as typed after the colon: ``cpu``, ``CPU/avx2``, ``npu1``.
        title: for people.
        device: key of the physical device; one default target per device is run.
        default: run when nobody names targets.
        kind: device, simulator or emulated.
        machine_class: the lesser machine that a variant emulates, ``""`` otherwise.
        install_hint: how to make it usable, one line.
        rules: what its compiler asks of a model.
    """

    id: str
    title: str
    device: str
    default: bool = False
    kind: TargetKind = TargetKind.DEVICE
    machine_class: str = ""
    install_hint: str = ""
    rules: InputRules = InputRules()


@record
class Description:
    """Who a backend is. Made without importing its toolchain.

    Attributes:
        title: the runtime's or compiler's own name.
        vendor: who makes the toolchain.
        targets: at least one.
        artifact_format: what ``seatrial_build`` and ``seatrial_build_int8`` write.
        install_hint: the command or page that installs the toolchain.
        docs: where to read on.
        environment: variables set in every later child: telemetry opt-outs and the like.
        seconds_per_compile: rough cost, for forecasts; 0: unknown.
        seconds_per_sample: rough cost of one inference; 0: unknown.
        schemes: recipes that ``seatrial_quantize`` offers, the default first.
        int8_forms: what ``seatrial_build_int8`` is worth being tried with: ``qdq`` (a portable
            Q/DQ model), ``float`` (its own calibration of the float model), or both.
        optimise_off: ``seatrial_load`` heeds ``LoadRequest.optimise``.
        options: names that ``[target.NAME] options`` may hold, ``net.*`` for any that begin so;
            others are warned of. ``None``: not declared, nothing is looked at.
        hardware_run: "DATE, DEVICE" of the last run on real hardware, or "never", "not needed".
    """

    title: str
    vendor: str
    targets: tuple[Target, ...]
    artifact_format: str = ""
    install_hint: str = ""
    docs: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds_per_compile: float = 0.0
    seconds_per_sample: float = 0.0
    schemes: tuple[str, ...] = ()
    int8_forms: tuple[str, ...] = ("qdq",)
    optimise_off: bool = False
    hardware_run: str = "never"
    options: Union[tuple[str, ...], None] = None


@record
class ProbeRequest:
    """Ask whether one target can be used here."""

    target: str


@record
class Availability:
    """Whether a target can be used here, and with what.

    Attributes:
        usable: a compile may be tried.
        reason: why not, in one line; empty when usable.
        install_hint: what to do about it.
        versions: toolchain, driver and firmware versions by name.
        devices: what was found, in the SDK's words.
        instruction_sets: CPU features the runtime will use.
    """

    usable: bool
    reason: str = ""
    install_hint: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    instruction_sets: tuple[str, ...] = ()


# --- static check and compile-check -------------------------------------------------------------


@record
class CheckRequest:
    """Ask whether a model compiles for a target.

    Attributes:
        model: the ONNX model.
        target: target id.
        precision: ``fp32`` (a float model) or ``int8`` (the model carries Q/DQ pairs).
        shapes: static shapes that the user or the samples fixed, by input name, to be built in
            whatever :attr:`InputRules.static_shapes` says. Inputs that are left out keep their
            free axes; a target that cannot have these refuses them.
        options: the user's options for this target.
    """

    model: Ref
    target: str
    precision: str = "fp32"
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    options: Mapping[str, Option] = field(default_factory=dict)


@record
class NodeClaim:
    """What a table says of one node, and which table.

    Attributes:
        node: see :func:`node_label`.
        claim: listed, unsupported or unknown.
        reason: which part is missing: operator, opset, or type.
        source: table and version, ``"kernel registry of X 1.2"``.
        confidence: ``high`` (the runtime's own registry), ``medium`` (vendor's page) or ``low``.
    """

    node: str
    op_type: str
    claim: Claim
    source: str
    domain: str = ""
    reason: str = ""
    confidence: str = "medium"


@record
class StaticReport:
    """What is known without compiling: one claim per node."""

    claims: tuple[NodeClaim, ...]
    notes: tuple[str, ...] = ()


@record
class Finding:
    """One thing a compiler said of one node (or of the model, when ``node`` is empty).

    Attributes:
        node: see :func:`node_label`.
        reason: the compiler's reason, shortened to a sentence.
        placement: where the node went.
        on: the device or provider, in the SDK's words.
        advice: what to change in the model, or ``""``.
        severity: ``error``, ``warning`` or ``info``.
    """

    reason: str
    node: str = ""
    op_type: str = ""
    domain: str = ""
    placement: Placement = Placement.UNKNOWN
    on: str = ""
    advice: str = ""
    severity: str = "error"


@record
class CompileReport:
    """What the real compiler said.

    Attributes:
        verdict: ``SUPPORTED`` only if all of the model was accepted for the target itself.
        depth: how deep the check came.
        findings: every node that is unsupported or falls back, not only the first.
        placements: where each node went, as far as the toolchain tells.
        artifact: what was built, when the depth is ``artefact``.
        notes: fusions, folds and anything else worth a line.
    """

    verdict: Verdict
    depth: Depth
    findings: tuple[Finding, ...] = ()
    placements: tuple[NodePlacement, ...] = ()
    artifact: Union[Artifact, None] = None
    notes: tuple[str, ...] = ()


# --- layout -------------------------------------------------------------------------------------


@record
class LayoutRequest:
    """Ask for the model with its image inputs in another layout.

    Attributes:
        model: the ONNX model.
        layout: ``NCHW`` or ``NHWC``.
        inputs: names of the 4-D inputs to change; all others stay.
        shapes: static shapes by input name, in the model's present layout.
    """

    model: Ref
    target: str
    layout: str
    inputs: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    options: Mapping[str, Option] = field(default_factory=dict)


@record
class LayoutResult:
    """The model in the wanted layout; the core runs both and compares.

    Attributes:
        artifact: loadable by the same backend; its ``inputs``/``outputs`` carry the ``perm``.
        transposes_added: how many, at the borders and inside.
        transposes_removed: how many of the original model's went away.
        method: ``rewritten`` (graph edited) or ``reconfigured`` (the runtime's own means).
    """

    artifact: Artifact
    transposes_added: int
    transposes_removed: int
    method: str
    notes: tuple[str, ...] = ()


# --- builds -------------------------------------------------------------------------------------


@record
class BuildRequest:
    """Ask for the target's float artefact.

    Attributes:
        precision: ``fp32`` (pinned: nothing may run lower) or ``native`` (what the runtime
            would do by itself; the result states which precision that is).
        shapes: static shapes by input name; empty: as the model has them.
    """

    model: Ref
    target: str
    precision: str = "fp32"
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    options: Mapping[str, Option] = field(default_factory=dict)


@record
class Build:
    """A float artefact and the precision it will run in (``FP32``, ``FP16``, ``BF16``)."""

    artifact: Artifact
    precision: str
    notes: tuple[str, ...] = ()


@record
class QuantizeRequest:
    """Ask a vendor's quantizer for a portable ONNX model with Q/DQ pairs.

    Attributes:
        calibration: a sample store, see :mod:`seatrial.samples`.
        scheme: name of a recipe that the backend offers, ``""``: its default.
        keep_float: labels of nodes that must stay in float; a quantizer that cannot keep one says
            what stayed float in ``Quantized.float_nodes``.
    """

    model: Ref
    target: str
    calibration: Ref
    scheme: str = ""
    keep_float: tuple[str, ...] = ()
    seed: int = 0
    options: Mapping[str, Option] = field(default_factory=dict)


@record
class Quantized:
    """A portable Q/DQ model (``artifact.format`` is ``onnx``) and how it was made."""

    artifact: Artifact
    method: str
    float_nodes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@record
class Int8Request:
    """Ask for the target's own INT8 artefact.

    Attributes:
        model: a float ONNX model (``form="float"``) or one with Q/DQ pairs (``form="qdq"``).
        calibration: given for ``float``; for ``qdq`` the ranges are in the model.
        keep_float: labels of nodes that must stay in float (form ``float`` only).
    """

    model: Ref
    target: str
    form: str
    calibration: Union[Ref, None] = None
    keep_float: tuple[str, ...] = ()
    seed: int = 0
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    options: Mapping[str, Option] = field(default_factory=dict)


@record
class Int8Build:
    """The INT8 artefact, and which nodes of the model are INT8 or stayed float in it."""

    artifact: Artifact
    method: str
    int8_nodes: tuple[str, ...] = ()
    float_nodes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


# --- running ------------------------------------------------------------------------------------


@record
class LoadRequest:
    """Ask for a live session on an artefact.

    Attributes:
        artifact: an adopted artefact, or an ONNX model when the backend loads those.
        format: the artefact's ``format``.
        precision: ``fp32``, ``native`` or ``int8``: the execution the artefact was built for.
        threads: CPU threads for one inference; 0: the runtime's own choice.
        streams: inferences in flight; the session's own ``streams`` says how many it takes.
        taps: inner ONNX tensors to add to the outputs, where the backend can.
        profile: collect per-layer facts for ``Session.ran``; such a session is never timed.
        optimise: ``False``: execute the graph as it is, nothing fused or folded, where the
            backend's :attr:`Description.optimise_off` says that it can. Never timed either.
    """

    artifact: Ref
    format: str
    target: str
    precision: str = "fp32"
    threads: int = 0
    streams: int = 1
    taps: tuple[str, ...] = ()
    profile: bool = False
    optimise: bool = True
    inputs: tuple[TensorIO, ...] = ()
    outputs: tuple[TensorIO, ...] = ()
    options: Mapping[str, Option] = field(default_factory=dict)


@record
class LayerRun:
    """One layer as it really ran.

    Attributes:
        layer: the runtime's name of it.
        op_type: the runtime's type of it.
        nodes: labels of the ONNX nodes in it, as far as the runtime tells.
        on: device or provider.
        precision: ``FP32``, ``BF16``, ``FP16``, ``INT8`` ... or ``""`` when not told.
        layout: as the runtime names it (``acdb``, ``NHWC``, ``nChw16c``), or ``""``.
        kernel: implementation picked, in the runtime's words.
        ms: median time of one execution, or -1 when not measured.
    """

    layer: str
    op_type: str
    nodes: tuple[str, ...] = ()
    on: str = ""
    precision: str = ""
    layout: str = ""
    kernel: str = ""
    ms: float = -1.0


@record
class Ran:
    """What really ran in a session.

    Attributes:
        where: device, simulator or emulated.
        device: its name.
        layers: empty when the runtime does not tell.
        instruction_set: read back from the kernels that ran, ``""`` when not told.
    """

    where: TargetKind
    device: str
    layers: tuple[LayerRun, ...] = ()
    placements: tuple[NodePlacement, ...] = ()
    instruction_set: str = ""
    notes: tuple[str, ...] = ()


@record
class BenchmarkRequest:
    """Ask for raw latencies where the core's own loop cannot reach the device."""

    load: LoadRequest
    samples: Ref
    warmup: int = 10
    n: int = 100


@record
class BenchmarkSamples:
    """Raw latencies in nanoseconds; the core computes the statistics, marked vendor-timed."""

    latencies_ns: tuple[int, ...]
    clock: str
    includes_copies: bool
    notes: tuple[str, ...] = ()
