"""Small ONNX nets that really classify `blind_pictures`, made in about a second without training.

The author of this module had not seen the checks that are tried on it: the nets are plain pieces
of the usual architectures, not of anything that a check looks for.

Weights are seeded; every weighted layer is scaled on sample pictures to outputs of unit variance
(what a folded batch norm gives), and the head is ridge regression on the pooled features (closed
form). The result behaves as a small trained net does: activations of sane range, real margins.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from blind_pictures import CLASSES, LIGHTS, scene
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Floats = NDArray[np.float32]
INPUT = "image"
OUTPUT = "logits"
SIZE = (48, 48)
NETS = ("convnet", "inverted", "transformer")
OPSET = 20
IR_VERSION = 10


@dataclass
class Net:
    """A graph under construction.

    Attributes:
        nodes: ONNX nodes in order; the node called `x` writes the tensor `x_out`.
        weights: Initialisers by name.
        layers: Names of weighted nodes (Conv, MatMul, Gemm) whose scale is set from samples.
        classes: Number of outputs.
        features: Tensor that the head reads, N x D.
    """

    classes: int
    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, NDArray[Any]] = field(default_factory=dict)
    layers: list[str] = field(default_factory=list)
    features: str = ""

    def add(self, op: str, name: str, inputs: Sequence[str], **attributes: object) -> str:
        """Append a node and return its output tensor."""
        self.nodes.append(helper.make_node(op, list(inputs), [f"{name}_out"], name, **attributes))
        return f"{name}_out"

    def const(self, name: str, value: NDArray[Any]) -> str:
        """Add an initialiser and return its name."""
        self.weights[name] = value
        return name

    def conv(
        self, x: str, name: str, cin: int, cout: int, k: int = 3, stride: int = 1, group: int = 1
    ) -> str:
        """A convolution with bias and same padding (k odd) or none (k even: patches)."""
        fan = cin // group * k * k
        w = self.rng.normal(0, np.sqrt(2 / fan), (cout, cin // group, k, k)).astype(np.float32)
        b = self.rng.normal(0, 0.1, cout).astype(np.float32)
        pad = k // 2 if k % 2 else 0
        self.layers.append(name)
        return self.add(
            "Conv",
            name,
            [x, self.const(f"{name}.weight", w), self.const(f"{name}.bias", b)],
            kernel_shape=[k, k],
            strides=[stride, stride],
            pads=[pad] * 4,
            group=group,
        )

    def linear(self, x: str, name: str, cin: int, cout: int) -> str:
        """MatMul (weight cin x cout) and Add of a bias."""
        w = self.rng.normal(0, np.sqrt(1 / cin), (cin, cout)).astype(np.float32)
        b = self.rng.normal(0, 0.1, cout).astype(np.float32)
        self.layers.append(name)
        y = self.add("MatMul", name, [x, self.const(f"{name}.weight", w)])
        return self.add("Add", f"{name}_add", [y, self.const(f"{name}.bias", b)])

    def norm(self, x: str, name: str, dim: int) -> str:
        """LayerNormalization over the last axis."""
        gain = self.rng.uniform(0.8, 1.2, dim).astype(np.float32)
        shift = self.rng.normal(0, 0.1, dim).astype(np.float32)
        inputs = [x, self.const(f"{name}.weight", gain), self.const(f"{name}.bias", shift)]
        return self.add("LayerNormalization", name, inputs, axis=-1, epsilon=1e-5)

    def model(self, outputs: Sequence[str] = (OUTPUT,), size: tuple[int, int] = SIZE) -> bytes:
        """Serialise; dynamic batch, output shapes left to inference."""
        graph = helper.make_graph(
            self.nodes,
            "blind",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", 3, *size])],
            [helper.make_empty_tensor_value_info(name) for name in outputs],
            [numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        if outputs == (OUTPUT,):
            shape = ["batch", self.classes]
            graph.ClearField("output")
            graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, shape))
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        made.ir_version = IR_VERSION
        if outputs == (OUTPUT,):
            onnx.checker.check_model(made, full_check=True)
        data: bytes = made.SerializeToString()
        return data


def run(model: bytes, feeds: Mapping[str, NDArray[Any]], *, literal: bool = False) -> Floats:
    """First output of a model on CPU, one thread; `literal` turns graph optimisation off."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if literal:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    out: Floats = np.asarray(session.run(None, dict(feeds))[0])
    return out


