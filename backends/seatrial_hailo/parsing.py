"""Runs the compiler's parser, and once more at the end nodes that it recommends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seatrial.results import Option, TensorIO

from . import sdk
from .errors import Refusal, refusal
from .graph import Graph, Tensor
from .targets import chip_of

#: Name of the network inside the HAR; layers are called ``net/input_layer1``.
NET = "net"
#: How a tensor of rank 4 is turned from the ONNX model's NCHW to the chip's NHWC.
TO_NHWC = (0, 2, 3, 1)


class Parsed(NamedTuple):
    """What came of parsing.

    Attributes:
        runner: the ``ClientRunner`` that holds the translated model; ``None``: refused.
        refused: what the parser said of the whole model; ``None``: it took all of it.
        ends: nodes where the model was cut, empty when it was not.
    """

    runner: Any
    refused: Refusal | None
    ends: tuple[str, ...] = ()


def parse(
    path: Path,
    graph: Graph,
    target: str,
    shapes: Mapping[str, tuple[int, ...]],
    options: Mapping[str, Option],
) -> Parsed:
    """Translate a model; where the parser recommends end nodes, try again up to them.

    Options ``start_nodes`` and ``end_nodes`` (names, separated by commas) cut it on purpose.
    """
    starts, ends = _list(options, "start_nodes"), _list(options, "end_nodes")
    wanted = {t.name: list(shapes.get(t.name, t.shape)) for t in graph.inputs}
    runner = _runner(target)
    try:
        _translate(runner, path, starts, ends, wanted)
    except Exception as error:  # noqa: BLE001 - besides its own, plain Index-, Key- and ValueErrors
        said = refusal(error, graph)
    else:
        return Parsed(runner, None, tuple(ends))
    if not said.ends or ends:
        return Parsed(None, said)
    runner = _runner(target)
    try:
        _translate(runner, path, list(said.starts) or starts, list(said.ends), wanted)
    except Exception:  # noqa: BLE001 - its advice did not help: the first answer stands
        return Parsed(None, said)
    return Parsed(runner, said, said.ends)


def _runner(target: str) -> Any:
    chip = chip_of(target)
    if chip is None:
        raise ValueError(f"there is no target {target!r}")
    return sdk.compiler().ClientRunner(hw_arch=chip.arch)


def _translate(
    runner: Any,
    path: Path,
    starts: Sequence[str],
    ends: Sequence[str],
    shapes: Mapping[str, list[int]],
) -> None:
    runner.translate_onnx_model(
        str(path),
        NET,
        start_node_names=list(starts) or None,
        end_node_names=list(ends) or None,
        net_input_shapes=dict(shapes) if all(all(s) for s in shapes.values()) else None,
    )


def _list(options: Mapping[str, Option], key: str) -> list[str]:
    return [part.strip() for part in str(options.get(key, "")).split(",") if part.strip()]


def borders(
    runner: Any, graph: Graph, ends: Sequence[str]
) -> tuple[tuple[TensorIO, ...], tuple[TensorIO, ...]]:
    """Inputs and outputs of the translated model as the contract wants them.

    The translated model names its layers itself; ``original_names`` of a layer are the ONNX nodes
    that it came from. Inputs come in the ONNX model's order.

    Raises:
        ValueError: an output layer that cannot be traced to a tensor of the model.
    """
    layers = runner.get_hn_dict()["layers"]
    first = [name for name, layer in layers.items() if layer["type"] == "input_layer"]
    last = [name for name, layer in layers.items() if layer["type"] == "output_layer"]
    if len(first) != len(graph.inputs):
        raise ValueError(f"{len(first)} input layers for {len(graph.inputs)} inputs of the model")
    inputs = tuple(
        _io(_onnx_input(layers[name], graph, place), layer=name) for place, name in enumerate(first)
    )
    wanted = {t.name for t in graph.outputs}
    outputs = []
    for name in last:
        tensor = _onnx_output(layers, name, graph, wanted, ends)
        outputs.append(_io(tensor, layer=name))
    return inputs, tuple(outputs)


def _io(tensor: Tensor, layer: str) -> TensorIO:
    turned = len(tensor.shape) == 4
    shape = tuple(tensor.shape[i] for i in TO_NHWC) if turned else tensor.shape
    return TensorIO(
        name=layer,
        onnx=tensor.name,
        dtype="float32",
        shape=shape,
        perm=TO_NHWC if turned else (),
    )


def _onnx_input(layer: Mapping[str, Any], graph: Graph, place: int) -> Tensor:
    named = {t.name: t for t in graph.inputs}
    original = [named[n] for n in layer.get("original_names", ()) if n in named]
    return original[0] if original else graph.inputs[place]


def _onnx_output(
    layers: Mapping[str, Any], name: str, graph: Graph, wanted: set[str], ends: Sequence[str]
) -> Tensor:
    """The ONNX tensor that an output layer gives: of the node that the layer before came from."""
    origins = list(layers[name].get("original_names", ()))
    for before in layers[name].get("input", ()):
        origins += layers[before].get("original_names", ())
    made = [t for n in origins if (node := graph.find(n)) is not None for t in node.outputs]
    cut = {t for n in ends if (node := graph.find(n)) is not None for t in node.outputs}
    for choice in (wanted, cut, set(made)):
        for tensor in reversed(made):
            if tensor in choice:
                return Tensor(tensor, "float32", graph.shapes.get(tensor, ()))
    raise ValueError(f"output layer {name} cannot be traced to a tensor of the model")
