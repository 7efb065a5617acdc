"""The same small networks with Q/DQ pairs, in the dialects that toolchains ask for."""

from __future__ import annotations

from typing import Any

from seatrial.results import QdqDialect

from .maker import Maker, evaluate, model, value
from .nets import Parts

#: Dialects by name. The first is what CPUs with u8 x s8 kernels like, the second what importers
#: that only know symmetric int8 ask for.
DIALECTS = {
    "u8s8-per-channel": QdqDialect(),
    "s8s8-per-channel": QdqDialect(activations="int8", symmetric=True, bias="float"),
    "s8s8-int32-bias": QdqDialect(activations="int8", symmetric=True),
    "s8s8-per-tensor": QdqDialect(
        activations="int8", symmetric=True, per_channel=False, bias="float"
    ),
    "u8u8-per-tensor": QdqDialect(weights="uint8", per_channel=False),
    "u8s8-7-bit": QdqDialect(reduce_range=True),
    "s8s8-asymmetric": QdqDialect(activations="int8", bias="float"),
    "u8s8-float-bias": QdqDialect(bias="float"),
    "u8s8-7-bit-float-bias": QdqDialect(bias="float", reduce_range=True),
}


class Quantiser:
    """Puts Q/DQ pairs into a network that is being built.

    Args:
        net: where nodes and weights go.
        dialect: the form of the pairs.
        ranges: (lowest, highest) value by tensor name.
    """

    def __init__(
        self, net: Parts, dialect: QdqDialect, ranges: dict[str, tuple[float, float]]
    ) -> None:
        self.net = net
        self.dialect = dialect
        self.ranges = ranges
        self.scales: dict[str, Any] = {}

    def activation(self, name: str, out: str = "") -> str:
        """A pair behind a tensor; the tensor's new name (``out`` when given)."""
        import numpy as np

        low, high = (min(self.ranges[name][0], 0.0), max(self.ranges[name][1], 0.0))
        signed = self.dialect.activations == "int8"
        if self.dialect.symmetric:
            scale, zero = max(-low, high) / 127, 0 if signed else 128
        else:
            scale = (high - low) / 255
            zero = round(-low / scale) - (128 if signed else 0)
        kind = np.int8 if signed else np.uint8
        self.scales[name] = np.float32(scale)
        return self._pair(name, np.float32(scale), np.array(zero, kind), out)

    def _pair(self, name: str, scale: Any, zero: Any, out: str) -> str:
        net = self.net
        net.weights |= {f"{name}_scale": np_array(scale), f"{name}_zero": zero}
        tail = [f"{name}_scale", f"{name}_zero"]
        net.node("QuantizeLinear", [name, *tail], f"{name}_q")
        return net.node("DequantizeLinear", [f"{name}_q", *tail], out or f"{name}_dq")

    def weight(self, name: str, axis: int) -> tuple[str, Any]:
        """A constant in 8 bits behind a DQ node: its float name, and its scale(s)."""
        import numpy as np

        w = self.net.weights.pop(name)
        signed = self.dialect.weights == "int8"
        top = 63 if self.dialect.reduce_range else 127
        others = tuple(i for i in range(w.ndim) if i != axis)
        bound = np.abs(w).max(axis=others if self.dialect.per_channel else None)
        scale = np.asarray(bound / top, np.float32)
        shape = [-1 if i == axis else 1 for i in range(w.ndim)]
        steps = np.rint(w / (scale.reshape(shape) if self.dialect.per_channel else scale))
        kind = np.int8 if signed else np.uint8
        offset = 0 if signed else 128
        self.net.weights |= {
            f"{name}_q": (steps + offset).astype(kind),
            f"{name}_scale": scale,
            f"{name}_zero": np.full(scale.shape, offset, kind),
        }
        tail = [f"{name}_scale", f"{name}_zero"]
        extra = {"axis": axis} if self.dialect.per_channel else {}
        return self.net.node("DequantizeLinear", [f"{name}_q", *tail], f"{name}_dq", **extra), scale

    def bias(self, name: str, source: str, weight_scale: Any) -> str:
        """A bias as int32 with the scale input x weight, or left in float."""
        import numpy as np

        if self.dialect.bias == "float":
            return name
        b = self.net.weights.pop(name)
        scale = np.asarray(self.scales[source] * weight_scale, np.float32)
        self.net.weights |= {
            f"{name}_q": np.rint(b / scale).astype(np.int32),
            f"{name}_scale": scale,
            f"{name}_zero": np.zeros(scale.shape, np.int32),
        }
        extra = {"axis": 0} if scale.ndim else {}
        tail = [f"{name}_scale", f"{name}_zero"]
        return self.net.node("DequantizeLinear", [f"{name}_q", *tail], f"{name}_dq", **extra)


