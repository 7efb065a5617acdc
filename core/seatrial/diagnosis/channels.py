"""What tells a channel from the others: outliers among many. Runs in a child only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: A scale per channel that leaves less than one part in this of the error power is worth naming: 16
#: is a factor of 4 in the step. A depthwise convolution cannot average the noise of its input, so
#: there a factor of 2 is.
SPREAD, SPREAD_DEPTHWISE = 16.0, 4.0

#: A channel this much larger than the median one is an outlier, if few channels are.
OUTLYING, FEW = 8.0, 0.05


def outlying(peaks: Any) -> list[int]:
    """Channels far above the median, the largest first, if they are few."""
    import numpy as np

    alive = peaks[peaks > 0]
    if len(alive) < 3:
        return []
    (index,) = np.nonzero(peaks >= OUTLYING * np.median(alive))
    few = max(1, int(FEW * len(peaks)))
    if not 0 < len(index) <= few:
        return []
    return [int(k) for k in index[np.argsort(-peaks[index])]]


def outlier_text(channels: Sequence[int], ratio: float, total: int) -> str:
    """Which channels, and how far they reach beyond the median one."""
    named = ", ".join(str(c) for c in channels[:3]) + (" ..." if len(channels) > 3 else "")
    what = f"channel {named}" if len(channels) == 1 else f"channels {named}"
    reach = "reaches" if len(channels) == 1 else "reach up to"
    return f"{what} of {total} {reach} {ratio:.3g} times the median channel, on one common scale"
