"""What the tasks that hold an export against its module take and give: values, sizes, axes.

Standard library only.
"""

from __future__ import annotations

from seatrial.codec import record
from seatrial.export.module_records import Variant, VariantRun
from seatrial.results import Ref

PASS, FAIL, NOT_PROVEN = "pass", "fail", "not proven"

FREE, BAKED, CONSTRAINED, FIXED, UNTRIED = "free", "baked in", "constrained", "fixed", "not tried"


@record
class ParityRequest:
    """Ask to compare stores of outputs.

    Attributes:
        torch: outputs of the module in float32.
        exact: outputs of the yardstick, see :mod:`seatrial.export.gate`.
        onnx: outputs of the exported model on the reference.
        yardstick: ``fp64``, ``ulp`` or ``""``.
    """

    torch: Ref
    onnx: Ref
    exact: Ref | None = None
    yardstick: str = ""


@record
class OutputParity:
    """One output of the exported model against the module, over all samples.

    Attributes:
        output: name.
        gate: ``pass``, ``fail`` or ``not proven``.
        reason: the rule that decided.
        max_abs: largest absolute error; ``None``: could not be compared.
        max_rel: largest error over the output's own scale in that sample.
        beyond: share of elements whose scale-aware error exceeds 1e-5.
        own: the module's own rounding error, on the same scale; ``None``: no yardstick.
        allowed: what the gate allowed ``max_rel`` to be.
        worst: id of the worst sample.
        worst_index: its position.
        nonfinite: elements that are NaN or infinite in the exported model's output.
        nonfinite_torch: the same of the module.
        constant: every sample gives the same values.
        n: samples.
    """

    output: str
    gate: str
    reason: str
    max_abs: float | None
    max_rel: float | None
    beyond: float
    own: float | None
    allowed: float
    worst: str
    worst_index: int
    nonfinite: int
    nonfinite_torch: int
    constant: bool
    n: int


@record
class ParityResult:
    """All outputs; the gate is that of the worst."""

    gate: str
    outputs: tuple[OutputParity, ...]
    reason: str = ""


@record
class ReplayRequest:
    """Ask to run an exported model at other sizes, on the variants of a study."""

    model: Ref
    study: Ref
    variants: tuple[Variant, ...]
    runs: tuple[VariantRun, ...]
    outputs: tuple[str, ...]


@record
class Replay:
    """What the exported model did at another size; ``agrees`` says it gave what the module gave."""

    label: str
    ran: bool
    agrees: bool
    reason: str = ""


@record
class ReplayResult:
    """One replay per variant that the module itself accepted."""

    replays: tuple[Replay, ...] = ()


@record
class AxisFact:
    """One axis of one input.

    Attributes:
        status: ``free`` (other sizes ran and agreed), ``baked in`` (the module takes other sizes,
            the exported model does not or gives something else), ``constrained`` (the module takes
            some other sizes), ``fixed`` (it takes none) or ``not tried``.
        asked: the user asked for it to be free.
        evidence: what was tried and what happened.
        low: smallest size that was tried and ran; where it was asked for, the exported model too.
        high: the largest one.
    """

    input: str
    axis: int
    size: int
    status: str
    asked: bool = False
    evidence: str = ""
    file: str = ""
    line: int = 0
    low: int = 0
    high: int = 0
