"""Small nets with one layer damaged on purpose, and what was done to which.

Three kinds of net (convolutions with a residual, depthwise-separable blocks, a transformer) with
random weights; three kinds of damage in a seeded place. An outlier channel is planted in the float
model (its readers are divided by the same factor, so the function stays), the other two in the
finished Q/DQ model, in the pair of the layer's output or in its weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from seatrial.calibration.child import ranges
from seatrial.calibration.types import RangesRequest
from seatrial.quantize.child import insert
from seatrial.quantize.types import InsertRequest
from seatrial.results import Ref
from seatrial.samples import StoreWriter
from seatrial.testing.local import LocalJob

node = helper.make_node
#: Samples: the first half calibrates, the second half is diagnosed on.
SAMPLES = 24
OUTLIER, COARSE, CLIP = 60.0, 12.0, 1 / 12


@dataclasses.dataclass
class Net:
    """A float net.

    Attributes:
        heavy: label of each layer that may be damaged -> (weight, tensor it quantises to).
        readers: weight of a layer -> (weight of the next one, its input axis), where a channel
            can be scaled up here and down there without a change of the function.
    """

    model: onnx.ModelProto
    shape: tuple[int, ...]
    heavy: dict[str, tuple[str, str]]
    readers: dict[str, tuple[str, int]]


def _model(nodes, shape, weights, output) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v.astype(np.float32), n) for n, v in weights.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    return onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=opset, ir_version=8)
    )


def _he(rng, *shape) -> np.ndarray:
    return rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))


def conv_net(seed: int) -> Net:
    """Four convolutions, a residual addition, a classifier."""
    rng = np.random.default_rng([seed, 1])
    weights = {
        "w0": _he(rng, 16, 3, 3, 3),
        "w1": _he(rng, 24, 16, 3, 3),
        "w2": _he(rng, 24, 24, 3, 3),
        "w3": _he(rng, 32, 24, 3, 3),
        "wf": _he(rng, 10, 32),
    } | {f"b{k}": 0.1 * rng.normal(size=n) for k, n in enumerate((16, 24, 24, 32))}
    nodes = [
        node("Conv", ["x", "w0", "b0"], ["c0"], "conv0", pads=[1] * 4),
        node("Relu", ["c0"], ["r0"], "relu0"),
        node("Conv", ["r0", "w1", "b1"], ["c1"], "conv1", pads=[1] * 4, strides=[2, 2]),
        node("Relu", ["c1"], ["r1"], "relu1"),
        node("Conv", ["r1", "w2", "b2"], ["c2"], "conv2", pads=[1] * 4),
        node("Add", ["r1", "c2"], ["a2"], "add2"),
        node("Conv", ["a2", "w3", "b3"], ["c3"], "conv3", pads=[1] * 4, strides=[2, 2]),
        node("Relu", ["c3"], ["r3"], "relu3"),
        node("GlobalAveragePool", ["r3"], ["p"], "pool"),
        node("Flatten", ["p"], ["f"], "flatten"),
        node("Gemm", ["f", "wf"], ["y"], "classifier", transB=1),
    ]
    heavy = {"conv0": ("w0", "r0"), "conv1": ("w1", "r1"), "conv2": ("w2", "c2")}
    heavy["conv3"] = ("w3", "r3")
    return Net(_model(nodes, (3, 16, 16), weights, "y"), (3, 16, 16), heavy, {"w0": ("w1", 1)})


def depthwise_net(seed: int) -> Net:
    """A stem and three depthwise-separable blocks."""
    rng = np.random.default_rng([seed, 2])
    weights: dict[str, np.ndarray] = {"w0": _he(rng, 16, 3, 3, 3), "b0": np.zeros(16)}
    nodes = [
        node("Conv", ["x", "w0", "b0"], ["c0"], "stem", pads=[1] * 4),
        node("Relu", ["c0"], ["r0"], "stem_relu"),
    ]
    heavy, readers, before = {"stem": ("w0", "r0")}, {"w0": ("d1", 0)}, "r0"
    for k, (wide, out) in enumerate(((16, 24), (24, 24), (24, 32)), 1):
        weights[f"d{k}"] = _he(rng, wide, 1, 3, 3)
        weights[f"p{k}"] = _he(rng, out, wide, 1, 1)
        nodes += [
            node("Conv", [before, f"d{k}"], [f"cd{k}"], f"dw{k}", pads=[1] * 4, group=wide),
            node("Relu", [f"cd{k}"], [f"rd{k}"], f"dw{k}_relu"),
            node("Conv", [f"rd{k}", f"p{k}"], [f"cp{k}"], f"pw{k}"),
            node("Relu", [f"cp{k}"], [f"rp{k}"], f"pw{k}_relu"),
        ]
        heavy |= {f"dw{k}": (f"d{k}", f"rd{k}"), f"pw{k}": (f"p{k}", f"rp{k}")}
        readers |= {f"d{k}": (f"p{k}", 1)}
        if k < 3:
            readers |= {f"p{k}": (f"d{k + 1}", 0)}
        before = f"rp{k}"
    weights["wf"] = _he(rng, 10, 32)
    nodes += [
        node("GlobalAveragePool", [before], ["p"], "pool"),
        node("Flatten", ["p"], ["f"], "flatten"),
        node("Gemm", ["f", "wf"], ["y"], "classifier", transB=1),
    ]
    return Net(_model(nodes, (3, 16, 16), weights, "y"), (3, 16, 16), heavy, readers)


def transformer(seed: int) -> Net:
    """Two post-norm blocks with one attention head over 12 tokens of 24 features."""
    rng = np.random.default_rng([seed, 3])
    wide, tokens, inner = 24, 12, 48
    weights: dict[str, np.ndarray] = {"axes": np.array([1])}
    nodes, heavy, readers, x = [], {}, {}, "x"
    for k in (1, 2):
        for part in "qkvo":
            weights[f"{part}{k}"] = _he(rng, wide, wide) / np.sqrt(2)
        weights |= {f"u{k}": _he(rng, wide, inner).T.reshape(wide, inner)}
        weights |= {f"n{k}": _he(rng, inner, wide), f"ub{k}": 0.1 * rng.normal(size=inner)}
        weights |= {f"g{k}{i}": 1 + 0.1 * rng.normal(size=wide) for i in "ab"}
        weights |= {f"s{k}{i}": 0.1 * rng.normal(size=wide) for i in "ab"}
        weights[f"scale{k}"] = np.array(1 / np.sqrt(wide))
        nodes += [
            node("MatMul", [x, f"q{k}"], [f"tq{k}"], f"query{k}"),
            node("MatMul", [x, f"k{k}"], [f"tk{k}"], f"key{k}"),
            node("MatMul", [x, f"v{k}"], [f"tv{k}"], f"value{k}"),
            node("Transpose", [f"tk{k}"], [f"tt{k}"], f"swap{k}", perm=[0, 2, 1]),
            node("MatMul", [f"tq{k}", f"tt{k}"], [f"a{k}"], f"scores{k}"),
            node("Mul", [f"a{k}", f"scale{k}"], [f"am{k}"], f"scaled{k}"),
            node("Softmax", [f"am{k}"], [f"as{k}"], f"softmax{k}", axis=-1),
            node("MatMul", [f"as{k}", f"tv{k}"], [f"av{k}"], f"mixed{k}"),
            node("MatMul", [f"av{k}", f"o{k}"], [f"ao{k}"], f"project{k}"),
            node("Add", [x, f"ao{k}"], [f"r{k}"], f"residual{k}a"),
            node("LayerNormalization", [f"r{k}", f"g{k}a", f"s{k}a"], [f"l{k}"], f"norm{k}a"),
            node("MatMul", [f"l{k}", f"u{k}"], [f"h{k}"], f"up{k}"),
            node("Add", [f"h{k}", f"ub{k}"], [f"hb{k}"], f"up_bias{k}"),
            node("Relu", [f"hb{k}"], [f"hr{k}"], f"up_relu{k}"),
            node("MatMul", [f"hr{k}", f"n{k}"], [f"d{k}"], f"down{k}"),
            node("Add", [f"l{k}", f"d{k}"], [f"e{k}"], f"residual{k}b"),
            node("LayerNormalization", [f"e{k}", f"g{k}b", f"s{k}b"], [f"z{k}"], f"norm{k}b"),
        ]
        heavy |= {
            f"query{k}": (f"q{k}", f"tq{k}"),
            f"value{k}": (f"v{k}", f"tv{k}"),
            f"up{k}": (f"u{k}", f"hr{k}"),
            f"softmax{k}": ("", f"as{k}"),
            f"norm{k}a": ("", f"l{k}"),
        }
        readers |= {f"v{k}": (f"o{k}", 0), f"u{k}": (f"n{k}", 0)}
        x = f"z{k}"
    weights["wf"] = _he(rng, 10, wide)
    nodes += [
        node("ReduceMean", [x], ["p"], "pool", axes=[1], keepdims=0),
        node("Gemm", ["p", "wf"], ["y"], "classifier", transB=1),
    ]
    del weights["axes"]
    return Net(_model(nodes, (tokens, wide), weights, "y"), (tokens, wide), heavy, readers)


NETS: dict[str, Callable[[int], Net]] = {
    "conv": conv_net,
    "depthwise": depthwise_net,
    "transformer": transformer,
}
DAMAGES = ("outlier channel", "wrong scale", "clipped range")
#: Codes that name each damage.
NAMED = {
    "outlier channel": {"outlier-channel"},
    "wrong scale": {"wrong-scale"},
    "clipped range": {"clipped"},
}


@dataclasses.dataclass
class Plant:
    """A damaged model, ready to be diagnosed."""

    label: str
    damage: str
    where: str
    job: LocalJob
    model: Ref
    candidate: Ref
    samples: Ref
    table: Ref


def plant(root: Path, net: str, damage: str, seed: int, *, harmless: bool = False) -> Plant:
    """Make a net, quantise it, damage one layer (or none, if it is to be harmless)."""
    kind = sorted(NETS).index(net), DAMAGES.index(damage)
    rng = np.random.default_rng([seed, *kind, 7])
    made = NETS[net](seed)
    movable = [k for k, (w, _) in made.heavy.items() if w in made.readers]
    places = movable if damage == "outlier channel" else list(made.heavy)
    label = str(rng.choice(sorted(places)))
    if damage == "outlier channel":
        _outlier(made, label, rng)
    job = LocalJob(root / "job")
    path = root / "model.onnx"
    onnx.save(made.model, path)
    model, samples = job.add(path), job.add(_store(root / "store", made.shape, seed))
    request = RangesRequest(model=model, samples=samples, indices=tuple(range(SAMPLES // 2)))
    table = job.adopt(ranges(request, job).artifact)
    result = insert(InsertRequest(model=model, ranges=table), job)
    assert result.artifact is not None
    candidate = job.adopt(result.artifact)
    where = "float model"
    if damage != "outlier channel" and not harmless:
        where = _damage(job.path(candidate), made, label, damage, rng)
    return Plant(label, damage, where, job, model, candidate, samples, table)


def _store(root: Path, shape: tuple[int, ...], seed: int) -> Path:
    rng = np.random.default_rng([seed, 4])
    root.mkdir(parents=True)
    writer = StoreWriter(root, SAMPLES)
    for _ in range(SAMPLES):
        writer.add({"x": rng.normal(size=shape).astype(np.float32)})
    writer.close([{"id": f"s{k}", "sha256": ""} for k in range(SAMPLES)])
    return root


def _constants(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {t.name: t for t in model.graph.initializer}


def _set(tensor: onnx.TensorProto, value: np.ndarray) -> None:
    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))


def _outlier(made: Net, label: str, rng: np.random.Generator) -> None:
    """One output channel times OUTLIER, what reads it divided by as much."""
    weight = made.heavy[label][0]
    known = _constants(made.model)
    here = numpy_helper.to_array(known[weight]).copy()
    matrix = here.ndim == 2
    axis = 1 if matrix else 0
    channel = int(rng.integers(here.shape[axis]))
    np.moveaxis(here, axis, 0)[channel] *= OUTLIER
    _set(known[weight], here)
    bias = {"w": "b", "u": "ub"}.get(weight[0], "") + weight[1:]
    if bias in known:
        value = numpy_helper.to_array(known[bias]).copy()
        value[channel] *= OUTLIER
        _set(known[bias], value)
    name, slot = made.readers[weight]
    there = numpy_helper.to_array(known[name]).copy()
    np.moveaxis(there, slot, 0)[channel] /= OUTLIER
    _set(known[name], there)


def _damage(path: Path, made: Net, label: str, damage: str, rng: np.random.Generator) -> str:
    """Change the scale of a layer's output pair, or of its weights."""
    model = onnx.load(path)
    weight, tensor = made.heavy[label]
    factor = COARSE if damage == "wrong scale" else CLIP
    known = _constants(model)
    if weight and rng.random() < 0.4:
        if damage == "wrong scale":  # the integers stay: the weights come out larger
            _set(known[f"{weight}_scale"], numpy_helper.to_array(known[f"{weight}_scale"]) * 3)
        else:
            scale = numpy_helper.to_array(known[f"{weight}_scale"]) * np.float32(0.25)
            integers = numpy_helper.to_array(known[f"{weight}_quantized"]).astype(int) * 4
            _set(known[f"{weight}_scale"], scale)
            _set(known[f"{weight}_quantized"], np.clip(integers, -128, 127).astype(np.int8))
        onnx.save(model, path)
        return "weights"
    (pair,) = [n for n in model.graph.node if n.op_type == "QuantizeLinear" and _is(n, tensor)]
    scale = known[pair.input[1]]
    _set(scale, (numpy_helper.to_array(scale) * np.float32(factor)).astype(np.float32))
    onnx.save(model, path)
    return "activation"


def _is(pair: onnx.NodeProto, tensor: str) -> bool:
    return pair.input[0] in (tensor, f"{tensor}_float")
