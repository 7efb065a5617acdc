"""PTQ or QAT: each block is recognised, and the numbers win over the rule of thumb."""

import json
from pathlib import Path

import pytest

from seatrial.intake.facts import ModelFacts, NodeFact
from seatrial.quantize.ptq_or_qat import Measured, advise
from seatrial.quantize.sensitive import KINDS, blocks

SCHEMA = Path(__file__).parents[3] / "core/seatrial/report/schema/report-1.json"


def facts(*nodes):
    """Facts of a chain or net given as (op, inputs, outputs, flags)."""
    made = [
        NodeFact(
            label=f"{op}_{i}",
            op_type=op,
            domain="",
            index=i,
            scope="",
            inputs=tuple(inputs.split()),
            outputs=tuple(outputs.split()),
            depthwise="d" in flags,
            constant_weights="w" in flags or "d" in flags,
        )
        for i, (op, inputs, outputs, flags) in enumerate(nodes)
    ]
    return ModelFacts(
        path="m.onnx",
        sha256="",
        file_sha256="",
        bytes=0,
        ir_version=8,
        producer="",
        opsets={"": 17},
        inputs=(),
        outputs=(),
        nodes=tuple(made),
        op_types={},
        domains=("",),
    )


PLAIN = (("Conv", "x w", "a", "w"), ("Relu", "a", "b", ""), ("Gemm", "b v", "y", "w"))
INVERTED = (
    ("Conv", "x w", "a", "w"),
    ("Clip", "a", "b", ""),
    ("Conv", "b k", "c", "d"),
    ("Clip", "c", "d", ""),
    ("Conv", "d v", "e", "w"),
    ("Add", "x0 e", "y", ""),
)
SEPARABLE = (("Conv", "x k", "a", "d"), ("Relu", "a", "b", ""), ("Conv", "b w", "y", "w"))
EXCITE = (
    ("Conv", "x w", "a", "w"),
    ("GlobalAveragePool", "a", "p", ""),
    ("Conv", "p w1", "q", "w"),
    ("Relu", "q", "r", ""),
    ("Conv", "r w2", "s", "w"),
    ("Sigmoid", "s", "g", ""),
    ("Mul", "a g", "y", ""),
)
SWISH = (("Conv", "x w", "a", "w"), ("Sigmoid", "a", "s", ""), ("Mul", "a s", "y", ""))
HARD = (("Conv", "x w", "a", "w"), ("HardSigmoid", "a", "s", ""), ("Mul", "s a", "y", ""))
ATTENTION = (
    ("MatMul", "x wq", "q", "w"),
    ("MatMul", "x wk", "k", "w"),
    ("MatMul", "x wv", "v", "w"),
    ("MatMul", "q k", "s", ""),
    ("Mul", "s c", "t", ""),
    ("Softmax", "t", "p", ""),
    ("MatMul", "p v", "y", ""),
)
NORM = (("LayerNormalization", "x g b", "n", ""), ("MatMul", "n w", "y", "w"))
WRITTEN = (
    ("ReduceMean", "x", "m", ""),
    ("Sub", "x m", "c", ""),
    ("Mul", "c c", "c2", ""),
    ("ReduceMean", "c2", "v", ""),
    ("Add", "v e", "ve", ""),
    ("Sqrt", "ve", "s", ""),
    ("Div", "c s", "y", ""),
)
GELU = (("MatMul", "x w", "a", "w"), ("Gelu", "a", "y", ""))
COSINE = (
    ("Gemm", "x w", "a", "w"),
    ("ReduceL2", "a", "n", ""),
    ("Div", "a n", "u", ""),
    ("MatMul", "u classes", "y", "w"),
)


