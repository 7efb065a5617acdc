"""Whether a provider is in the installed wheel and its device answers."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

from seatrial.results import Availability, ProbeRequest

from . import _ort
from ._targets import CPU, Provider, provider

#: CPU features that change which kernels run, as Linux names them.
FEATURES = (
    "sse4_1", "avx", "avx2", "fma", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni",
    "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8", "asimd", "asimdhp", "asimddp",
    "i8mm", "bf16", "sve",
)  # fmt: skip


def cpu_name() -> str:
    """The processor's name, as the system tells it."""
    for key in ("model name", "Model", "Hardware"):
        value = _cpuinfo(key)
        if value:
            return value
    return platform.processor() or platform.machine()


def cpu_features() -> tuple[str, ...]:
    """Those of :data:`FEATURES` that this machine has."""
    flags = set((_cpuinfo("flags") or _cpuinfo("Features")).split())
    return tuple(f for f in FEATURES if f in flags)


def _cpuinfo(key: str) -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return ""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def probe(request: ProbeRequest) -> Availability:
    """Answer ``seatrial_probe``: the provider must be in the wheel, and a session must keep it."""
    chosen = provider(request.target)
    try:
        import onnxruntime as ort
    except ImportError as error:
        return Availability(usable=False, reason=str(error), install_hint=chosen.wheel)
    versions = _versions(chosen) | {"onnxruntime": ort.__version__}
    reason = _ort.missing(chosen) or _unanswered(chosen)
    if reason:
        return Availability(
            usable=False, reason=reason, install_hint=chosen.wheel, versions=versions
        )
    return Availability(
        usable=True,
        versions=versions,
        devices=(cpu_name(),) if chosen.name == CPU else (chosen.name,),
        instruction_sets=cpu_features(),
    )


def _unanswered(chosen: Provider) -> str:
    """Why the provider's device does not answer: a session on one Add is tried."""
    from onnx import TensorProto, helper

    shape = [1, 4]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    opset = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    try:
        session = _ort.open_session(model.SerializeToString(), _ort.Setup(provider=chosen))
    except _ort.errors() as error:
        return _ort.plain(error)
    return _ort.missing(chosen, session)


def _versions(chosen: Provider) -> dict[str, str]:
    found = {}
    for name in ("onnx", *chosen.libraries):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