def np_array(number: Any) -> Any:
    """A scalar as an array."""
    import numpy as np

    return np.asarray(number)


def fill(maker: Maker) -> None:
    """Add every case of the family."""
    for name, dialect in DIALECTS.items():
        for net, build in (("conv", _conv), ("gemm", _gemm), ("residual", _residual)):
            _add(maker, f"int8/{net}-{name}", dialect, build)


def _add(maker: Maker, name: str, dialect: QdqDialect, build: Any) -> None:
    """Build once in float for the ranges, then with pairs."""
    import numpy as np

    rng = maker.rng()
    x = rng.normal(0, 1, (1, 8) if "gemm" in name else (1, 3, 8, 8)).astype(np.float32)
    plain = Parts(maker.rng())
    build(plain, None)
    tensors = evaluate(model(plain.nodes, [value("x", x)], ["y"], plain.weights), {"x": x})
    ranges = {k: (float(v.min()), float(v.max())) for k, v in {**tensors, "x": x}.items()}
    net = Parts(maker.rng())
    quantiser = Quantiser(net, dialect, ranges)
    build(net, quantiser)
    ends = ([value("x", x)], [value("y", tensors["y"])], net.weights)
    # The evaluator begins at opset 19; the pairs mean the same since 13, the first with an axis.
    truth = evaluate(model(net.nodes, *ends, at=19), {"x": x})
    maker.add(
        name,
        model(net.nodes, *ends, at=13),
        {"x": x},
        truth=truth,
        precision="int8",
        dialect=dialect,
        steps=2.0,
        step=float(quantiser.scales["last"]),
    )


def _layer(
    net: Parts, q: Quantiser | None, op: str, source: str, names: tuple[str, str, str], **extra: Any
) -> str:
    """One layer with weights; ``names`` are those of weight, bias and output."""
    w, b, out = names
    if q is None:
        return net.node(op, [source, w, b], out, **extra)
    fed = q.activation(source)
    weight, scale = q.weight(w, 0)
    return net.node(op, [fed, weight, q.bias(b, source, scale)], out, **extra)


def _end(net: Parts, q: Quantiser | None, source: str) -> None:
    """The last tensor is quantised too, so that its step bounds the error."""
    if q is None:
        net.node("Identity", [source], "y")
    else:
        q.activation(source, out="y")


def _conv(net: Parts, q: Quantiser | None) -> None:
    """Conv, Relu, Conv."""
    net.weight("w1", 8, 3, 3, 3)
    net.weight("b1", 8)
    net.weight("w2", 4, 8, 1, 1)
    net.weight("b2", 4)
    h = _layer(net, q, "Conv", "x", ("w1", "b1", "first"), pads=[1] * 4)
    h = net.node("Relu", [h], "act")
    h = _layer(net, q, "Conv", h, ("w2", "b2", "last"))
    _end(net, q, h)


def _gemm(net: Parts, q: Quantiser | None) -> None:
    """Two fully connected layers."""
    net.weight("w1", 16, 8)
    net.weight("b1", 16)
    net.weight("w2", 5, 16)
    net.weight("b2", 5)
    h = _layer(net, q, "Gemm", "x", ("w1", "b1", "first"), transB=1)
    h = net.node("Relu", [h], "act")
    h = _layer(net, q, "Gemm", h, ("w2", "b2", "last"), transB=1)
    _end(net, q, h)


def _residual(net: Parts, q: Quantiser | None) -> None:
    """Conv, Conv and the sum of both, with pairs on either side of the sum."""
    net.weight("w1", 8, 3, 3, 3)
    net.weight("b1", 8)
    net.weight("w2", 8, 8, 3, 3)
    net.weight("b2", 8)
    h = _layer(net, q, "Conv", "x", ("w1", "b1", "first"), pads=[1] * 4)
    h = net.node("Relu", [h], "act")
    g = _layer(net, q, "Conv", h, ("w2", "b2", "second"), pads=[1] * 4)
    if q is not None:
        h, g = "act_dq", q.activation(g)
    h = net.node("Add", [h, g], "last")
    _end(net, q, h)
