"""The set-up of a pass: from a model file to an observed graph that the runtime takes as it is.

The runtime runs added outputs last, which keeps every activation alive. Its optimised graph is
therefore saved, reordered, and loaded again as it stands. The saved form fits this machine only.
Reading, folding and optimising take several times the model's size and a library that the pass
does not need, so all of it happens in a process of its own. Runs in a child only.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatrial.codec import decode, encode, record
from seatrial.errors import UserError
from seatrial.reference import ReferenceSession, open_model

from .types import MARK, Reading

if TYPE_CHECKING:
    from seatrial.quantize.graph import Graph
    from seatrial.samples import Samples

#: Files in the folder of a set-up.
OPTIMISED, WEIGHTS, ANSWER = "observed.onnx", "observed.weights", "ready.json"

#: What the process of the set-up runs; its argument is the file that says what to do.
PROGRAM = """
import json, sys
with open(sys.argv[1], encoding="utf-8") as file:
    sys.path[:] = json.load(file)["path"]
from seatrial.calibration.ready import main
main(sys.argv[1])
"""


@record
class Setup:
    """What to observe.

    Attributes:
        model: path of the float model.
        folder: an empty folder for the result, which is named in full.
        samples: path of a sample store; one sample shows whether the graph is still the same.
        sample: its index.
        statistics: one of :data:`seatrial.calibration.types.STATISTICS`.
    """

    model: str
    folder: str
    samples: str
    sample: int
    statistics: str


@record
class Ready:
    """A graph that can be observed.

    Attributes:
        model: path of the file; ``""``: nothing has to be computed.
        inputs: observed inputs of the model.
        reading: how outputs are read.
        notes: anything worth a line.
    """

    model: str
    inputs: tuple[str, ...]
    reading: Reading
    notes: tuple[str, ...] = ()

    @property
    def tensors(self) -> tuple[str, ...]:
        """Everything that is observed, inputs first."""
        return (*self.inputs, *self.reading.tensors)

    def open(self) -> ReferenceSession | None:
        """Load it."""
        if not self.model:
            return None
        return open_model(Path(self.model), optimize="none", threads=1, in_order=True)


def get_ready(setup: Setup) -> Ready:
    """Make the observed graph, apart from this process unless it holds the library anyway.

    Raises:
        UserError: the model was refused.
        RuntimeError: the process of the set-up failed; its log says why.
        MemoryError: it was killed.
    """
    if "onnx" in sys.modules:
        found = make_ready(setup)
        give_back()
        return found
    return _apart(setup)


def _apart(setup: Setup) -> Ready:
    folder = Path(setup.folder)
    task = folder / "setup.json"
    task.write_text(json.dumps({"path": sys.path, "setup": encode(setup)}), "utf-8")
    done = subprocess.run([sys.executable, "-I", "-c", PROGRAM, str(task)], check=False)
    if done.returncode == -9:
        raise MemoryError("the set-up of the calibration was killed, probably for its memory")
    if done.returncode:
        raise RuntimeError(f"the set-up ended with status {done.returncode}")
    answer = json.loads((folder / ANSWER).read_text("utf-8"))
    if "refused" in answer:
        subject, reason, place, advice = answer["refused"]
        raise UserError(subject, reason, place=place, advice=advice)
    return decode(Ready, answer["ready"])


def main(path: str) -> None:
    """The process of the set-up: read what to do, leave an answer."""
    setup = decode(Setup, json.loads(Path(path).read_text("utf-8"))["setup"])
    try:
        answer: dict[str, Any] = {"ready": encode(make_ready(setup))}
    except UserError as error:
        answer = {"refused": [error.subject, error.reason, error.place, error.advice]}
    (Path(setup.folder) / ANSWER).write_text(json.dumps(answer), "utf-8")


def make_ready(setup: Setup) -> Ready:
    """Make the observed graph.

    Raises:
        UserError: the model's opset is too old, or folding changes what it computes.
    """
    from seatrial.quantize.plan import make_plan
    from seatrial.quantize.prepare import prepare
    from seatrial.samples import Samples

    from .observe import observed
    from .verify import check_prepared

    path, folder = Path(setup.model), Path(setup.folder)
    samples = Samples(Path(setup.samples))
    prepared = prepare(path, aside=folder)
    check_prepared(path, prepared, samples, setup.sample)
    graph = prepared.graph
    _fix_shapes(graph, samples)
    wanted = make_plan(graph).observe
    given = set(graph.inputs)
    inputs = tuple(t for t in wanted if t in given)
    computed = [t for t in wanted if t not in given]
    model, reading = observed(graph, computed, setup.statistics)
    source, data = bytes(model.SerializeToString()), graph.folder
    notes = tuple(prepared.notes)
    del prepared, graph, model
    if not computed:
        return Ready(model="", inputs=inputs, reading=reading, notes=notes)
    target = folder / OPTIMISED
    reading = _reordered(source, data, target, reading)
    return Ready(model=str(target), inputs=inputs, reading=reading, notes=notes)


def _fix_shapes(graph: Graph, samples: Samples) -> None:
    """Give the inputs the shapes that they will be fed with, which makes most others known."""
    batched, size = samples.index.get("batch_axis", True), 1
    for k, info in enumerate(i for i in graph.proto.input if i.name in samples.names):
        shape, dims = samples.shape(info.name), info.type.tensor_type.shape.dim
        if batched and k == 0 and dims and dims[0].HasField("dim_value"):
            size = dims[0].dim_value
        if shape is None:
            continue
        fed = (size, *shape) if batched else shape
        for dim, known in zip(dims, fed, strict=False):
            dim.dim_value = dim.dim_value if dim.HasField("dim_value") else known
    graph.infer()


def _reordered(source: bytes, data: Path, target: Path, reading: Reading) -> Reading:
    """Write the optimised graph with each statistic right where its tensor is made."""
    import dataclasses

    import onnx

    from seatrial.reference import optimised

    from .order import eager, in_place, needed

    optimised(source, target, folder=data, weights=WEIGHTS)
    saved = onnx.load(target, load_external_data=False)
    raw = in_place(list(saved.graph.node), reading.picked, f"{MARK}_flat")
    outputs = list(dict.fromkeys(raw.get(o.name, o.name) for o in saved.graph.output))
    nodes = eager(needed(list(saved.graph.node), outputs), outputs, MARK)
    del saved.graph.node[:], saved.graph.output[:]
    saved.graph.node.extend(nodes)
    saved.graph.output.extend(onnx.ValueInfoProto(name=o) for o in outputs)
    target.write_bytes(saved.SerializeToString())
    return dataclasses.replace(reading, picked=tuple(raw.get(p, p) for p in reading.picked))


def give_back() -> None:
    """Return freed memory to the system, where the C library can: set-up leaves twice the model."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
