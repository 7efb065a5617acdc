"""Which operators the portable Q/DQ form covers, and how. Pure tables, standard library only."""

from __future__ import annotations

#: Multiply-accumulate operators: quantised whenever their tensors allow it.
HEAVY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})

#: Operators whose integer kernel needs the scale of its output as well.
NEEDS_OUTPUT = frozenset({"Conv", "ConvTranspose"})

#: Cheap arithmetic with an output scale of its own: quantised only between INT8 neighbours,
#: where staying float would cut an integer region in two.
LIGHT = frozenset(
    {"Add", "Mul", "AveragePool", "GlobalAveragePool", "ReduceMean", "LeakyRelu", "Relu", "Clip"}
)

#: Operators of ``LIGHT`` that combine two activations.
BINARY = frozenset({"Add", "Mul"})

#: Activations that integer kernels apply themselves: no pair between them and their producer.
FUSED = frozenset({"Relu", "Clip"})

#: Operators that only move, choose or repeat values: output and input share one scale.
#: Interpolation stays inside the range of its input.
PASS = frozenset(
    {
        "Concat",
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "GlobalMaxPool",
        "MaxPool",
        "Reshape",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)

#: Every input of these is data; all other operators of ``PASS`` take data first, then parameters.
ALL_DATA = frozenset({"Concat"})

#: Operators whose output lies between the extremes of their input.
AVERAGES = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean"})

#: Operators that give no negative values, whatever they read.
NON_NEGATIVE = frozenset({"Relu", "Sigmoid", "HardSigmoid", "Softmax", "Exp", "Abs", "Softplus"})
