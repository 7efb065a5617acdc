"""What the converter of onnx2tf 2.6.9 has a rule for; taken from its own coverage report."""

from __future__ import annotations

SOURCE = "conversion rules of onnx2tf 2.6.9"

#: Names only: many rules hold under conditions on attributes, ranks and constants.
RULES = frozenset(
    (
        *("Abs", "Acos", "Acosh", "Add", "AffineGrid", "And", "ArgMax", "ArgMin", "Asin", "Asinh"),
        *("Atan", "Atanh", "Attention", "AveragePool", "BatchNormalization", "Bernoulli"),
        *("BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "BlackmanWindow"),
        *("Cast", "CastLike", "Ceil", "Celu", "CenterCropPad", "Clip", "Col2Im", "Compress"),
        *("Concat", "ConstantOfShape", "Conv", "ConvInteger", "ConvTranspose", "Cos", "Cosh"),
        *("CumProd", "CumSum", "DFT", "DeformConv", "DepthToSpace", "DequantizeLinear", "Det"),
        *("Div", "Dropout", "DynamicQuantizeLinear", "Einsum", "Elu", "Equal", "Erf", "Exp"),
        *("Expand", "EyeLike", "Flatten", "Floor", "FusedConv", "FusedMatMul", "GRU", "Gather"),
        *("GatherElements", "GatherND", "Gelu", "Gemm", "GlobalAveragePool", "GlobalLpPool"),
        *("GlobalMaxPool", "Greater", "GreaterOrEqual", "GridSample", "GroupNorm"),
        *("GroupNormalization", "HammingWindow", "HannWindow", "HardSigmoid", "HardSwish"),
        *("Hardmax", "Identity", "If", "InstanceNormalization", "Inverse", "IsInf", "IsNaN", "LRN"),
        *("LSTM", "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax"),
        *("Loop", "LpNormalization", "LpPool", "MatMul", "MatMulInteger", "Max", "MaxPool"),
        *("MaxRoiPool", "MaxUnpool", "Mean", "MeanVarianceNormalization", "MelWeightMatrix", "Min"),
        *("Mish", "Mod", "Mul", "MultiHeadAttention", "Neg", "NegativeLogLikelihoodLoss"),
        *("NonMaxSuppression", "NonZero", "Not", "OneHot", "OptionalHasElement", "Or", "PRelu"),
        *(
            "Pad",
            "Pow",
            "QGemm",
            "QLinearAdd",
            "QLinearAveragePool",
            "QLinearConcat",
            "QLinearConv",
        ),
        *("QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearMatMul", "QLinearMul"),
        *("QLinearSigmoid", "QLinearSoftmax", "QuantizeLinear", "RNN", "RandomNormal"),
        *("RandomNormalLike", "RandomUniform", "RandomUniformLike", "Range", "Reciprocal"),
        *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"),
        *("ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Resize"),
        *("ReverseSequence", "RoiAlign", "RotaryEmbedding", "Round", "STFT", "Scatter"),
        *("ScatterElements", "ScatterND", "Selu", "Shape", "Shrink", "Sigmoid", "Sign", "Sin"),
        *("Sinh", "Size", "Slice", "Softmax", "SoftmaxCrossEntropyLoss", "Softplus", "Softsign"),
        *("SpaceToDepth", "Split", "Sqrt", "Squeeze", "StringNormalizer", "Sub", "Sum", "Tan"),
        *("Tanh", "TensorScatter", "ThresholdedRelu", "Tile", "TopK", "Transpose", "Trilu"),
        *("Unique", "Unsqueeze", "Upsample", "Where", "Xor"),
    )
)
