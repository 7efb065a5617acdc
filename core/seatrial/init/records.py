"""What the tasks of ``seatrial init`` take and give. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from seatrial.codec import record
from seatrial.data.contract import InputContract
from seatrial.data.source import Source
from seatrial.refusal import Refusal
from seatrial.results import Ref, TensorIO


@record
class LookRequest:
    """Ask what a source holds, from its listing and its first samples.

    Attributes:
        count: how many samples to look at.
    """

    source: Source
    inputs: tuple[TensorIO, ...]
    count: int = 20


@record
class Look:
    """What a source holds.

    Attributes:
        total: samples in it, after its slice.
        labelled: they have labels.
        classes: how many different labels, at most counted over the listing.
        largest: highest whole-number label, -1 for none.
        grouped: they have groups.
        sizes: (width, height) of the pictures looked at.
        arrays: dtype and shape of one sample by input, ``"uint8 32x32x3"``.
        dtypes: dtype by input (empty for pictures).
        shapes: shape of one sample by input (empty for pictures).
        numbers: single numbers beside the arrays (``in_scale``).
        splits: values of a ``split`` column with the count of each.
        refused: why it cannot be read.
    """

    total: int = 0
    labelled: bool = False
    classes: int = 0
    largest: int = -1
    grouped: bool = False
    sizes: tuple[tuple[int, ...], ...] = ()
    arrays: Mapping[str, str] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    splits: Mapping[str, int] = field(default_factory=dict)
    refused: Refusal | None = None


@record
class TryRequest:
    """Ask how the model answers to each of a few contracts.

    Attributes:
        contracts: complete, by preset name.
        offsets: label offsets to try.
        count: samples to try them on.
    """

    model: Ref
    source: Source
    input: TensorIO
    contracts: Mapping[str, InputContract]
    offsets: tuple[int, ...] = (0,)
    count: int = 20


@record
class Score:
    """How the model answered to one contract.

    Attributes:
        preset: its name.
        n: samples.
        right: of them right, -1 without labels.
        true_log: mean natural logarithm of the true class's probability, 0 without labels.
        confidence: mean highest probability.
        offset: the label offset that fitted best.
    """

    preset: str
    n: int
    right: int = -1
    true_log: float = 0.0
    confidence: float = 0.0
    offset: int = 0


@record
class TryResult:
    """Scores in the order of the request, or why there are none."""

    scores: tuple[Score, ...] = ()
    refused: Refusal | None = None


@record
class SheetRequest:
    """Ask for the contact sheet: ``count`` samples as the network sees them."""

    source: Source
    inputs: tuple[TensorIO, ...]
    contracts: Mapping[str, InputContract]
    title: str
    count: int = 9


@record
class SheetResult:
    """The picture's name under the job's ``out``, and what is fed, per channel.

    Attributes:
        ranges: ``"input: channel 0 -2.1 to 2.6"`` and so on.
    """

    file: str = ""
    ranges: tuple[str, ...] = ()
    refused: Refusal | None = None


@record
class InitResult:
    """What ``seatrial init`` wrote.

    Attributes:
        config: path of the configuration.
        contact_sheet: path of the picture, ``""`` without image data.
        lines: what it found or assumed, one fact per line.
        next: the next command.
    """

    config: str
    contact_sheet: str = ""
    lines: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
