"""A backend that runs Q/DQ models on ONNX Runtime and lies about it, one target per lie.

``honest`` does not lie: what stops a trial on another target is its lie, and nothing else.
"""

from __future__ import annotations

import shutil

import numpy as np

from seatrial import hookimpl
from seatrial import results as r

SEATRIAL_CONTRACT = "1.0"


def halve(y, call):
    """Float32 cut to bfloat16."""
    bits = np.ascontiguousarray(y, np.float32).view(np.uint32)
    return (bits & np.uint32(0xFFFF0000)).view(np.float32)


def nan_once(y, call):
    """NaN for a single call, far from the first."""
    return y * np.float32(np.nan) if call == 100 else y


def wrong_now_and_then(y, call):
    """Every ninth answer belongs to another class."""
    return np.roll(y, 1, -1) if call % 9 == 0 else y


#: What is done to the outputs of the INT8 session (and of all sessions of ``halves``).
DISTORT = {
    "honest": lambda y, call: y,
    "halves": halve,
    "late": lambda y, call: y,
    "once": nan_once,
    "dead": lambda y, call: np.zeros_like(y),
    "shuffles": lambda y, call: np.roll(y, 2, -1),
    "stuck": lambda y, call: y,
    "sometimes": wrong_now_and_then,
    "simulates": lambda y, call: y,
    "bends": lambda y, call: y,
    "bends8": lambda y, call: y,
    "turns": lambda y, call: y,
    "fuses": lambda y, call: y,
    "falls": lambda y, call: y,
    "floors": lambda y, call: y,
}
#: The node whose weights ``bends`` makes a tenth larger in whatever model it builds (``bends8``:
#: in INT8 only; ``fuses``: only where it may optimise; ``falls``: it runs elsewhere).
BENT = "pointwise"
#: Where it runs on ``falls``.
ELSEWHERE = "the host"


def bent(path, out):
    """A copy of a model in which one node computes something else."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    known = {t.name: t for t in model.graph.initializer}
    makers = {n.output[0]: n for n in model.graph.node}
    for node in model.graph.node:
        if node.name == BENT:
            maker = makers.get(node.input[1])
            tensor = known[maker.input[1] if maker else node.input[1]]
            value = numpy_helper.to_array(tensor) * np.float32(1.1)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    onnx.save(model, out)


def floored(path, out):
    """A copy whose activations are rounded up from just above half a step below: never further off
    than one step, but all to the same side. Values on the grid already stay what they are."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(path)
    known = {t.name: t for t in model.graph.initializer}
    nodes = []
    for k, node in enumerate(model.graph.node):
        if node.op_type == "QuantizeLinear" and node.input[0] not in known:
            nudge = numpy_helper.to_array(known[node.input[1]]) * np.float32(0.49)
            model.graph.initializer.append(numpy_helper.from_array(nudge, f"nudge{k}"))
            nodes.append(helper.make_node("Add", [node.input[0], f"nudge{k}"], [f"nudged{k}"]))
            node.input[0] = f"nudged{k}"
        nodes.append(node)
    kept = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    onnx.save(model, out)


def _copy(ref, job, target="", int8=False):
    if target in ("bends", "falls") or (target == "bends8" and int8):
        bent(job.path(ref), job.out / "model.onnx")
    elif target == "floors" and int8:
        floored(job.path(ref), job.out / "model.onnx")
    else:
        shutil.copyfile(job.path(ref), job.out / "model.onnx")
    return r.Artifact(format="onnx", entry="model.onnx", files=("model.onnx",))


@hookimpl
def seatrial_describe():
    return r.Description(
        title="Fibs",
        vendor="nobody",
        optimise_off=True,
        targets=tuple(
            r.Target(id=i, title=f"Fibs {i}", device=i, rules=r.InputRules(qdq=r.QdqDialect()))
            for i in DISTORT
        ),
    )


@hookimpl
def seatrial_probe(request):
    return r.Availability(usable=True, versions={"fibs": "1.0"})


@hookimpl
def seatrial_compile_check(request, job):
    away = request.target == "falls"
    found = r.Finding(
        node=BENT, op_type="Conv", reason="no kernel", severity="warning",
        placement=r.Placement.FALLBACK, on=ELSEWHERE,
    )  # fmt: skip
    return r.CompileReport(
        verdict=r.Verdict.PARTIAL if away else r.Verdict.SUPPORTED,
        depth=r.Depth.ARTEFACT,
        artifact=_copy(request.model, job),
        findings=(found,) if away else (),
    )


@hookimpl
def seatrial_build(request, job):
    return r.Build(artifact=_copy(request.model, job, request.target), precision="FP32")


@hookimpl
def seatrial_build_int8(request, job):
    copy = _copy(request.model, job, request.target, int8=True)
    return r.Int8Build(artifact=copy, method="INT8")


@hookimpl
def seatrial_load(request, job):
    path = job.path(request.artifact)
    if request.target == "fuses" and request.optimise and request.precision == "fp32":
        bent(path, job.scratch / "fused.onnx")
        path = job.scratch / "fused.onnx"
    if request.taps:
        import onnx

        model = onnx.load(path)
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in request.taps)
        path = job.scratch / "tapped.onnx"
        onnx.save(model, path)
    return Session(str(path), request.target, request.precision)


class Session:
    """ONNX Runtime, and what the target makes of its answers."""

    def __init__(self, path, target, precision):
        import onnxruntime

        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.names = [o.name for o in self.session.get_outputs()]
        self.target, self.calls, self.kept = target, 0, None
        self.lies = precision == "int8" or target == "halves"

    def run(self, feeds):
        if self.target == "turns":
            feeds = {n: x.transpose(0, 2, 3, 1).reshape(x.shape) for n, x in feeds.items()}
        found = self.session.run(self.names, dict(feeds))
        self.calls += 1
        if self.lies:
            found = [DISTORT[self.target](y, self.calls) for y in found]
            kept = self.kept or found
            if self.target == "late":
                found, self.kept = kept, found
            elif self.target == "stuck":
                found = self.kept = kept
        return dict(zip(self.names, found, strict=True))

    def ran(self):
        simulated = self.target == "simulates"
        where = r.TargetKind.SIMULATOR if simulated else r.TargetKind.DEVICE
        layers = ()
        if self.target in ("fuses", "bends"):  # both say that it ran together with its neighbour
            layers = (r.LayerRun(layer="one", op_type="Fused", nodes=(BENT, "residual"), on="CPU"),)
        if self.target == "falls":
            layers = (r.LayerRun(layer="two", op_type="Conv", nodes=(BENT,), on=ELSEWHERE),)
        return r.Ran(where=where, device="CPU", layers=layers)

    def close(self):
        self.session = None
