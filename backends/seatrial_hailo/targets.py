"""The chips, and what the compiler asks of a model. Standard library only."""

from __future__ import annotations

from typing import NamedTuple

from seatrial.results import Description, InputRules, Target, TargetKind

INSTALL = "get the compiler at hailo.ai/developer-zone (login); name its python as [env.dfc] python"
#: Ending of the ids of the emulators.
EMULATOR = "/emulator"


class Chip(NamedTuple):
    """A chip: its ``hw_arch``, its title, and the major version of the compiler that knows it."""

    arch: str
    title: str
    line: int


#: Compiler 3.x knows the Hailo-8 family, 5.x the Hailo-10 and -15 families; neither both.
CHIPS = (
    Chip("hailo8", "Hailo-8", 3),
    Chip("hailo8l", "Hailo-8L", 3),
    Chip("hailo8r", "Hailo-8R", 3),
    Chip("hailo10h", "Hailo-10H", 5),
    Chip("hailo10p", "Hailo-10P", 5),
    Chip("hailo12l", "Hailo-12L", 5),
    Chip("hailo15h", "Hailo-15H", 5),
    Chip("hailo15m", "Hailo-15M", 5),
    Chip("hailo15l", "Hailo-15L", 5),
)

#: Opsets 15 to 21 are documented; 13 to 23 were parsed in practice, so a table that says 15 would
#: refuse models that compile. The newest is the documented one: beyond it nothing is promised.
RULES = InputRules(opset_min=13, opset_max=21, static_shapes=True, layouts=("NHWC", "NCHW"))


def describe() -> Description:
    """Who this backend is. The chip that most modules carry is tried by default."""
    targets = []
    for chip in CHIPS:
        name = f"{chip.title} (Dataflow Compiler {chip.line}.x)"
        targets.append(_target(chip, chip.arch, name, TargetKind.DEVICE))
        title = f"{name}, emulated by the compiler"
        targets.append(_target(chip, chip.arch + EMULATOR, title, TargetKind.SIMULATOR))
    return Description(
        title="Hailo Dataflow Compiler",
        vendor="Hailo",
        targets=tuple(targets),
        artifact_format="hef",
        install_hint=INSTALL,
        docs="https://hailo.ai/developer-zone/documentation/",
        # TensorFlow inside the compiler logs hundreds of lines; USER is read when it is imported.
        environment={"TF_CPP_MIN_LOG_LEVEL": "3", "USER": "seatrial"},
        seconds_per_compile=300.0,
        seconds_per_sample=0.2,
        int8_forms=("float",),
        hardware_run="never",
    )


def _target(chip: Chip, name: str, title: str, kind: TargetKind) -> Target:
    return Target(
        id=name,
        title=title,
        device=chip.arch,
        default=name == "hailo8",
        kind=kind,
        install_hint=INSTALL,
        rules=RULES,
    )


def chip_of(target: str) -> Chip | None:
    """The chip of a target id, ``None`` for an id that is none of ours."""
    arch = target.removesuffix(EMULATOR)
    return next((chip for chip in CHIPS if chip.arch == arch), None)


def emulated(target: str) -> bool:
    """Whether a target is the compiler's emulator."""
    return target.endswith(EMULATOR)
