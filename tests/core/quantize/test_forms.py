"""The forms besides 8-bit pairs, written and run: 16-bit activations, weights only, dynamic."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from seatrial.calibration.child import ranges
from seatrial.calibration.types import RangesRequest
from seatrial.errors import UserError
from seatrial.quantize.child import insert
from seatrial.quantize.types import InsertRequest
from seatrial.reference import open_model, optimised
from seatrial.results import QdqDialect
from seatrial.testing.local import LocalJob

node = helper.make_node
WIDE = QdqDialect(activations="uint16", bias="float", domain="com.microsoft")


def mixed(build: Any, opset: int = 17) -> onnx.ModelProto:
    """A convolution, a Gemm with and one without transposition, a MatMul with an addition."""
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.normal(size=(8, 3, 3, 3)), "b": rng.normal(size=8),
        "g": rng.normal(size=(16, 8)), "h": rng.normal(size=(16, 12)),
        "m": rng.normal(size=(12, 10)), "c": rng.normal(size=12), "d": rng.normal(size=10),
    }  # fmt: skip
    nodes = [
        node("Conv", ["x", "w", "b"], ["k"], name="conv"),
        node("Relu", ["k"], ["r"], name="relu"),
        node("GlobalAveragePool", ["r"], ["p"], name="pool"),
        node("Flatten", ["p"], ["f"], name="flat"),
        node("Gemm", ["f", "g"], ["u"], name="gemm1", transB=1),
        node("Gemm", ["u", "h", "c"], ["v"], name="gemm2"),
        node("MatMul", ["v", "m"], ["n"], name="matmul"),
        node("Add", ["n", "d"], ["y"], name="add"),
    ]
    values = {k: np.asarray(v, np.float32) for k, v in constants.items()}
    ir = 10 if opset >= 21 else 8
    return build(nodes, {"x": ["N", 3, 9, 9]}, ["y"], values, opset=opset, ir=ir)


class Case:
    """The model in a job, samples, and its table."""

    def __init__(self, proto: onnx.ModelProto, job: LocalJob, store: Any) -> None:
        self.job = job
        self.path = job.scratch / "float.onnx"
        onnx.save_model(proto, self.path)
        self.x = np.random.default_rng(1).normal(size=(12, 3, 9, 9)).astype(np.float32)
        self.model = job.add(self.path)
        samples = job.add(store({"x": self.x}))
        request = RangesRequest(model=self.model, samples=samples)
        made = job.adopt(ranges(request, job).artifact)
        self.table = made

    def made(self, dialect: QdqDialect, form: str = "", **more: Any) -> Any:
        """The insertion's result and the model that it wrote."""
        ranges_of = None if form else self.table
        request = InsertRequest(
            model=self.model, ranges=ranges_of, dialect=dialect, form=form, **more
        )
        result = insert(request, self.job)
        assert result.artifact is not None
        model = onnx.load(self.job.out / result.artifact.entry)
        onnx.checker.check_model(model)
        return result, model

    def error(self, model: onnx.ModelProto, optimize: str = "literal") -> float:
        """Error power over signal power."""
        expected = run(self.path, self.x, "all")
        got = run(model.SerializeToString(), self.x, optimize)
        return float(np.square(got - expected).sum() / np.square(expected).sum())


def run(source: Any, x: Any, optimize: str) -> Any:
    return open_model(source, optimize=optimize).run({"x": x})["y"]


@pytest.fixture
def case(model: Any, job: LocalJob, store: Any) -> Case:
    return Case(mixed(model), job, store)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("domain", ["", "com.microsoft"])
def test_sixteen_bits_leave_the_error_of_the_weights(
    case: Case, symmetric: bool, domain: str
) -> None:
    kind = "int16" if symmetric else "uint16"
    dialect = QdqDialect(activations=kind, symmetric=symmetric, bias="float", domain=domain)
    _, model = case.made(dialect)
    opsets = {o.domain: o.version for o in model.opset_import}
    assert opsets[""] >= (17 if domain else 21)
    assert ("com.microsoft" in opsets) is bool(domain)
    pairs = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
    assert pairs
    assert {n.domain for n in pairs} == {domain}
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    zeros = {str(constants[n.input[2]].dtype): int(constants[n.input[2]]) for n in pairs}
    assert set(zeros) == {kind}
    assert not symmetric or set(zeros.values()) == {0}
    wide = case.error(model)
    _, weights = case.made(QdqDialect(), "weight-only")
    _, eight = case.made(QdqDialect())
    assert wide < 1.5 * case.error(weights)
    assert wide < case.error(eight)


