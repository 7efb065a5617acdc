"""Camera frames: the model with a uint8 NHWC input, its normalisation folded into the graph.

Runs in a child. For every element of a frame ``f`` the model used to be fed

    x = ((f - zero_point) * scale - mean) / std  =  f * a + b

so ``Transpose`` (bytes, where the model wants NCHW), ``Cast``, ``Mul`` and ``Add`` behind a uint8
input give the same; each runtime folds of it what it can.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seatrial.codec import record
from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.results import Artifact, Ref
from seatrial.samples import Samples, StoreWriter

#: Repetitions of the host's own conversion; the median counts.
HOST_RUNS = 15
#: A fed value this far from a whole pixel was not made from 8-bit pictures by this formula.
WHOLE = 0.02


@record
class FramesRequest:
    """Ask for the camera form of a model, and for frames that go with it.

    Attributes:
        input: the image input; every other one stays.
        layout: its layout in the model, ``NCHW`` or ``NHWC``.
        shape: its static shape.
        scale: see the formula, as are ``zero_point``, ``mean`` and ``std`` (one number, or one
            per channel).
        samples: what the model is fed now.
        count: how many frames.
    """

    model: Ref
    input: str
    layout: str
    shape: tuple[int, ...]
    samples: Ref
    count: int
    zero_point: float = 0.0
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


@record
class Frames:
    """What came of it.

    Attributes:
        model: with the uint8 input.
        frames: a store of frames (and of the other inputs).
        fed: the same pictures as the original model is fed them.
        off: largest distance of a sample's value from the nearest pixel; above :data:`WHOLE` the
            frames are the samples rounded to 8 bits, not the pictures that they came from.
        host_ms: milliseconds that this process took to make one feed in each layout from a frame.
    """

    model: Artifact
    frames: Artifact
    fed: Artifact
    off: float
    nchw_ms: float
    nhwc_ms: float


def make(request: FramesRequest, job: Job) -> Frames:
    """Write the model and both stores.

    Raises:
        UserError: the input is not in the model, or its shape is no picture's.
    """
    a, b = coefficients(request)
    model = _model(request, job, a, b)
    samples = Samples(job.path(request.samples))
    for name in ("frames", "fed"):
        (job.out / name).mkdir()
    frames = StoreWriter(job.out / "frames", request.count)
    fed = StoreWriter(job.out / "fed", request.count)
    off = 0.0
    first: Any = None
    for i in range(request.count):
        one = {name: samples.one(name, i % samples.count) for name in samples.names}
        frame, distance = to_frame(one[request.input], request.layout, a, b)
        off = max(off, distance)
        first = frame if first is None else first
        frames.add({**one, request.input: frame})
        fed.add({**one, request.input: to_feed(frame, request.layout, a, b)})
    rows = [{"id": f"frame-{i}", "sha256": ""} for i in range(request.count)]
    return Frames(
        model=model,
        frames=_store("frames", frames.close(rows)),
        fed=_store("fed", fed.close(rows)),
        off=off,
        nchw_ms=_milliseconds(first, "NCHW", a, b),
        nhwc_ms=_milliseconds(first, "NHWC", a, b),
    )


def coefficients(request: FramesRequest) -> tuple[Any, Any]:
    """``a`` and ``b`` of the formula as float64, one per channel (or one)."""
    import numpy as np

    mean, std = np.asarray(request.mean, np.float64), np.asarray(request.std, np.float64)
    a = request.scale / std
    return a, -(request.zero_point * request.scale + mean) / std


def to_frame(value: Any, layout: str, a: Any, b: Any) -> tuple[Any, float]:
    """The frame (H, W, C; uint8) that a fed picture came from, and its distance from pixels."""
    import numpy as np

    picture = np.asarray(value, np.float64)
    # Contiguous, as a camera gives it: what the host takes for a feed depends on it.
    picture = np.ascontiguousarray(picture.transpose(1, 2, 0) if layout == "NCHW" else picture)
    pixels = (picture - b) / a
    whole = np.clip(np.rint(pixels), 0, 255)
    return whole.astype(np.uint8), float(np.abs(pixels - whole).max(initial=0.0))


def to_feed(frame: Any, layout: str, a: Any, b: Any) -> Any:
    """What the original model is fed of a frame: float32 in its layout, C-contiguous."""
    import numpy as np

    value = frame.astype(np.float32) * np.asarray(a, np.float32) + np.asarray(b, np.float32)
    value = value.transpose(2, 0, 1) if layout == "NCHW" else value
    return np.ascontiguousarray(value)


def _milliseconds(frame: Any, layout: str, a: Any, b: Any) -> float:
    took = []
    for _ in range(HOST_RUNS):
        begun = time.perf_counter_ns()
        to_feed(frame, layout, a, b)
        took.append((time.perf_counter_ns() - begun) / 1e6)
    return statistics.median(took)


def _store(folder: str, files: Sequence[str]) -> Artifact:
    names = tuple(f"{folder}/{name}" for name in files)
    return Artifact(format="samples", entry="", files=names)


def _model(request: FramesRequest, job: Job, a: Any, b: Any) -> Artifact:
    import onnx

    path = job.path(request.model)
    model = onnx.load(path, load_external_data=False)
    graph = model.graph
    value = next((v for v in graph.input if v.name == request.input), None)
    if value is None or len(request.shape) != 4:
        raise UserError("inputs", "no image input of this name", place=request.input)
    _prepend(graph, request, a, b)
    batch, *rest = request.shape
    height, width, channels = rest if request.layout == "NHWC" else (*rest[1:], rest[0])
    free = value.type.tensor_type.shape.dim[0]
    first: Any = free.dim_param if free.HasField("dim_param") else batch
    wanted = onnx.helper.make_tensor_value_info(
        request.input, onnx.TensorProto.UINT8, [first, height, width, channels]
    )
    value.CopyFrom(wanted)
    # Shapes of inner tensors stay true; the opset of Cast and Mul is the model's own.
    return write(model, path, job.out)


def _prepend(graph: Any, request: FramesRequest, a: Any, b: Any) -> None:
    """Put the conversion behind the input; its readers read the result."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    inner = f"{request.input}_normalised"
    for node in graph.node:
        for k, name in enumerate(node.input):
            if name == request.input:
                node.input[k] = inner
    for value in graph.output:
        if value.name == request.input:
            raise UserError("inputs", "the model gives this input out again", place=request.input)
    last, nodes = request.input, []
    if request.layout == "NCHW":
        nodes.append(helper.make_node("Transpose", [last], ["frame_nchw"], perm=[0, 3, 1, 2]))
        last = "frame_nchw"
    shape = (1, -1, 1, 1) if request.layout == "NCHW" else (1, 1, 1, -1)
    nodes.append(helper.make_node("Cast", [last], ["frame_float"], to=TensorProto.FLOAT))
    for op_type, text, constant, source, target in (
        ("Mul", "frame_scale", a, "frame_float", "frame_scaled"),
        ("Add", "frame_shift", b, "frame_scaled", inner),
    ):
        stored = np.asarray(constant, np.float32).reshape(shape)
        graph.initializer.append(numpy_helper.from_array(stored, text))
        nodes.append(helper.make_node(op_type, [source, text], [target]))
    for k, node in enumerate(nodes):
        node.name = f"frame_{node.op_type.lower()}"
        graph.node.insert(k, node)


def write(model: Any, source: Path, out: Path) -> Artifact:
    """Write a changed model, with the external files that the original refers to beside it."""
    import shutil

    import onnx

    files = ["model.onnx"]
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location" and entry.value not in files:
                (out / entry.value).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source.parent / entry.value, out / entry.value)
                files.append(entry.value)
    onnx.save(model, out / "model.onnx")
    return Artifact(format="onnx", entry="model.onnx", files=tuple(files))
