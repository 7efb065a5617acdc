"""Between an ONNX model's tensors and an artefact's own: names, axes, element types, scales.

numpy is imported late. Python 3.10 and newer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seatrial.results import FaultKind, TensorIO

from .calls import CallFault

#: Kinds of element types that an output may have: booleans, integers and floats.
_KINDS = "biuf"

#: Numbers that must be free to change, so that a copy is likely to be new.
_NEW = 8


class TensorMap:
    """Between the ONNX model's tensors and the artefact's own.

    Args:
        inputs: the artefact's inputs; empty: the ONNX model's own, unchanged.
        outputs: the artefact's outputs; empty: unchanged.
    """

    def __init__(self, inputs: Sequence[TensorIO], outputs: Sequence[TensorIO]) -> None:
        self.inputs = inputs
        self.outputs = outputs

    def feeds(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Artefact inputs from ONNX inputs (batch axis included), C-contiguous.

        Raises:
            CallFault: broke contract: the artefact names an input that the samples lack, or wants
                integers of a float tensor without a scale.
        """
        import numpy as np

        if not self.inputs:
            return dict(arrays)
        fed = {}
        for io in self.inputs:
            source = io.onnx or io.name
            if source not in arrays:
                known = ", ".join(sorted(arrays))
                raise _broke(f"input {io.name!r} stands for {source!r}; the samples have {known}")
            value = arrays[source]
            if io.perm:
                value = np.transpose(value, io.perm)
            # Not ascontiguousarray, which gives a scalar an axis.
            fed[io.name] = np.asarray(_to_artifact(value, io), order="C")
        return fed

    def results(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """ONNX outputs from artefact outputs; those the artefact does not list stay as they are.

        Raises:
            CallFault: broke contract: a listed output is missing.
        """
        import numpy as np

        given = dict(arrays)
        mapped = {}
        for io in self.outputs:
            if io.name not in given:
                raise _broke(f"run gave no output {io.name!r}")
            value = given.pop(io.name)
            if io.scale:
                value = (value.astype(np.float32) - io.zero_point) * np.float32(io.scale)
            if io.perm:
                value = np.transpose(value, np.argsort(io.perm))
            mapped[io.onnx or io.name] = value
        return mapped | given


def _to_artifact(value: Any, io: TensorIO) -> Any:
    """Quantise with q = clip(round(x / scale) + zero_point), or cast between like kinds."""
    import numpy as np

    if not io.dtype or value.dtype == np.dtype(io.dtype):
        return value
    wanted = np.dtype(io.dtype)
    if io.scale:
        info = np.iinfo(wanted)
        steps = np.rint(value.astype(np.float64) / io.scale) + io.zero_point
        return np.clip(steps, info.min, info.max).astype(wanted)
    if wanted.kind in "iu" and value.dtype.kind == "f":
        raise _broke(f"input {io.name!r} takes {wanted} of a float tensor but states no scale")
    return value.astype(wanted)


def unseen(arrays: Mapping[str, Any]) -> dict[str, Any] | None:
    """A copy that differs in the lowest bits of its numbers: nobody was fed it before.

    Floats change in their last two bits; 0, what is subnormal and what is not finite stay, for they
    may be slow or mean something. Integers of 8 bits change by one level within their own range;
    wider ones are often indices and stay.

    Returns:
        ``None``: too few numbers may change to make a copy that is likely to be new.
    """
    import numpy as np

    rng = np.random.default_rng()  # no seed: a copy of an earlier run is not new
    made, free, changed = {}, 0, False
    for name, array in arrays.items():
        value = made[name] = np.array(array, order="C")
        if value.dtype.kind == "f" and value.dtype.itemsize <= 8:
            bits = value.view(f"u{value.dtype.itemsize}")
            able = np.isfinite(value) & (np.abs(value) >= np.finfo(value.dtype).tiny)
            flips = np.where(able, rng.integers(0, 4, value.shape), 0).astype(bits.dtype)
            bits ^= flips
        elif value.dtype.kind in "iu" and value.dtype.itemsize == 1 and value.size:
            flipped = value ^ 1
            able = (flipped >= value.min()) & (flipped <= value.max())
            value[...] = np.where(able & (rng.random(value.shape) < 0.5), flipped, value)
        else:
            continue
        free += int(np.count_nonzero(able))
        changed = changed or bool((value != array)[able].any())
    return made if changed and free >= _NEW else None


def checked_outputs(outputs: Any) -> dict[str, Any]:
    """The outputs of one call, if they are numpy arrays of numbers by name.

    Raises:
        CallFault: broke contract, naming the output.
    """
    import numpy as np

    if not isinstance(outputs, Mapping) or not outputs:
        raise _broke(f"run gave {type(outputs).__name__}, not a mapping of arrays")
    for name, value in outputs.items():
        if not isinstance(name, str) or not isinstance(value, np.ndarray):
            raise _broke(f"output {name!r} is a {type(value).__name__}, not a numpy array")
        if value.dtype.kind not in _KINDS:
            raise _broke(f"output {name!r} has element type {value.dtype}")
    return dict(outputs)


def _broke(reason: str) -> CallFault:
    return CallFault(FaultKind.BROKE_CONTRACT, reason)
