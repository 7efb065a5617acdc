"""NNCF: a portable Q/DQ model from ONNX, or an INT8 model of OpenVINO's own.

Settings that decide the result, each measured on real models: NNCF takes the range of each
*item* of its data set and averages over the items, so every item holds one sample; without
``model_type=TRANSFORMER`` it quantises attention scores and normalisation, and ViTs collapse;
``HISTOGRAM`` is the only range estimator that beats plain minimum and maximum.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from seatrial.hookspecs import Job
from seatrial.results import Artifact, Int8Request, Quantized, QuantizeRequest
from seatrial.samples import Samples

from . import graph as g
from .alone import without_torch
from .names import Names
from .runtime import check_options
from .targets import cap_of, device_of

#: Recipes of ``seatrial_quantize`` and of the ``scheme`` option; the default first.
SCHEMES = ("nncf-mixed-histogram", "nncf-default")

#: NNCF's ONNX path writes per-channel scales, which ONNX knows from this opset on.
OPSET_MIN = 13

#: Operators that quantised values pass through unchanged.
_TRANSPARENT = frozenset(
    {"Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "MaxPool", "Relu", "Identity"}
)

#: protobuf refuses messages of 2 GiB; larger models keep their weights beside them.
_INLINE_LIMIT = 2**31 - 2**24


@without_torch()
def quantize(request: QuantizeRequest, job: Job) -> Quantized:
    """Quantise an ONNX model to an ONNX model with Q/DQ pairs.

    Raises:
        ValueError: unknown scheme or node, too low an opset, or NNCF cannot do this model.
    """
    cap_of(request.target)
    check_options(request.options)
    import onnx

    model = onnx.load(job.path(request.model))
    graph = g.of(model)
    if 0 < graph.opset < OPSET_MIN:
        raise ValueError(
            f"NNCF quantises ONNX models of opset {OPSET_MIN} and later, this one has"
            f" {graph.opset}: export it again"
        )
    _name_nodes(model, graph)
    keep = [_own_name(graph, label) for label in request.keep_float]
    samples = Samples(job.path(request.calibration))
    settings, method = _settings(request.scheme, graph, samples, "ANY", keep)
    quantised = _run(model, samples, settings, request.seed, job)
    files = _write(quantised, job.out)
    after = g.of(quantised)
    return Quantized(
        artifact=Artifact(format="onnx", entry=files[0], files=files),
        method=method,
        float_nodes=_float_nodes(graph, after),
    )


@without_torch()
def quantize_model(
    request: Int8Request, job: Job, model: Any, graph: g.Graph, names: Names
) -> tuple[Any, str]:
    """Quantise a model that OpenVINO has read.

    Returns:
        The model and the method.

    Raises:
        ValueError: no calibration data, unknown node or scheme, or NNCF cannot do this model.
    """
    if request.calibration is None:
        raise ValueError("form 'float' needs calibration samples")
    for label in request.keep_float:
        _own_name(graph, label)
    samples = Samples(job.path(request.calibration))
    wanted = set(request.keep_float)
    ignored = [
        o.get_friendly_name()
        for o in model.get_ordered_ops()
        if o.get_type_name() not in ("Constant", "Parameter", "Result")
        and names.label(o.get_friendly_name()) in wanted
    ]
    scheme = str(request.options.get("scheme", ""))
    device = device_of(request.target)
    settings, method = _settings(scheme, graph, samples, device, ignored)
    quantised = _run(model, samples, settings, request.seed, job)
    return quantised, method


def _settings(
    scheme: str, graph: g.Graph, samples: Samples, device: str, ignored: Iterable[str]
) -> tuple[dict[str, Any], str]:
    """Arguments of ``nncf.quantize`` and their description."""
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    scheme = scheme or SCHEMES[0]
    if scheme not in SCHEMES:
        raise ValueError(f"no scheme {scheme!r}; there are {', '.join(SCHEMES)}")
    if not samples.count:
        raise ValueError("the calibration store holds no samples")
    transformer = g.has_attention(graph)
    settings: dict[str, Any] = {
        "subset_size": samples.count,
        "target_device": getattr(nncf.TargetDevice, device),
        "model_type": nncf.ModelType.TRANSFORMER if transformer else None,
        "fast_bias_correction": True,
    }
    method = [f"NNCF {nncf.__version__}", f"{samples.count} samples, one per item"]
    if scheme == "nncf-mixed-histogram":
        settings["preset"] = nncf.QuantizationPreset.MIXED
        settings["advanced_parameters"] = AdvancedQuantizationParameters(
            activations_range_estimator_params=RangeEstimatorParametersSet.HISTOGRAM
        )
        method.append("MIXED preset, HISTOGRAM ranges (minimum and maximum where per channel)")
    else:
        method.append("default preset and ranges")
    if transformer:
        method.append("model_type TRANSFORMER")
    names = list(ignored)
    if names:
        settings["ignored_scope"] = nncf.IgnoredScope(names=names)
        method.append(f"{len(names)} operations kept in float")
    return settings, ", ".join(method)


def _run(model: Any, samples: Samples, settings: dict[str, Any], seed: int, job: Job) -> Any:
    import nncf
    import numpy as np

    random.seed(seed)
    np.random.seed(seed % 2**32)  # NNCF draws from the global generator

    def feeds(i: int) -> dict[str, Any]:
        if i % 16 == 0:
            job.progress(f"calibration sample {i} of {samples.count}")
        return samples.feeds([i])

    dataset = nncf.Dataset(list(range(samples.count)), feeds)
    try:
        return nncf.quantize(model, dataset, **settings)
    except MemoryError:
        raise
    except Exception as error:
        kind = type(error).__name__
        raise ValueError(f"NNCF cannot quantise this model: {kind}: {error}") from error


def _name_nodes(model: Any, graph: g.Graph) -> None:
    """Name what has no name after its label: NNCF names it otherwise, and labels would be lost."""
    labels = {n.index: n.label for n in graph.inside("")}
    for index, node in enumerate(model.graph.node):
        node.name = node.name or labels[index]


def _own_name(graph: g.Graph, label: str) -> str:
    """Name of a node that must stay float.

    Raises:
        ValueError: the model has no such node, or it stands in a nested graph.
    """
    node = graph.by_label.get(label)
    if node is None:
        raise ValueError(f"keep_float names {label!r}, which the model does not have")
    return node.name or node.label


def _write(model: Any, out: Path) -> tuple[str, ...]:
    import onnx

    entry, data = "model.onnx", "model.onnx.data"
    if model.ByteSize() < _INLINE_LIMIT:
        onnx.save(model, out / entry)
        return (entry,)
    onnx.save(model, out / entry, save_as_external_data=True, location=data)
    return entry, data


def _float_nodes(before: g.Graph, after: g.Graph) -> tuple[str, ...]:
    """Weighted nodes of the float model whose data input comes from no DequantizeLinear."""
    makers = {t: n for n in after.nodes for t in n.outputs}
    known = {n.label for n in before.nodes}

    def dequantised(tensor: str) -> bool:
        while (maker := makers.get(tensor)) is not None and maker.op_type in _TRANSPARENT:
            tensor = maker.inputs[0]
        return maker is not None and maker.op_type == "DequantizeLinear"

    return tuple(
        n.label
        for n in after.nodes
        if n.label in known and n.op_type in g.WEIGHTED and not dequantised(n.inputs[0])
    )
