"""Small models and helpers for the tests of the OpenVINO backend."""

import json
import os
import subprocess
import sys
from pathlib import Path

# As the core's workers do; openvino and nncf read them when they are imported.
os.environ["CI"] = "true"
os.environ["NNCF_CI"] = "1"

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from seatrial.samples import StoreWriter
from seatrial.testing import LocalJob


class Zoo:
    """Makes small models and sample stores in one folder."""

    def __init__(self, root):
        self.root = root
        self.rng = np.random.default_rng(7)
        self.job = LocalJob(root / "job")

    def value(self, name, shape, kind=TensorProto.FLOAT):
        return helper.make_tensor_value_info(name, kind, shape)

    def weight(self, name, *shape, scale=0.2):
        array = self.rng.normal(0, scale, shape).astype(np.float32)
        return numpy_helper.from_array(array, name)

    def constant(self, name, value):
        return numpy_helper.from_array(np.array(value), name)

    def save(self, nodes, inputs, outputs, weights=(), *, name="model", opset=17, domains=()):
        graph = helper.make_graph(nodes, "g", inputs, outputs, list(weights))
        imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=9)
        path = self.root / f"{name}.onnx"
        onnx.save(model, path)
        return path

    def cnn(self, *, batch=1, opset=17, name="cnn"):
        """Conv, Relu, depthwise Conv, Add, mean, Gemm on 3 x 16 x 16."""
        nodes = [
            helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="first", pads=[1] * 4),
            helper.make_node("Relu", ["c1"], ["r1"], name="act"),
            helper.make_node("Conv", ["r1", "w2"], ["c2"], name="depth", pads=[1] * 4, group=8),
            helper.make_node("Add", ["c2", "r1"], ["s"], name="sum"),
            helper.make_node("GlobalAveragePool", ["s"], ["p"], name="mean"),
            helper.make_node("Flatten", ["p"], ["f"], name="flat"),
            helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], name="head", transB=1),
        ]
        weights = [
            self.weight("w1", 8, 3, 3, 3),
            self.weight("b1", 8),
            self.weight("w2", 8, 1, 3, 3),
            self.weight("w3", 10, 8),
            self.weight("b3", 10),
        ]
        return self.save(
            nodes,
            [self.value("x", [batch, 3, 16, 16])],
            [self.value("y", [batch, 10])],
            weights,
            name=name,
            opset=opset,
        )

    def attention(self):
        """One attention block on 6 tokens of 8 numbers."""
        nodes = [
            helper.make_node("MatMul", ["x", "wq"], ["q"], name="q"),
            helper.make_node("MatMul", ["x", "wk"], ["k"], name="k"),
            helper.make_node("MatMul", ["x", "wv"], ["v"], name="v"),
            helper.make_node("Transpose", ["k"], ["kt"], name="turn", perm=[0, 2, 1]),
            helper.make_node("MatMul", ["q", "kt"], ["a"], name="scores"),
            helper.make_node("Mul", ["a", "scale"], ["as"], name="scaled"),
            helper.make_node("Softmax", ["as"], ["p"], name="soft", axis=-1),
            helper.make_node("MatMul", ["p", "v"], ["o"], name="mix"),
            helper.make_node("MatMul", ["o", "wo"], ["y"], name="out"),
        ]
        weights = [self.weight(n, 8, 8) for n in ("wq", "wk", "wv", "wo")]
        weights.append(self.constant("scale", np.float32(0.35)))
        return self.save(
            nodes,
            [self.value("x", [1, 6, 8])],
            [self.value("y", [1, 6, 8])],
            weights,
            name="attention",
        )

    def qdq(self, *, batch=1, name="qdq"):
        """Conv with Q/DQ on input, weight and output, and a Gemm that stays float."""
        nodes = [
            *_pair("x", "s0", "z0"),
            helper.make_node("DequantizeLinear", ["wq", "ws", "wz"], ["w_dq"], name="w_dq", axis=0),
            helper.make_node("Conv", ["x_dq", "w_dq"], ["c"], name="conv", pads=[1] * 4),
            helper.make_node("Relu", ["c"], ["r"], name="act"),
            *_pair("r", "s1", "z0"),
            helper.make_node("GlobalAveragePool", ["r_dq"], ["p"], name="mean"),
            helper.make_node("Flatten", ["p"], ["f"], name="flat"),
            helper.make_node("Gemm", ["f", "w3"], ["y"], name="head", transB=1),
        ]
        weights = [
            self.constant("s0", np.float32(0.02)),
            self.constant("s1", np.float32(0.03)),
            self.constant("z0", np.uint8(0)),
            self.constant("wq", self.rng.integers(-127, 128, (8, 3, 3, 3), np.int8)),
            self.constant("ws", np.full(8, 0.003, np.float32)),
            self.constant("wz", np.zeros(8, np.int8)),
            self.weight("w3", 10, 8),
        ]
        return self.save(
            nodes,
            [self.value("x", [batch, 3, 16, 16])],
            [self.value("y", [batch, 10])],
            weights,
            name=name,
        )

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

    def images(self, count=16):
        return self.rng.normal(0, 1, (count, 3, 16, 16)).astype(np.float32)

    def new_job(self):
        """A job with an ``out`` folder of its own; references are added to it again."""
        return LocalJob(self.root / f"job{len(list(self.root.iterdir()))}")


def _pair(tensor, scale, zero):
    quantised = f"{tensor}_q"
    return (
        helper.make_node("QuantizeLinear", [tensor, scale, zero], [quantised], name=quantised),
        helper.make_node(
            "DequantizeLinear", [quantised, scale, zero], [f"{tensor}_dq"], name=f"{tensor}_dq"
        ),
    )


@pytest.fixture
def zoo(tmp_path):
    return Zoo(tmp_path)


@pytest.fixture
def fresh(tmp_path):
    """Run Python code in a new interpreter; it gives JSON through ``give(value)``."""

    def run(code, *arguments, timeout=120, environment=None):
        out, aside = tmp_path / "given.json", tmp_path / "aside"
        aside.mkdir(exist_ok=True)  # what the code leaves lying goes with the test's own folder
        prelude = (
            f"import json, sys\ndef give(value): open({str(out)!r}, 'w').write(json.dumps(value))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", prelude + code, *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, "TMPDIR": str(aside), **(environment or {})},
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(out.read_text())

    return run


@pytest.fixture(scope="session")
def shared():
    """The folder with real models, or a skip."""
    named = os.environ.get("SEATRIAL_DATA")
    root = Path(named) if named else Path(__file__).parents[4] / "shared"
    if not (root / "data").is_dir():
        pytest.skip(f"no real data: {root / 'data'} does not exist")
    return root / "data"
