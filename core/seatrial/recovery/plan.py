"""What is tried, in which order, and when it stops. Pure, standard library only.

The order is that of cost, each stage on the closest of what was tried before:

====================  ========================================  ===================================
stage                 tried while the least mean KL is above    cost
====================  ========================================  ===================================
ranges                always                                    one pass over the calibration data
bias                  0.002                                     about three inferences of 48 samples
weighted ranges       0.02, with bias correction                the same, and a pass over 32 samples
equalised, smoothed   0.02, with bias correction                the same, and a calibration
structure             0.02, with bias correction                the same; these nodes gain no speed
====================  ========================================  ===================================

Measured on calibration data held out of the ranges (192 samples fit, 64 judge; nats): bias
correction takes a mobile net of 53 layers from 0.013 to 0.004, a small one from 0.029 to 0.010, a
float-trained depthwise net from 0.081 to 0.035, weighted ranges the last one to 0.032. On nets
that INT8 does not hurt it changes nothing beyond noise, so there it is not tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from seatrial.quantize.recipe import DEPTHWISE_FLOAT, ERROR_FINE, KL_FINE
from seatrial.quantize.schemes import PLAIN, scheme
from seatrial.results import QdqDialect

#: Mean KL below which bias correction has nothing to correct.
KL_EXACT = 0.002

#: The same for outputs that are no class scores, as error power over signal power.
ERROR_EXACT = 0.0015

#: Name of the ranges by weighted error, in names of candidates and for ``--methods``.
WEIGHTED = "weighted-mse"

#: How many of the closest recipes a stage builds on.
BASES = 2


@dataclass(frozen=True)
class Recipe:
    """One way for the core to make a Q/DQ model.

    Attributes:
        method: how ranges are chosen; :data:`WEIGHTED` or one of the calibration's methods.
        base: ``equalised``, ``smoothed``, or ``""``: the model as it is.
        corrected: with bias correction.
        kept: ``depthwise-float`` or ``""``.
    """

    method: str
    base: str = ""
    corrected: bool = False
    kept: str = ""

    def name(self, dialect: QdqDialect) -> str:
        """``core:mse-u8-perchannel+bias``."""
        parts = [f"core:{self.method}-{scheme(dialect)}", self.base]
        parts += ["bias" if self.corrected else "", self.kept]
        return "+".join(p for p in parts if p)


@dataclass(frozen=True)
class Traits:
    """What the graph allows.

    Attributes:
        depthwise: it has depthwise convolutions.
        equalise: convolutions follow one another.
        smooth: normalisation feeds matrix products.
    """

    depthwise: bool = False
    equalise: bool = False
    smooth: bool = False


@dataclass(frozen=True)
class Stage:
    """One step of the plan.

    Attributes:
        name: for progress.
        kl: it is tried while the least mean KL is above this.
        error: the same for outputs that are no class scores.
    """

    name: str
    kl: float = KL_FINE
    error: float = ERROR_FINE


STAGES = (
    Stage("ranges", -1.0, -1.0),
    Stage("bias correction", KL_EXACT, ERROR_EXACT),
    Stage("weighted ranges"),
    Stage("equalisation"),
    Stage("depthwise in float"),
)


def recipes(
    stage: Stage, ranking: Sequence[Recipe], traits: Traits, methods: Sequence[str] = PLAIN
) -> tuple[Recipe, ...]:
    """What a stage tries.

    Args:
        stage: of :data:`STAGES`.
        ranking: the core's recipes that gave a score, the closest first.
        traits: of the graph.
        methods: of the first stage.
    """
    if stage is STAGES[0]:
        return tuple(Recipe(m) for m in methods)
    if not ranking:
        return ()
    bases = tuple(ranking[:BASES])
    if stage is STAGES[1]:
        found = [replace(b, corrected=True) for b in bases]
    elif stage is STAGES[2]:
        found = [Recipe(WEIGHTED, corrected=True)]
    elif stage is STAGES[3]:
        kinds = ["equalised"] * traits.equalise + ["smoothed"] * traits.smooth
        found = [Recipe(bases[0].method, base=kind, corrected=True) for kind in kinds]
    else:
        found = [replace(b, corrected=True, kept=DEPTHWISE_FLOAT) for b in bases]
        found = found if traits.depthwise else []
    return tuple(r for r in dict.fromkeys(found) if r not in ranking)
