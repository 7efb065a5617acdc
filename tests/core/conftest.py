"""Small models, sample stores and a job, all real."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from seatrial.samples import StoreWriter
from seatrial.testing.local import LocalJob


def build(
    nodes: Sequence[Any],
    inputs: Mapping[str, Sequence[Any]],
    outputs: Sequence[str],
    constants: Mapping[str, Any] | None = None,
    *,
    opset: int = 17,
    ir: int = 8,
) -> onnx.ModelProto:
    """A model from nodes, input shapes, output names and initializers."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()],
    )
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=ir)
    return onnx.shape_inference.infer_shapes(model)


@pytest.fixture
def model() -> Callable[..., onnx.ModelProto]:
    return build


@pytest.fixture
def job(tmp_path: Path) -> LocalJob:
    return LocalJob(tmp_path / "job")


@pytest.fixture
def store(tmp_path: Path) -> Callable[[Mapping[str, Any]], Path]:
    """Writes arrays (first axis: sample) as a sample store."""
    made = []

    def write(arrays: Mapping[str, Any]) -> Path:
        root = tmp_path / f"store{len(made)}"
        root.mkdir()
        made.append(root)
        count = len(next(iter(arrays.values())))
        writer = StoreWriter(root, count)
        for i in range(count):
            writer.add({n: v[i] for n, v in arrays.items()})
        writer.close([{"id": f"sample{i}", "sha256": ""} for i in range(count)])
        return root

    return write
