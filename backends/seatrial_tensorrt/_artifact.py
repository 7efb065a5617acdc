"""Engines on disk: the plan, what it is bound to, and the names of its nodes and tensors."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.results import Artifact, LayerRun, TensorIO

from ._dtypes import NUMPY
from ._engine import Built
from ._inspect import read_layers
from ._model import Prepared
from ._refusals import last_words
from ._targets import FORMAT
from ._trt import Toolkit

ENTRY, FACTS, TIMINGS = "model.engine", "engine.json", "timings.bin"


@dataclass(frozen=True)
class Stored:
    """What is kept beside a plan.

    Attributes:
        versions: of TensorRT, driver and GPU that built it.
        labels: name that TensorRT knows a node under -> label.
        types: label -> ONNX operator.
        perms: input whose memory lies otherwise -> axes.
        doubles: outputs that are double in the model and FP32 in the engine.
    """

    versions: Mapping[str, str]
    labels: Mapping[str, str]
    types: Mapping[str, str]
    perms: Mapping[str, tuple[int, ...]]
    doubles: frozenset[str]

    @classmethod
    def beside(cls, plan: Path) -> Stored:
        """Read it.

        Raises:
            ValueError: it is not there, or damaged.
        """
        try:
            kept = json.loads((plan.parent / FACTS).read_text("utf-8"))
            perms = {k: tuple(v) for k, v in kept["perms"].items()}
            doubles = frozenset(kept["doubles"])
            return cls(kept["versions"], kept["labels"], kept["types"], perms, doubles)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{FACTS} beside the engine cannot be read: {error}") from None

    def check(self, toolkit: Toolkit) -> None:
        """See that the plan was built for this TensorRT and this kind of GPU.

        Raises:
            ValueError: it was not.
        """
        here = toolkit.versions()
        for name in ("tensorrt", "GPU", "SM"):
            if self.versions.get(name) != here.get(name):
                raise ValueError(
                    f"the engine was built for {name} {self.versions.get(name)}, "
                    f"here is {here.get(name)}: build it again"
                )


@dataclass(frozen=True)
class Saved:
    """An engine on disk: its record, the inspector's text, and the layers in it."""

    artifact: Artifact
    text: str
    layers: tuple[LayerRun, ...]


def save(
    toolkit: Toolkit,
    prepared: Prepared,
    built: Built,
    out: Path,
    perms: Mapping[str, tuple[int, ...]] | None = None,
) -> Saved:
    """Write an engine, and read its layers back.

    Args:
        toolkit: what built it.
        prepared: the model.
        built: the engine.
        out: folder for the files.
        perms: axes of inputs whose memory lies otherwise than the ONNX tensor.

    Raises:
        RuntimeError: the engine that was just built cannot be loaded.
    """
    engine = deserialise(toolkit, built.plan)
    types = {n.label: n.op_type for n in prepared.graph.nodes}
    inputs, outputs = tensors(toolkit.trt, engine, perms or {})
    outputs = [_renamed(io, prepared) for io in outputs]
    facts = {
        "versions": toolkit.versions(),
        "labels": prepared.labels,
        "types": types,
        "perms": dict(perms or {}),
        "doubles": [io.name for io in outputs if io.dtype == "float64"],
    }
    (out / ENTRY).write_bytes(built.plan)
    (out / FACTS).write_text(json.dumps(facts), "utf-8")
    files = [ENTRY, FACTS]
    if built.timings:
        (out / TIMINGS).write_bytes(built.timings)
        files.append(TIMINGS)
    order = {name: k for k, name in enumerate((*prepared.inputs, *prepared.outputs))}
    artifact = Artifact(
        format=FORMAT,
        entry=ENTRY,
        files=tuple(files),
        inputs=tuple(sorted(inputs, key=lambda io: order.get(io.name, 0))),
        outputs=tuple(sorted(outputs, key=lambda io: order.get(io.onnx or io.name, 0))),
    )
    text = information(toolkit, engine)
    return Saved(artifact, text, read_layers(text, prepared.labels, types))


def _renamed(io: TensorIO, prepared: Prepared) -> TensorIO:
    """An output with its ONNX name and type.

    The parser puts ``__`` before the name of an output that is an input as well, and narrows
    double to FP32; the session widens it again.
    """
    name = io.name
    if name not in prepared.outputs and name.removeprefix("__") in prepared.outputs:
        name = name.removeprefix("__")
        io = dataclasses.replace(io, onnx=name)
    return dataclasses.replace(io, dtype="float64") if name in prepared.doubles else io


def deserialise(toolkit: Toolkit, plan: bytes) -> Any:
    """The engine of a plan. Only for plans of our own: a plan is a program.

    Raises:
        RuntimeError: TensorRT refuses it.
    """
    runtime = toolkit.trt.Runtime(toolkit.logger)
    if toolkit.core is not None:
        runtime.DLA_core = toolkit.core
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise RuntimeError(f"TensorRT cannot load the engine: {last_words(toolkit) or 'no reason'}")
    return engine


def information(toolkit: Toolkit, engine: Any, context: Any = None) -> str:
    """The inspector's JSON."""
    inspector = engine.create_engine_inspector()
    if context is not None:
        inspector.execution_context = context
    form = toolkit.trt.LayerInformationFormat.JSON
    return str(inspector.get_engine_information(form))


def tensors(
    trt: Any, engine: Any, perms: Mapping[str, tuple[int, ...]]
) -> tuple[list[TensorIO], list[TensorIO]]:
    """Inputs and outputs of an engine; a free axis is a text."""
    inputs: list[TensorIO] = []
    outputs: list[TensorIO] = []
    for k in range(engine.num_io_tensors):
        name = str(engine.get_tensor_name(k))
        shape = tuple(d if d >= 0 else "?" for d in map(int, engine.get_tensor_shape(name)))
        perm = perms.get(name, ())
        io = TensorIO(
            name=name,
            dtype=NUMPY.get(engine.get_tensor_dtype(name).name, ""),
            shape=tuple(shape[a] for a in perm) if perm else shape,
            perm=perm,
        )
        mode = engine.get_tensor_mode(name)
        (inputs if mode == trt.TensorIOMode.INPUT else outputs).append(io)
    return inputs, outputs