@pytest.mark.parametrize(
    ("nodes", "kinds"),
    [
        (PLAIN, set()),
        # The sum must have two written operands: a block's input comes from somewhere.
        (
            (("Relu", "z", "x0", ""), ("Relu", "x0", "x", ""), *INVERTED),
            {"inverted-residual", "depthwise"},
        ),
        (SEPARABLE, {"depthwise"}),
        # A depthwise convolution alone in a sum with its input: nothing is narrowed.
        ((*PLAIN[:2], ("Conv", "b k", "c", "d"), ("Add", "b c", "y", "")), {"depthwise"}),
        (EXCITE, {"squeeze-excite"}),
        (SWISH, {"swish"}),
        (HARD, {"hard-swish"}),
        (ATTENTION, {"attention"}),
        (NORM, {"layer-norm"}),
        (WRITTEN, {"layer-norm"}),
        (GELU, {"gelu"}),
        (COSINE, {"cosine-head"}),
    ],
)
def test_blocks_are_recognised(nodes, kinds):
    assert {b.kind for b in blocks(facts(*nodes))} == kinds
    assert kinds <= set(KINDS)


@pytest.mark.parametrize(
    "nodes",
    [
        # A classifier's softmax is no attention, a sigmoid at the end no gate, an average no norm.
        (("Gemm", "x w", "a", "w"), ("Softmax", "a", "y", "")),
        (("Conv", "x w", "a", "w"), ("Sigmoid", "a", "y", "")),
        (("ReduceMean", "x", "m", ""), ("Gemm", "m w", "y", "w")),
        (("Div", "x c", "a", ""), ("Conv", "a w", "y", "w")),
    ],
)
def test_look_alikes_are_not(nodes):
    assert blocks(facts(*nodes)) == []


@pytest.mark.parametrize(
    ("nodes", "measured", "says", "contradicts"),
    [
        (PLAIN, Measured(), "ptq", False),
        (SEPARABLE, Measured(), "measure", False),
        (SEPARABLE, Measured(name="c", kl=0.001, n=64), "ptq", True),
        (SEPARABLE, Measured(name="c", kl=0.4, n=64), "qat", False),
        (PLAIN, Measured(name="c", kl=0.4, n=64), "qat", True),
        (ATTENTION, Measured(name="c", kl=0.03, n=64), "measure", False),
        # The test set outweighs the held-out samples.
        (
            PLAIN,
            Measured(kl=0.001, drop=3.0, low=2.0, high=4.0, limit=1.0, test_n=900),
            "qat",
            True,
        ),
        (SEPARABLE, Measured(kl=0.4, drop=0.1, low=-0.3, high=0.6, limit=1.0), "ptq", True),
        # An interval that holds the limit decides nothing; the search does.
        (
            SEPARABLE,
            Measured(kl=0.4, drop=0.9, low=0.2, high=1.6, limit=1.0, recovered=True),
            "ptq",
            True,
        ),
        (PLAIN, Measured(kl=0.001, recovered=False), "qat", True),
        # What was judged had been trained: its drop says nothing of PTQ.
        (SEPARABLE, Measured(kl=0.4, drop=0.0, low=-0.5, high=0.5, trained=True), "qat", False),
    ],
)
def test_the_numbers_win(nodes, measured, says, contradicts):
    made = advise(facts(*nodes), measured)
    assert (made.says, made.contradicts) == (says, contradicts)
    assert ("the numbers say otherwise" in made.text) == contradicts
    kinds = [e.kind for e in made.evidence]
    assert kinds == sorted(kinds, reverse=True)  # measured before graph
    assert all(e.text for e in made.evidence)


def test_nothing_to_gain_is_neither():
    assert advise(facts(*PLAIN), Measured(kl=0.4), gain=False).says == "neither"


def test_attention_is_the_stronger_rule():
    assert advise(facts(*SEPARABLE, *ATTENTION), Measured()).rule == "qat nearly always"


def test_the_schema_knows_every_word():
    part = json.loads(SCHEMA.read_text("utf-8"))["$defs"]["advice"]["properties"]
    assert set(part["says"]["enum"]) == {"ptq", "qat", "measure", "neither"}
    assert set(part["rule"]["enum"]) == {"ptq", "qat often", "qat nearly always"}
