"""The model at work on samples: extremes of activations, its inner features, its answers.

One pass gives all three. Runs in a child only.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.quantize.graph import Graph
from seatrial.quantize.plan import make_plan
from seatrial.quantize.prepare import prepare
from seatrial.reference import ReferenceSession, open_model
from seatrial.samples import Samples

WORKERS = 4
#: Prefix of every name that this module adds to a graph.
MARK = "seatrial_watched"
#: Operators whose input is what the model thinks last, before it answers.
_LAST = ("Gemm", "MatMul", "Conv")
#: Longest feature vector; longer ones are thinned evenly.
FEATURES_MAX = 2048


@dataclass
class Seen:
    """What was seen of some samples.

    Attributes:
        indices: which samples.
        features: (samples, features) float32; the activations before the last layer, averaged
            over places.
        classes: (samples, classes) probabilities; ``None``: the model is no classifier.
        low: per tensor, (samples,) smallest values.
        high: per tensor, (samples,) largest values.
        outside: per tensor, share of picked elements outside the ranges given.
    """

    indices: tuple[int, ...]
    features: Any
    classes: Any
    low: dict[str, Any]
    high: dict[str, Any]
    outside: dict[str, float]


@dataclass(frozen=True)
class Probe:
    """Where the statistics of one tensor come out: its extremes, and the share outside a range."""

    tensor: str
    high: str
    low: str
    outside: str = ""


class Watch:
    """A model that tells what happens inside.

    Args:
        path: the float ONNX model.

    Raises:
        UserError: a model that cannot be prepared.
    """

    def __init__(self, path: Path) -> None:
        self.graph = prepare(path).graph
        tensors = make_plan(self.graph).observe
        inputs = set(self.graph.inputs)
        self.tensors = tuple(t for t in tensors if t not in inputs)
        self.feature = last_features(self.graph)
        #: of one inference with its statistics, wall time divided by those at a time
        self.seconds = 0.0
        self._plain: ReferenceSession | None = None

    def plain(self) -> ReferenceSession:
        """Answers and features, no statistics."""
        if self._plain is None:
            self._plain = open_model(self._bytes([], []), folder=self.graph.folder, threads=1)
        return self._plain

    def _probes(
        self, ranges: Mapping[str, tuple[float, float]] | None
    ) -> tuple[ReferenceSession, list[Probe]]:
        """A session that also gives extremes, and the share of elements outside of ``ranges``."""
        probes, nodes, constants = [], [], []
        for k, name in enumerate(t for t in self.tensors if self.graph.is_float(t) is not False):
            inside = ranges.get(name) if ranges is not None else None
            outside = f"{MARK}_outside_{k}" if inside is not None else ""
            probe = Probe(name, f"{MARK}_high_{k}", f"{MARK}_low_{k}", outside)
            probes.append(probe)
            nodes += [_node("ReduceMax", [name], probe.high, keepdims=0)]
            nodes += [_node("ReduceMin", [name], probe.low, keepdims=0)]
            if inside is not None:
                made = _outside(name, outside, inside)
                nodes += made[0]
                constants += made[1]
        source = self._bytes(nodes, constants, probes)
        return open_model(source, folder=self.graph.folder, threads=1), probes

    def _bytes(
        self, nodes: Sequence[Any], constants: Sequence[Any], probes: Sequence[Probe] = ()
    ) -> bytes:
        """The model with its features and the probes as further outputs."""
        import onnx

        model = onnx.ModelProto()
        model.CopyFrom(self.graph.model)
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(constants)
        names = [o for p in probes for o in (p.high, p.low, p.outside) if o]
        have = {o.name for o in model.graph.output}
        if self.feature and self.feature not in set(self.graph.inputs):
            names.append(self.feature)
        for name in dict.fromkeys(names):
            if name not in have:
                model.graph.output.append(onnx.ValueInfoProto(name=name))
        return bytes(model.SerializeToString())

    def see(
        self,
        samples: Samples,
        indices: Sequence[int],
        tick: Callable[[int], None],
        *,
        ranges: Mapping[str, tuple[float, float]] | None = None,
        until: float = float("inf"),
    ) -> Seen:
        """Run the model on samples, several at a time.

        Args:
            samples: a store.
            indices: which ones.
            tick: is called with the number of samples done.
            ranges: count the elements outside of them, by tensor.
            until: stop taking up samples at this time (monotonic).
        """
        session, probes = self._probes(ranges)
        gather = _Gather(self, probes)
        started = time.monotonic()
        for i, outputs in self._runs(session, samples, indices, tick, until):
            gather.add(i, outputs)
        self.seconds = (time.monotonic() - started) / max(len(gather.indices), 1)
        return gather.result()

    def answers(self, feeds: Sequence[Mapping[str, Any]]) -> tuple[Any, Any]:
        """Features and class probabilities for feeds made elsewhere."""
        session = self.plain()
        gather = _Gather(self, ())
        with ThreadPoolExecutor(WORKERS) as pool:
            for i, outputs in enumerate(pool.map(session.run, feeds)):
                gather.add(i, outputs)
        seen = gather.result()
        return seen.features, seen.classes

    def _runs(
        self,
        session: ReferenceSession,
        samples: Samples,
        indices: Sequence[int],
        tick: Callable[[int], None],
        until: float,
    ) -> Any:
        groups = session.groups(samples, indices)

        def one(group: tuple[int, ...]) -> Any:
            feeds = samples.feeds(group)
            return group, session.run({n: feeds[n] for n in session.inputs})

        done = 0
        with ThreadPoolExecutor(WORKERS) as pool:
            running = deque(pool.submit(one, g) for g in itertools.islice(groups, WORKERS))
            while running:
                group, outputs = running.popleft().result()
                if time.monotonic() < until or done < 8:
                    running.extend(pool.submit(one, g) for g in itertools.islice(groups, 1))
                # A fixed batch: statistics are of all samples in it; it is told by its first.
                for row in range(len(set(group))):
                    yield group[row], _row(outputs, row, len(group))
                done += len(set(group))
                if done % 32 < len(group):
                    samples.forget()
                    tick(done)


def _row(outputs: Mapping[str, Any], row: int, size: int) -> dict[str, Any]:
    if size == 1:
        return dict(outputs)
    return {
        n: v[row : row + 1] if v.ndim and v.shape[0] == size and MARK not in n else v
        for n, v in outputs.items()
    }


class _Gather:
    """Rows of what was seen, one sample after the other."""

    def __init__(self, watch: Watch, probes: Sequence[Probe]) -> None:
        self.watch, self.probes = watch, probes
        self.indices: list[int] = []
        self.features: list[Any] = []
        self.classes: list[Any] = []
        self.low: dict[str, list[float]] = {p.tensor: [] for p in probes}
        self.high: dict[str, list[float]] = {p.tensor: [] for p in probes}
        self.outside: dict[str, list[float]] = {p.tensor: [] for p in probes if p.outside}

    def add(self, i: int, outputs: Mapping[str, Any]) -> None:
        """Take in the outputs for one sample."""
        import numpy as np

        self.indices.append(i)
        value = outputs.get(self.watch.feature)
        if value is None:
            value = next(iter(outputs.values()))
        self.features.append(_pooled(np.asarray(value)))
        answer = _distribution(outputs, self.watch.graph.outputs)
        if answer is not None:
            self.classes.append(answer)
        for probe in self.probes:
            self.low[probe.tensor].append(_number(outputs[probe.low]))
            self.high[probe.tensor].append(_number(outputs[probe.high]))
            if probe.outside:
                self.outside[probe.tensor].append(_number(outputs[probe.outside]))

    def result(self) -> Seen:
        """Everything as arrays."""
        import numpy as np

        length = min((f.size for f in self.features), default=0)
        features = np.array([f[:length] for f in self.features], np.float32)
        same = len({c.size for c in self.classes}) == 1
        whole = same and len(self.classes) == len(self.indices)
        return Seen(
            indices=tuple(self.indices),
            features=np.nan_to_num(features, posinf=0.0, neginf=0.0),
            classes=np.array(self.classes) if whole else None,
            low={n: np.array(v) for n, v in self.low.items()},
            high={n: np.array(v) for n, v in self.high.items()},
            outside={n: sum(v) / len(v) for n, v in self.outside.items() if v},
        )


def _number(value: Any) -> float:
    """A statistic as a finite number; what is not finite is a finding of the data room's."""
    import numpy as np

    return float(np.nan_to_num(value, posinf=3.4e38, neginf=-3.4e38))


