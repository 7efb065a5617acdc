"""Writing OpenVINO's intermediate representation, and describing its tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seatrial.results import Artifact, TensorIO

from .names import NODES_FILE, Names
from .runtime import Runtime
from .targets import FORMAT

STEM = "model"


def save(
    runtime: Runtime,
    model: Any,
    names: Names,
    out: Path,
    perms: dict[str, tuple[int, ...]] | None = None,
) -> Artifact:
    """Write ``model.xml``, ``model.bin`` and the names of its nodes; weights stay as they are.

    Args:
        runtime: the runtime that made the model.
        model: an ``openvino.Model``.
        names: labels by OpenVINO's names, and the ONNX interface.
        out: folder for the files.
        perms: axes of the inputs whose layout was changed, by name.
    """
    entry = f"{STEM}.xml"
    runtime.ov.save_model(model, str(out / entry), compress_to_fp16=False)
    names.write(out / NODES_FILE)
    perms = perms or {}
    return Artifact(
        format=FORMAT,
        entry=entry,
        files=(entry, f"{STEM}.bin", NODES_FILE),
        inputs=tuple(
            tensor(port, name, perms.get(name, ()))
            for name, port in named(model.inputs, names.inputs)
        ),
        outputs=tuple(tensor(port, name) for name, port in named(model.outputs, names.outputs)),
    )


def named(ports: Any, wanted: tuple[str, ...]) -> list[tuple[str, Any]]:
    """Ports of a model with their ONNX names, in the order of the model.

    A port may carry several names (a tensor passed through unchanged keeps both); the ONNX
    interface decides which counts. A port that lost its name (the importer drops an operator that
    passes its input through, and the input takes the output's name) has the one that is left over.
    """
    found: list[tuple[str, Any]] = []
    unused = list(wanted)
    for port in ports:
        names = port.get_names()
        name = next((w for w in unused if w in names), "")
        if name:
            unused.remove(name)
        found.append((name, port))
    lost = sum(not name for name, _ in found)
    left = iter(unused if lost == len(unused) else ())
    return [(name or next(left, "") or _own(port), port) for name, port in found]


def _own(port: Any) -> str:
    """A name that a port has by itself."""
    return str(min(port.get_names(), default=port.get_node().get_friendly_name()))


def tensor(port: Any, name: str, perm: tuple[int, ...] = ()) -> TensorIO:
    """A port as the contract describes it; free dimensions are ``"?"`` texts."""
    partial = port.get_partial_shape()
    shape: tuple[int | str, ...] = ()
    if partial.rank.is_static:
        shape = tuple(d.get_length() if d.is_static else "?" for d in partial)
    return TensorIO(name=name, dtype=dtype(port), shape=shape, perm=perm)


def dtype(port: Any) -> str:
    """The numpy name of a port's element type, ``""`` for one that numpy has not."""
    try:
        return str(port.get_element_type().to_dtype().name)
    except (RuntimeError, TypeError, AttributeError):
        return ""
