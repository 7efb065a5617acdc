"""Stored arrays to fed tensors: reshape, the contract's formula, dtype, and the model's shape.

Nothing is converted silently: an integer array feeds a float input only by contract, because a
quantizer builds without a word on pixels of 0 to 255 for a model that was trained on -1 to 1.
Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seatrial.data.contract import UNKNOWN_RANK, InputContract
from seatrial.errors import UserError
from seatrial.results import TensorIO


class TensorFeed:
    """Makes one input's tensors from arrays.

    Args:
        contract: ``None`` when the user wrote none for this input: then nothing is converted.
        model_input: name, dtype and shape.
    """

    def __init__(self, contract: InputContract | None, model_input: TensorIO) -> None:
        self.input = model_input
        self.contract = contract or InputContract(mode="tensor", dtype="")
        self.explicit = contract is not None

    def __call__(self, raw: Any, sample: str) -> Any:
        """One sample as fed, without batch axis.

        Raises:
            UserError: another dtype than the model's and no contract that says how to convert,
                or an element count that does not fit ``reshape``.
        """
        import numpy as np

        value = np.asarray(raw)
        place = f"input {self.input.name!r}"
        if value.dtype.kind not in "fiub":
            raise UserError(sample, f"holds {value.dtype}, not numbers", place=place)
        if self.contract.reshape:
            try:
                value = value.reshape(self.contract.reshape)
            except ValueError:
                have = "x".join(map(str, value.shape))
                want = "x".join(map(str, self.contract.reshape))
                raise UserError(
                    sample, f"{have} cannot be reshaped to {want}", place=place
                ) from None
        wanted = np.dtype(self.input.dtype) if self.input.dtype else value.dtype
        if not self.contract.identity:
            value = self._formula(value)
            if wanted.kind in "iu":
                value = np.rint(value)
        elif value.dtype == wanted:
            return value
        else:
            self._may_convert(value.dtype, wanted, sample, place)
        return self._cast(value, wanted, sample, place)

    def _formula(self, value: Any) -> Any:
        import numpy as np

        c = self.contract
        value = (value.astype(np.float64) - c.zero_point) * c.scale
        if len(c.mean) == 1 and len(c.std) == 1:
            return (value - c.mean[0]) / c.std[0]
        shape = self._channel_shape(value.shape, max(len(c.mean), len(c.std)))
        mean, std = (np.array(v).reshape(shape if len(v) > 1 else -1) for v in (c.mean, c.std))
        return (value - mean) / std

    def _channel_shape(self, shape: Sequence[int], channels: int) -> tuple[int, ...]:
        """Where per-channel numbers go: the first axis with so many elements, else the last."""
        if shape and shape[0] == channels:
            return (channels, *(1,) * (len(shape) - 1))
        if shape and shape[-1] == channels:
            return (channels,)
        reason = f"{channels} values for mean or std, but no channel axis in {tuple(shape)}"
        raise UserError("input contract", reason, place=f'[input."{self.input.name}"]')

    def _may_convert(self, have: Any, wanted: Any, sample: str, place: str) -> None:
        stated = self.explicit and self.contract.dtype == str(wanted)
        if have.kind == "f" and wanted.kind == "f":
            return
        if have.kind in "iub" and wanted.kind in "iu":
            return
        if have.kind in "iub" and wanted.kind == "f" and stated:
            return
        advice = (
            "write a contract: seatrial init MODEL --data SRC proposes one"
            if have.kind in "iub"
            else "store it in the model's type"
        )
        reason = f"holds {have}, the model takes {wanted}, and no contract says how to convert"
        raise UserError(sample, reason, place=place, advice=advice)

    def _cast(self, value: Any, wanted: Any, sample: str, place: str) -> Any:
        import numpy as np

        if wanted.kind in "iu" and value.size:
            limits = np.iinfo(wanted)
            low, high = value.min(), value.max()
            if not (low >= limits.min and high <= limits.max):
                reason = f"holds {low:g} to {high:g}, more than {wanted} can"
                raise UserError(sample, reason, place=place)
        with np.errstate(over="ignore"):  # a float16 overflow becomes Inf, which is a finding
            return value.astype(wanted)


class Made:
    """What is fed to an input that no source holds: a constant, or the state before any step.

    Attributes:
        tensor: with every axis of the model's input, free ones of length 1.

    Raises:
        UserError: a constant of another number of elements.
    """

    def __init__(self, contract: InputContract, model_input: TensorIO) -> None:
        import numpy as np

        place = f'[input."{model_input.name}"]'
        if tuple(model_input.shape) == UNKNOWN_RANK:
            raise UserError("input contract", "the model does not say its shape", place=place)
        shape = tuple(d if isinstance(d, int) and d > 0 else 1 for d in model_input.shape)
        values = np.asarray(contract.value or (0.0,), np.float64)
        size = int(np.prod(shape))
        if values.size not in (1, size):
            reason = f"{values.size} values for {size} elements"
            raise UserError("input contract", reason, place=f"{place} value")
        full = np.broadcast_to(values, (size,)) if values.size == 1 else values
        self.tensor = full.reshape(shape).astype(contract.dtype or model_input.dtype or "float32")


def _without_batch(model_input: TensorIO) -> Sequence[int | str]:
    shape = model_input.shape
    return shape if shape == UNKNOWN_RANK else shape[1:]


def fits(shape: Sequence[int], wanted: Sequence[int | str]) -> bool:
    """Whether a concrete shape fits a model's.

    Free dimensions are texts (or 0 and below); ``("...",)`` is a shape of unknown rank.
    """
    if tuple(wanted) == UNKNOWN_RANK:
        return True
    return len(shape) == len(wanted) and all(
        not isinstance(w, int) or w <= 0 or s == w for s, w in zip(shape, wanted, strict=True)
    )


def batch_axis(
    shapes: Mapping[str, Sequence[int]],
    inputs: Sequence[TensorIO],
    contracts: Mapping[str, InputContract],
    sample: str,
) -> bool:
    """Whether samples are stacked along a batch axis, decided from the first sample.

    Args:
        shapes: of one sample, by input name.
        inputs: the model's.
        contracts: complete; a layout settles it, the shapes decide otherwise.
        sample: its name, for messages.

    Raises:
        UserError: a shape fits neither way, or the inputs disagree.
    """
    votes: dict[str, set[bool]] = {}
    for model_input in inputs:
        name, shape = model_input.name, tuple(shapes[model_input.name])
        stacked = bool(model_input.shape) and fits(shape, _without_batch(model_input))
        if name in contracts and contracts[name].made:
            continue
        options = {True} if stacked else set()
        if fits(shape, model_input.shape):
            options.add(False)
        layout = contracts[name].layout if name in contracts else ""
        if layout:
            options &= {layout.startswith("N")}
        if not options:
            raise _misfit(sample, shape, model_input)
        votes[name] = options
    common = set.intersection(*votes.values()) if votes else {False}
    if not common:
        text = ", ".join(f"{n} {'with' if True in v else 'without'}" for n, v in votes.items())
        reason = f"some inputs fit only with a batch axis and some only without ({text})"
        raise UserError(sample, reason, advice='write layout = "..." for inputs fed whole')
    return True in common


def check_shape(shape: Sequence[int], model_input: TensorIO, stacked: bool, sample: str) -> None:
    """Refuse a sample whose shape the model does not take.

    Raises:
        UserError: naming the sample and both shapes.
    """
    if not fits(shape, _without_batch(model_input) if stacked else model_input.shape):
        raise _misfit(sample, shape, model_input)


def _misfit(sample: str, shape: Sequence[int], model_input: TensorIO) -> UserError:
    have = "x".join(map(str, shape)) or "(a number)"
    want = "x".join(str(d) if d != "" else "?" for d in model_input.shape) or "(a number)"
    advice = "write reshape, or store it in the model's layout"
    if len(shape) == 3 and (shape[2], shape[0], shape[1]) == tuple(model_input.shape[-3:]):
        advice = 'it is H,W,C and the model takes C,H,W: transpose it, or use mode = "image"'
    reason = f"has the shape {have}, the model takes {want} (first axis: batch)"
    return UserError(sample, reason, place=f"input {model_input.name!r}", advice=advice)
