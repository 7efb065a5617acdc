"""What is tried, in which order, and when it stops. Pure, standard library only.

The order is that of cost, each stage on the closest of what was tried before:

====================  ========================================  ===================================
stage                 tried while the least mean KL is above    cost
====================  ========================================  ===================================
ranges                always                                    one pass over the calibration data
bias                  0.002                                     about three inferences of 48 samples
backends' quantizers  0.02                                      two to five calibrations each
weighted ranges       0.02, with bias correction                the same, and a pass over 32 samples
channel scales        0.02, with bias correction                a rewrite, its proof, a calibration
coarse weights        0.02, in 7 bits or one scale a tensor     two passes over 64 samples, a search
structure             0.02, with bias correction                the same; these nodes gain no speed
fine weights          0.02, all others                          two passes over 64 samples, a search
other forms           0.02, where matrix products prevail       nothing; little or no speed to gain
====================  ========================================  ===================================

Measured on calibration data held out of the ranges (192 samples fit, 64 judge; nats): bias
correction takes a mobile net of 53 layers from 0.013 to 0.004, a small one from 0.029 to 0.010, a
float-trained depthwise net from 0.081 to 0.035, weighted ranges the last one to 0.032. On nets
that INT8 does not hurt it changes nothing beyond noise, so there it is not tried.
Adaptive rounding on top of that pays where a weight has few steps, and a little where the inputs
of layers are far off: a mobile net of 28 layers with one scale per weight tensor 0.108 to 0.044,
the same in 7 bits 0.59 to 0.087, 7 bits per channel 0.0235 to 0.0211, 8 bits per channel 0.0170 to
0.0177 (nothing); the depthwise net 0.072 to 0.051, 0.137 to 0.099, 0.058 to 0.054 and 0.046 to
0.037, where its depthwise layers in float give 0.019. So weights of 8 bits per channel are rounded
anew only where that does not help either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from seatrial.calibration.types import METHODS
from seatrial.quantize.recipe import DEPTHWISE_FLOAT, ERROR_FINE, KL_FINE
from seatrial.quantize.schemes import PLAIN, scheme
from seatrial.quantize.types import DYNAMIC, WEIGHT_ONLY
from seatrial.recovery.types import REWRITES
from seatrial.results import QdqDialect

#: Mean KL below which bias correction has nothing to correct.
KL_EXACT = 0.002

#: The same for outputs that are no class scores, as error power over signal power.
ERROR_EXACT = 0.0015

#: Name of the ranges by weighted error, in names of candidates and for ``--methods``.
WEIGHTED = "weighted-mse"

#: Adaptive rounding of weights, in names of candidates and for ``--methods``.
ROUNDED = "adaround"

#: Forms that are the dialect with some of its fields changed, tried when they are named.
VARIANTS: Mapping[str, Mapping[str, object]] = {
    "per-tensor": {"per_channel": False},
    "signed": {"activations": "int8"},
    "symmetric": {"activations": "int8", "symmetric": True},
    "7-bit": {"reduce_range": True},
    "16-bit": {"activations": "uint16", "bias": "float"},
}

#: Forms that are no pairs around activations: they need no ranges and no correction.
OTHERS = (DYNAMIC, WEIGHT_ONLY)

#: Forms that leave activations in 16 bits or in float: they win only where nothing else is close.
FEWER = ("16-bit", *OTHERS)

#: Everything that ``--methods`` takes.
NAMES = (*METHODS, WEIGHTED, *REWRITES, ROUNDED, *VARIANTS, *OTHERS)

#: How many of the closest recipes a stage builds on.
BASES = 2


@dataclass(frozen=True)
class Recipe:
    """One way for the core to make a Q/DQ model.

    Attributes:
        method: how ranges are chosen; :data:`WEIGHTED` or one of the calibration's methods.
        corrected: with bias correction.
        kept: ``depthwise-float`` or ``""``.
        rewrite: of the float model before anything else, one of :data:`REWRITES`, or ``""``.
        form: one of :data:`VARIANTS` or :data:`OTHERS`; ``""``: the dialect as it is.
        rounded: with adaptive rounding; bias correction is then before and behind it.
    """

    method: str
    corrected: bool = False
    kept: str = ""
    form: str = ""
    rewrite: str = ""
    rounded: bool = False

    @property
    def simple(self) -> bool:
        """Whether it needs nothing but the ranges of the model as it is."""
        return not (self.corrected or self.rewrite or self.rounded)

    def dialect(self, wanted: QdqDialect) -> QdqDialect:
        """The form of the pairs that this recipe writes for a target's dialect."""
        changes = dict(VARIANTS.get(self.form, {}))
        if self.form == "16-bit" and wanted.symmetric:
            changes["activations"] = "int16"
        return replace(wanted, **changes)  # type: ignore[arg-type]  # fields of the dialect

    def coarse(self, wanted: QdqDialect) -> bool:
        """Whether weights have so few steps that rounding them can be what costs accuracy."""
        dialect = self.dialect(wanted)
        return dialect.reduce_range or not dialect.per_channel

    def name(self, wanted: QdqDialect) -> str:
        """``core:mse-u8-perchannel+bias``."""
        first = self.form if self.form in OTHERS else self.method
        parts = [f"core:{first}-{scheme(self.dialect(wanted))}"]
        parts += [self.rewrite, ROUNDED if self.rounded else ""]
        parts += ["bias" if self.corrected else "", self.kept]
        return "+".join(p for p in parts if p)


