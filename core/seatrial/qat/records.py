"""What the tasks of this room take and give. Standard library only."""

from __future__ import annotations

from seatrial.codec import record
from seatrial.errors import UserError
from seatrial.results import Artifact, QdqDialect, Ref

#: Which layers learn with their activations fake-quantised.
ALL, WEIGHTED = "all", "weighted"
LAYERS = (ALL, WEIGHTED)

COSINE, CONSTANT = "cosine", "constant"
SCHEDULES = (COSINE, CONSTANT)

#: Most epochs that anybody may mean.
MOST_EPOCHS = 10_000


@record
class Settings:
    """How to train.

    Attributes:
        epochs: passes over the training data.
        lr: step of Adam; weights are counted in units of their channel's largest one, and steps
            of activations in logarithms, so one rate serves all.
        schedule: ``cosine`` (to zero, after a linear rise over the first twentieth) or
            ``constant``.
        layers: ``all``: every tensor that gets a Q/DQ pair is fake-quantised in training;
            ``weighted``: only weights and what meets them; the others (sums, concatenations,
            pools) get their ranges by calibration afterwards.
        learn_ranges: the steps of activations learn too.
        share: of the training samples that choose the best epoch and do not train.
        batch: samples per batch of a data set that is no loader.
        seed: of the order of samples and of whatever else is random.
        threads: of the training; 0: torch's choice.
    """

    epochs: int = 10
    lr: float = 1e-4
    schedule: str = COSINE
    layers: str = ALL
    learn_ranges: bool = True
    share: float = 0.1
    batch: int = 32
    seed: int = 0
    threads: int = 0

    def check(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            UserError: a value is out of bounds.
        """
        if not 1 <= self.epochs <= MOST_EPOCHS:
            raise UserError("--epochs", f"{self.epochs} is not within 1 to {MOST_EPOCHS}")
        if not 0 < self.lr <= 1:
            raise UserError("--lr", f"{self.lr:g} is not within (0, 1]", advice="try 1e-4")
        if not 0 < self.share <= 0.5:
            raise UserError("--validation-share", f"{self.share:g} is not within (0, 0.5]")
        for flag, value, known in (
            ("--schedule", self.schedule, SCHEDULES),
            ("--layers", self.layers, LAYERS),
        ):
            if value not in known:
                raise UserError(flag, f"{value!r} is not one of {', '.join(known)}")


@record
class TrainRequest:
    """Ask to fine-tune a float model with fake quantisers in it.

    Attributes:
        model: the float ONNX model.
        ranges: a calibration table of it, where the activations' steps start.
        method: how ranges are chosen from the table; empty: the table's own.
        dialect: what the fake quantisers imitate.
        samples: the calibration store, which tells whether batches may be larger than one.
        train: ``MODULE:CALLABLE`` that gives the loader.
        validation: another one for the samples that choose the epoch; empty: a share of the first.
        loss: ``MODULE:CALLABLE``, called with outputs and targets.
        settings: see :class:`Settings`.
        folder: where checkpoints lie, absolute; they outlive the child.
    """

    model: Ref
    ranges: Ref
    samples: Ref
    train: str
    loss: str
    folder: str
    method: str = ""
    validation: str = ""
    dialect: QdqDialect = QdqDialect()
    settings: Settings = Settings()


@record
class Epoch:
    """One pass: number 0 is the start, before anything was learnt.

    Attributes:
        train_loss: mean over the batches; ``None`` at the start.
        validation_loss: mean over the slice that chooses.
        lr: of the last batch.
        seconds: wall time.
    """

    number: int
    validation_loss: float
    train_loss: float | None = None
    lr: float = 0.0
    seconds: float = 0.0


@record
class TrainResult:
    """What was learnt.

    Attributes:
        artifact: two files, ``trained.onnx`` (the float graph with the best epoch's weights) and
            ``ranges.json`` (what was learnt of activations); the entry is the model.
        best: number of the epoch that was kept.
        epochs: all of them, the start first.
        float_loss: validation loss of the float model as given.
        learnt: tensors whose range is in the table.
        calibrate: tensors that training left alone and that calibration has to serve.
        parameters: numbers that learnt.
        folded: BatchNormalization nodes folded before training.
        frozen: BatchNormalization nodes that could not be folded; their statistics stay.
        train_samples: that trained in one epoch.
        validation_samples: that chose the epoch.
        resumed: epochs that were read from a checkpoint.
        seconds: of training, earlier runs included.
        notes: anything else worth a line.
    """

    artifact: Artifact
    best: int
    epochs: tuple[Epoch, ...]
    float_loss: float
    learnt: int
    calibrate: tuple[str, ...] = ()
    parameters: int = 0
    folded: int = 0
    frozen: int = 0
    train_samples: int = 0
    validation_samples: int = 0
    resumed: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


@record
class MergeRequest:
    """Ask for one table: what was learnt, and calibration for the tensors that it lacks.

    Attributes:
        learnt: the table of the training.
        observed: a table of the trained float model.
        method: how ranges are chosen from ``observed``.
        symmetric: the ranges will be widened to [-m, m].
    """

    learnt: Ref
    observed: Ref
    method: str
    symmetric: bool = False


@record
class Merged:
    """The table, and how many of its ranges came from calibration."""

    artifact: Artifact
    calibrated: int


@record
class VerifyRequest:
    """Ask whether an exported Q/DQ model computes what was trained.

    Attributes:
        trained: the trained float graph.
        ranges: its table.
        exported: the Q/DQ model; run on the reference, Q/DQ taken literally.
        dialect: of the exported model.
        indices: which samples.
    """

    trained: Ref
    ranges: Ref
    exported: Ref
    samples: Ref
    indices: tuple[int, ...]
    dialect: QdqDialect = QdqDialect()


@record
class Verified:
    """How far the exported model is from the fake-quantised net that was trained.

    Attributes:
        n: samples compared.
        equal: the difference is noise of rounding: its power is below a tenth of the power of
            the quantisation error itself.
        ratio: power of the difference over power of the quantisation error.
        sqnr_db: signal of the fake-quantised net over the difference, dB, at most 200.
    """

    n: int
    equal: bool
    ratio: float
    sqnr_db: float
