"""Core tasks: the first node of an exported model whose output differs from the module's.

The module's side runs the exported program node by node (or, for the TorchScript route, the module
with hooks) on one sample and keeps every tensor that the model names alike. The model's side runs
once with all of these as outputs. Nodes are compared in topological order, so that one pass does
what a bisection would need several sessions for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seatrial.export.records import (
    DYNAMO,
    Divergence,
    DivergeRequest,
    GraphRequest,
    Tapped,
    TapRequest,
    Tensors,
)
from seatrial.hookspecs import Job
from seatrial.results import Artifact, node_label
from seatrial.samples import Samples

#: A node diverges when its error is this many times that of what it reads ...
JUMP = 64.0
#: ... and this large, as a fraction of its output's magnitude; rounding of one node is below it.
LEAST = 2.0**-16


def tensors_of(request: GraphRequest, job: Job) -> Tensors:
    """Names of the tensors that nodes of the main graph write, and whose module's output each is.

    The last node of a module's scope writes the module's output.
    """
    import onnx

    from seatrial.export.graph_child import module_path

    model = onnx.load(job.path(request.model), load_external_data=False)
    last: dict[str, str] = {}
    names = []
    for node in model.graph.node:
        names += [n for n in node.output if n]
        path = module_path(node)
        if path and node.output:
            last[path] = node.output[0]
    return Tensors(names=tuple(names), modules={tensor: path for path, tensor in last.items()})


def taps(request: TapRequest, job: Job) -> Tapped:
    """The module's inner tensors for one sample, those that the exported model names alike."""
    import numpy as np

    from seatrial.export.module_run import quiet
    from seatrial.export.torch_module import array, build

    samples = Samples(job.path(request.export.samples))
    built = build(request.export.spec, job)
    if built.program is None:
        built.module.eval()
    with quiet():
        if request.export.route == DYNAMO:
            found = _interpreted(built, request, samples)
        else:
            found = _hooked(built, request, samples)
    folder = job.out / "taps"
    folder.mkdir()
    names = [n for n in request.wanted if n in found]
    for i, name in enumerate(names):
        np.save(folder / f"{i}.npy", array(found[name]))
    if not names:
        return Tapped(artifact=None)
    files = tuple(f"taps/{i}.npy" for i in range(len(names)))
    return Tapped(
        artifact=Artifact(format="taps", entry="", files=files),
        names=tuple(names),
    )


def _interpreted(built: Any, request: TapRequest, samples: Samples) -> dict[str, Any]:
    """Run the program that was translated, node by node."""
    import torch

    from seatrial.export.routes_child import to_program
    from seatrial.export.torch_module import tensors

    program = to_program(built, request.export, samples).exported_program
    wanted = set(request.wanted)
    found: dict[str, Any] = {}

    class Keeper(torch.fx.Interpreter):  # type: ignore[misc]  # torch is not typed here
        def run_node(self, node: Any) -> Any:
            value = super().run_node(node)
            if torch.is_tensor(value) and node.name in wanted:
                found[node.name] = value.clone()
            return value

    inputs = tensors(samples.feeds([request.index]), built.names)
    Keeper(program.graph_module).run(*_lifted(program, inputs))
    return found


def _lifted(program: Any, inputs: Sequence[Any]) -> list[Any]:
    """Arguments of a program's graph: parameters, buffers and constants stand before the inputs."""
    given = iter(inputs)
    values = []
    for spec in program.graph_signature.input_specs:
        if spec.kind.name == "USER_INPUT":
            values.append(next(given))
        elif spec.target in program.state_dict:
            values.append(program.state_dict[spec.target])
        else:
            values.append(program.constants[spec.target])
    return values


def _hooked(built: Any, request: TapRequest, samples: Samples) -> dict[str, Any]:
    """Outputs of the modules, under the names of the tensors that stand for them."""
    import torch

    from seatrial.export.torch_module import call, tensors

    paths = {path: tensor for tensor, path in request.modules.items()}
    found: dict[str, Any] = {}

    def keep(path: str) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            if torch.is_tensor(output):
                found[paths[path]] = output.clone()

        return hook

    for path, part in built.module.named_modules():
        if path in paths:
            part.register_forward_hook(keep(path))
    call(built.module, built.names, tensors(samples.feeds([request.index]), built.names))
    return found


def diverge(request: DivergeRequest, job: Job) -> Divergence:
    """Run the model with all taps on one sample, and find where it leaves the module."""
    import numpy as np
    import onnx

    from seatrial import reference

    path = job.path(request.model)
    model = onnx.load(path, load_external_data=False)
    source = reference.with_outputs(model, request.names)
    session = reference.open_model(source, folder=path.parent, optimize="none")
    samples = Samples(job.path(request.samples))
    feeds = {n: v for n, v in samples.feeds([request.index]).items() if n in session.inputs}
    given = session.run(feeds)
    folder = job.path(request.taps) / "taps"
    errors = {
        name: _error(np.load(folder / f"{i}.npy"), given[name])
        for i, name in enumerate(request.names)
    }
    return first_divergence(model.graph, errors)


def _error(expected: Any, got: Any) -> float:
    from seatrial.export.steady import difference

    return min(difference(expected, got), 1e30)


def first_divergence(graph: Any, errors: Mapping[str, float]) -> Divergence:
    """The first node in topological order whose error is not explained by what it reads.

    Args:
        graph: the model's main graph.
        errors: scale-aware error of every tensor that was compared.
    """
    from seatrial.export.graph_child import described

    entering: dict[str, float] = {}
    region: dict[str, tuple[str, ...]] = {}
    for index, node in enumerate(graph.node):
        label = node_label(node.name, node.op_type, index)
        before = max((entering.get(n, 0.0) for n in node.input), default=0.0)
        behind = tuple(dict.fromkeys(r for n in node.input for r in region.get(n, ())))
        for name in node.output:
            if name not in errors:
                entering[name] = before
                region[name] = (*behind, label)[-24:]
                continue
            after = errors[name]
            if after > max(JUMP * before, LEAST):
                place = described(node, label)
                return Divergence(
                    found=True,
                    node=label,
                    op_type=node.op_type,
                    tensor=name,
                    module=place.module,
                    file=place.file,
                    line=place.line,
                    before=before,
                    after=after,
                    compared=len(errors),
                    region=(*behind, label),
                )
            entering[name] = after
            region[name] = ()
    return Divergence(found=False, compared=len(errors))
