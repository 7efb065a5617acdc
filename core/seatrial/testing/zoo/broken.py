"""Invalid models: a backend says no, and does not die of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seatrial.testing.cases import BROKEN

from .maker import Maker, model, value

#: name -> (operator, shape of x, attributes, constants by name): types and numbers at a boundary
#: that native compilers have divided by, looped on or read past.
_BOUNDARY: Mapping[str, tuple[Any, ...]] = {
    "group-0": ("Conv", (1, 4, 6, 6), {"group": 0}, {"w": (8, 4, 3, 3)}),
    "stride-0": ("MaxPool", (1, 4, 6, 6), {"kernel_shape": [2, 2], "strides": [0, 0]}, {}),
    "kernel-0": ("AveragePool", (1, 4, 6, 6), {"kernel_shape": [0, 0]}, {}),
    "blocksize-0": ("DepthToSpace", (1, 4, 6, 6), {"blocksize": 0}, {}),
    "perm-twice": ("Transpose", (2, 3, 4), {"perm": [0, 0, 1]}, {}),
    "perm-outside": ("Transpose", (2, 3, 4), {"perm": [0, 1, 7]}, {}),
    "axis-outside": ("Concat", (2, 3), {"axis": 9}, {"w": (2, 3)}),
    "channels-differ": ("Conv", (1, 4, 6, 6), {}, {"w": (8, 5, 3, 3)}),
    "inner-dims-differ": ("MatMul", (2, 3), {}, {"w": (4, 5)}),
    "broadcast-impossible": ("Add", (2, 3), {}, {"w": (2, 4)}),
    "kernel-too-large": ("Conv", (1, 4, 3, 3), {}, {"w": (8, 4, 7, 7)}),
    "equation-garbage": ("Einsum", (2, 3), {"equation": "ij,,->>"}, {}),
}


def fill(maker: Maker) -> None:
    """Add every case of the family."""
    _boundaries(maker)
    _graphs(maker)
    _files(maker)
    _shapes(maker)


def _boundaries(maker: Maker) -> None:
    import numpy as np
    from onnx import helper

    rng = maker.rng()
    for name, (op, shape, attributes, constants) in _BOUNDARY.items():
        weights = {k: rng.normal(0, 1, s).astype(np.float32) for k, s in constants.items()}
        node = helper.make_node(op, ["x", *weights], ["y"], name="only", **attributes)
        x = np.zeros(shape, np.float32)
        made = model([node], [value("x", x)], [value("y", x, None)], weights)
        made.graph.output[0].type.tensor_type.ClearField("shape")
        maker.add(f"broken/{name}", made, expect=BROKEN)


def _graphs(maker: Maker) -> None:
    """Graphs that no runtime may accept."""
    import numpy as np
    from onnx import helper

    x = np.zeros((2, 3), np.float32)
    i = np.zeros((2, 3), np.int64)

    def put(name: str, *nodes: Any, given: Any = x, **options: Any) -> None:
        made = model(list(nodes), [value("x", given)], [value("y", x)], **options)
        maker.add(f"broken/{name}", made, expect=BROKEN)

    def node(op: str, inputs: list[str], out: str = "y", **attributes: Any) -> Any:
        return helper.make_node(op, inputs, [out], name=f"{op.lower()}-{out}", **attributes)

    put("operator-unknown", node("Frobnicate", ["x"]))
    put("operator-of-later-opset", node("Gelu", ["x"]), at=13)
    foreign = helper.make_node("MyOp", ["x"], ["y"], name="mine", domain="acme.ops")
    put("domain-unknown", foreign, domains=("acme.ops",))
    put("input-undefined", node("Add", ["x", "nowhere"]))
    put("cycle", node("Add", ["x", "h"], "g"), node("Relu", ["g"], "h"), node("Relu", ["h"]))
    put("defined-twice", node("Relu", ["x"]), node("Neg", ["x"]))
    put("type-wrong", node("Conv", ["x", "x"]), given=i)
    put("types-differ", node("Add", ["x", "w"]), weights={"w": i})
    put("inputs-missing", node("Conv", ["x"]))
    put("attribute-missing", node("Cast", ["x"]))
    late = model([node("Relu", ["x"])], [value("x", x)], [value("y", x)])
    late.opset_import[0].version = 999
    maker.add("broken/opset-999", late, expect=BROKEN)
    none = model([node("Relu", ["x"])], [value("x", x)], [value("y", x)])
    none.graph.output[0].name = "nothing"
    maker.add("broken/output-undefined", none, expect=BROKEN)


def _files(maker: Maker) -> None:
    """Files that are no models, or half of one."""
    import numpy as np
    from onnx import TensorProto, helper

    x = np.zeros((2, 4), np.float32)
    w = np.ones((4, 4), np.float32)
    matmul = helper.make_node("MatMul", ["x", "w"], ["y"], name="only")
    whole = model([matmul], [value("x", x)], [value("y", x)], {"w": w})
    content = whole.SerializeToString()
    maker.add("broken/file-empty", b"", expect=BROKEN)
    maker.add("broken/file-truncated", content[:-20], expect=BROKEN)
    maker.add("broken/file-text", b"version https://example.org\noid 0123\n", expect=BROKEN)
    short = model([matmul], [value("x", x)], [value("y", x)], {"w": w})
    short.graph.initializer[0].raw_data = b"\0" * 8
    maker.add("broken/weights-too-short", short, expect=BROKEN)
    gone = model([matmul], [value("x", x)], [value("y", x)], {"w": w})
    tensor = gone.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "gone.bin"
    maker.add("broken/external-data-gone", gone, expect=BROKEN)


def _shapes(maker: Maker) -> None:
    """Reshape that cannot be."""
    import numpy as np
    from onnx import helper

    x = np.zeros((2, 6), np.float32)
    for name, wanted in (("reshape-two-free", [-1, -1]), ("reshape-count", [5, 5])):
        node = helper.make_node("Reshape", ["x", "s"], ["y"], name="only")
        out = value("y", x)
        out.type.tensor_type.ClearField("shape")
        weights = {"s": np.array(wanted, np.int64)}
        maker.add(f"broken/{name}", model([node], [value("x", x)], [out], weights), expect=BROKEN)
