"""The form of the zoo: modules that must pass the export gate, and modules that must not.

A file of the zoo lies in ``zoo_blind/`` or ``zoo_own/``, imports torch and this module
(``from zoo import Case``, this folder is on the search path), defines classes and *factories*
(top-level functions without arguments that return an ``nn.Module``, or ``(module, inputs)``) and a
list ``CASES``. The driver exports the factory by its name, as a user would; it must seed itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

#: Kinds of sabotage, for the table. A new word is fine.
KINDS = (
    "data-dependent control flow",
    "custom operator",
    "in-place surprise",
    "side effect",
    "training mode",
    "non-determinism",
    "baked-in shape",
    "constant output",
    "non-finite",
    "batch coupling",
    "wrong node",
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One module of the zoo.

    Attributes:
        name: short, unique in its file.
        factory: name of a top-level function of the same file.
        inputs: ``inputs(n)`` gives ``n`` samples: arrays by the name of forward's parameter, first
            axis = sample, e.g. ``{"x": float32 (n, 3, 16, 16)}``; seeded, the same every time.
        kind: what is wrong with it; ``""``: sound, the gate must let it pass.
        dynamic: axes that the user asks to be free, by input name; the batch axis is 0.
            Empty: a static batch-1 model is asked for.
        expect_line: text that occurs in exactly one source line of the file: the line that a good
            message names. ``""``: no single line is to blame.
        translations: name of a top-level table of custom translations in the same file, or ``""``.
        note: what a reader should know.
    """

    name: str
    factory: str
    inputs: Callable[[int], Mapping[str, np.ndarray]]
    kind: str = ""
    dynamic: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    expect_line: str = ""
    translations: str = ""
    note: str = ""


def images(n: int, *shape: int, name: str = "x", seed: int = 0) -> dict[str, np.ndarray]:
    """Smooth random pictures (n, *shape), about zero mean and unit variance."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, *shape)).astype(np.float32)
    for axis in range(2, x.ndim):
        x = x + np.roll(x, 1, axis=axis)
    x = (x - x.mean()) / x.std()
    return {name: np.ascontiguousarray(x, dtype=np.float32)}
