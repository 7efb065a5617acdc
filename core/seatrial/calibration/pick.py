"""Which elements of an activation go into its histogram, as nodes of the observed graph.

About 2**14 elements per tensor and inference, at places that are drawn anew for each: whole rows
(all indices but the last one fixed), one at random in each of equal stretches of the tensor. So
nothing but what is picked is read, and of a tensor in the runtime's blocked layout, which is not
reordered for this, a row holds some pixels of some channels. Where the shape is not known or rows
are long, single elements are picked of the flattened tensor. The places depend on the seed and
the sample alone. Runs in a child only.
"""

from __future__ import annotations

import math
from typing import Any

from .types import PLACES, Reading, Rows

#: Elements picked of a tensor per inference, about.
PICKS = 1 << 14

#: Tensors up to this size are taken whole: sampling them would save little.
WHOLE = 2 * PICKS

#: Fewer rows than this do not stand for a tensor.
ROWS_MIN = 32

Shape = tuple[int | None, ...] | None


class Places:
    """The random places of one inference.

    Args:
        seed: of the pass.
        sample: index of the (first) sample.
    """

    def __init__(self, seed: int, sample: int) -> None:
        import numpy as np

        self.random = np.random.default_rng([seed, sample]).random(PICKS)

    def of(self, size: int, count: int = PICKS) -> Any:
        """Positions below ``size``, int64, ascending: one in each of ``count`` equal stretches."""
        import numpy as np

        at = (np.arange(count) + self.random[:count]) * (size / count)
        return np.minimum(at.astype(np.int64), size - 1)

    def feeds(self, reading: Reading) -> dict[str, Any]:
        """The inputs that tell an observed graph what to pick."""
        import numpy as np

        found = {}
        for rows in reading.rows:
            at = self.of(math.prod(rows.sizes), rows.count)
            found[rows.name] = np.stack(np.unravel_index(at, rows.sizes), 1)
        if reading.scattered:
            # Below 1 also once it is rounded, so that no product with a size reaches the size.
            at = (np.arange(PICKS) + self.random) / PICKS
            found[PLACES] = np.minimum(at, 1 - 2.0**-40)
        return found

    def pick(self, values: Any) -> Any:
        """The same for an array at hand: some elements, or all of a small one."""
        import numpy as np

        flat = np.asarray(values).reshape(-1)
        return flat if flat.size <= WHOLE else flat[self.of(flat.size)]


class Picker:
    """Adds picking nodes and what they share.

    Args:
        model: a ``ModelProto``; its initializers and inputs are extended.
        mark: prefix of every name.
        everything: take every element.

    Attributes:
        rows: what has to be fed, by the sizes that rows are counted in.
        scattered: whether :data:`seatrial.calibration.types.PLACES` has to be fed.
    """

    def __init__(self, model: Any, mark: str, *, everything: bool = False) -> None:
        self.model = model
        self.mark = mark
        self.everything = everything
        self.known: set[str] = set()
        self.rows: dict[tuple[int, ...], Rows] = {}
        self.scattered = False

    def nodes(self, source: str, result: str, shape: Shape) -> list[Any]:
        """The nodes that write the picked elements of ``source``.

        Args:
            source: the observed tensor.
            result: name for the picked elements.
            shape: of the tensor, as far as known.
        """
        sizes = [d for d in shape or () if d]
        known = shape is not None and len(sizes) == len(shape)
        if self.everything or (known and math.prod(sizes) <= WHOLE):
            return [self.flat(source, result)]
        if known and len(sizes) > 1 and sizes[-1] <= WHOLE // ROWS_MIN:
            rows = self._rows(tuple(sizes))
            return [node("GatherND", [source, rows.name], result)]
        return self._scattered(source, result)

    def constant(self, name: str, value: Any) -> str:
        """The full name of a constant that is added once."""
        from onnx import numpy_helper

        name = f"{self.mark}_{name}"
        if name not in self.known:
            self.known.add(name)
            self.model.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def flat(self, source: str, result: str) -> Any:
        """The node that lays all elements in a row."""
        import numpy as np

        return node("Reshape", [source, self.constant("flat", np.array([-1], np.int64))], result)

    def _rows(self, shape: tuple[int, ...]) -> Rows:
        """What rows of a tensor of this shape are picked by; shared by all of the same shape."""
        from onnx import TensorProto

        sizes = shape[:-1]
        if shape not in self.rows:
            count = max(ROWS_MIN, -(-PICKS // shape[-1]))
            name = "_".join([self.mark, "rows", *map(str, shape)])
            self.rows[shape] = Rows(name=name, sizes=sizes, count=count)
            self._input(name, TensorProto.INT64, [count, len(sizes)])
        return self.rows[shape]

    def _scattered(self, source: str, result: str) -> list[Any]:
        """Elements at given fractions of whatever length the flattened tensor has."""
        from onnx import TensorProto

        if not self.scattered:
            self.scattered = True
            self._input(PLACES, TensorProto.DOUBLE, [PICKS])
        size, real, far, index, flat = (f"{result}_{k}" for k in "abcde")
        return [
            node("Size", [source], size),
            node("Cast", [size], real, to=TensorProto.DOUBLE),
            node("Mul", [real, PLACES], far),
            node("Cast", [far], index, to=TensorProto.INT64),
            self.flat(source, flat),
            node("Gather", [flat, index], result),
        ]

    def _input(self, name: str, kind: int, shape: list[int]) -> None:
        import onnx

        info = onnx.helper.make_tensor_value_info(name, kind, shape)
        self.model.graph.input.append(info)


def node(op_type: str, sources: list[str], result: str, **attributes: Any) -> Any:
    """A node named as its only output."""
    import onnx

    return onnx.helper.make_node(op_type, sources, [result], name=result, **attributes)
