"""ONNX Runtime's own static quantizer, with the settings that were found to matter.

MinMax is the only calibrator offered: Entropy at its defaults has one candidate threshold and
equals MinMax digit by digit, Percentile keeps every activation of every sample in memory, and
``CalibMaxIntermediateOutputs`` drops what it collected.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.results import Quantized, QuantizeRequest, node_label
from seatrial.samples import Samples

from . import _model, _ort
from ._registry import registry
from ._targets import PROVIDERS, provider
from ._types import infer

#: Not quantised: the quantizer turns the scale vector of a BatchNormalization into INT8 per
#: tensor, and small scales vanish (measured: -2.3 points on a net that cannot fold them).
NEVER = ("BatchNormalization",)

_FLOATS = {"tensor(float)", "tensor(float16)", "tensor(double)"}

#: Operators whose first two inputs are data and weights; what follows is a bias.
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")

#: Per-axis Q/DQ exists from this opset on.
_PER_AXIS_OPSET = 13


@dataclass(frozen=True)
class Scheme:
    """One recipe; ``options`` go to the quantizer's ``extra_options``."""

    title: str
    activations: str
    per_channel: bool
    options: Mapping[str, Any] = field(default_factory=dict)


SCHEMES: Mapping[str, Scheme] = {
    "static-u8-perchannel": Scheme(
        "activations uint8 asymmetric, weights int8 per channel, biases int32",
        "QUInt8",
        per_channel=True,
        options={"WeightSymmetric": True},
    ),
    "static-u8-pertensor": Scheme(
        "activations uint8 asymmetric, weights int8 per tensor, biases int32",
        "QUInt8",
        per_channel=False,
        options={"WeightSymmetric": True},
    ),
    "static-s8-symmetric": Scheme(
        "activations int8 symmetric, weights int8 per channel, biases float",
        "QInt8",
        per_channel=True,
        options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
    ),
}


def default_scheme(target: str) -> str:
    """The recipe whose Q/DQ form a target wants."""
    qdq = PROVIDERS[target].qdq
    return "static-s8-symmetric" if qdq and qdq.symmetric else "static-u8-perchannel"


def quantize(request: QuantizeRequest, job: Job) -> Quantized:
    """Answer ``seatrial_quantize``.

    Raises:
        UserError: an unknown scheme or node, no samples, or a model that is quantised already.
        RuntimeError: the quantizer failed, or inserted nothing.
    """
    provider(request.target)
    name = request.scheme or default_scheme(request.target)
    if name not in SCHEMES:
        raise UserError("scheme", f"{name!r} is not offered", advice=f"one of {', '.join(SCHEMES)}")
    model = _model.read(job.path(request.model), weights=True)
    labels = [p.label for p in _model.nodes(model.graph)]
    _refuse_unfit(model, labels, request.keep_float)
    notes: list[str] = []
    scheme = SCHEMES[name]
    for index, node in enumerate(model.graph.node):
        node.name = node_label(node.name, node.op_type, index)
    _freeze(model, notes)
    _upgrade(model, scheme, notes)
    prepared = _preprocess(model, job.scratch, notes)
    gone = _folded(prepared, request.keep_float)
    if gone:
        notes.append(f"folded into a neighbour before quantising: {', '.join(gone)}")
    samples = Samples(job.path(request.calibration))
    target = job.out / "model.onnx"
    with _quiet():
        _run(prepared, target, _Reader(samples, _batch(model), job), scheme, request)
    made = _model.read(target)
    floating = _float_nodes(made, set(labels))
    if not any(n.op_type == "QuantizeLinear" for n in made.graph.node):
        raise RuntimeError("the quantizer inserted no QuantizeLinear: no operator it knows")
    session = _ort.open_session(target, _ort.Setup(provider=PROVIDERS["cpu"]))
    files = tuple(sorted(p.name for p in job.out.iterdir() if p.name.startswith("model.onnx")))
    reduced = ", weights in 7 bits" if request.options.get("reduce_range") else ""
    method = (
        f"onnxruntime {_version()} quantize_static, MinMax over {samples.count} samples, "
        f"{scheme.title}{reduced}; {', '.join(NEVER)} left in float"
    )
    if request.keep_float:
        method += f"; {len(request.keep_float)} nodes kept in float on request"
    artifact = _model.artifact(session, target.name, files)
    return Quantized(artifact=artifact, method=method, float_nodes=floating, notes=tuple(notes))


def _version() -> str:
    import onnxruntime as ort

    return str(ort.__version__)


def _refuse_unfit(model: Any, labels: list[str], keep: tuple[str, ...]) -> None:
    unknown = [label for label in keep if label not in labels]
    if unknown:
        raise UserError("keep_float", "the model has no such node", place=unknown[0])
    if any(n.op_type in ("QuantizeLinear", "DequantizeLinear") for n in model.graph.node):
        raise UserError("model", "it carries Q/DQ pairs already")


