"""``seatrial demo``: a small net trained on real digits, tried for real, twice.

The second model computes the same function in float as the first, but one channel of one layer
is scaled up and the next layer scales it down again. That is invisible to every float check and
ruins a per-tensor activation range: one trial ends with SHIP, the other with DO NOT SHIP.
"""

from __future__ import annotations

from seatrial.codec import record
from seatrial.results import Artifact


@record
class DemoRequest:
    """What to train.

    Attributes:
        seed: of the weights, the batches and the split.
        epochs: passes over the training images.
        outlier: how much larger the largest channel of the second model is than its smallest.
    """

    seed: int = 0
    epochs: int = 12
    outlier: float = 10_000.0


@record
class DemoFiles:
    """What was made: two models and two ``.npz`` archives, files of one artefact.

    Attributes:
        accuracy: of the float net on the test images, in percent.
    """

    artifact: Artifact
    model: str
    spoiled: str
    calibration: str
    test: str
    accuracy: float
    train_images: int
    calibration_images: int
    test_images: int
