"""Tiny nets that quantisation hurts on purpose, in torch and as ONNX files."""

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

#: One channel of the stream is this many times as large as the others.
OUTLIER = 64.0


def net():
    """Conv, batch norm, ReLU, depthwise conv, batch norm, sum, pool, classes; channel 0 sticks out.

    The outlier is undone where the channel is read, so the float function does not have it.
    """
    torch.manual_seed(5)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(8)
            self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
            self.norm2 = nn.BatchNorm2d(8)
            self.head = nn.Linear(8, 4)

        def forward(self, image):
            x = torch.relu(self.norm(self.stem(image)))
            x = x + self.norm2(self.deep(x))
            return self.head(x.mean((2, 3)))

    made = Net()
    with torch.no_grad():
        for norm in (made.norm, made.norm2):
            norm.running_mean.uniform_(-0.2, 0.2)
            norm.running_var.uniform_(0.5, 1.5)
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.2, 0.2)
        made.norm.weight[0] *= OUTLIER
        made.norm.bias[0] *= OUTLIER
        made.norm2.weight[0] *= OUTLIER
        made.norm2.bias[0] *= OUTLIER
        # norm2 reads the scaled channel: its own statistics take the factor out again.
        made.norm2.running_mean[0] *= OUTLIER
        made.norm2.running_var[0] *= OUTLIER**2
        made.head.weight[:, 0] /= OUTLIER
        made.head.weight *= 3
    return made.eval()


def write(path, *, batch="batch"):
    """The net as an ONNX file with BatchNormalization nodes in it."""
    made = net()
    state = {k: v.numpy() for k, v in made.state_dict().items() if v.ndim}
    constants = [numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in state.items()]

    def norm(name, source, target):
        parts = [f"{name}.{p}" for p in ("weight", "bias", "running_mean", "running_var")]
        return helper.make_node("BatchNormalization", [source, *parts], [target], name=name)

    nodes = [
        helper.make_node("Conv", ["image", "stem.weight"], ["a"], name="stem", pads=[1] * 4),
        norm("norm", "a", "b"),
        helper.make_node("Relu", ["b"], ["c"], name="relu"),
        helper.make_node("Conv", ["c", "deep.weight"], ["d"], name="deep", pads=[1] * 4, group=8),
        norm("norm2", "d", "e"),
        helper.make_node("Add", ["c", "e"], ["f"], name="sum"),
        helper.make_node("GlobalAveragePool", ["f"], ["g"], name="pool"),
        helper.make_node("Flatten", ["g"], ["h"], name="flatten"),
        helper.make_node(
            "Gemm", ["h", "head.weight", "head.bias"], ["logits"], name="head", transB=1
        ),
    ]
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, 8, 8])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 4])]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path
