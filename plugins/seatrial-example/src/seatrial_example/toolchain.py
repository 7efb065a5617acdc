"""Everything that touches the toolchain; here NumPy stands in for one.

``compile_model`` is the compiler: it takes an ONNX model, says which nodes it refuses, and writes a
program. ``Program`` is the runtime. Replace the insides of both and keep what they give.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import numpy_helper

from seatrial.models import Model, RefusedError, read
from seatrial.results import LayerRun, Ran, TargetKind

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


def compile_model(path: Path, scratch: Path, out: Path) -> tuple[Model, tuple[str, ...]]:
    """Compile a model file into ``out``; the model as it was read, and the files.

    Raises:
        RefusedError: the file as a whole, or nodes, each with its finding.
    """
    model = read(path, scratch)
    graph = model.proto.graph
    reasons = [(model.index(node.name), _why(node)) for node in graph.node]
    if refused := [model.finding(index, why) for index, why in reasons if why]:
        raise RefusedError(*refused)
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    program = {
        "inputs": [i.name for i in model.inputs],
        "outputs": [o.name for o in graph.output],
        "constants": list(constants),
        "steps": [
            {
                "node": model.label(node.name),
                "op": node.op_type,
                "inputs": list(node.input),
                "output": node.output[0],
            }
            for node in graph.node
        ],
    }
    (out / "program.json").write_text(json.dumps(program), "utf-8")
    np.savez(out / "constants.npz", **{str(k): v for k, v in enumerate(constants.values())})
    return model, ("program.json", "constants.npz")


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
            LayerRun(
                layer=f"{k} {step['op']}",
                op_type=step["op"],
                nodes=(step["node"],) if step["node"] else (),
                on="NumPy",
            )
            for k, step in enumerate(self._program["steps"])
        )
        return Ran(where=TargetKind.SIMULATOR, device=f"NumPy {np.__version__}", layers=layers)

    def close(self) -> None:
        """Free everything; twice does no harm."""
        self._constants = {}
