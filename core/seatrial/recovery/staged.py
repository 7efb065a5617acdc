"""Run a model stage by stage over a few samples, with a chance to edit between two stages.

What every later layer reads is kept for all samples, in memory bounded by :data:`KEEP_BYTES`: the
number of samples is cut until it fits. Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from seatrial.calibration.order import reads
from seatrial.quantize.graph import Graph
from seatrial.reference import open_model
from seatrial.samples import Samples

#: Bytes of activations kept between stages.
KEEP_BYTES = 384 << 20

#: Samples that are always used, whatever they take.
FEWEST = 8


class Staged:
    """A model cut behind chosen tensors.

    Args:
        graph: the model; between stages its initializers may be edited, its nodes not.
        samples: a sample store.
        indices: the samples.
        cuts: tensors, in the order of the graph, after each of which there is a stop.
        before: stop in front of the node that writes the tensor, with what it reads.
    """

    def __init__(
        self,
        graph: Graph,
        samples: Samples,
        indices: Sequence[int],
        cuts: Sequence[str],
        *,
        before: bool = False,
    ) -> None:
        self.graph = graph
        self.nodes = graph.nodes
        place = {o: k for k, node in enumerate(self.nodes) for o in node.output if o}
        self.cuts = sorted(cuts, key=place.__getitem__)
        self.ends = [place[c] + (not before) for c in self.cuts]
        self._last = self._last_reads()
        self.kept: list[dict[str, Any]] = []
        for i in indices:
            feeds = samples.feeds([i])
            self.kept.append({n: feeds[n] for n in graph.inputs})

    def _last_reads(self) -> dict[str, int]:
        """Position of the last node that reads each tensor."""
        last: dict[str, int] = {}
        for k, node in enumerate(self.nodes):
            for name in reads(node):
                last[name] = k
        return last

    def run(self) -> Iterator[str]:
        """Advance; yields each cut. Its tensor, or what its node reads, is in :attr:`kept`."""
        start = 0
        for cut, end in zip(self.cuts, self.ends, strict=True):
            if end > start:
                self._advance(start, end, cut)
            start = max(start, end)
            yield cut

    def _advance(self, start: int, end: int, cut: str) -> None:
        nodes = self.nodes[start:end]
        made = {o for node in nodes for o in node.output if o}
        keep = [n for n in made if self._last.get(n, -1) >= end or n == cut]
        source = self._part(nodes, keep)
        session = open_model(source, folder=self.graph.folder, optimize="literal")
        count = len(self.kept)
        for k in range(count):
            if k >= len(self.kept):
                break
            have = self.kept[k]
            got = session.run({n: have[n] for n in session.inputs})
            alive = {n: v for n, v in have.items() if self._last.get(n, -1) >= end}
            self.kept[k] = alive | got
            if k == 0:
                self._fit(alive | got)

    def _fit(self, values: Mapping[str, Any]) -> None:
        """Cut the number of samples until what is kept of them fits."""
        each = sum(v.nbytes for v in values.values())
        most = max(FEWEST, KEEP_BYTES // max(each, 1))
        del self.kept[most:]

    def _part(self, nodes: Sequence[Any], outputs: Sequence[str]) -> bytes:
        """The nodes as a model of their own."""
        import onnx

        read = {n for node in nodes for n in reads(node)}
        made = {o for node in nodes for o in node.output}
        first = self.kept[0]
        inputs = [
            onnx.helper.make_tensor_value_info(
                n, onnx.helper.np_dtype_to_tensor_dtype(first[n].dtype), None
            )
            for n in sorted(read - made)
            if n in first
        ]
        wanted = [onnx.ValueInfoProto(name=n) for n in outputs]
        constants = [
            self.graph.initializers[n] for n in sorted(read) if n in self.graph.initializers
        ]
        part = onnx.helper.make_graph(list(nodes), "stage", inputs, wanted, constants)
        model = onnx.helper.make_model(
            part,
            opset_imports=list(self.graph.model.opset_import),
            ir_version=self.graph.model.ir_version,
            functions=list(self.graph.model.functions),
        )
        return bytes(model.SerializeToString())
