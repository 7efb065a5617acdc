"""What the tests of this folder share: compiled stand-ins, and small models."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from seatrial.results import CheckRequest
from seatrial.samples import StoreWriter
from seatrial.testing import LocalJob

HERE = Path(__file__).parent


def compiled(folder, source, name, *flags):
    """A shared library; the tests that need it are skipped, by name, where there is no compiler."""
    gcc = shutil.which("gcc") or shutil.which("cc")
    if gcc is None:
        pytest.skip("no C compiler: stand-in libraries cannot be built, this part is NOT tested")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    command = [gcc, "-shared", "-fPIC", "-w", *flags, "-o", str(path), str(source)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return path


class Zoo:
    """Makes small models in one folder, and asks hooks about them."""

    def __init__(self, root):
        self.root = root
        self.rng = np.random.default_rng(7)
        self.job = LocalJob(root / "job")

    def value(self, name, shape, kind=TensorProto.FLOAT):
        return helper.make_tensor_value_info(name, kind, shape)

    def weight(self, name, *shape, scale=0.2):
        return numpy_helper.from_array(self.rng.normal(0, scale, shape).astype(np.float32), name)

    def constant(self, name, value):
        return numpy_helper.from_array(np.array(value), name)

    def save(self, nodes, inputs, outputs, weights=(), *, name="model", opset=17, **more):
        graph = helper.make_graph(nodes, "g", inputs, outputs, list(weights))
        domains, functions = more.get("domains", ()), more.get("functions", ())
        imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
        model = helper.make_model(
            graph, opset_imports=imports, ir_version=9, functions=list(functions)
        )
        path = self.root / f"{name}.onnx"
        onnx.save(model, path)
        return path

    def one(self, op, inputs, *, shape=(1, 3, 8, 8), out=None, weights=(), kind=None, **keywords):
        """A model of one node ``n`` with output ``y``; ``x`` is its input where it is named."""
        kind = kind or TensorProto.FLOAT
        domain = keywords.pop("domain", "")
        options = {k: keywords.pop(k) for k in ("opset", "functions") if k in keywords}
        node = helper.make_node(op, inputs, ["y"], name="n", domain=domain, **keywords)
        fed = [self.value("x", list(shape), kind)] if "x" in inputs else []
        domains = (domain,) if domain else ()
        y = self.value("y", out, keywords.get("to", kind))
        return self.save([node], fed, [y], weights, domains=domains, **options)

    def cnn(self, *, batch=1, name="cnn", nameless=False):
        """Conv, Relu, depthwise Conv, Add, mean, Gemm on 3 x 16 x 16."""
        names = [""] * 7 if nameless else ["first", "act", "depth", "sum", "mean", "flat", "head"]
        nodes = [
            helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name=names[0], pads=[1] * 4),
            helper.make_node("Relu", ["c1"], ["r1"], name=names[1]),
            helper.make_node("Conv", ["r1", "w2"], ["c2"], name=names[2], pads=[1] * 4, group=8),
            helper.make_node("Add", ["c2", "r1"], ["s"], name=names[3]),
            helper.make_node("GlobalAveragePool", ["s"], ["p"], name=names[4]),
            helper.make_node("Flatten", ["p"], ["f"], name=names[5]),
            helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], name=names[6], transB=1),
        ]
        weights = [
            self.weight("w1", 8, 3, 3, 3),
            self.weight("b1", 8),
            self.weight("w2", 8, 1, 3, 3),
            self.weight("w3", 10, 8),
            self.weight("b3", 10),
        ]
        x, y = self.value("x", [batch, 3, 16, 16]), self.value("y", [batch, 10])
        return self.save(nodes, [x], [y], weights, name=name)

    def qdq(self, *, zero=0, kind=np.int8, bias=False, axis=0, name="qdq"):
        """A Conv with pairs on input and weight, and a Gemm that stays float."""
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s0", "z0"], ["xq"], name="q"),
            helper.make_node("DequantizeLinear", ["xq", "s0", "z0"], ["xd"], name="dq"),
            helper.make_node(
                "DequantizeLinear", ["wq", "ws", "wz"], ["wd"], name="w_dq", axis=axis
            ),
            helper.make_node("Conv", ["xd", "wd", "b"], ["c"], name="conv", pads=[1] * 4),
            helper.make_node("Relu", ["c"], ["r"], name="act"),
            helper.make_node("GlobalAveragePool", ["r"], ["p"], name="mean"),
            helper.make_node("Flatten", ["p"], ["f"], name="flat"),
            helper.make_node("Gemm", ["f", "w3"], ["y"], name="head", transB=1),
        ]
        weights = [
            self.constant("s0", np.float32(0.02)),
            self.constant("z0", kind(zero)),
            self.constant("wq", self.rng.integers(-127, 128, (8, 3, 3, 3), np.int8)),
            self.constant("ws", np.full((8, 3, 3, 3)[axis], 0.003, np.float32)),
            self.constant("wz", np.zeros((8, 3, 3, 3)[axis], np.int8)),
            self.weight("w3", 10, 8),
        ]
        if bias:
            nodes.insert(
                3, helper.make_node("DequantizeLinear", ["bq", "bs"], ["b"], name="b_dq", axis=0)
            )
            weights += [
                self.constant("bq", np.zeros(8, np.int32)),
                self.constant("bs", np.full(8, 6e-5, np.float32)),
            ]
        else:
            weights.append(self.weight("b", 8))
        x, y = self.value("x", [1, 3, 16, 16]), self.value("y", [1, 10])
        return self.save(nodes, [x], [y], weights, name=name)

    def check(self, path, **keywords):
        """A check request for a model, known to the job."""
        target = keywords.pop("target", "gpu")
        return CheckRequest(model=self.job.add(path), target=target, **keywords)

    def images(self, count=1, size=16):
        return self.rng.normal(0, 1, (count, 3, size, size)).astype(np.float32)

    def store(self, tensors):
        """A sample store: input name -> array whose first axis counts samples."""
        count = len(next(iter(tensors.values())))
        root = self.root / f"store{len(list(self.root.iterdir()))}"
        root.mkdir()
        writer = StoreWriter(root, count)
        for i in range(count):
            writer.add({name: array[i] for name, array in tensors.items()})
        writer.close([{"id": str(i), "sha256": "0" * 64} for i in range(count)])
        return self.job.add(root)

    def reference(self, path, feeds):
        """What ONNX Runtime computes, graph optimisation off."""
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = [o.name for o in session.get_outputs()]
        return dict(zip(names, session.run(None, feeds), strict=True))
