"""Small models and samples for the tests of the Hailo backend."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from seatrial.samples import StoreWriter


def save(path, nodes, weights, inputs=None, outputs=None, opset=17):
    graph = helper.make_graph(
        nodes,
        "g",
        inputs or [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 12, 8])],
        outputs or [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.save(model, path)
    return path


def weight(name, *shape):
    seed = sum(map(ord, name))
    values = np.random.default_rng(seed).normal(0, 0.3, shape).astype(np.float32)
    return numpy_helper.from_array(values, name)


def cnn(path, *, tail=(), outputs=None):
    """Conv, Relu, mean, Flatten, Gemm on 3 x 12 x 8, so that a swapped axis shows."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c"], name="first", pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"], name="act"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], name="mean"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "w2"], ["y"], name="head"),
        *tail,
    ]
    return save(path, nodes, [weight("w1", 8, 3, 3, 3), weight("w2", 8, 5)], outputs=outputs)


def detector(path):
    """Two maps of rank 4, so that layouts and the order of outputs show."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c"], name="body", pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"], name="act"),
        helper.make_node("Conv", ["r", "w2"], ["boxes"], name="boxes"),
        helper.make_node("Conv", ["r", "w3"], ["scores"], name="scores"),
    ]
    outputs = [
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 4, 12, 8]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 7, 12, 8]),
    ]
    made = [weight("w1", 6, 3, 3, 3), weight("w2", 4, 6, 1, 1), weight("w3", 7, 6, 1, 1)]
    return save(path, nodes, made, outputs=outputs)


def with_topk(path):
    """The CNN with a node behind it that the parser refuses."""
    outputs = [
        helper.make_tensor_value_info("v", TensorProto.FLOAT, [1, 2]),
        helper.make_tensor_value_info("i", TensorProto.INT64, [1, 2]),
    ]
    tail = [helper.make_node("TopK", ["y", "k"], ["v", "i"], name="best")]
    cnn(path, tail=tail, outputs=outputs)
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.array([2]), "k"))
    onnx.save(model, path)
    return path


def samples(root, count=12, seed=0):
    """A store of inputs ``x``."""
    draw = np.random.default_rng(seed)
    root.mkdir(parents=True)
    writer = StoreWriter(root, count)
    for _ in range(count):
        writer.add({"x": draw.normal(0, 1, (3, 12, 8)).astype(np.float32)})
    writer.close([{"id": str(i), "sha256": ""} for i in range(count)], kind="samples")
    return root