def _freeze(model: Any, notes: list[str]) -> None:
    """Take initializers out of the graph inputs, in place.

    While they may be overridden, nothing folds them: BatchNormalization stays apart, and biases
    are quantised anew in every run.
    """
    constants = {t.name for t in model.graph.initializer}
    inputs = [v for v in model.graph.input if v.name not in constants]
    count = len(model.graph.input) - len(inputs)
    if count:
        del model.graph.input[:]
        model.graph.input.extend(inputs)
        model.ir_version = max(model.ir_version, 4)
        notes.append(f"{count} initializers are no longer listed as inputs")


def _upgrade(model: Any, scheme: Scheme, notes: list[str]) -> None:
    """Convert to the opset that per-axis Q/DQ needs, in place."""
    from onnx import version_converter

    found = _model.opsets(model).get("", 0)
    if not scheme.per_channel or found >= _PER_AXIS_OPSET:
        return
    try:
        converted = version_converter.convert_version(model, _PER_AXIS_OPSET)
    except (RuntimeError, ValueError, IndexError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RuntimeError(
            f"opset {found} has no per-channel Q/DQ and could not be converted: {reason}"
        ) from None
    model.CopyFrom(converted)
    notes.append(f"converted from opset {found} to {_PER_AXIS_OPSET} for per-channel Q/DQ")


def _preprocess(model: Any, scratch: Path, notes: list[str]) -> Path:
    """Let the runtime fold and infer shapes first, as its quantizer asks for."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    named, ready = scratch / "named.onnx", scratch / "prepared.onnx"
    _model.write(model, named)
    large = model.ByteSize() > _model.EXTERNAL_ABOVE
    try:
        with _quiet():
            quant_pre_process(
                str(named), str(ready), skip_symbolic_shape=True, save_as_external_data=large
            )
    except _ort.errors(TypeError, AttributeError, ImportError) as error:
        notes.append(f"without the runtime's pre-processing, which failed: {_ort.plain(error)}")
        return named
    return ready


def _folded(prepared: Path, keep: tuple[str, ...]) -> list[str]:
    left = {n.name for n in _model.read(prepared).graph.node}
    return [label for label in keep if label not in left]


def _run(
    prepared: Path, target: Path, reader: _Reader, scheme: Scheme, request: QuantizeRequest
) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    types = sorted({*QDQRegistry, *QLinearOpsRegistry} - set(NEVER))
    large = sum(p.stat().st_size for p in prepared.parent.glob("prepared*"))
    try:
        quantize_static(
            str(prepared),
            str(target),
            reader,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=types,
            per_channel=scheme.per_channel,
            reduce_range=bool(request.options.get("reduce_range", False)),
            activation_type=QuantType[scheme.activations],
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(request.keep_float),
            use_external_data_format=large > _model.EXTERNAL_ABOVE,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options=dict(scheme.options),
        )
    except _ort.errors(TypeError, KeyError, AttributeError) as error:
        raise RuntimeError(f"the quantizer failed: {_ort.plain(error)}") from error


def _batch(model: Any) -> int:
    """The batch size that the model's inputs insist on, 1 when it is free."""
    constants = {t.name for t in model.graph.initializer}
    for value in model.graph.input:
        dimensions = value.type.tensor_type.shape.dim
        if value.name not in constants and dimensions:
            return max(int(dimensions[0].dim_value), 1)
    return 1


class _Reader:
    """Feeds the calibrator one batch at a time, so that memory does not grow with the samples."""

    def __init__(self, samples: Samples, batch: int, job: Job) -> None:
        if samples.count < batch:
            reason = f"{samples.count} samples do not fill one batch of {batch}"
            raise UserError("calibration", reason)
        self._total = samples.count // batch
        self._batches = samples.batches(batch if samples.index.get("batch_axis", True) else 1)
        self._job = job
        self._done = 0

    def __len__(self) -> int:
        return self._total

    def get_next(self) -> dict[str, Any] | None:
        """The next feeds, or ``None``."""
        self._job.progress("calibrating", self._done / self._total)
        self._done += 1
        return next(self._batches, None)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._batches

    def __next__(self) -> dict[str, Any]:
        return next(self._batches)


def _float_nodes(made: Any, labels: set[str]) -> tuple[str, ...]:
    """Original nodes on float tensors that no Q/DQ pairs surround.

    A node with weights counts as quantised when data and weights are dequantised in front of it,
    any other one when its output is quantised as well.
    """
    typed = infer(made, registry())
    dequantised = {
        name
        for t in typed
        if t.place.node.op_type == "DequantizeLinear"
        for name in t.place.node.output
    }
    quantised = {t.place.node.input[0] for t in typed if t.place.node.op_type == "QuantizeLinear"}
    found = []
    for entry in typed:
        node = entry.place.node
        if node.name not in labels or not _FLOATS & {*entry.inputs, *entry.outputs}:
            continue
        biases = 2 if node.op_type in _WEIGHTED else None
        data = list(zip(node.input, entry.inputs, strict=True))[:biases]
        inside = all(name in dequantised for name, kind in data if kind in _FLOATS)
        outside = biases is not None or any(name in quantised for name in node.output)
        if not (inside and outside) and node.op_type != "Constant":
            found.append(node.name)
    return tuple(found)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantizer warns on the root logger; what matters is in the notes."""
    import onnxruntime as ort

    errors_only, default = 3, 2
    ort.set_default_logger_severity(errors_only)
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(before)
        ort.set_default_logger_severity(default)