def build(kind: str, seed: int, samples: Floats, labels: Sequence[int], classes: int) -> Net:
    """A net of `NETS`, scaled on and fitted to samples (float32 N x 3 x 48 x 48, RGB / 255)."""
    rng = np.random.default_rng([seed, NETS.index(kind)])
    net = Net(classes, rng)
    body = {"convnet": _convnet, "inverted": _inverted, "transformer": _transformer}[kind]
    body(net)
    spread = np.random.default_rng(seed).permutation(len(samples))[:64]
    _scale(net, samples[spread])
    mirrored = np.ascontiguousarray(np.concatenate([samples, samples[..., ::-1]]))
    _head(net, mirrored, np.tile(np.asarray(labels), 2))
    return net


def _convnet(net: Net) -> None:
    """Plain convolutions with one residual block and one concatenation, as in small ResNets."""
    x = net.add("Relu", "relu1", [net.conv(INPUT, "conv1", 3, 24, stride=2)])
    x = net.add("Relu", "relu2", [net.conv(x, "conv2", 24, 32, stride=2)])
    y = net.add("Relu", "relu3", [net.conv(x, "conv3", 32, 32)])
    y = net.conv(y, "conv4", 32, 32)
    x = net.add("Relu", "relu4", [net.add("Add", "join", [x, y])])
    wide = net.add("Relu", "relu5", [net.conv(x, "conv5", 32, 48)])
    thin = net.add("Relu", "relu6", [net.conv(x, "conv6", 32, 48, k=1)])
    x = net.add("Concat", "concat", [wide, thin], axis=1)
    x = net.add("Relu", "relu7", [net.conv(x, "conv7", 96, 96, stride=2)])
    x = net.add("Relu", "relu8", [net.conv(x, "conv8", 96, 384, k=1)])
    x = net.add("GlobalAveragePool", "pool", [x])
    net.features = net.add("Flatten", "flatten", [x])


def _inverted(net: Net) -> None:
    """Inverted residuals: expand, depthwise, linear projection, as in MobileNetV2."""
    x = net.add("Relu", "stem_relu", [net.conv(INPUT, "stem", 3, 24, stride=2)])
    cin = 24
    for i, (cout, stride) in enumerate(((32, 2), (32, 1), (48, 2), (48, 1))):
        wide = cin * 3
        y = net.add("Relu", f"b{i}_relu1", [net.conv(x, f"b{i}_expand", cin, wide, k=1)])
        y = net.conv(y, f"b{i}_dw", wide, wide, stride=stride, group=wide)
        y = net.add("Relu", f"b{i}_relu2", [y])
        y = net.conv(y, f"b{i}_project", wide, cout, k=1)
        x = net.add("Add", f"b{i}_join", [x, y]) if stride == 1 and cin == cout else y
        cin = cout
    x = net.add("Relu", "last_relu", [net.conv(x, "last", cin, 384, k=1)])
    x = net.add("GlobalAveragePool", "pool", [x])
    net.features = net.add("Flatten", "flatten", [x])


