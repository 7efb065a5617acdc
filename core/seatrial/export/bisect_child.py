"""Core tasks: the first node of an exported model whose output differs from the module's.

The module's side runs the exported program node by node (or, for the TorchScript route, the module
with hooks) on one sample and keeps every tensor that the model names alike. The model's side is
cut at these tensors: each node reads what the module computed and is compared with what the module
computed next, so that neither rounding nor an earlier fault is handed on. One session does all
nodes at once; a search by halves would need several, and the error that has piled up in a deep
net would hide a small fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seatrial.export.locate_records import Divergence, DivergeRequest, Tapped, TapRequest, Tensors
from seatrial.export.records import DYNAMO, GraphRequest
from seatrial.hookspecs import Job
from seatrial.results import Artifact, node_label
from seatrial.samples import Samples

#: A node is wrong when its own error is this large, as a fraction of its output's magnitude:
#: rounding of a single node stays below, a sum over 2**14 terms included.
LEAST = 2.0**-16
#: If none is: the worst one, when its error is this many times the usual one.
JUMP = 64.0
#: Ends the name of what a node computes, where its readers are fed from outside.
OWN = "\x00own"


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
    """Run every node on what the module gave its ancestors, and find the first that is wrong."""
    import numpy as np
    import onnx

    from seatrial import reference

    path = job.path(request.model)
    model = onnx.load(path, load_external_data=False)
    folder = job.path(request.taps) / "taps"
    expected = {n: np.load(folder / f"{i}.npy") for i, n in enumerate(request.names)}
    feeds = dict(Samples(job.path(request.samples)).feeds([request.index]))
    job.progress("the exported model as a whole")
    whole = reference.open_model(
        reference.with_outputs(model, request.names), folder=path.parent, optimize="none"
    )
    given = whole.run({n: v for n, v in feeds.items() if n in whole.inputs})
    same = {n: v for n, v in expected.items() if np.shape(given[n]) == np.shape(v)}
    fed = {n: v.astype(np.asarray(given[n]).dtype, copy=False) for n, v in same.items()}
    job.progress("every node by itself")
    single = reference.open_model(cut(model, fed), folder=path.parent, optimize="none")
    own = single.run({n: v for n, v in {**feeds, **fed}.items() if n in single.inputs})
    errors = {n: _error(v, own[n + OWN] if n in fed else given[n]) for n, v in expected.items()}
    return first_divergence(model.graph, errors)


def cut(original: Any, fed: Mapping[str, Any]) -> bytes:
    """A copy in which tensors are fed from outside to all that read them, serialised.

    What their writers compute goes out under the name with :data:`OWN` behind it: every stretch
    of nodes between two such tensors runs by itself, and no error is handed on.

    Args:
        original: a ``ModelProto``.
        fed: arrays by the name of a tensor that a node of the main graph writes.
    """
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(original)
    graph = model.graph
    del graph.output[:]
    del graph.value_info[:]
    for node in graph.node:
        for i, name in enumerate(node.output):
            if name in fed:
                node.output[i] = name + OWN
                graph.output.append(onnx.ValueInfoProto(name=name + OWN))
    for name, value in fed.items():
        kind = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
        graph.input.append(onnx.helper.make_tensor_value_info(name, kind, None))
    return bytes(model.SerializeToString())


def _error(expected: Any, got: Any) -> float:
    from seatrial.export.steady import difference

    return min(difference(expected, got), 1e30)


def first_divergence(graph: Any, errors: Mapping[str, float]) -> Divergence:
    """The first node in topological order that is wrong by itself.

    Where none exceeds :data:`LEAST`, the worst counts if it stands out from the others.

    Args:
        graph: the model's main graph.
        errors: scale-aware error of every tensor that was compared, each computed from what the
            module gave its ancestors.
    """
    known = sorted(e for e in errors.values() if e)
    usual = known[len(known) // 2] if known else 0.0
    least = LEAST
    if known and known[-1] <= LEAST and known[-1] > JUMP * usual:
        least = known[-1] * 0.999
    region: dict[str, tuple[str, ...]] = {}
    before = 0.0
    for index, node in enumerate(graph.node):
        label = node_label(node.name, node.op_type, index)
        behind = tuple(dict.fromkeys(r for n in node.input for r in region.get(n, ())))
        for name in node.output:
            if name not in errors:
                region[name] = (*behind, label)[-24:]
                continue
            if errors[name] > least:
                return _found(node, label, name, (*behind, label), before=before, errors=errors)
            before = max(before, errors[name])
    return Divergence(found=False, compared=len(errors))


def _found(
    node: Any,
    label: str,
    tensor: str,
    region: tuple[str, ...],
    *,
    before: float,
    errors: Mapping[str, float],
) -> Divergence:
    from seatrial.export.graph_child import described

    place = described(node, label)
    return Divergence(
        found=True,
        node=label,
        op_type=node.op_type,
        tensor=tensor,
        module=place.module,
        file=place.file,
        line=place.line,
        before=before,
        after=errors[tensor],
        compared=len(errors),
        region=region,
    )
