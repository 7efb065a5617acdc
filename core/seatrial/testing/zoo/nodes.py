"""ONNX's own node tests (:mod:`onnx.backend.test.case.node`), as they ship with the package."""

from __future__ import annotations

from typing import Any

from .maker import Maker

#: Operators whose numbers are drawn at run time.
_RANDOM = (
    *("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike"),
    *("Bernoulli", "Multinomial"),
)


def fill(maker: Maker) -> None:
    """Add every node test; those with strings, sequences or types unknown to numpy only compile."""
    from onnx.backend.test.case.node import collect_testcases

    for test in collect_testcases(None):
        given, wanted = test.data_sets[0]
        model = test.model
        inputs = [i.name for i in model.graph.input]
        outputs = [o.name for o in model.graph.output]
        # An optional input that is left out has neither a value nor a place among the inputs.
        feeds = dict(zip(inputs, given, strict=False))
        maker.add(
            f"nodes/{test.name.removeprefix('test_')}",
            model,
            feeds,
            truth=dict(zip(outputs, wanted, strict=False)),
            compare=not _drawn(test),
        )


def _drawn(test: Any) -> bool:
    """Whether the truth depends on a generator of random numbers."""
    operators = {node.op_type for node in test.model.graph.node}
    dropping = "training_dropout" in test.name and "zero_ratio" not in test.name
    return bool(operators & set(_RANDOM)) or dropping