def _transformer(net: Net, dim: int = 64, heads: int = 4, depth: int = 2) -> None:
    """Pre-norm vision transformer on 8 x 8 patches, features averaged over tokens."""
    patches = net.conv(INPUT, "patch", 3, dim, k=8, stride=8)
    tokens = (SIZE[0] // 8) * (SIZE[1] // 8)
    flat = net.const("flat_shape", np.asarray([0, dim, tokens], np.int64))
    x = net.add(
        "Transpose", "tokens", [net.add("Reshape", "flat", [patches, flat])], perm=[0, 2, 1]
    )
    place = net.rng.normal(0, 0.3, (1, tokens, dim)).astype(np.float32)
    x = net.add("Add", "embed", [x, net.const("position", place)])
    for i in range(depth):
        h = net.norm(x, f"l{i}_norm1", dim)
        x = net.add("Add", f"l{i}_join1", [x, _attention(net, h, f"l{i}", dim, heads, tokens)])
        h = net.linear(net.norm(x, f"l{i}_norm2", dim), f"l{i}_fc1", dim, dim * 3)
        h = net.linear(net.add("Gelu", f"l{i}_gelu", [h]), f"l{i}_fc2", dim * 3, dim)
        x = net.add("Add", f"l{i}_join2", [x, h])
    x = net.linear(net.norm(x, "norm", dim), "neck", dim, 384)
    x = net.add("Gelu", "neck_gelu", [x])
    axes = net.const("token_axis", np.asarray([1], np.int64))
    net.features = net.add("ReduceMean", "pool", [x, axes], keepdims=0)


def _attention(net: Net, x: str, name: str, dim: int, heads: int, tokens: int) -> str:
    """Multi-head self-attention; q, k and v are separate projections."""
    split = net.const(f"{name}_split", np.asarray([0, tokens, heads, dim // heads], np.int64))
    parts = {}
    for part, perm in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        y = net.linear(x, f"{name}_{part}", dim, dim)
        y = net.add("Reshape", f"{name}_{part}_split", [y, split])
        parts[part] = net.add("Transpose", f"{name}_{part}_heads", [y], perm=perm)
    root = net.const(f"{name}_root", np.asarray((dim / heads) ** 0.5, np.float32))
    score = net.add("MatMul", f"{name}_score", [parts["q"], parts["k"]])
    score = net.add("Div", f"{name}_scaled", [score, root])
    weight = net.add("Softmax", f"{name}_softmax", [score], axis=-1)
    mixed = net.add("MatMul", f"{name}_mix", [weight, parts["v"]])
    mixed = net.add("Transpose", f"{name}_merge", [mixed], perm=[0, 2, 1, 3])
    whole = net.const(f"{name}_whole", np.asarray([0, tokens, dim], np.int64))
    mixed = net.add("Reshape", f"{name}_flat", [mixed, whole])
    return net.linear(mixed, f"{name}_proj", dim, dim)


def _scale(net: Net, samples: Floats) -> None:
    """Give each weighted layer unit output variance and a random mean, channel by channel."""
    for name in net.layers:
        node = next(n for n in net.nodes if n.name == name)
        conv = node.op_type == "Conv"
        tensor = f"{name}_out" if conv else f"{name}_add_out"
        y = run(net.model((tensor,)), {INPUT: samples})
        axes = (0, 2, 3) if conv else tuple(range(y.ndim - 1))
        mean, std = y.mean(axes), y.std(axes) + 1e-3
        shape = (-1, 1, 1, 1) if conv else (1, -1)
        gain = net.rng.uniform(0.7, 1.4, std.shape).astype(np.float32) / std
        weight, bias = net.weights[f"{name}.weight"], net.weights[f"{name}.bias"]
        shift = net.rng.normal(0, 0.4, std.shape).astype(np.float32)
        net.weights[f"{name}.weight"] = (weight * gain.reshape(shape)).astype(np.float32)
        net.weights[f"{name}.bias"] = ((bias - mean) * gain + shift).astype(np.float32)


def _head(net: Net, samples: Floats, labels: NDArray[np.int64]) -> None:
    """Ridge regression from pooled features to one-hot targets, as a Gemm."""
    features = run(net.model((net.features,)), {INPUT: samples}).astype(np.float64)
    centre, spread = features.mean(0), features.std(0) + 1e-6
    z = (features - centre) / spread
    target = np.eye(net.classes)[labels] - 1 / net.classes
    ridge = 0.05 * len(z)
    w = np.linalg.solve(z.T @ z + ridge * np.eye(z.shape[1]), z.T @ target) * 10 / spread[:, None]
    b = -centre @ w + 10 * target.mean(0)
    net.const("head.weight", w.astype(np.float32))
    net.const("head.bias", b.astype(np.float32))
    inputs = [net.features, "head.weight", "head.bias"]
    net.nodes.append(helper.make_node("Gemm", inputs, [OUTPUT], "head"))


@functools.cache
def drawn(seed: int, count: int) -> tuple[Floats, tuple[int, ...]]:
    """Pictures of all classes and lights as the nets take them: N x 3 x 48 x 48, and labels."""
    rng = np.random.default_rng(seed)
    labels = tuple(i % len(CLASSES) for i in range(count))
    frames = [scene(rng, label, LIGHTS[i // 6 % 4], SIZE) for i, label in enumerate(labels)]
    x = np.stack(frames).astype(np.float32).transpose(0, 3, 1, 2) / np.float32(255)
    return np.ascontiguousarray(x), labels
