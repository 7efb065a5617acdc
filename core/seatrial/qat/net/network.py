"""The prepared float graph as a torch module, with fake quantisers where Q/DQ pairs will be.

Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from seatrial.errors import UserError
from seatrial.quantize.graph import Graph, attribute, subgraphs
from seatrial.quantize.plan import Plan
from seatrial.quantize.scales import LIMITS, Scale
from seatrial.quantize.units import Unit
from seatrial.results import QdqDialect

from .fake import FakeQuantize, fake_bias, fake_weight, weight_steps
from .layers import LAYERS
from .operators import OPERATORS, NotOffered

#: Every operator that can be run.
_RUN = {**OPERATORS, **LAYERS}

#: Inputs of an operator that learn when they are float constants.
_LEARNS = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (1, 2),
    "MatMul": (0, 1),
    "BatchNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "PRelu": (1,),
}


@dataclass(frozen=True)
class Step:
    """One node, ready to run."""

    label: str
    op_type: str
    run: Any
    attributes: Mapping[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    unit: Unit | None
    done: tuple[str, ...]


class Network(torch.nn.Module):  # type: ignore[misc]  # torch is not followed
    """Runs the graph; what learns is held in units of its own size, see :func:`unit_of`.

    Args:
        graph: prepared, see :func:`seatrial.quantize.prepare.prepare`.
        plan: made from this graph.
        dialect: what the fake quantisers imitate.
        scales: step and zero point by root of ``plan.groups``; roots that are missing pass.
        learn_ranges: the steps are parameters too.

    Raises:
        UserError: a node cannot be run here.
    """

    def __init__(
        self,
        graph: Graph,
        plan: Plan,
        dialect: QdqDialect,
        scales: Mapping[str, Scale],
        *,
        learn_ranges: bool = True,
    ) -> None:
        super().__init__()
        self.dialect = dialect
        self.quantised = True
        self.one_by_one = False
        self.free_reshape = False
        self.batch = 1
        self.inputs, self.outputs = graph.inputs, graph.outputs
        self.constants = _constants(graph)
        self.roots = {n: r for n, r in plan.roots.items() if r in scales}
        self.zeros = {root: int(scale.zero) for root, scale in scales.items()}
        self.limits = LIMITS[dialect.activations]
        self._units(graph, plan)
        self.steps = _steps(graph, plan)
        self.log_steps = torch.nn.ParameterDict()
        for k, scale in enumerate(scales.values()):
            value = torch.tensor(float(scale.scale)).log()
            self.log_steps[str(k)] = torch.nn.Parameter(value, requires_grad=learn_ranges)
        self._at = {root: str(k) for k, root in enumerate(scales)}

    def _units(self, graph: Graph, plan: Plan) -> None:
        """Turn learnable constants into parameters, in units of their own size."""
        self.names = _learnable(graph)
        self.index = {name: k for k, name in enumerate(self.names)}
        self.raw = torch.nn.ParameterList()
        self.units: list[Any] = []
        axes = {u.weight: u.axis for u in plan.units if u.weight}
        for name in self.names:
            value = self.constants.pop(name)
            unit = unit_of(value, axes.get(name))
            self.units.append(unit)
            self.raw.append(torch.nn.Parameter(value / unit))

    def step(self, root: str) -> Any:
        """The step of a group, float32."""
        return self.log_steps[self._at[root]].exp()

    def values(self) -> dict[str, Any]:
        """What learns, by name of the initializer, in its own size."""
        return {n: self.raw[k] * self.units[k] for n, k in self.index.items()}

    def forward(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Run on a batch.

        Args:
            feeds: tensors by input, batch axis first.

        Returns:
            tensors by output.
        """
        if not self.one_by_one:
            return self._run(feeds)
        count = len(next(iter(feeds.values())))
        parts = [self._run({n: x[i : i + 1] for n, x in feeds.items()}) for i in range(count)]
        return {n: torch.cat([p[n] for p in parts]) for n in self.outputs}

    def _run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        held: dict[str, Any] = {**self.constants, **self.values(), "": None}
        self.batch = len(feeds[self.inputs[0]]) if self.inputs else 1
        for name in self.inputs:
            held[name] = self._fake(name, feeds[name])
        for step in self.steps:
            self._node(step, held)
            for name in step.done:
                del held[name]
        return {name: held[name] for name in self.outputs}

    def _node(self, step: Step, held: dict[str, Any]) -> None:
        values = [held[n] for n in step.inputs]
        if step.unit is not None and step.unit.weight and self.quantised:
            self._weight(step, values)
        if self.free_reshape and step.op_type == "Reshape":
            values[1] = _freed(values[1], self.batch)
        try:
            got = step.run(step.attributes, *values)
        except NotOffered as error:
            raise UserError(
                "model", f"training cannot run {step.op_type}: {error}", place=step.label
            ) from None
        for name, value in zip(
            step.outputs, got if isinstance(got, tuple) else (got,), strict=False
        ):
            held[name] = self._fake(name, value)

    def _weight(self, step: Step, values: list[Any]) -> None:
        """Replace a weight by what its integers will read."""
        unit = step.unit
        assert unit is not None
        root = self.roots.get(unit.inputs[0])
        if root is None:
            return
        axis = unit.axis if self.dialect.per_channel else None
        slot = step.inputs.index(unit.weight, 1)
        meets = self.step(root).detach()
        bias = values[2] if unit.bias and self.dialect.bias == "int32" else None
        flat = bias.detach().reshape(-1) if bias is not None else None
        steps = weight_steps(values[slot].detach(), axis, self.dialect, flat, meets)
        values[slot] = fake_weight(values[slot], steps, axis, self.dialect)
        if bias is not None:
            values[2] = fake_bias(bias, meets * steps)

    def _fake(self, name: str, value: Any) -> Any:
        root = self.roots.get(name) if self.quantised else None
        if root is None or not value.is_floating_point():
            return value
        log_step = self.log_steps[self._at[root]]
        return FakeQuantize.apply(value, log_step, self.zeros[root], self.limits)

    def ranges(self) -> dict[str, tuple[float, float]]:
        """The range of each fake-quantised tensor: insertion gives its step and zero point back."""
        low, high = (-127, 127) if self.dialect.symmetric else self.limits
        found = {}
        for name, root in self.roots.items():
            step = float(self.step(root).detach())
            zero = 0 if self.dialect.symmetric else self.zeros[root]
            found[name] = ((low - zero) * step, (high - zero) * step)
        return found


