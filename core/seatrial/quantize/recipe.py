"""What to try when no plain candidate is close to the float model. Pure, standard library only.

The recipe, as measured on a float-trained ImageNet net of depthwise-separable convolutions whose
INT8 form loses 8 points of top-1 with plain min-max ranges:

1. Plain candidates first. A mean KL divergence to the float model below 0.02 to 0.03 nats goes
   with a drop that is lost in noise: stop there.
2. Otherwise look at what is quantised. The damage of such nets is in the inputs of depthwise
   convolutions: their channels differ in range by up to 180 times, one scale serves them all, and
   nine taps are too few to average the noise away. It builds up over all layers, so keeping the
   few worst layers float hardly helps (1 to 8 layers: 0.24 to 0.15 nats).
3. Keeping *all* depthwise convolutions float, on ranges that clip the tails, does (0.04 nats). They
   hold about a sixth of the multiplications, so most of the arithmetic stays INT8.
   BatchNormalization that cannot be folded (it follows a ReLU) is never quantised by the core.

These figures come from a study of one net whose test images were looked at along the way, so for
that net the recipe is not blind. What the product does with it is: it chooses on held-out
calibration samples, and whether the result is good is for the user's test set to say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from .bakeoff import Entry
from .types import Score

#: Name of the structural recipe.
DEPTHWISE_FLOAT = "depthwise-float"

#: Mean KL to the float model, in nats, from which on more is tried (step 1).
KL_FINE = 0.02

#: The same for outputs that are no class scores: error power over signal power. The nets of the
#: recipe with 0.02 nats have about this relative error.
ERROR_FINE = 0.015


def calls_for_structure(
    entries: Iterable[Entry], *, kl: float = KL_FINE, error: float = ERROR_FINE
) -> bool:
    """Whether every candidate that gave a result is far from the float model.

    Args:
        entries: what was tried.
        kl: far is a mean KL above this,
        error: or, for outputs that are no class scores, a mean relative error above this.
    """
    scores = [e.score for e in entries if e.score is not None]
    usable = [s for s in scores if not s.nonfinite and not s.stopped]
    return bool(usable) and all(_far(s, kl, error) for s in usable)


def _far(score: Score, kl: float, error: float) -> bool:
    if score.kl is not None:
        return not score.kl <= kl
    return bool(score.errors) and not math.fsum(score.errors) / len(score.errors) <= error


def closest(entries: Iterable[Entry]) -> list[str]:
    """Names of the entries that can be used, the least mean loss first."""
    means = {}
    for entry in entries:
        score = entry.score
        if score is not None and score.losses and not score.nonfinite and not score.stopped:
            means[entry.name] = math.fsum(score.losses) / len(score.losses)
    return sorted(means, key=lambda name: means[name])
