"""One operator each: the smallest models that there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .maker import Maker, model, value

#: (1, 3, 6, 6) and the like: what is fed; a list is a constant of that type.
_IMAGE = (1, 4, 6, 6)
_ROWS = (2, 8)

#: name -> (operator, inputs, attributes[, opset]). An input is a shape (float32 values around 0
#: are fed), a number (a scalar constant), a list (an int64 constant) or a text from _SPECIAL.
_TABLE: Mapping[str, tuple[Any, ...]] = {
    **{op: (op, [_ROWS], {}) for op in ("Relu", "Sigmoid", "Tanh", "Abs", "Neg", "Floor", "Ceil")},
    **{op: (op, [_ROWS], {}) for op in ("Exp", "Erf", "Sign", "Softplus", "Softsign", "HardSwish")},
    **{op: (op, [_ROWS], {}) for op in ("Identity", "Elu", "Selu", "LeakyRelu", "HardSigmoid")},
    **{op: (op, [_ROWS], {}) for op in ("Sin", "Cos", "Round", "Flatten")},
    **{op: (op, ["positive"], {}) for op in ("Sqrt", "Log", "Reciprocal")},
    "Mish": ("Mish", [_ROWS], {}, 18),
    "Gelu": ("Gelu", [_ROWS], {}, 20),
    "PRelu": ("PRelu", [_IMAGE, "slope"], {}),
    "Clip": ("Clip", [_ROWS, -0.5, 0.5], {}),
    "Dropout": ("Dropout", [_ROWS], {}),
    **{op: (op, [_ROWS, _ROWS], {}) for op in ("Add", "Sub", "Mul", "Min", "Max", "Sum", "Mean")},
    **{op: (op, [_ROWS, _ROWS], {}) for op in ("Equal", "Less", "Greater", "GreaterOrEqual")},
    "Div": ("Div", [_ROWS, "positive"], {}),
    "Pow": ("Pow", ["positive", 2.0], {}),
    "Add-broadcast": ("Add", [_IMAGE, (4, 1, 1)], {}),
    "Mul-broadcast": ("Mul", [_IMAGE, (1, 4, 1, 1)], {}),
    "And": ("And", ["yes", "yes"], {}),
    "Not": ("Not", ["yes"], {}),
    "Where": ("Where", ["yes", _ROWS, _ROWS], {}),
    "Conv": ("Conv", [_IMAGE, "w3x3", "b8"], {"pads": [1] * 4}),
    "Conv-1x1": ("Conv", [_IMAGE, "w1x1"], {}),
    "Conv-stride": ("Conv", [_IMAGE, "w3x3"], {"strides": [2, 2]}),
    "Conv-dilated": ("Conv", [_IMAGE, "w3x3"], {"dilations": [2, 2], "pads": [2] * 4}),
    "Conv-depthwise": ("Conv", [_IMAGE, "wdepth"], {"group": 4, "pads": [1] * 4}),
    "Conv-same": ("Conv", [_IMAGE, "w3x3"], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "Conv-asymmetric": ("Conv", [_IMAGE, "w3x3"], {"pads": [0, 1, 2, 1]}),
    "Conv-1d": ("Conv", [(1, 4, 12), "w1d"], {}),
    "Conv-3d": ("Conv", [(1, 4, 4, 4, 4), "w3d"], {}),
    "Conv-dynamic-weight": ("Conv", [_IMAGE, (8, 4, 3, 3)], {}),
    "ConvTranspose": ("ConvTranspose", [_IMAGE, "wup"], {"strides": [2, 2]}),
    "MaxPool": ("MaxPool", [_IMAGE], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "MaxPool-ceil": (
        "MaxPool",
        [(1, 4, 5, 5)],
        {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1},
    ),
    "AveragePool": ("AveragePool", [_IMAGE], {"kernel_shape": [3, 3], "pads": [1] * 4}),
    "GlobalAveragePool": ("GlobalAveragePool", [_IMAGE], {}),
    "GlobalMaxPool": ("GlobalMaxPool", [_IMAGE], {}),
    "BatchNormalization": ("BatchNormalization", [_IMAGE, *(["four"] * 4)], {}),
    "InstanceNormalization": ("InstanceNormalization", [_IMAGE, "four", "four"], {}),
    "LayerNormalization": ("LayerNormalization", [_ROWS, "eight", "eight"], {}),
    "GroupNormalization": (
        "GroupNormalization",
        [_IMAGE, "four", "four"],
        {"num_groups": 2},
        21,
    ),
    "LRN": ("LRN", [_IMAGE], {"size": 3}),
    "LpNormalization": ("LpNormalization", [_ROWS], {}),
    "Gemm": ("Gemm", [_ROWS, "w8x5", "five"], {}),
    "Gemm-transposed": ("Gemm", [_ROWS, "w5x8", "five"], {"transB": 1, "alpha": 0.5}),
    "MatMul": ("MatMul", [_ROWS, "w8x5"], {}),
    "MatMul-both-fed": ("MatMul", [(2, 3, 8), (2, 8, 5)], {}),
    "Einsum": ("Einsum", [(2, 3, 8), (2, 8, 5)], {"equation": "bij,bjk->bik"}),
    "Reshape": ("Reshape", [_IMAGE, [1, -1]], {}),
    "Transpose": ("Transpose", [_IMAGE], {"perm": [0, 2, 3, 1]}),
    "Squeeze": ("Squeeze", [(1, 8, 1), [2]], {}),
    "Unsqueeze": ("Unsqueeze", [_ROWS, [1]], {}),
    "Concat": ("Concat", [_ROWS, _ROWS], {"axis": 1}),
    "Slice": ("Slice", [_IMAGE, [1, 1], [5, 6], [2, 3], [1, 2]], {}),
    "Slice-negative": ("Slice", [_ROWS, [-1], [-9], [1], [-1]], {}),
    "Gather": ("Gather", [_ROWS, [3, 0, 3]], {"axis": 1}),
    "GatherElements": ("GatherElements", [_ROWS, "places"], {"axis": 1}),
    "GatherND": ("GatherND", [_ROWS, "points"], {}),
    "ScatterND": ("ScatterND", [_ROWS, "points", (2,)], {}),
    "ScatterElements": ("ScatterElements", [_ROWS, "places", (2, 3)], {"axis": 1}),
    "Expand": ("Expand", [(1, 8), [3, 8]], {}),
    "Tile": ("Tile", [_ROWS, [2, 1]], {}),
    "Pad": ("Pad", [_IMAGE, [0, 0, 1, 1, 0, 0, 1, 1]], {}),
    "Pad-reflect": ("Pad", [_IMAGE, [0, 0, 1, 1, 0, 0, 1, 1]], {"mode": "reflect"}),
    "DepthToSpace": ("DepthToSpace", [_IMAGE], {"blocksize": 2}),
    "SpaceToDepth": ("SpaceToDepth", [_IMAGE], {"blocksize": 2}),
    "Resize-nearest": (
        "Resize",
        [_IMAGE, None, "twice"],
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"},
    ),
    "Resize-linear": ("Resize", [_IMAGE, None, "twice"], {"mode": "linear"}),
    "Cast": ("Cast", [_ROWS], {"to": 7}),
    "ReduceMean": ("ReduceMean", [_IMAGE], {"axes": [2, 3], "keepdims": 0}),
    "ReduceSum": ("ReduceSum", [_IMAGE, [1]], {"keepdims": 1}),
    "ReduceMax": ("ReduceMax", [_IMAGE], {"axes": [1]}),
    "ReduceL2": ("ReduceL2", [_IMAGE], {"axes": [1]}),
    "ArgMax": ("ArgMax", [_ROWS], {"axis": 1}),
    "CumSum": ("CumSum", [_ROWS, 1], {}),
    "Softmax": ("Softmax", [_ROWS], {"axis": -1}),
    "Softmax-first-axis": ("Softmax", [_IMAGE], {"axis": 1}),
    "LogSoftmax": ("LogSoftmax", [_ROWS], {"axis": -1}),
    "OneHot": ("OneHot", ["classes", 4, "offon"], {}),
    "NonZero": ("NonZero", [_ROWS], {}),
    "Trilu": ("Trilu", [_ROWS], {"upper": 1}),
    "GridSample": ("GridSample", [_IMAGE, (1, 5, 5, 2)], {}, 20),
}


def _special() -> dict[str, Any]:
    """Constants by name."""
    import numpy as np

    rng = np.random.default_rng(21)

    def weights(*shape: int) -> Any:
        return rng.normal(0, 0.3, shape).astype(np.float32)

    return {
        "slope": np.abs(weights(4, 1, 1)),
        "w3x3": weights(8, 4, 3, 3),
        "w1x1": weights(8, 4, 1, 1),
        "wdepth": weights(4, 1, 3, 3),
        "w1d": weights(8, 4, 3),
        "w3d": weights(8, 4, 2, 2, 2),
        "wup": weights(4, 8, 2, 2),
        "w8x5": weights(8, 5),
        "w5x8": weights(5, 8),
        "b8": weights(8),
        "four": np.abs(weights(4)) + np.float32(0.1),
        "five": weights(5),
        "eight": weights(8),
        "twice": np.array([1, 1, 2, 2], np.float32),
        "offon": np.array([0, 1], np.float32),
        "places": np.array([[0, 2, 1], [5, 7, 6]], np.int64),
        "points": np.array([[0, 1], [1, 5]], np.int64),
    }


def _fed(kind: Any, rng: Any) -> Any:
    """What is fed: normal values of a shape, or something special; ``None`` for a constant."""
    import numpy as np

    if isinstance(kind, tuple):
        return rng.normal(0, 1, kind).astype(np.float32)
    if kind == "positive":
        return rng.uniform(0.5, 3, _ROWS).astype(np.float32)
    if kind == "yes":
        return rng.uniform(size=_ROWS) > 0.5
    if kind == "classes":
        return np.array([0, 3, 1], np.int64)
    return None


def fill(maker: Maker) -> None:
    """Add every case of the family."""
    for name, row in _TABLE.items():
        op, inputs, attributes, *at = row
        _single(maker, f"operators/{name}", inputs, (op, attributes), at=at[0] if at else 17)
    _several(maker)
    _recurrent(maker)
    _boxes(maker)


def _single(
    maker: Maker, name: str, inputs: list[Any], what: tuple[str, Mapping[str, Any]], *, at: int
) -> None:
    """One node; ``what`` is its operator and attributes."""
    import numpy as np
    from onnx import helper

    rng, special = maker.rng(), _special()
    feeds, constants, names = {}, {}, []
    for k, kind in enumerate(inputs):
        if kind is None:
            names.append("")
            continue
        names.append(f"x{k}")
        array = _fed(kind, rng)
        if array is not None:
            feeds[f"x{k}"] = array
        elif isinstance(kind, str):
            constants[f"x{k}"] = special[kind]
        else:
            plain = np.float32 if isinstance(kind, float) else np.int64
            constants[f"x{k}"] = np.array(kind, plain)
    node = helper.make_node(what[0], names, ["y"], name="only", **what[1])
    made = model([node], [value(k, v) for k, v in feeds.items()], ["y"], constants, at=at)
    maker.add(name, made, feeds)


def _several(maker: Maker) -> None:
    """Operators with more than one output."""
    import numpy as np
    from onnx import helper

    x = maker.rng().normal(0, 1, _ROWS).astype(np.float32)
    split = helper.make_node("Split", ["x", "parts"], ["y", "z"], name="only", axis=1)
    made = model([split], [value("x", x)], ["y", "z"], {"parts": np.array([3, 5], np.int64)})
    maker.add("operators/Split", made, {"x": x})
    best = helper.make_node("TopK", ["x", "k"], ["y", "z"], name="only")
    made = model([best], [value("x", x)], ["y", "z"], {"k": np.array([3], np.int64)})
    maker.add("operators/TopK", made, {"x": x})


def _recurrent(maker: Maker) -> None:
    """LSTM and GRU, forward, 3 steps of 2 samples with 4 numbers, 5 hidden."""
    import numpy as np
    from onnx import helper

    rng = maker.rng()
    x = rng.normal(0, 1, (3, 2, 4)).astype(np.float32)
    for op, gates in (("LSTM", 4), ("GRU", 3)):
        weights = {
            "w": rng.normal(0, 0.3, (1, gates * 5, 4)).astype(np.float32),
            "r": rng.normal(0, 0.3, (1, gates * 5, 5)).astype(np.float32),
            "b": rng.normal(0, 0.3, (1, gates * 10)).astype(np.float32),
        }
        node = helper.make_node(op, ["x", "w", "r", "b"], ["y"], name="only", hidden_size=5)
        made = model([node], [value("x", x)], ["y"], weights)
        maker.add(f"operators/{op}", made, {"x": x})


def _boxes(maker: Maker) -> None:
    """What the tail of a detector is made of."""
    import numpy as np
    from onnx import helper

    boxes = np.array([[[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, 2, 1, 3]]], np.float32)
    scores = np.array([[[0.9, 0.8, 0.7]]], np.float32)
    node = helper.make_node(
        "NonMaxSuppression", ["boxes", "scores", "most", "overlap", "least"], ["y"], name="only"
    )
    weights = {
        "most": np.array([3], np.int64),
        "overlap": np.array([0.5], np.float32),
        "least": np.array([0.0], np.float32),
    }
    given = {"boxes": boxes, "scores": scores}
    made = model([node], [value(k, v) for k, v in given.items()], ["y"], weights)
    maker.add("operators/NonMaxSuppression", made, given)
    image = maker.rng().normal(0, 1, (1, 2, 8, 8)).astype(np.float32)
    given = {"x": image, "rois": np.array([[1, 1, 6, 6]], np.float32)}
    node = helper.make_node(
        "RoiAlign", ["x", "rois", "batch"], ["y"], name="only", output_height=2, output_width=2
    )
    weights = {"batch": np.array([0], np.int64)}
    made = model([node], [value(k, v) for k, v in given.items()], ["y"], weights)
    maker.add("operators/RoiAlign", made, given)
