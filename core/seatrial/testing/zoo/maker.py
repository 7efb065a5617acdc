"""From nodes and numbers to a case on disk, with the truth as ONNX's own evaluator computes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from seatrial.results import QdqDialect, node_label
from seatrial.testing.cases import SOUND, Case

#: Kinds of numpy element types that a session may take and give.
_NUMBERS = "biuf"


class Maker:
    """Writes cases.

    Args:
        root: the shelf's folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cases: list[Case] = []

    def rng(self) -> Any:
        """The same numbers for every case, whatever is made before it."""
        import numpy as np

        return np.random.default_rng(20)

    def add(
        self,
        name: str,
        model: Any,
        feeds: Mapping[str, Any] | None = None,
        *,
        truth: Mapping[str, Any] | None = None,
        files: Mapping[str, bytes] | None = None,
        expect: str = SOUND,
        precision: str = "fp32",
        dialect: QdqDialect | None = None,
        dynamic: bool = False,
        compare: bool = True,
        steps: float = 0.0,
        step: float = 0.0,
    ) -> None:
        """Write one case.

        Args:
            name: ``family/what``.
            model: a ``ModelProto``, or the bytes of a file that is none.
            feeds: inputs by name; ``None``: it is only compiled.
            truth: all tensors by name; ``None``: ONNX's evaluator is asked.
            files: further files beside the model.
            expect: sound or broken.
            precision: of the check's request.
            dialect: of its Q/DQ pairs.
            dynamic: some input has a free dimension.
            compare: compare values.
            steps: allowed error in steps of the output's quantizer.
            step: size of one.
        """
        import numpy as np

        tensors: dict[str, Any] = {}
        if feeds is not None and expect == SOUND:
            values = evaluate(model, feeds) if truth is None else truth
            tensors = {k: np.asarray(v) for k, v in {**feeds, **values}.items() if _array(v)}
        raw = isinstance(model, bytes)
        wanted = () if raw else [o.name for o in model.graph.output]
        case = Case(
            name=name,
            ops=() if raw else tuple(sorted({_op(n) for n, _ in nodes(model.graph)})),
            labels=() if raw else tuple(label for _, label in nodes(model.graph)),
            expect=expect,
            opset=0 if raw else opset(model),
            precision=precision,
            dialect=dialect,
            dynamic=dynamic,
            shapes={k: v.shape for k, v in tensors.items() if dynamic and k in (feeds or ())},
            tensors=tuple(tensors),
            inputs=tuple(feeds or ()),
            outputs=tuple(wanted),
            compare=compare,
            runnable=bool(tensors) and all(n in tensors for n in (*(feeds or ()), *wanted)),
            steps=steps,
            step=step,
        )
        folder = self.root / case.folder
        folder.mkdir()
        (folder / "model.onnx").write_bytes(model if raw else model.SerializeToString())
        for file, content in (files or {}).items():
            (folder / file).write_bytes(content)
        np.savez(folder / "data.npz", **{str(k): v for k, v in enumerate(tensors.values())})
        self.cases.append(case)


def _array(value: Any) -> bool:
    """Whether a value is an array (or a number) that a session may take or give."""
    import numpy as np

    return isinstance(value, np.ndarray | np.generic) and value.dtype.kind in _NUMBERS


def _op(node: Any) -> str:
    domain = "" if node.domain in ("", "ai.onnx") else f"{node.domain}:"
    return f"{domain}{node.op_type}"


def opset(model: Any) -> int:
    """The opset of ONNX's own operators; 0 when the model names none."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def nodes(graph: Any, scope: str = "") -> Iterator[tuple[Any, str]]:
    """Every node with its label, those of branches and bodies too."""
    for index, node in enumerate(graph.node):
        label = node_label(node.name, node.op_type, index, scope)
        yield node, label
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes(attribute.g, f"{label}/{attribute.name}")


def evaluate(model: Any, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """All tensors of a model's main graph by name, computed by ONNX's reference evaluator."""
    from onnx.reference import ReferenceEvaluator

    found = ReferenceEvaluator(model).run(None, dict(feeds), intermediate=True)
    return {str(k): v for k, v in found.items() if k}


# --- building -------------------------------------------------------------------------------------


def value(name: str, array: Any, shape: Sequence[int | str | None] | None = None) -> Any:
    """A ``ValueInfoProto`` of an array's type, with its shape unless another is given."""
    from onnx import helper

    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor_value_info(name, kind, array.shape if shape is None else shape)


def model(
    graph_nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    weights: Mapping[str, Any] | None = None,
    *,
    at: int = 17,
    domains: Sequence[str] = (),
    functions: Sequence[Any] = (),
) -> Any:
    """A ``ModelProto``; the IR version is the lowest that goes with the opset.

    Args:
        graph_nodes: in order.
        inputs: ``ValueInfoProto``.
        outputs: ``ValueInfoProto``, or names (their types are inferred).
        weights: arrays by name.
        at: opset.
        domains: further domains, in version 1.
        functions: local functions.
    """
    from onnx import helper, numpy_helper

    given = [numpy_helper.from_array(v, k) for k, v in (weights or {}).items()]
    imports = [helper.make_opsetid("", at), *(helper.make_opsetid(d, 1) for d in domains)]
    plain = [helper.make_empty_tensor_value_info(o) if isinstance(o, str) else o for o in outputs]
    # Initializers that are no inputs came with IR 4; before it a backend may miss the weights.
    ir = max(helper.find_min_ir_version_for(imports, ignore_unknown=True), 8 if functions else 4)
    graph = helper.make_graph(list(graph_nodes), "kit", list(inputs), plain, given)
    made = helper.make_model(graph, opset_imports=imports, ir_version=ir, functions=list(functions))
    return typed(made) if any(isinstance(o, str) for o in outputs) else made


def typed(made: Any) -> Any:
    """The model with the types of its outputs filled in: inferred, or else the first input's."""
    from onnx import shape_inference

    inferred = shape_inference.infer_shapes(made, strict_mode=True, data_prop=True)
    known = {v.name: v for v in inferred.graph.output}
    for output in made.graph.output:
        output.CopyFrom(known[output.name])
        if not output.type.tensor_type.elem_type:
            output.type.CopyFrom(made.graph.input[0].type)
    return made