@dataclass(frozen=True)
class Traits:
    """What the graph and the target allow.

    Attributes:
        depthwise: it has depthwise convolutions.
        products: most of what can be quantised is matrix products.
        rewrites: of :data:`REWRITES`, those that the graph has places for.
        wanted: the target's dialect.
    """

    depthwise: bool = False
    products: bool = False
    rewrites: tuple[str, ...] = ()
    wanted: QdqDialect = field(default_factory=QdqDialect)


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


#: Asks for :attr:`Traits.rewrites`, which take a look at the graph.
SCALES = Stage("channel scales")

#: Round weights for the outputs of their layers: those of few steps, and all others.
ROUNDING, FINE_ROUNDING = Stage("adaptive rounding"), Stage("adaptive rounding of fine weights")

RANGES = Stage("ranges", -1.0, -1.0)
BIAS = Stage("bias correction", KL_EXACT, ERROR_EXACT)
WEIGHTED_RANGES = Stage("weighted ranges")
STRUCTURE = Stage("depthwise in float")
OTHER_FORMS = Stage("other forms")

STAGES = (RANGES, BIAS, WEIGHTED_RANGES, SCALES, ROUNDING, STRUCTURE, FINE_ROUNDING, OTHER_FORMS)


#: The backends' own quantizers are tried before this stage, while nothing is close. (What a target
#: makes of its own calibration is built and judged on the target in any case.)
VENDORS_BEFORE = WEIGHTED_RANGES


def named(name: str) -> Recipe:
    """The recipe of a name that a user typed.

    Raises:
        ValueError: it is none of :data:`NAMES`.
    """
    if name in OTHERS:
        return Recipe("", form=name)
    if name in REWRITES:
        return Recipe("mse", rewrite=name)
    if name == ROUNDED:
        return Recipe("mse", corrected=True, rounded=True)
    if name in VARIANTS:
        return Recipe("minmax", form=name)
    if name not in NAMES:
        raise ValueError(f"{name!r} is not one of {', '.join(NAMES)}")
    return Recipe(name)


def recipes(
    stage: Stage, ranking: Sequence[Recipe], traits: Traits, first: Sequence[Recipe] = ()
) -> tuple[Recipe, ...]:
    """What a stage tries.

    Args:
        stage: of :data:`STAGES`.
        ranking: the core's recipes that gave a score, the closest first.
        traits: of the graph.
        first: of the first stage; empty: :data:`seatrial.quantize.schemes.PLAIN`.
    """
    if stage is RANGES:
        return tuple(first) or tuple(Recipe(m) for m in PLAIN)
    bases = tuple(b for b in ranking if b.form not in OTHERS)[:BASES]
    found: list[Recipe] = []
    if stage is OTHER_FORMS:
        found = [named(name) for name in OTHERS] if traits.products and ranking else []
    elif not bases:
        return ()
    elif stage is BIAS:
        found = [replace(b, corrected=True) for b in bases]
    elif stage is WEIGHTED_RANGES:
        found = [Recipe(WEIGHTED, corrected=True, form=bases[0].form)]
    elif stage is SCALES:
        # On the closest alone: every rewrite costs a calibration of its own.
        found = [replace(bases[0], corrected=True, rewrite=w) for w in traits.rewrites]
    elif stage in (ROUNDING, FINE_ROUNDING):
        if bases[0].coarse(traits.wanted) is (stage is ROUNDING):
            found = [replace(bases[0], corrected=True, rounded=True)]
    else:
        found = [replace(b, corrected=True, kept=DEPTHWISE_FLOAT) for b in bases]
        found *= traits.depthwise
    return tuple(r for r in dict.fromkeys(found) if r not in ranking)
