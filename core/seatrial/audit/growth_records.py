"""What the measurement of INT8 loss by calibration samples takes and gives."""

from __future__ import annotations

from seatrial.codec import record
from seatrial.results import QdqDialect, Ref


@record
class GrowthRequest:
    """Ask whether more calibration samples would lower the INT8 loss.

    Attributes:
        model: the float model.
        samples: the calibration store.
        held_out: indices of the samples that judge; all others collect ranges.
        dialect: form of the pairs.
        method: how ranges are chosen.
        seed: of sampled statistics.
        seconds: nothing further is begun after this time.
    """

    model: Ref
    samples: Ref
    held_out: tuple[int, ...]
    dialect: QdqDialect = QdqDialect()
    method: str = "mse"
    seed: int = 0
    seconds: float = 60.0


@record
class GrowthPoint:
    """The INT8 loss after calibration on so many samples.

    Attributes:
        n: samples that collected ranges.
        loss: mean over held-out samples, and over the draws.
        more: that loss less the loss with all samples.
        ci95: 95 % interval of that difference, over held-out samples.
        draws: how many models, each calibrated on other samples.
        spread: largest less smallest mean loss of these.
    """

    n: int
    loss: float
    more: float = 0.0
    ci95: tuple[float, float] = (0.0, 0.0)
    draws: int = 1
    spread: float = 0.0


@record
class Growth:
    """Whether more calibration samples would lower the INT8 loss.

    Attributes:
        rule: ``kl`` (nats to the float model) or ``error`` (error power over signal power).
        method: how ranges were chosen.
        curve: by samples; the last one is calibrated on all.
        held_out: samples that judged.
        verdict: ``same`` (half of the samples do as well), ``falling`` or ``open``.
        nothing: a difference below this matters to nobody.
        text: what follows from it.
        seconds: wall time.
    """

    rule: str = "kl"
    method: str = ""
    curve: tuple[GrowthPoint, ...] = ()
    held_out: int = 0
    verdict: str = "open"
    nothing: float = 0.0
    text: str = ""
    seconds: float = 0.0
