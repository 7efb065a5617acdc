"""Samples that stand out before any model is run. Runs in a child only."""

from __future__ import annotations

from collections.abc import Sequence

from seatrial.samples import Samples

from .types import NonFinite, SampleFlags

#: The store is opened anew after this many samples: what was read of a mapped file counts as
#: memory of this process until then.
REOPEN = 32


def survey_samples(samples: Samples, indices: Sequence[int]) -> SampleFlags:
    """Find samples that are constant, all zero, or not finite; one sample in memory at a time."""
    import numpy as np

    constant, zero, nonfinite = [], [], []
    ids = samples.ids
    for turn, i in enumerate(indices):
        if turn % REOPEN == 0:
            samples = Samples(samples.root)
        flat = nothing = True
        for name in samples.names:
            value = np.asarray(samples.one(name, i))
            if not np.issubdtype(value.dtype, np.number):
                continue
            if not value.size:
                continue
            low, high = value.min(), value.max()  # a NaN goes through both
            if not (np.isfinite(low) and np.isfinite(high)):
                bad = int(np.count_nonzero(~np.isfinite(value)))
                nonfinite.append(NonFinite(sample=ids[i], tensor=name, elements=bad))
                flat = nothing = False
            elif low != high:
                flat = nothing = False
            elif low != 0:
                nothing = False
        if nothing:
            zero.append(ids[i])
        elif flat:
            constant.append(ids[i])
    return SampleFlags(constant=tuple(constant), zero=tuple(zero), nonfinite=tuple(nonfinite))
