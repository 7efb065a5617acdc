"""Advice from facts alone."""

import pytest

from seatrial.intake.facts import ModelFacts
from seatrial.quantize.advice import advise
from seatrial.results import TensorIO


def facts(**more: object) -> ModelFacts:
    values: dict[str, object] = {
        "path": "m.onnx", "sha256": "", "file_sha256": "", "bytes": 1, "ir_version": 8,
        "producer": "", "opsets": {"": 17}, "outputs": (), "nodes": (), "op_types": {},
        "inputs": (TensorIO(name="x", dtype="float32", shape=(1, 3)),), "domains": (),
    }  # fmt: skip
    return ModelFacts(**(values | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"has_qdq": True, "quantizable": {"Conv": 2}}, "already-quantized"),
        ({"op_types": {"ai.onnx.ml:TreeEnsembleClassifier": 1}}, "tree-ensemble"),
        ({"op_types": {"Sqrt": 3}}, "nothing-to-quantize"),
        (
            {"quantizable": {"Conv": 2}, "inputs": (TensorIO(name="x", dtype="float16"),)},
            "not-float32",
        ),
        ({"quantizable": {"Conv": 2}}, "worthwhile"),
    ],
)
def test_advice(more: dict[str, object], code: str) -> None:
    advice = advise(facts(**more))
    assert advice.code == code
    assert advice.gain == (code == "worthwhile")
    assert advice.text
