"""What goes into and comes out of the tasks of this room. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from seatrial.codec import record
from seatrial.quantize.types import InsertRequest, InsertResult
from seatrial.results import Artifact, Ref

#: Rewrites of the float model: cross-layer equalisation, and SmoothQuant.
EQUALISED, SMOOTHED = "equalised", "smoothed"
REWRITES = (EQUALISED, SMOOTHED)


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

#: Samples that rewrites look at, and on which they are held against the original.
RESCALE_MOST, PROVE_MOST = 32, 8


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


@record
class MakeRequest:
    """Ask for Q/DQ pairs and corrected biases in one child: starting one costs as much as either.

    Attributes:
        insert: see :class:`~seatrial.quantize.types.InsertRequest`.
        samples: as in :class:`CorrectRequest`.
        seconds: likewise, of the correction.
    """

    insert: InsertRequest
    samples: Ref
    seconds: float = 0.0


@record
class MadeModel:
    """What the insertion said, its artefact left out, and the corrected model.

    Attributes:
        corrected: ``None`` when nothing in the model could be quantised.
    """

    inserted: InsertResult
    corrected: Corrected | None = None


#: Samples that adaptive rounding looks at, the judging quarter included.
ROUND_MOST = 64


@record
class RoundRequest:
    """Ask for a Q/DQ model whose weights are rounded for the outputs of their layers.

    Attributes:
        model: the float model.
        candidate: its form with Q/DQ pairs, nodes and tensors named as in ``model``.
        samples: a sample store.
        limit: largest magnitude of an integer weight.
        indices: the samples to use; empty: the first :data:`ROUND_MOST` spread over all.
        seed: of the places looked at.
        seconds: no layer is started after this time; 0: no limit.
    """

    model: Ref
    candidate: Ref
    samples: Ref
    limit: int = 127
    indices: tuple[int, ...] = ()
    seed: int = 0
    seconds: float = 0.0


@record
class Rounding:
    """What adaptive rounding did.

    Attributes:
        layers: with integer weights and a place for a bias.
        changed: of them, with a new rounding.
        refused: with one that was no better on the samples that judge.
        late: not reached in time.
        weights: of the changed layers.
        moved: of these weights, with another integer.
        before: error power of the layers' outputs over their signal power, on the samples that
            judge, mean over the layers that were reached.
        after: the same with the new rounding.
        samples: how many were used.
    """

    layers: int = 0
    changed: int = 0
    refused: int = 0
    late: int = 0
    weights: int = 0
    moved: int = 0
    before: float = 0.0
    after: float = 0.0
    samples: int = 0


@record
class Rounded:
    """The model with other integers (format ``onnx``), and what was done."""

    artifact: Artifact
    done: Rounding


@record
class RescaleRequest:
    """Ask for the same float function with channels of another size.

    Attributes:
        model: the float model.
        kind: one of :data:`REWRITES`.
        samples: a sample store.
        seed: of picked rows.
    """

    model: Ref
    kind: str
    samples: Ref
    seed: int = 0


@record
class Rescaled:
    """The rewritten float model.

    Attributes:
        artifact: format ``onnx``; ``None`` when there is nothing to scale, or it was refused.
        sites: how many places were scaled.
        spread: largest ratio of two scales at one place.
        difference: largest difference of an output from the original's, as a share of its peak.
        proven: samples on which the outputs were compared.
        folded: label of each node that went into another one -> label of that one.
        removed: labels of the nodes that are gone without a trace.
        note: one line on what was done, or why not.
    """

    artifact: Artifact | None
    sites: int = 0
    spread: float = 1.0
    difference: float = 0.0
    proven: int = 0
    folded: Mapping[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    note: str = ""
