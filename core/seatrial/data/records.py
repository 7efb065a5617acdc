"""What the data room's tasks take and give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from seatrial.codec import record
from seatrial.data.contract import InputContract
from seatrial.data.source import Source
from seatrial.refusal import Refusal
from seatrial.results import Artifact, TensorIO

#: A finding of this level ends the command unless the user forces it.
REFUSE = "refuse"
WARNING = "warning"
INFO = "info"


@record
class DataFinding:
    """Something about a set that its user should know.

    Attributes:
        code: stable name, ``nan-sample``.
        level: ``refuse``, ``warning`` or ``info``.
        text: one sentence.
        samples: ids, at most 20.
        tensors: model inputs concerned.
        count: how many samples it is about.
    """

    code: str
    level: str
    text: str
    samples: tuple[str, ...] = ()
    tensors: tuple[str, ...] = ()
    count: int = 0


@record
class SampleSet:
    """A set of samples as read, checked and stored.

    Attributes:
        artifact: the sample store.
        count: samples in it.
        total: samples in the source before ``where``, split, slice and limit.
        labelled: every sample has a label.
        classes: class names by label, where known.
        class_counts: samples per label, for whole-number labels.
        groups: how many different groups.
        grouped: the source names groups.
        ids_sha256: over the ids, in order.
        content_sha256: over the hashes of the tensors as fed, in order.
        synthetic: the samples look like noise.
        selection: how the samples were chosen, in one sentence.
    """

    artifact: Artifact
    count: int
    total: int
    labelled: bool
    classes: tuple[str, ...] = ()
    class_counts: Mapping[str, int] = field(default_factory=dict)
    groups: int = 0
    grouped: bool = False
    ids_sha256: str = ""
    content_sha256: str = ""
    synthetic: bool = False
    selection: str = ""
    contracts: Mapping[str, InputContract] = field(default_factory=dict)
    findings: tuple[DataFinding, ...] = ()


@record
class MaterialiseRequest:
    """Ask for a source's samples, as the model is fed them.

    Attributes:
        source: where they come from.
        inputs: the model's inputs.
        contracts: by input name; complete (see ``contract.complete``).
        role: ``calibration`` or ``test``, for messages.
        thin: read at most so many of the chosen samples, evenly spaced; 0: all.
        texts: labels are texts, not names of classes.
    """

    source: Source
    inputs: tuple[TensorIO, ...]
    contracts: Mapping[str, InputContract] = field(default_factory=dict)
    role: str = "calibration"
    thin: int = 0
    texts: bool = False

    @property
    def read(self) -> tuple[TensorIO, ...]:
        """The inputs that the source holds: not constants, not states."""
        return tuple(
            i for i in self.inputs if (c := self.contracts.get(i.name)) is None or not c.made
        )

    @property
    def state(self) -> dict[str, str]:
        """Output -> the input that takes it in the next step; empty: samples are no sequences."""
        return {c.output: name for name, c in self.contracts.items() if c.mode == "state"}


@record
class MaterialiseResult:
    """Either a set or the reason why there is none."""

    set: SampleSet | None = None
    refused: Refusal | None = None