def _node(op_type: str, inputs: Sequence[str], output: str, **attributes: Any) -> Any:
    import onnx

    return onnx.helper.make_node(op_type, list(inputs), [output], name=output, **attributes)


def _outside(name: str, result: str, inside: tuple[float, float]) -> tuple[list[Any], list[Any]]:
    """Nodes and constants that give the share of a tensor's elements outside a range."""
    import numpy as np
    from onnx import TensorProto, numpy_helper

    # Rounding must not count: an element at the very end of the range is inside.
    slack = 1e-6 * max(inside[1] - inside[0], 1e-12)
    ends = (inside[0] - slack, inside[1] + slack)
    constants = [
        numpy_helper.from_array(np.array(v, np.float32), f"{result}_{n}")
        for n, v in zip(("least", "most"), ends, strict=True)
    ]
    nodes = [
        _node("Less", [name, f"{result}_least"], f"{result}_below"),
        _node("Greater", [name, f"{result}_most"], f"{result}_above"),
        _node("Or", [f"{result}_below", f"{result}_above"], f"{result}_out"),
        _node("Cast", [f"{result}_out"], f"{result}_share", to=TensorProto.FLOAT),
        _node("ReduceMean", [f"{result}_share"], result, keepdims=0),
    ]
    return nodes, constants


