"""How much an error in one channel of an activation matters to what reads it.

An error of variance v in channel c of the input of a linear layer makes an output error of
variance v times the sum of the squared weights that read c. Followed back from the outputs, with
activations and pooling taken as the identity, this gives every channel a weight: the diagonal
approximation of Nagel et al. 2020 ("Up or down?", section 3) without the second derivatives.
Runs in a child only.
"""

from __future__ import annotations

from typing import Any

from seatrial.quantize.graph import Graph, attribute

#: Operators that hand a channel's error on to the same channel.
_SAME = frozenset(
    {
        "AveragePool",
        "Clip",
        "Dropout",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "LeakyRelu",
        "MaxPool",
        "PRelu",
        "QuickGelu",
        "Relu",
        "Resize",
        "Sigmoid",
        "Tanh",
    }
)

#: Weights of channels differ by at most this factor from the mean: a channel that nothing reads
#: now must not be clipped away altogether.
SPREAD_MAX = 1e3


class Importance:
    """Weights of the channels of every tensor of a prepared graph.

    Args:
        graph: prepared, with shapes inferred.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._sums: dict[str, Any] = {}
        for name in graph.outputs:
            self._add(name, 1.0)
        for node in reversed(graph.nodes):
            self._back(node)

    def of(self, name: str) -> tuple[int, Any] | None:
        """The channel axis (without the batch axis counted from 0) and the weights, mean 1.

        ``None`` where all channels weigh the same.
        """
        import numpy as np

        found = self._sums.get(name)
        shape = self.graph.shape(name)
        if found is None or np.ndim(found) == 0 or shape is None:
            return None
        axis = 1 if len(shape) == 4 else len(shape) - 1
        if len(shape) < 2 or shape[axis] != len(found):
            return None
        mean = float(found.mean())
        if not np.isfinite(mean) or mean <= 0:
            return None
        return axis, np.clip(found / mean, 1 / SPREAD_MAX, SPREAD_MAX)

    def _add(self, name: str, value: Any) -> None:
        import numpy as np

        if name not in self._sums:
            self._sums[name] = value
            return
        have = self._sums[name]
        if np.ndim(have) and np.ndim(value) and len(have) != len(value):
            have, value = float(np.mean(have)), float(np.mean(value))
        self._sums[name] = have + value

    def _back(self, node: Any) -> None:
        import numpy as np

        outs = [self._sums[o] for o in node.output if o in self._sums]
        if not outs or node.domain:
            if outs:
                self._even(node, float(np.mean(outs[0])))
            return
        value = outs[0]
        kind = node.op_type
        weight = self.graph.constant(node.input[1]) if kind in _LINEAR else None
        if weight is not None and weight.ndim >= 2:
            self._add(node.input[0], _LINEAR[kind](node, weight, value))
        elif kind == "BatchNormalization":
            self._add(node.input[0], self._normalised(node, value))
        elif kind in _SAME:
            self._add(node.input[0], value)
        elif kind == "Add":
            for name in node.input:
                self._add(name, value)
        elif kind == "Concat" and attribute(node, "axis") == 1:
            self._split(node, value)
        else:
            self._even(node, float(np.mean(value)))

    def _even(self, node: Any, value: float) -> None:
        for name in node.input:
            if name and name not in self.graph.initializers:
                self._add(name, value)

    def _normalised(self, node: Any, value: Any) -> Any:
        import numpy as np

        values = [self.graph.constant(n) for n in node.input[1:5]]
        if any(v is None for v in values):
            return value
        gamma, _, _, variance = (np.asarray(v, np.float64) for v in values)
        return value * gamma**2 / (variance + attribute(node, "epsilon", 1e-5))

    def _split(self, node: Any, value: Any) -> None:
        import numpy as np

        shapes = [self.graph.shape(n) for n in node.input]
        sizes = [s[1] if s is not None and len(s) > 1 else None for s in shapes]
        if np.ndim(value) == 0 or any(k is None for k in sizes):
            self._even(node, float(np.mean(value)))
            return
        start = 0
        for name, size in zip(node.input, sizes, strict=True):
            self._add(name, value[start : start + (size or 0)])
            start += size or 0


def _conv(node: Any, weight: Any, value: Any) -> Any:
    """Weight (out, in / groups, ...): sum over what each input channel feeds."""
    import numpy as np

    group = attribute(node, "group", 1)
    energy = _energy(weight)
    outputs = np.broadcast_to(value, (len(energy),)) if np.ndim(value) in (0, 1) else None
    if outputs is None or len(outputs) != len(energy):
        outputs = np.ones(len(energy))
    parts = (energy * outputs[:, None]).reshape(group, -1, energy.shape[1]).sum(1)
    return parts.reshape(-1)


def _transposed(node: Any, weight: Any, value: Any) -> Any:
    """Weight (in, out / groups, ...)."""
    import numpy as np

    energy = _energy(weight)
    del node
    return energy.sum(1) * float(np.mean(value))


def _gemm(node: Any, weight: Any, value: Any) -> Any:
    return _matmul(node, weight.T if attribute(node, "transB", 0) else weight, value)


def _matmul(node: Any, weight: Any, value: Any) -> Any:
    """Weight (..., in, out)."""
    import numpy as np

    del node
    energy = np.square(weight.astype(np.float64)).reshape(-1, *weight.shape[-2:]).mean(0)
    fits = np.ndim(value) == 1 and len(value) == energy.shape[1]
    return energy @ (value if fits else np.full(energy.shape[1], float(np.mean(value))))


def _energy(weight: Any) -> Any:
    """Sum of squares over the kernel, shape of the first two axes."""
    import numpy as np

    square = np.square(weight.astype(np.float64))
    return square.reshape(*weight.shape[:2], -1).sum(2)


_LINEAR = {"Conv": _conv, "ConvTranspose": _transposed, "Gemm": _gemm, "MatMul": _matmul}
