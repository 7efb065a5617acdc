"""Adaptive rounding: weights rounded for the outputs of their layer, not each to the nearest.

Layer by layer in the order of the graph, each on the inputs that the quantised layers before it
give and for the outputs of the float model; see :mod:`seatrial.recovery.descent` for the search.
Second moments are collected from random places of a few samples: memory depends on the widest
layer alone. A quarter of the samples takes no part in a layer's search and judges it: a layer that
is not closer to the float model there keeps its rounding. Runs in a child only.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seatrial.hookspecs import Job
from seatrial.quantize.graph import Graph
from seatrial.quantize.prepare import prepare
from seatrial.samples import Samples

from .descent import Moments, descend, loss
from .layers import Layer, Layers
from .linear import Linear, find
from .staged import Staged
from .types import Rounding

#: Rows that a layer's moments come from: this many per input, within these limits.
ROWS_PER_INPUT, ROWS_FEWEST, ROWS_MOST = 16, 4096, 16384

#: Of so many samples one judges.
JUDGES = 4

#: A layer's new rounding is kept when its error where it was not fitted falls to this share.
GAIN = 0.995


def round_weights(
    model: Path,
    graph: Graph,
    samples: Samples,
    indices: Sequence[int],
    *,
    limit: int,
    seed: int,
    seconds: float,
    job: Job,
) -> Rounding:
    """Round the weights of a Q/DQ graph anew, in place.

    Args:
        model: the float model.
        graph: its form with Q/DQ pairs.
        samples: a sample store.
        indices: the samples to use.
        limit: largest magnitude of an integer weight: 127, or 63 for 7 bits.
        seed: of the random places.
        seconds: no layer is started after this time; 0: no limit.
        job: for progress.
    """
    deadline = time.monotonic() + seconds if seconds else float("inf")
    plain = prepare(model).graph
    work = _Work(graph, plain, limit, seed)
    layers = [(one, at) for one in find(graph, plain) if (at := work.place(one)) is not None]
    work.done = Rounding(layers=len(layers))
    if not layers:
        return work.done
    # Stops are in front of the weight: what lies there is not yet made of the old one.
    weights = [layer.maker.output[0] for layer, _ in layers]
    reading = Staged(graph, samples, indices, weights, before=True)
    wanted = Staged(plain, samples, indices, [place.known for _, place in layers])
    stops = zip(layers, reading.run(), wanted.run(), strict=True)
    for number, ((layer, place), _, known) in enumerate(stops):
        if time.monotonic() > deadline:
            work.done = replace(work.done, late=len(layers) - number)
            break
        job.progress(f"rounding {layer.node.name}", number / len(layers))
        name = layer.node.input[0]
        kept = zip(reading.kept, wanted.kept, strict=False)
        work.round(layer, place, number, [(a[name], b[known]) for a, b in kept])
    return work.result()


class _Work:
    """Rounds the layers of one graph.

    Args:
        graph: edited in place.
        plain: the prepared float model.
        limit: largest magnitude of an integer.
        seed: of the random places.
    """

    def __init__(self, graph: Graph, plain: Graph, limit: int, seed: int) -> None:
        self.graph, self.plain = graph, plain
        self.limit, self.seed = limit, seed
        self.editor = Layers(graph, plain)
        self.places = {one.product.name: one for one in self.editor.find()}
        self.done = Rounding()
        self.errors: list[tuple[float, float]] = []

    def place(self, layer: Linear) -> Layer | None:
        """Where the bias of a layer is: a mean that changes with its weights is put back there."""
        found = self.places.get(layer.node.name)
        if found is None or len(found.node.input) <= found.slot:
            return None
        return found if found.node.input[found.slot] else None

    def round(
        self, layer: Linear, place: Layer, number: int, pairs: Sequence[tuple[Any, Any]]
    ) -> None:
        """Round one layer, and let its mean outputs be those of the float model.

        Args:
            layer: what to round.
            place: of its bias.
            number: its own, for the seed.
            pairs: its input, and its output in the float model, of every sample.
        """
        import numpy as np

        self.done = replace(self.done, samples=len(pairs))
        own = layer.weights(self.graph, self.plain)
        fit, judge, power = moments(layer, own.exact, pairs, [self.seed, number])
        if not (np.isfinite(fit.xx).all() and np.isfinite(judge.xx).all() and power > 0):
            return
        integers = descend(own.integers, own.exact, own.step, self.limit, fit.centred())
        there = judge.centred()
        before, after = (
            float(loss(q * own.step - own.exact, there).sum()) / power
            for q in (own.integers, integers)
        )
        moved = int(np.count_nonzero(integers != own.integers))
        better = moved > 0 and after < GAIN * before
        self.errors.append((before, after if better else before))
        if better:
            layer.store(self.graph, integers)
        if moved:
            self._count(better, integers.size, moved)
        chosen = integers if better else own.integers
        mean, lack = fit.means
        lack = lack - ((chosen * own.step - own.exact) @ mean[:, :, None])[..., 0]
        self.editor.add(place, lack.reshape(-1) - self.editor.bias(place))

    def _count(self, better: bool, size: int, moved: int) -> None:
        done = self.done
        if not better:
            self.done = replace(done, refused=done.refused + 1)
            return
        self.done = replace(
            done,
            changed=done.changed + 1,
            weights=done.weights + size,
            moved=done.moved + moved,
        )

    def result(self) -> Rounding:
        """What was done."""
        if self.errors:
            count = len(self.errors)
            before, after = (sum(x) / count for x in zip(*self.errors, strict=True))
            self.done = replace(self.done, before=before, after=after)
        self.editor.finish()
        return self.done


def moments(
    layer: Linear, exact: Any, pairs: Sequence[tuple[Any, Any]], seed: Sequence[int]
) -> tuple[Moments, Moments, float]:
    """Moments of the samples that fit and of those that judge, and the outputs' variance there."""
    import numpy as np

    groups, inputs, outputs = layer.sizes
    rows = min(max(ROWS_PER_INPUT * inputs, ROWS_FEWEST), ROWS_MOST)
    fit, judge = (Moments(groups, inputs, outputs) for _ in range(2))
    across = exact.transpose(0, 2, 1)
    total = squares = 0.0
    count = 0
    for k, (x, y) in enumerate(pairs):
        rng = np.random.default_rng([*seed, k])
        a, b = layer.rows(x, y, max(1, rows // len(pairs)), rng)
        judges = k % JUDGES == JUDGES - 1
        (judge if judges else fit).add(a, b - a @ across)
        if judges:
            wide = b.astype(np.float64)
            total, squares = total + wide.sum(1), squares + np.square(wide).sum(1)
            count += a.shape[1]
    count = max(count, 1)
    return fit, judge, float(np.sum(squares / count - np.square(total / count)))