def last_features(graph: Graph) -> str:
    """The tensor that the last weighted layer before the first output reads, or ``""``."""
    writers = graph.producers()
    wanted = [graph.outputs[0]] if graph.outputs else []
    seen: set[str] = set()
    while wanted:
        name = wanted.pop(0)
        node = writers.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        constant = sum(graph.constant(i) is not None for i in node.input[:2])
        if node.op_type in _LAST and constant and node.input[0]:
            return str(node.input[0])
        wanted += [i for i in node.input if i]
    return ""


def _pooled(value: Any) -> Any:
    """One sample's activations as a vector: averaged over places, thinned when still long."""
    import numpy as np

    value = value[0] if value.ndim > 1 else value
    if value.ndim == 3:
        value = value.mean(axis=(1, 2))
    elif value.ndim == 2:
        value = value.mean(axis=0)
    flat = np.ravel(value).astype(np.float32)
    return flat[:: -(-flat.size // FEATURES_MAX)] if flat.size > FEATURES_MAX else flat


def _distribution(outputs: Mapping[str, Any], names: Sequence[str]) -> Any | None:
    """Class probabilities of one sample, if the model's only float output can be such."""
    import numpy as np

    scores = [np.asarray(outputs[n]) for n in names if n in outputs]
    scores = [s for s in scores if s.dtype.kind == "f"]
    if len(scores) != 1 or not scores[0].size:
        return None
    value = scores[0][0] if scores[0].ndim > 1 else scores[0]
    flat = np.ravel(value).astype(np.float64)
    if flat.size < 2 or max(value.shape, default=0) != flat.size or not np.isfinite(flat).all():
        return None
    if flat.min() >= -1e-6 and abs(flat.sum() - 1) < 1e-2:
        return np.maximum(flat, 0) / flat.sum()
    powers = np.exp(flat - flat.max())
    return powers / powers.sum()
