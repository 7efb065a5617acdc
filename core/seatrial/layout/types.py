"""What goes into and comes out of the tasks of this room. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from seatrial.codec import record
from seatrial.results import Ref


@record
class CompareRequest:
    """Ask whether a transformed model gives the results of the original.

    Attributes:
        expected: outputs of the original, as a store.
        got: outputs of the transformed model on the same samples, as a store.
        perms: by output name, how the transformed model's axes are taken from the original's
            (:attr:`seatrial.results.TensorIO.perm`, batch axis included); absent: unchanged.
        names: by output name of the original, the transformed model's name for it.
        model: the original, to look for mixed-up input axes when the results differ.
        samples: the inputs that belong to ``expected``.
    """

    expected: Ref
    got: Ref
    perms: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    model: Ref | None = None
    samples: Ref | None = None


@record
class TensorDifference:
    """How far one output is from the original's.

    Attributes:
        max_abs: largest absolute difference over samples; -1 when there is nothing to compare.
        max_rel: largest over samples of the difference divided by the largest magnitude that the
            original's output has in the same sample; -1 likewise.
        tolerance: what ``max_rel`` may be.
        worst: id of the sample with the largest ``max_rel``.
        within: whether all samples are within the tolerance.
        reason: why not, in one line.
        diagnosis: which mix-up of axes would explain it, or ``""``.
    """

    name: str
    max_abs: float
    max_rel: float
    tolerance: float
    worst: str = ""
    within: bool = True
    reason: str = ""
    diagnosis: str = ""


@record
class CompareResult:
    """Whether two models are equivalent up to FP32 rounding.

    Attributes:
        equal: every output of every sample is within its tolerance.
        n: samples compared, at least 1.
    """

    equal: bool
    n: int
    outputs: tuple[TensorDifference, ...]
