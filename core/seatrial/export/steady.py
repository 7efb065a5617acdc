"""Is the module a function? Its outputs in another order, in a batch, over all samples.

Runs in a user child only.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from seatrial.export import outcomes
from seatrial.export.module_records import StudyRequest
from seatrial.export.module_run import ModuleRun, watched_passes
from seatrial.export.problems import Problem
from seatrial.export.torch_module import call, tensors
from seatrial.hookspecs import Job
from seatrial.samples import Samples

#: Samples whose outputs are kept in memory to see whether the order of calls matters.
ORDER_CHECKED = 8
#: Difference over scale that batch mates may make: other kernels for other batch sizes.
COUPLED = 1e-3


def order_matters(run: ModuleRun, fresh: Any, samples: Samples, indices: Sequence[int]) -> float:
    """Largest scale-aware difference between passes in another order.

    A copy of the module that was never called is shown the last sample first: what the module
    remembers of its very first call shows there.
    """
    import numpy as np

    some = list(indices[:ORDER_CHECKED])
    first = {i: run(samples.feeds([i])) for i in some}
    passes = [(i, run(samples.feeds([i]))) for i in (*reversed(some), some[0])]
    if fresh is not None:
        inputs = tensors(samples.feeds([some[-1]]), run.built.names)
        new = run.named(call(copy.deepcopy(fresh), run.built.names, inputs))
        passes.append((some[-1], new))
    worst = 0.0
    for i, given in passes:
        for name, value in given.items():
            worst = max(worst, difference(first[i][name], value))
    return float(np.minimum(worst, 1e30))


def difference(one: Any, other: Any) -> float:
    """Largest difference over the largest magnitude; infinite for other shapes or NaNs."""
    import numpy as np

    a, b = np.asarray(one), np.asarray(other)
    if a.shape != b.shape:
        return float("inf")
    if np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"):
        return 0.0
    if a.dtype.kind not in "fc":
        return 1.0
    finite = np.isfinite(a) & np.isfinite(b)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)) or not finite.any():
        return float("inf")
    scale = float(np.abs(a[finite]).max()) or 1.0
    return float(np.abs(a[finite].astype(np.float64) - b[finite]).max()) / scale


def coupled(run: ModuleRun, samples: Samples, indices: Sequence[int]) -> list[Problem]:
    """Whether a sample's output depends on what else is in its batch."""
    if len(indices) < 2 or not samples.index.get("batch_axis", True):
        return []
    pair = list(indices[:2])
    try:
        inputs = tensors(samples.feeds(pair), run.built.names)
        together = run.named(call(run.built.module, run.built.names, inputs))
    except Exception:  # noqa: BLE001  # it takes no batch of two: the axis probe says so
        return []
    single = [run(samples.feeds([i])) for i in pair]
    for name, value in together.items():
        alone = [one[name] for one in single]
        if value.shape == (2, *alone[0].shape[1:]) and alone[0].shape[:1] == (1,):
            gap = max(difference(a[0], v) for a, v in zip(alone, value, strict=True))
            if gap > COUPLED:
                return [outcomes.coupled(name, gap, *watched_passes(run, samples, pair[:1], pair))]
        elif difference(alone[0], alone[1]) > 0 or value.shape != alone[0].shape:
            (trace,) = watched_passes(run, samples, pair)
            return [outcomes.shared(name, alone[0].shape, value.shape, trace)]
    return []


def values(run: ModuleRun, job: Job, samples: Samples, request: StudyRequest) -> list[Problem]:
    """Outputs that are not finite, or the same for all samples; with the operator at fault."""
    import numpy as np

    given = Samples(job.out / "fp32")
    found = []
    for i in range(given.count):
        values = [given.one(n, i) for n in given.names]
        if any(v.dtype.kind in "fc" and not np.isfinite(v).all() for v in values):
            (trace,) = watched_passes(run, samples, [request.indices[i]])
            problem = outcomes.spoilt(trace)
            found += [problem] if problem is not None else []
            break
    if given.count > 1 and all(_constant(given, n) for n in given.names):
        found.append(
            outcomes.constant(*watched_passes(run, samples, *([i] for i in request.indices[:2])))
        )
    return found


def _constant(given: Samples, name: str) -> bool:
    import numpy as np

    first = given.one(name, 0)
    return all(np.array_equal(first, given.one(name, i)) for i in range(1, given.count))
