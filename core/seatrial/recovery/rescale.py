"""The same float function with channels of another size, easier to quantise per tensor.

*Equalised*: cross-layer equalisation (Nagel et al. 2019, section 4.1): s_j = sqrt(r1_j r2_j) / r2_j
with the ranges of channel j in the constants of both operators, over all pairs until nothing
moves. What stands for r1 of a BatchNormalization, whose constants are not quantised, is the range
of what it writes.

*Smoothed*: SmoothQuant (Xiao et al. 2022, section 4): s_j = max|X_j|^a / max|W_j|^(1 - a). For each
site the a of :data:`STRENGTHS` is taken whose products are the closest over the samples with one
scale for X and one per column of W, or none where none is better than the plain product.

Both are rewrites of float constants and must not change the function: the rewritten model is run
against the original, and refused beyond float rounding. Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from seatrial.hookspecs import Job
from seatrial.quantize.graph import Graph
from seatrial.quantize.prepare import Prepared, prepare
from seatrial.reference import open_model
from seatrial.samples import Samples

from .sites import Site, Sites, along, apply, magnitudes
from .types import EQUALISED
from .values import values

#: Values of a that are tried, weakest first.
STRENGTHS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

#: A site is smoothed if the error of its products falls below this share.
GAIN = 0.9

#: Rounds of equalisation, and the change of log s that ends them.
ROUNDS, STILL = 20, 1e-3

#: Scales of one round: beyond these a channel is all but dead, and 1/s would blow up its noise.
SCALE_MIN, SCALE_MAX = 1e-3, 1e3

#: Rows of X looked at per site and sample.
ROWS = 32

#: Largest difference of an output, as a share of its largest magnitude, that is float rounding:
#: 2**-24 per operation, added up at random over some 10**4 of them, and a margin.
ROUNDING = 1e-4


@dataclass
class Rescaled:
    """The rewritten model.

    Attributes:
        prepared: its graph.
        sites: how many places were scaled.
        spread: largest ratio of two scales at one place.
        strengths: the a chosen per site.
    """

    prepared: Prepared
    sites: int = 0
    spread: float = 1.0
    strengths: list[float] = field(default_factory=list)


def rescale(
    path: Path, kind: str, samples: Samples, indices: Sequence[int], *, seed: int, job: Job
) -> Rescaled:
    """Rewrite a model; where there are no sites, ``sites`` is 0.

    Args:
        path: the float model.
        kind: :data:`EQUALISED` or :data:`SMOOTHED`.
        samples: a sample store.
        indices: the samples to look at.
        seed: of the picked rows.
        job: for progress.
    """
    done = Rescaled(prepare(path))
    graph = done.prepared.graph
    finder = Sites(graph)
    found = list(finder.convolutions() if kind == EQUALISED else finder.products())
    if not found:
        return done
    if kind == EQUALISED:
        _equalise(done, found, samples, indices, job)
    else:
        _smooth(done, found, samples, indices, job, seed=seed)
    graph.drop_unused()
    graph.infer()
    return done


def _equalise(
    done: Rescaled, found: Sequence[Site], samples: Samples, indices: Sequence[int], job: Job
) -> None:
    import numpy as np

    graph = done.prepared.graph
    norms = [s for s in found if s.writers[0].node.op_type == "BatchNormalization"]
    written: dict[str, Any] = {}
    hear = partial(job.progress, "looking at channels")
    for name, value in values(graph, [s.tensor for s in norms], samples, indices, hear):
        peak = np.abs(value).max(axis=tuple(a for a in range(value.ndim) if a != 1))
        written[name] = np.maximum(written.get(name, 0.0), peak.astype(np.float64))
    total = [np.ones(site.channels) for site in found]
    # By node: two nodes may share a constant now, and will not when it is scaled.
    weights = {s.node.name: s.value(graph).astype(np.float64) for s in _weights(found)}
    for _ in range(ROUNDS):
        moved = 0.0
        for k, site in enumerate(found):
            writer, reader = site.writers[0], site.readers[0]
            if site.tensor in written:
                r1 = written[site.tensor] / total[k]
            else:
                r1 = magnitudes(weights[writer.node.name], writer)
            r2 = magnitudes(weights[reader.node.name], reader)
            scales = _bounded(np.sqrt(r1 * r2), r2)
            total[k] = total[k] * scales
            _scale(weights, writer, 1 / scales, skip=site.tensor in written)
            _scale(weights, reader, scales)
            moved = max(moved, float(np.abs(np.log(scales)).max()))
        if moved < STILL:
            break
    for site, scales in zip(found, total, strict=True):
        _move(done, site, scales)


def _weights(found: Iterable[Site]) -> list[Any]:
    slots = []
    for site in found:
        slots += [site.readers[0]]
        if site.writers[0].node.op_type == "Conv":
            slots.append(site.writers[0])
    return slots


def _scale(weights: dict[str, Any], slot: Any, factors: Any, *, skip: bool = False) -> None:
    if not skip:
        value = weights[slot.node.name]
        weights[slot.node.name] = value * along(factors, slot, value.shape)


def _bounded(up: Any, down: Any) -> Any:
    """Up / down within the bounds; 1 where either is 0: such a channel needs no scale."""
    import numpy as np

    alive = (up > 0) & (down > 0)
    ratio = np.where(alive, up, 1.0) / np.where(alive, down, 1.0)
    return np.clip(ratio, SCALE_MIN, SCALE_MAX)


def _move(done: Rescaled, site: Site, scales: Any) -> None:
    spread = float(scales.max() / scales.min())
    if spread > 1 + STILL:
        apply(done.prepared.graph, site, scales)
        done.sites += 1
        done.spread = max(done.spread, spread)


def _smooth(
    done: Rescaled,
    found: Sequence[Site],
    samples: Samples,
    indices: Sequence[int],
    job: Job,
    *,
    seed: int,
) -> None:
    import numpy as np

    graph = done.prepared.graph
    rng = np.random.default_rng(seed)
    peaks: dict[str, Any] = {}
    picked: dict[str, list[Any]] = {}
    hear = partial(job.progress, "looking at channels")
    for name, value in values(graph, [s.tensor for s in found], samples, indices, hear):
        rows = value.reshape(-1, value.shape[-1])
        peaks[name] = np.maximum(peaks.get(name, 0.0), np.abs(rows).max(axis=0).astype(np.float64))
        taken = rng.integers(0, len(rows), min(len(rows), ROWS))
        picked.setdefault(name, []).append(rows[taken])
    for number, site in enumerate(found):
        job.progress("smoothing", number / len(found))
        x = np.concatenate(picked[site.tensor])
        scales, strength = best_scales(graph, site, x, peaks[site.tensor])
        if scales is not None:
            _move(done, site, scales)
            done.strengths.append(strength)


def best_scales(graph: Graph, site: Site, x: Any, peaks: Any) -> tuple[Any | None, float]:
    """The scales that make the integer products of a site the closest, and their a.

    Args:
        graph: holds the weights.
        site: matrix products that read one tensor.
        x: rows of that tensor, shape (rows, channels).
        peaks: largest magnitude of each of its channels, shape (channels,).
    """
    import numpy as np

    weights = []
    for slot in site.readers:
        value = slot.value(graph)
        weights.append(value.T if slot.axis == 1 else value)
    joined: Any = np.concatenate(weights, axis=1)
    exact = x @ joined
    columns = np.abs(joined).max(axis=1).astype(np.float64)
    plain = _product_error(x, joined, exact, peaks)
    best, chosen, strength = GAIN * plain, None, 0.0
    for a in STRENGTHS:
        scales = _bounded(peaks**a, columns ** (1 - a))
        scales /= np.exp(np.log(scales).mean())
        factors = scales.astype(np.float32)
        error = _product_error(x / factors, joined * factors[:, None], exact, peaks / scales)
        if error < best:
            best, chosen, strength = error, scales, a
    return chosen, strength


def _product_error(x: Any, weight: Any, exact: Any, peaks: Any) -> float:
    """Mean square error of x @ weight with x in 8 bits per tensor, weight per column."""
    import numpy as np

    step = max(float(peaks.max()), 1e-30) / 127
    steps = np.maximum(np.abs(weight).max(axis=0), 1e-30) / 127
    got = (np.rint(x / step) * step) @ (np.rint(weight / steps) * steps)
    return float(np.square(got - exact).mean())


def difference(path: Path, rewritten: Path, samples: Samples, indices: Sequence[int]) -> float:
    """Largest difference of any output, as a share of that output's largest magnitude."""
    import numpy as np

    before, after = open_model(path), open_model(rewritten)
    worst, peak = _Peaks(), _Peaks()
    for group in before.groups(samples, indices):
        feeds = samples.feeds(group)
        wanted: Mapping[str, Any] = before.run({n: feeds[n] for n in before.inputs})
        got = after.run({n: feeds[n] for n in after.inputs})
        for name, value in wanted.items():
            peak.see(name, value)
            with np.errstate(invalid="ignore"):
                worst.see(name, got[name] - value.astype(np.float64))
    return max((worst[n] / peak[n] if peak[n] else float(worst[n] > 0) for n in worst), default=0.0)


class _Peaks(dict[str, float]):
    """Largest magnitude by name; a NaN counts as infinite."""

    def see(self, name: str, value: Any) -> None:
        import numpy as np

        size = float(np.abs(value).max()) if value.size else 0.0
        self[name] = max(self.get(name, 0.0), size if np.isfinite(size) else float("inf"))