def test_weight_only_keeps_every_activation(case: Case) -> None:
    result, model = case.made(QdqDialect(), "weight-only")
    kinds = Counter(n.op_type for n in model.graph.node)
    assert kinds["DequantizeLinear"] == 4
    assert "QuantizeLinear" not in kinds
    assert set(result.int8_nodes) == {"conv", "gemm1", "gemm2", "matmul"}
    assert case.error(model) < 1e-3
    assert case.error(model, "all") < 1e-3
    kept, model = case.made(QdqDialect(), "weight-only", keep_float=("conv",))
    assert "conv" not in kept.int8_nodes
    assert Counter(n.op_type for n in model.graph.node)["DequantizeLinear"] == 3


def test_dynamic_products_get_the_integer_kernel(case: Case) -> None:
    result, model = case.made(QdqDialect(), "dynamic")
    assert set(result.int8_nodes) == {"gemm1", "gemm2", "matmul"}
    reasons = {n.node: n.reason for n in result.float_nodes}
    assert "dynamic Conv" in reasons["conv"]
    assert case.error(model, "none") < 2e-3
    assert case.error(model, "all") < 2e-3
    optimised(model.SerializeToString(), case.job.scratch / "o.onnx")
    kernels = Counter(n.op_type for n in onnx.load(case.job.scratch / "o.onnx").graph.node)
    assert kernels["DynamicQuantizeMatMul"] + kernels["MatMulIntegerToFloat"] == 3
    kept, _ = case.made(QdqDialect(), "dynamic", keep_float=("gemm1",))
    assert set(kept.int8_nodes) == {"gemm2", "matmul"}


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 40), st.integers(1, 20)),
    transposed=st.booleans(),
    bias=st.booleans(),
    per_channel=st.booleans(),
    scale=st.floats(1e-3, 1e3),
)
def test_a_dynamic_product_equals_its_definition(
    shape: Any, transposed: bool, bias: bool, per_channel: bool, scale: float, model: Any,
    tmp_path_factory: Any,
) -> None:  # fmt: skip
    """Both operands rounded as stated; the product of the integers is exact."""
    rows, inner, columns = shape
    rng = np.random.default_rng(inner * 31 + columns)
    weight = rng.normal(size=(columns, inner) if transposed else (inner, columns))
    constants = {"w": weight.astype(np.float32)}
    constants |= {"b": rng.normal(size=columns).astype(np.float32)} if bias else {}
    gemm = node("Gemm", ["x", *constants], ["y"], name="op", transB=int(transposed))
    proto = model([gemm], {"x": ["N", inner]}, ["y"], constants)
    job = LocalJob(tmp_path_factory.mktemp("job"))
    onnx.save_model(proto, job.scratch / "m.onnx")
    asked = InsertRequest(
        model=job.add(job.scratch / "m.onnx"), form="dynamic",
        dialect=QdqDialect(per_channel=per_channel),
    )  # fmt: skip
    made = insert(asked, job)
    x = (rng.normal(size=(rows, inner)) * scale).astype(np.float32)
    got = run(job.out / made.artifact.entry, x, "none")
    low, high = min(x.min(), 0.0), max(x.max(), 0.0)
    step = (high - low) / 255 if high > low else 1.0
    matrix = (weight.T if transposed else weight).astype(np.float64)
    peak = np.abs(matrix).max(axis=0 if per_channel else None)
    error = step * np.abs(matrix).sum(0) + (peak / 127) * np.abs(x).sum(1)[:, None]
    expected = x.astype(np.float64) @ matrix + (constants["b"] if bias else 0)
    assert np.all(np.abs(got - expected) <= 1.01 * error + 1e-4 * np.abs(expected) + 1e-5)


def test_an_unknown_form_is_refused_and_an_empty_one_says_so(
    case: Case, model: Any, job: LocalJob
) -> None:
    with pytest.raises(UserError, match="magic"):
        insert(InsertRequest(model=case.model, form="magic"), job)
    proto = model(
        [node("Conv", ["x", "w"], ["y"], name="c")], {"x": [1, 1, 4, 4]}, ["y"],
        {"w": np.ones((1, 1, 3, 3), np.float32)},
    )  # fmt: skip
    path = Path(job.scratch / "conv.onnx")
    onnx.save_model(proto, path)
    result = insert(InsertRequest(model=job.add(path), form="dynamic"), job)
    assert result.artifact is None
    assert "nothing can be quantised" in result.notes[-1]


def test_the_form_for_engines_has_nothing_that_they_refuse(case: Case) -> None:
    """Symmetric int8 with zero points 0 and float biases, and no unsigned type anywhere."""
    dialect = QdqDialect(activations="int8", symmetric=True, bias="float")
    _, model = case.made(dialect)
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert not any(v.dtype in (np.uint8, np.int32) for v in constants.values())
    pairs = [n for n in model.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert pairs
    assert all(not constants[n.input[2]].any() for n in pairs)
    conv = next(n for n in model.graph.node if n.op_type == "Conv")
    assert constants[conv.input[2]].dtype == np.float32