def unit_of(value: Any, axis: int | None) -> Any:
    """The unit that a parameter is counted in: its largest magnitude as a power of two.

    Weights take one per channel, so one learning rate moves every channel by the same share, also
    after batch normalisation was folded into them. A power of two makes the division exact.
    """
    size = value.abs()
    if axis is not None and value.ndim > 1:
        others = [k for k in range(value.ndim) if k != axis]
        size = size.amax(dim=others, keepdim=True)
    else:
        size = size.max() if value.numel() else torch.ones(())
    most = size.max()
    size = torch.where(size > 0, size, most if most > 0 else torch.ones(()))
    return torch.exp2(torch.ceil(torch.log2(size)))


def settle(network: Network, feeds: Mapping[str, Any], fixed: int) -> str:
    """Find how batches may be run: at once, at once with reshapes freed, or sample by sample.

    Args:
        network: not quantised while this runs.
        feeds: two samples or more.
        fixed: the batch that the model was exported with; 0: free.

    Returns:
        A note for the user, empty when batches simply work.
    """
    network.quantised, network.one_by_one = False, True
    with torch.no_grad():
        expected = network(feeds)
        network.one_by_one = False
        for free in (False, True) if fixed == 1 else (False,):
            network.free_reshape = free
            try:
                got = network(feeds)
            except (RuntimeError, IndexError, ValueError):
                continue
            if all(_near(expected[n], got.get(n)) for n in network.outputs):
                network.quantised = True
                return ""
    network.quantised, network.one_by_one, network.free_reshape = True, True, False
    return "the model's batch is baked in: every sample runs by itself, which is slow"


def _near(expected: Any, got: Any) -> bool:
    if got is None or expected.shape != got.shape:
        return False
    scale = float(expected.abs().max()) or 1.0
    return float((expected - got).abs().max()) <= 1e-4 * scale


def _freed(shape: Any, batch: int) -> Any:
    """The target of a Reshape that was exported with batch 1, for another batch."""
    wanted = shape.clone()
    if wanted.numel() and int(wanted[0]) == 1:
        wanted[0] = batch
    return wanted


def _constants(graph: Graph) -> dict[str, Any]:
    import numpy as np

    return {n: torch.from_numpy(np.array(graph.constant(n))) for n in graph.initializers}


def _learnable(graph: Graph) -> list[str]:
    """Names of the float constants that learn, in graph order."""
    found: dict[str, None] = {}
    for node in graph.nodes:
        slots: Iterable[int] = () if node.domain else _LEARNS.get(node.op_type, ())
        for slot in slots:
            name = node.input[slot] if slot < len(node.input) else ""
            if name in graph.initializers and graph.is_float(name):
                found[name] = None
    for node in graph.nodes:  # a bias addition behind a product with constant weights
        if node.op_type == "Add" and not node.domain:
            for name in node.input:
                info = graph.constant_info(name)
                if (
                    info is not None
                    and graph.is_float(name)
                    and len(info[1]) == 1
                    and info[1][0] > 1
                ):
                    found[name] = None
    return list(found)


def _steps(graph: Graph, plan: Plan) -> list[Step]:
    units = {u.nodes[0].name: u for u in plan.units if u.weight}
    last: dict[str, int] = {}
    nodes = graph.nodes
    for k, node in enumerate(nodes):
        last.update({n: k for n in (*node.input, *node.output) if n})
    kept = {*graph.outputs, *graph.initializers, ""}
    frees: dict[int, list[str]] = {}
    for name, k in last.items():
        if name not in kept:
            frees.setdefault(k, []).append(name)
    return [
        Step(
            label=node.name,
            op_type=node.op_type,
            run=_operator(node),
            attributes=_attributes(node),
            inputs=tuple(node.input),
            outputs=tuple(node.output),
            unit=units.get(node.name),
            done=tuple(frees.get(k, ())),
        )
        for k, node in enumerate(nodes)
    ]


def _operator(node: Any) -> Any:
    if node.domain not in ("", "ai.onnx") or node.op_type not in _RUN or any(subgraphs(node)):
        name = f"{node.domain}:{node.op_type}" if node.domain else node.op_type
        raise UserError(
            "model",
            f"training cannot run the operator {name}",
            place=node.name,
            advice="keep to `seatrial quantize`, or train with your framework's own tools",
        )
    return _RUN[node.op_type]


def _attributes(node: Any) -> dict[str, Any]:
    import onnx

    found: dict[str, Any] = {"outputs": len(node.output)}
    for a in node.attribute:
        value = attribute(node, a.name)
        if isinstance(value, onnx.TensorProto):
            value = torch.from_numpy(onnx.numpy_helper.to_array(value).copy())
        found[a.name] = value
    return found


def feeds_of(samples: Any, indices: Sequence[int], names: Sequence[str]) -> dict[str, Any]:
    """Stored samples as tensors."""
    return {n: torch.from_numpy(x) for n, x in samples.feeds(indices).items() if n in names}
