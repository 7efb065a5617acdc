"""Bias correction: every layer of the Q/DQ model gets the mean outputs of the float model's.

Quantisation errors of weights and inputs do not average to zero; their mean per channel is a bias
error (Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction",
section 4.2; here with real data, as in its appendix). Layer by layer in the order of the graph, so
that each sees the layers before it already corrected. Where a ReLU or a Clip follows, the mean
behind it is what is matched: equal means before it do not give equal means behind it.
Runs in a child only.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.hookspecs import Job
from seatrial.quantize.graph import Graph
from seatrial.quantize.prepare import prepare
from seatrial.reference import open_model
from seatrial.samples import Samples

from .layers import Layer, Layers
from .staged import Staged

#: Elements per channel that a correction behind an activation is computed from.
POSITIONS = 1 << 13

#: Newton steps; the mean behind an activation is convex in the bias, three are plenty.
STEPS = 4

#: Largest correction, in standard deviations of the channel: beyond that something else is wrong.
SHIFT_MAX = 2.0

#: Mark of tensors added to the float model.
MARK = "seatrial_mean"


@dataclass
class Corrections:
    """What was done.

    Attributes:
        layers: corrected layers.
        skipped: layers that were not reached in time.
        samples: how many were used.
        shift: the largest, in standard deviations of its channel.
    """

    layers: int = 0
    skipped: int = 0
    samples: int = 0
    shift: float = 0.0


def correct(
    model: Path,
    graph: Graph,
    samples: Samples,
    indices: Sequence[int],
    *,
    seconds: float,
    job: Job,
) -> Corrections:
    """Correct the biases of a Q/DQ graph in place.

    Args:
        model: the float model.
        graph: its form with Q/DQ pairs.
        samples: a sample store.
        indices: the samples to use.
        seconds: no layer is started after this time; 0: no limit.
        job: for progress.
    """
    deadline = time.monotonic() + seconds if seconds else float("inf")
    plain = prepare(model).graph
    editor = Layers(graph, plain)
    layers = {one.output: one for one in editor.find()}
    done = Corrections()
    if not layers:
        return done
    staged = Staged(graph, samples, indices, list(layers))
    means = float_means(plain, list(layers.values()), samples, indices)
    for number, cut in enumerate(staged.run()):
        if time.monotonic() > deadline:
            done.skipped = len(layers) - number
            break
        layer = layers[cut]
        job.progress(f"correcting {layer.node.name}", number / len(layers))
        shift = _shift(layer, [kept[cut] for kept in staged.kept], means)
        if shift is None:
            continue
        delta, size = shift
        delta = editor.add(layer, delta)
        for kept in staged.kept:
            kept[cut] = kept[cut] + _along(delta, layer, kept[cut].ndim)
        done.layers += 1
        done.shift = max(done.shift, size)
    done.samples = len(staged.kept)
    editor.finish()
    return done


def float_means(
    plain: Graph, layers: Sequence[Layer], samples: Samples, indices: Sequence[int]
) -> dict[str, list[Any]]:
    """Mean per channel of the float model's tensors, one array per sample."""
    import onnx

    wanted = {layer.known: layer for layer in layers}
    wanted |= {layer.behind: layer for layer in layers if layer.behind}
    plain.infer()
    model = onnx.ModelProto()
    model.CopyFrom(plain.model)
    names = {}
    for k, (name, layer) in enumerate(wanted.items()):
        shape = plain.shape(name)
        if shape is None:
            continue
        keep = layer.axis % len(shape)
        axes = [a for a in range(len(shape)) if a != keep]
        result = f"{MARK}_{k}"
        model.graph.node.append(_mean(plain.opset, name, result, axes, model))
        model.graph.output.append(onnx.ValueInfoProto(name=result))
        names[result] = name
    session = open_model(bytes(model.SerializeToString()), folder=plain.folder)
    found: dict[str, list[Any]] = {name: [] for name in names.values()}
    for i in indices:
        feeds = samples.feeds([i])
        got = session.run({n: feeds[n] for n in session.inputs})
        for result, name in names.items():
            found[name].append(got[result])
    return found


def _mean(opset: int, name: str, result: str, axes: list[int], model: Any) -> Any:
    import numpy as np
    import onnx

    if opset < 18:
        return onnx.helper.make_node(
            "ReduceMean", [name], [result], name=result, axes=axes, keepdims=0
        )
    constant = f"{result}_axes"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(axes, np.int64), constant))
    return onnx.helper.make_node("ReduceMean", [name, constant], [result], name=result, keepdims=0)


def _shift(
    layer: Layer, values: Sequence[Any], means: dict[str, list[Any]]
) -> tuple[Any, float] | None:
    """What to add to the bias, shape (channels,), and its size in standard deviations."""
    import numpy as np

    if layer.known not in means:
        return None
    target: Any = np.mean(means[layer.known][: len(values)], axis=0, dtype=np.float64)
    rows = _rows(layer, values)
    if len(target) != len(rows) or not np.isfinite(rows).all():
        return None
    spread = rows.std(axis=1) + 1e-12
    whole = np.mean([_channel_means(layer, v) for v in values], axis=0)
    delta = target - whole
    if layer.behind in means:
        goal = np.mean(means[layer.behind][: len(values)], axis=0, dtype=np.float64)
        delta = _behind(rows, delta, goal, layer.low, layer.high)
    delta = np.clip(delta, -SHIFT_MAX * spread, SHIFT_MAX * spread)
    return delta.astype(np.float32), float(np.max(np.abs(delta) / spread))


def _behind(rows: Any, delta: Any, goal: Any, low: float, high: float) -> Any:
    """Newton's method on the mean behind the activation, from the mean before it."""
    import numpy as np

    start = delta
    for _ in range(STEPS):
        moved = rows + delta[:, None]
        off = np.clip(moved, low, high).mean(axis=1) - goal
        slope = ((moved > low) & (moved < high)).mean(axis=1)
        # A channel that is all but dead has no slope to speak of: it stays with its mean.
        step = np.where(slope > 0.02, off / np.maximum(slope, 0.02), 0.0)
        delta = delta - step
    limit = 4 * np.abs(start) + rows.std(axis=1)
    return np.clip(delta, start - limit, start + limit)


def _rows(layer: Layer, values: Sequence[Any]) -> Any:
    """(channels, elements): a random part of all samples, float64."""
    import numpy as np

    parts = [np.moveaxis(v, layer.axis, 0).reshape(layer.channels, -1) for v in values]
    most = max(1, POSITIONS // len(parts))
    rng = np.random.default_rng(0)
    taken = [p if p.shape[1] <= most else p[:, rng.integers(0, p.shape[1], most)] for p in parts]
    return np.concatenate(taken, axis=1).astype(np.float64)


def _channel_means(layer: Layer, value: Any) -> Any:
    import numpy as np

    axes = tuple(a for a in range(value.ndim) if a != layer.axis % value.ndim)
    return value.mean(axis=axes, dtype=np.float64)


def _along(delta: Any, layer: Layer, rank: int) -> Any:
    shape = [1] * rank
    shape[layer.axis] = -1
    return delta.reshape(shape)
