"""Core task: one recipe applied to a graph, by onnx's and onnxscript's own passes."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

from seatrial.export.fuse_child import fuse
from seatrial.export.plain_child import Refused, write_out
from seatrial.export.recipes import Changed, RecipeRequest
from seatrial.hookspecs import Job
from seatrial.results import Artifact

#: Serialised models above this size are written with their weights in a file beside them.
EXTERNAL_BYTES = 1_500_000_000


def change(request: RecipeRequest, job: Job) -> Changed:
    """Apply a recipe; a pass that fails is a reason, not a fault."""
    import onnx

    model = onnx.load(job.path(request.model))
    before = _count(model)
    name, _, argument = request.recipe.partition(":")
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            new = _PASSES[name](model, argument, request)
            onnx.checker.check_model(new)
    except Refused as refused:
        return Changed(reason=str(refused), before=before)
    except Exception as error:  # noqa: BLE001  # a pass may raise anything on an odd graph
        text = " ".join(str(error).split())[:200]
        return Changed(reason=f"{type(error).__name__}: {text}", before=before)
    finally:
        logging.disable(logging.NOTSET)
    files = _save(new, job.out / "model.onnx")
    return Changed(
        artifact=Artifact(format="onnx", entry="model.onnx", files=files),
        before=before,
        after=_count(new),
        opset=_opset(new),
    )


def _convert(model: Any, argument: str, request: RecipeRequest) -> Any:
    """Onnxscript's converter first; onnx's own where that leaves the opset as it was."""
    from onnx import version_converter as old
    from onnxscript import version_converter

    wanted = int(argument)
    if _opset(model) == wanted:
        raise Refused(f"the model has opset {wanted} already")
    given = type(model)()
    given.CopyFrom(model)
    try:
        new = version_converter.convert_version(given, target_version=wanted)
    except Exception:  # noqa: BLE001  # the other converter is asked next
        new = None
    if new is None or _opset(new) != wanted:
        new = old.convert_version(model, wanted)
    if _opset(new) != wanted:
        raise Refused(f"the converters left it at opset {_opset(new)}")
    return new


def _static(model: Any, argument: str, request: RecipeRequest) -> Any:
    free = 0
    for value in model.graph.input:
        shape = request.shapes.get(value.name)
        if shape is None:
            continue
        for dim, size in zip(value.type.tensor_type.shape.dim, shape, strict=False):
            if not dim.HasField("dim_value"):
                dim.dim_value = size
                free += 1
    if not free:
        raise Refused("no input has a free size")
    for value in (*model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            dim.ClearField("dim_param")
    return _fold(model, argument, request)


def _fold(model: Any, argument: str, request: RecipeRequest) -> Any:
    from onnxscript import optimizer

    return optimizer.optimize(model)


def _decompose(model: Any, argument: str, request: RecipeRequest) -> Any:
    from onnx import inliner

    wanted = argument.split(",")
    have = {n.op_type for n in model.graph.node}
    absent = [op for op in wanted if op not in have]
    if len(absent) == len(wanted):
        raise Refused(f"the model has no {', '.join(absent)}")
    new = inliner.inline_selected_functions(
        model, [("", op) for op in wanted], inline_schema_functions=True
    )
    left = {n.op_type for n in new.graph.node} & set(wanted)
    if left:
        raise Refused(f"the standard has no definition of {', '.join(sorted(left))}")
    return new


def _plain(model: Any, argument: str, request: RecipeRequest) -> Any:
    return write_out(model, argument.split(","))


def _fuse(model: Any, argument: str, request: RecipeRequest) -> Any:
    return fuse(model, argument.split(","))


_PASSES = {
    "opset": _convert,
    "static": _static,
    "fold": _fold,
    "decompose": _decompose,
    "plain": _plain,
    "fuse": _fuse,
}


def _opset(model: Any) -> int:
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)


def _count(model: Any) -> int:
    return len(model.graph.node)


def _save(model: Any, path: Path) -> tuple[str, ...]:
    import onnx

    large = model.ByteSize() > EXTERNAL_BYTES
    onnx.save(model, path, save_as_external_data=large, location="model.onnx.data")
    return tuple(sorted(p.name for p in path.parent.iterdir() if p.is_file()))
