"""The Q/DQ model with a switch at every quantiser. Runs in a child only.

Activations are switched while the model is loaded: each restored tensor goes through
``Where(flag, restored, float)``, the flags are inputs. Weights are baked in, float or restored,
because constant weights are what fast kernels want; another set of weights is another session.
With every switch off and the float model's weights the float model must come out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from seatrial.calibration.order import needed, reads
from seatrial.quantize.graph import Graph
from seatrial.reference import ReferenceSession, open_model

from .pairs import Quantisers
from .parameters import DEQUANTIZE, QUANTIZE, Weights

#: Prefix of every name that this module adds.
MARK = "seatrial_switch"

#: Sessions that are kept.
KEPT = 3


class Switched:
    """Runs the model with any set of quantisers on.

    Args:
        graph: the prepared Q/DQ graph.
        found: its quantisers, with the float model's weights where known.
        threads: of one inference.
        taps: further tensors to give, from every session.
    """

    def __init__(
        self, graph: Graph, found: Quantisers, *, threads: int = 0, taps: Sequence[str] = ()
    ) -> None:
        self.graph = graph
        self.found = found
        self.threads = threads
        self.taps = tuple(taps)
        self.flags = {name: f"{MARK}_{k}" for k, name in enumerate(found.activations)}
        self._sessions: OrderedDict[frozenset[str], ReferenceSession] = OrderedDict()
        self.base = self._base()

    def run(self, feeds: Mapping[str, Any], on: Iterable[str]) -> dict[str, Any]:
        """Outputs (and taps) with exactly these quantisers on."""
        import numpy as np

        chosen = frozenset(on)
        session = self.session(chosen.intersection(self.found.weights))
        flags = {flag: np.asarray(name in chosen) for name, flag in self.flags.items()}
        return session.run({**feeds, **flags})

    def session(self, weights: frozenset[str]) -> ReferenceSession:
        """The session in which exactly these weights are quantised."""
        if weights not in self._sessions:
            while len(self._sessions) >= KEPT:
                self._sessions.popitem(last=False)
            self._sessions[weights] = open_model(
                self.model(weights), folder=self.graph.folder, threads=self.threads, optimize=LEVEL
            )
        self._sessions.move_to_end(weights)
        return self._sessions[weights]

    def model(
        self,
        weights: Iterable[str],
        extra: Sequence[Any] = (),
        values: Mapping[str, Any] | None = None,
        outputs: Sequence[str] = (),
    ) -> bytes:
        """The model with these weights quantised, serialised.

        Args:
            weights: switches.
            extra: nodes that are appended.
            values: constants that they read.
            outputs: tensors of theirs to give.
        """
        import onnx
        from onnx import numpy_helper

        model = onnx.ModelProto()
        model.CopyFrom(self.base)
        on = set(weights)
        for key, entry in self.found.weights.items():
            for slot, parameter in entry.slots.items():
                quantised = key in on or parameter.original is None
                value = parameter.value if quantised else parameter.original
                name = constant(entry, slot)
                model.graph.initializer.append(numpy_helper.from_array(value, name))
        for name, value in (values or {}).items():
            model.graph.initializer.append(numpy_helper.from_array(value, name))
        model.graph.node.extend(extra)
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
        return bytes(model.SerializeToString())

    def _base(self) -> Any:
        """Everything but the weights: flags as inputs, a Where behind every pair."""
        import onnx
        from onnx import TensorProto, helper

        model = onnx.ModelProto()
        model.CopyFrom(self.graph.model)
        restored = {
            name: (flag, one.tensor)
            for switch, flag in self.flags.items()
            for one in self.found.activations[switch]
            for name in one.restored
        }
        taken = {
            (w.node, slot): constant(w, slot)
            for w in self.found.weights.values()
            for slot in w.slots
        }
        nodes = []
        for node in model.graph.node:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            for slot in range(len(copy.input)):
                name = taken.get((copy.name, slot))
                if name is not None:
                    copy.input[slot] = name
            if copy.op_type == QUANTIZE:  # true to the candidate, should its range be wrong
                copy.input[0] = self.found.bare.get(copy.input[0], copy.input[0])
            nodes.append(copy)
            if copy.op_type == DEQUANTIZE and copy.output[0] in restored:
                result = copy.output[0]
                flag, source = restored[result]
                copy.output[0] = rounded(result)
                nodes.append(helper.make_node("Where", [flag, rounded(result), source], [result]))
        outputs = [o.name for o in model.graph.output]
        del model.graph.node[:]
        model.graph.node.extend(needed(nodes, [*outputs, *self.taps]))
        del model.graph.value_info[:]
        used = {n for node in model.graph.node for n in reads(node)}
        used |= set(self.flags.values())
        kept = [t for t in model.graph.initializer if t.name in used]
        del model.graph.initializer[:]
        model.graph.initializer.extend(kept)
        model.graph.input.extend(
            helper.make_tensor_value_info(flag, TensorProto.BOOL, [])
            for flag in self.flags.values()
        )
        model.graph.output.extend(
            onnx.ValueInfoProto(name=t) for t in self.taps if t not in outputs
        )
        return model


#: Graph optimisation of these sessions: Q and DQ stay what they are, all else is fused.
LEVEL = "literal"


def rounded(name: str) -> str:
    """The always quantised form of a restored tensor."""
    return f"{name}_{MARK}_rounded"


def constant(entry: Weights, slot: int) -> str:
    """Name of a weight in the switched model."""
    return f"{MARK}_{entry.node}_{slot}"
