"""What goes into and comes out of the tasks of this room. Standard library only."""

from __future__ import annotations

from seatrial.codec import record
from seatrial.results import Artifact, Ref


@record
class WeighRequest:
    """Ask for a calibration table whose histograms count what matters downstream.

    Attributes:
        model: the float model that the table was made of.
        ranges: the table; its extremes stay.
        samples: a sample store.
        indices: the samples to use; empty: the first :data:`WEIGH_MOST` spread over all.
        seed: of the picked elements.
    """

    model: Ref
    ranges: Ref
    samples: Ref
    indices: tuple[int, ...] = ()
    seed: int = 0


#: Samples that weighted histograms are made from, and that corrections look at.
WEIGH_MOST, CORRECT_MOST = 32, 48


@record
class Weighed:
    """The table (format ``ranges``), to be used with the method ``mse``.

    Attributes:
        uneven: tensors whose channels matter more than twice as much or half as much as others.
    """

    artifact: Artifact
    tensors: int
    uneven: int


@record
class CorrectRequest:
    """Ask for a Q/DQ model whose layers have the mean outputs of the float model's.

    Attributes:
        model: the float model.
        candidate: its form with Q/DQ pairs, nodes and tensors named as in ``model``.
        samples: a sample store.
        indices: the samples to use; empty: the first :data:`CORRECT_MOST` spread over all.
        seconds: no layer is started after this time; 0: no limit.
    """

    model: Ref
    candidate: Ref
    samples: Ref
    indices: tuple[int, ...] = ()
    seconds: float = 0.0


@record
class Corrected:
    """The corrected model (format ``onnx``).

    Attributes:
        layers: how many layers were corrected.
        skipped: how many have no place for a bias, or were not reached in time.
        samples: how many samples were used.
        shift: largest correction, as a fraction of the standard deviation of its channel.
    """

    artifact: Artifact
    layers: int
    skipped: int
    samples: int
    shift: float
