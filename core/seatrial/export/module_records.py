"""What the tasks around the user's module itself take and give: what it is, needs and computes.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping

from seatrial.codec import record
from seatrial.export.problems import Problem
from seatrial.results import Artifact, Ref, TensorIO

FACTORY, PROGRAM, ARCHIVE = "factory", "exported program", "TorchScript archive"


@record
class ModuleSpec:
    """Where the module comes from.

    Attributes:
        kind: ``factory``, ``exported program`` or ``TorchScript archive``.
        location: ``MODULE:CALLABLE`` of a factory; else the file's name, for messages.
        file: the program or archive.
        weights: a checkpoint to load into what the factory gives.
        weights_name: its name, for messages.
        trust_pickle: loading may run the code that a pickle carries.
        inputs: names of forward's parameters that are fed, in order; empty: those without default.
    """

    kind: str
    location: str
    file: Ref | None = None
    weights: Ref | None = None
    weights_name: str = ""
    trust_pickle: bool = False
    inputs: tuple[str, ...] = ()

    @property
    def refs(self) -> tuple[Ref, ...]:
        """Objects that a child needs to build the module."""
        return tuple(r for r in (self.file, self.weights) if r is not None)


@record
class DescribeRequest:
    """Ask what a module takes."""

    spec: ModuleSpec


@record
class Described:
    """A module as it was built.

    Attributes:
        inputs: parameters that must be fed; shape and type where the factory gave an example.
        optional: further parameters, which have defaults.
        example: the factory gave example inputs.
        parameters: how many numbers it holds.
        torch: version.
        notes: what was done to load the weights.
        seconds: until the module stood ready, torch's import included.
    """

    inputs: tuple[TensorIO, ...]
    optional: tuple[str, ...] = ()
    example: bool = False
    parameters: int = 0
    torch: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@record
class Variant:
    """One other size to try: the extent of each axis that changes, by input name.

    Attributes:
        label: ``x[2] = 48``.
        axes: the axes that this variant is about, as ``INPUT:AXIS``.
        sizes: input name -> the whole shape, batch axis included.
        kept: the exported model will be run at this size: keep the tensors and the yardstick's.
    """

    label: str
    axes: tuple[str, ...]
    sizes: Mapping[str, tuple[int, ...]]
    kept: bool = False


@record
class StudyRequest:
    """Ask to run the module itself, watched.

    Attributes:
        spec: the module.
        samples: the sample store.
        indices: which samples.
        variants: other sizes to try.
        seed: of the noise that fills samples up to a larger size.
    """

    spec: ModuleSpec
    samples: Ref
    indices: tuple[int, ...]
    variants: tuple[Variant, ...] = ()
    seed: int = 0


@record
class VariantRun:
    """What the module did at another size; its tensors lie under ``variants/INDEX``."""

    label: str
    ok: bool
    reason: str = ""
    file: str = ""
    line: int = 0


@record
class StudyResult:
    """What the module does by itself, before any export.

    Attributes:
        artifact: stores ``fp32``, and ``fp64`` or ``ulp`` (see ``yardstick``), and ``variants``.
        outputs: names, in order.
        yardstick: ``fp64``, ``ulp`` or ``""``.
        problems: found while watching.
        scripted: lines that read a tensor's value in Python, ``FILE:LINE``.
        lines: lines that computed something, in order, ``FILE:LINE``.
        touched: lines that called any operator.
        call_s: seconds that one sample takes.
    """

    artifact: Artifact
    outputs: tuple[str, ...]
    yardstick: str = ""
    call_s: float = 0.0
    problems: tuple[Problem, ...] = ()
    variants: tuple[VariantRun, ...] = ()
    scripted: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    touched: tuple[str, ...] = ()


@record
class OutputsRequest:
    """Ask for the module's outputs over samples: rung 0 of the ladder.

    Attributes:
        indices: which samples; ``None``: all.
        batch: samples per call.
        outputs: names to give them, those of the exported model.
    """

    spec: ModuleSpec
    samples: Ref
    outputs: tuple[str, ...] = ()
    indices: tuple[int, ...] | None = None
    batch: int = 1


@record
class OutputsResult:
    """The store of outputs."""

    artifact: Artifact
    names: tuple[str, ...]


@record
class SyntheticRequest:
    """Ask for noise in the shape of the inputs, when there are no samples."""

    inputs: tuple[TensorIO, ...]
    count: int = 16
    seed: int = 0


@record
class SyntheticResult:
    """The store."""

    artifact: Artifact
    count: int
