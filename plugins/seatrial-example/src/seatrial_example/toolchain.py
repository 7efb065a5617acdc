"""Everything that touches the toolchain; here NumPy stands in for one.

``compile_model`` is the compiler: it reads an ONNX model, says which nodes it refuses, and writes a
program. ``Program`` is the runtime. Replace the insides of both and keep what they give.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from seatrial.results import LayerRun, Ran, TargetKind, node_label

#: Operators that the compiler takes, and what the runtime does for each. Attributes: none.
OPERATORS: Mapping[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Abs": np.abs,
    "Relu": lambda x: np.maximum(x, np.zeros((), x.dtype)),
    "MatMul": np.matmul,
    "Identity": lambda x: x,
}


class InvalidModelError(Exception):
    """The front end does not take the file at all."""


@dataclass(frozen=True)
class Node:
    """One node of the model, under the label that all backends share; ``why`` it is refused."""

    label: str
    op_type: str
    why: str = ""


@dataclass(frozen=True)
class Compiled:
    """What the compiler said: all nodes, those it refuses, and the files it wrote."""

    nodes: tuple[Node, ...]
    refused: tuple[Node, ...]
    files: tuple[str, ...] = ()


def compile_model(path: Path, out: Path) -> Compiled:
    """Compile a model file into ``out``.

    Raises:
        InvalidModelError: the front end refuses the file as a whole.
    """
    try:
        onnx.checker.check_model(path, full_check=True)
        model = onnx.load(path)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InvalidModelError(f"{type(error).__name__}: {reason}"[:300]) from None
    opsets = {o.domain: o.version for o in model.opset_import}
    newest = onnx.defs.onnx_opset_version()
    if opsets.get("", 0) > newest:
        raise InvalidModelError(f"opset {opsets['']}; the newest known is {newest}")
    graph = model.graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    nodes = tuple(
        Node(node_label(n.name, n.op_type, k), n.op_type, _why(n)) for k, n in enumerate(graph.node)
    )
    refused = tuple(n for n in nodes if n.why)
    if refused:
        return Compiled(nodes, refused)
    program = {
        "inputs": [i.name for i in graph.input if i.name not in constants],
        "outputs": [o.name for o in graph.output],
        "constants": list(constants),
        "steps": [
            {"label": made.label, "op": n.op_type, "inputs": list(n.input), "output": n.output[0]}
            for made, n in zip(nodes, graph.node, strict=True)
        ],
    }
    (out / "program.json").write_text(json.dumps(program), "utf-8")
    np.savez(out / "constants.npz", **{str(k): v for k, v in enumerate(constants.values())})
    return Compiled(nodes, (), ("program.json", "constants.npz"))


def _why(node: Any) -> str:
    """Why the compiler refuses a node, or nothing."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
        return f"no rule for {node.domain or 'ai.onnx'}.{node.op_type}"
    return ""


class Program:
    """A loaded program: the session of the contract.

    Args:
        path: ``program.json``, with its constants beside it.
        taps: inner tensors to give as well.

    Raises:
        ValueError: the files are no program, or a tap is no tensor of it.
    """

    def __init__(self, path: Path, taps: Sequence[str] = ()) -> None:
        self._program: dict[str, Any] = json.loads(path.read_text("utf-8"))
        with np.load(path.parent / "constants.npz", allow_pickle=False) as stored:
            names = self._program["constants"]
            self._constants = {n: stored[str(k)] for k, n in enumerate(names)}
        known = {step["output"] for step in self._program["steps"]}
        if strange := [t for t in taps if t not in known]:
            raise ValueError(f"no tensor {strange[0]!r} in the program")
        self._wanted = [*self._program["outputs"], *taps]

    def run(self, feeds: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run once: arrays by input name in, arrays by output name out."""
        if sorted(feeds) != sorted(self._program["inputs"]):
            raise ValueError(f"inputs {sorted(feeds)}, wanted {self._program['inputs']}")
        values = {**self._constants, **feeds}
        for step in self._program["steps"]:
            arguments = [values[name] for name in step["inputs"]]
            values[step["output"]] = np.asarray(OPERATORS[step["op"]](*arguments))
        return {name: values[name] for name in self._wanted}

    def ran(self) -> Ran:
        """Say where it really ran."""
        layers = tuple(
            LayerRun(layer=s["label"], op_type=s["op"], nodes=(s["label"],), on="NumPy")
            for s in self._program["steps"]
        )
        return Ran(where=TargetKind.SIMULATOR, device=f"NumPy {np.__version__}", layers=layers)

    def close(self) -> None:
        """Free everything; twice does no harm."""
        self._constants = {}
