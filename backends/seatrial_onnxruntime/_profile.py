"""The runtime's profile as layers: what ran, where, in which precision, how long."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from seatrial.results import LayerRun

from . import _model
from ._model import Place
from ._optimised import INTEGER_KERNELS, Group, survey

#: Numpy-like names in the profile -> the report's names of precisions.
PRECISIONS: Mapping[str, str] = {
    "float": "FP32",
    "double": "FP64",
    "float16": "FP16",
    "bfloat16": "BF16",
    "int8": "INT8",
    "uint8": "INT8",
    "int32": "INT32",
    "int64": "INT64",
    "bool": "BOOL",
    "string": "STRING",
}

_SUFFIX = re.compile(r"_kernel_time$")


def layers(
    session: Any, places: list[Place], path: Path, optimised: Path | None
) -> tuple[LayerRun, ...]:
    """End a session's profile and read it.

    Args:
        session: created with a profile, over a model with marked nodes.
        places: nodes of the original model.
        path: the original model.
        optimised: the executed graph, where the runtime could write it.
    """
    file = Path(session.end_profiling())
    events = json.loads(file.read_text("utf-8"))
    file.unlink()
    groups: list[Group] = []
    if optimised is not None and optimised.is_file():
        groups = survey(_model.read(path), _model.read(optimised)).groups
    by_name = {g.name: g for g in groups}
    runs: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            key = (_SUFFIX.sub("", event["name"]), event["args"].get("node_index", ""))
            runs.setdefault(key, []).append(event)
    return tuple(_layer(name, found, by_name, places) for (name, _), found in runs.items())


def _layer(
    name: str,
    events: Sequence[Mapping[str, Any]],
    groups: Mapping[str, Group],
    places: list[Place],
) -> LayerRun:
    args = events[0]["args"]
    operator = args.get("op_name", "")
    group = groups.get(name) if name else None
    members = tuple(places[k].label for k in group.members) if group else ()
    if not members:
        members = _namesake(name, operator, places)
    return LayerRun(
        layer=_model.unmark(name, places),
        op_type=operator,
        nodes=members,
        on=args.get("provider", ""),
        precision=precision(operator, args),
        layout=group.layout if group else "",
        kernel=f"{group.domain}:{operator}" if group and group.domain else operator,
        ms=median(e["dur"] for e in events) / 1000.0,
    )


def _namesake(name: str, operator: str, places: list[Place]) -> tuple[str, ...]:
    """The node that a layer is named after, unless the layer is only a helper of it."""
    mark = _model.mark_of(name)
    if mark is None or places[mark].node.op_type not in operator:
        return ()
    return (places[mark].label,)


def precision(operator: str, args: Mapping[str, Any]) -> str:
    """Precision of an executed node: the type of the first tensor it takes that is data.

    Quantizers take one type and give another; they are named after what they give. Integer
    kernels may take a scale first.
    """
    if INTEGER_KERNELS.search(operator):
        return "INT8"
    taken = [_kind(t) for t in args.get("input_type_shape", ())]
    given = [_kind(t) for t in args.get("output_type_shape", ())]
    if operator in ("QuantizeLinear", "DequantizeLinear", "Cast"):
        taken = given
    kinds = taken or given
    return PRECISIONS.get(kinds[0], kinds[0]) if kinds else ""


def _kind(entry: Mapping[str, Any]) -> str:
    return next(iter(entry), "")
