"""The table of execution providers. Standard library only: ``describe`` reads nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from seatrial.errors import UserError
from seatrial.results import Description, InputRules, QdqDialect, Target

CPU = "CPUExecutionProvider"

#: Q/DQ forms. u8 x s8 is what the CPU kernels are written for; an importer that knows symmetric
#: int8 only wants zero points of 0 and biases in float.
_CPU_QDQ = QdqDialect()
_SYMMETRIC_QDQ = QdqDialect(activations="int8", symmetric=True, bias="float")


@dataclass(frozen=True)
class Provider:
    """One execution provider.

    Attributes:
        name: the runtime's name of it.
        title: for people.
        device: key of the physical device.
        wheel: what to install, one line.
        qdq: the Q/DQ form its compiler wants, ``None`` when it takes float models only.
        static_shapes: it takes static shapes only.
        compiles: it compiles whole partitions and has no kernels of its own to look up.
        fp32: provider options that pin float32 arithmetic.
        libraries: distributions that carry its native libraries, for version reports.
    """

    name: str
    title: str
    device: str
    wheel: str
    qdq: QdqDialect | None = _CPU_QDQ
    static_shapes: bool = False
    compiles: bool = True
    fp32: Mapping[str, str] = field(default_factory=dict)
    libraries: tuple[str, ...] = ()


_GPU_WHEEL = "pip install onnxruntime-gpu (replaces onnxruntime); needs an NVIDIA driver"
_OWN_BUILD = "build ONNX Runtime from source with --use_{0}; no wheel for Linux x86-64 carries it"

#: Target id -> provider.
PROVIDERS: Mapping[str, Provider] = {
    "cpu": Provider(
        CPU, "ONNX Runtime CPU", "cpu", "pip install onnxruntime", compiles=False, libraries=()
    ),
    "cuda": Provider(
        "CUDAExecutionProvider",
        "ONNX Runtime CUDA",
        "cuda:0",
        _GPU_WHEEL,
        compiles=False,
        fp32={"use_tf32": "0"},
        libraries=("nvidia-cuda-runtime-cu12", "nvidia-cudnn-cu12"),
    ),
    "tensorrt": Provider(
        "TensorrtExecutionProvider",
        "ONNX Runtime TensorRT",
        "cuda:0",
        _GPU_WHEEL + ", and pip install tensorrt",
        qdq=_SYMMETRIC_QDQ,
        libraries=("tensorrt",),
    ),
    "nv_tensorrt_rtx": Provider(
        "NvTensorRTRTXExecutionProvider",
        "ONNX Runtime TensorRT for RTX",
        "cuda:0",
        "Windows ML delivers it; elsewhere " + _OWN_BUILD.format("nv_tensorrt_rtx"),
        qdq=_SYMMETRIC_QDQ,
        libraries=("tensorrt-rtx",),
    ),
    "openvino": Provider(
        "OpenVINOExecutionProvider",
        "ONNX Runtime OpenVINO",
        "intel",
        "pip install onnxruntime-openvino (replaces onnxruntime)",
        fp32={"precision": "FP32"},
        libraries=("openvino",),
    ),
    "dml": Provider(
        "DmlExecutionProvider",
        "ONNX Runtime DirectML",
        "directx",
        "pip install onnxruntime-directml (Windows only)",
        compiles=False,
    ),
    "migraphx": Provider(
        "MIGraphXExecutionProvider",
        "ONNX Runtime MIGraphX",
        "amd",
        "pip install onnxruntime-migraphx from AMD's index (Linux, ROCm)",
        qdq=_SYMMETRIC_QDQ,
    ),
    "coreml": Provider(
        "CoreMLExecutionProvider",
        "ONNX Runtime Core ML",
        "apple",
        "pip install onnxruntime on macOS",
        qdq=None,
    ),
    "xnnpack": Provider(
        "XnnpackExecutionProvider", "ONNX Runtime XNNPACK", "cpu", _OWN_BUILD.format("xnnpack")
    ),
    "qnn": Provider(
        "QNNExecutionProvider",
        "ONNX Runtime QNN",
        "qualcomm",
        "pip install onnxruntime-qnn (Windows and Linux on Snapdragon)",
        static_shapes=True,
    ),
    "vitisai": Provider(
        "VitisAIExecutionProvider",
        "ONNX Runtime Vitis AI",
        "amd-npu",
        "install AMD's Ryzen AI or Vitis AI package, which brings its own onnxruntime",
        static_shapes=True,
    ),
    "dnnl": Provider(
        "DnnlExecutionProvider", "ONNX Runtime oneDNN", "cpu", _OWN_BUILD.format("dnnl")
    ),
    "acl": Provider(
        "ACLExecutionProvider", "ONNX Runtime Arm Compute Library", "cpu", _OWN_BUILD.format("acl")
    ),
    "webgpu": Provider(
        "WebGpuExecutionProvider",
        "ONNX Runtime WebGPU",
        "webgpu",
        "pip install onnxruntime-webgpu (replaces onnxruntime)",
        qdq=None,
        compiles=False,
    ),
}


def provider(target: str) -> Provider:
    """The provider behind a target id.

    Raises:
        UserError: there is no such target.
    """
    try:
        return PROVIDERS[target]
    except KeyError:
        known = ", ".join(PROVIDERS)
        raise UserError(
            f"onnxruntime:{target}", "no such target", advice=f"one of {known}"
        ) from None


def description() -> Description:
    """What ``describe`` answers."""
    targets = tuple(
        Target(
            id=key,
            title=p.title,
            device=p.device,
            default=key == "cpu",
            install_hint=p.wheel,
            # Opsets are left open: the newest one depends on the installed release, and the
            # session itself says no to one that it does not know.
            rules=InputRules(static_shapes=p.static_shapes, qdq=p.qdq),
        )
        for key, p in PROVIDERS.items()
    )
    return Description(
        title="ONNX Runtime",
        vendor="Microsoft",
        targets=targets,
        artifact_format="onnx",
        install_hint="pip install onnxruntime",
        docs="https://onnxruntime.ai/docs/execution-providers/",
        # The second variable keeps a model's own metadata from configuring the session.
        environment={"ORT_DISABLE_TELEMETRY": "1", "ORT_LOAD_CONFIG_FROM_MODEL": "0"},
        seconds_per_compile=0.5,
        seconds_per_sample=0.02,
        optimise_off=True,
        hardware_run="not needed: CPU; others never",
    )
