"""Small models, and a job that calls the backend in this process."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import seatrial_onnxruntime as backend
from seatrial.results import CheckRequest, CompileReport, Ref, StaticReport
from seatrial.samples import StoreWriter
from seatrial.testing.local import LocalJob


def make(
    nodes: Sequence[Any],
    inputs: Sequence[tuple[Any, ...]],
    outputs: Sequence[tuple[Any, ...]],
    *,
    weights: dict[str, np.ndarray] | None = None,
    opset: int = 17,
    domains: Sequence[str] = (),
    functions: Sequence[Any] = (),
) -> Any:
    """A model from nodes and (name, element type, shape) triples."""
    graph = helper.make_graph(
        list(nodes),
        "m",
        [helper.make_tensor_value_info(*i) for i in inputs],
        [helper.make_tensor_value_info(*o) for o in outputs],
        [numpy_helper.from_array(v, k) for k, v in (weights or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10, functions=list(functions))


def convnet(opset: int = 17, batch: Any = "N") -> Any:
    """Conv-Relu, depthwise Conv, BatchNormalization, residual Add, pool, Gemm; partly unnamed."""
    rng = np.random.default_rng(7)

    def w(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    ones = np.ones(8, np.float32)
    weights = {
        "w1": w(8, 3, 3, 3), "b1": w(8, 1)[:, 0], "w2": w(8, 1, 3, 3), "w3": w(8, 8, 1, 1),
        "s": ones * 1.5, "bias": ones * 0.1, "mean": ones * 0.2, "var": ones, "wf": w(5, 8),
        "bf": w(5, 1)[:, 0],
    }  # fmt: skip
    n = helper.make_node
    nodes = [
        n("Conv", ["x", "w1", "b1"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
        n("Relu", ["c1"], ["r1"]),
        n("BatchNormalization", ["r1", "s", "bias", "mean", "var"], ["n1"], name="bn"),
        n("Conv", ["n1", "w2"], ["c2"], name="dw", pads=[1, 1, 1, 1], group=8),
        n("Conv", ["c2", "w3"], ["c3"]),
        n("Add", ["c3", "r1"], ["a"], name="add"),
        n("GlobalAveragePool", ["a"], ["g"], name="gap"),
        n("Flatten", ["g"], ["f"], name="flat"),
        n("Gemm", ["f", "wf", "bf"], ["y"], name="fc", transB=1),
    ]
    shape = [batch, 3, 16, 16]
    return make(
        nodes,
        [("x", TensorProto.FLOAT, shape)],
        [("y", TensorProto.FLOAT, [batch, 5])],
        weights=weights,
        opset=opset,
    )


class Desk:
    """A job per call, models by value."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._count = itertools.count()

    def job(self) -> LocalJob:
        return LocalJob(self.root / f"job{next(self._count)}")

    def save(self, model: Any, **how: Any) -> Path:
        folder = self.root / f"model{next(self._count)}"
        folder.mkdir()
        onnx.save(model, folder / "model.onnx", **how)
        return folder / "model.onnx"

    def check(self, model: Any, target: str = "cpu", **fields: Any) -> CompileReport:
        job = self.job()
        path = model if isinstance(model, Path) else self.save(model)
        request = CheckRequest(model=job.add(path), target=target, **fields)
        return backend.seatrial_compile_check(request, job)

    def static(self, model: Any, target: str = "cpu") -> StaticReport:
        job = self.job()
        request = CheckRequest(model=job.add(self.save(model)), target=target)
        return backend.seatrial_check_static(request, job)

    def store(self, job: LocalJob, name: str, samples: np.ndarray) -> Ref:
        folder = self.root / f"store{next(self._count)}"
        folder.mkdir()
        writer = StoreWriter(folder, len(samples))
        for sample in samples:
            writer.add({name: sample})
        writer.close([{"id": str(i), "sha256": ""} for i in range(len(samples))])
        return job.add(folder)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def make_model() -> Callable[..., Any]:
    return make


@pytest.fixture
def make_convnet() -> Callable[..., Any]:
    return convnet


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((12, 3, 16, 16)).astype(np.float32)
