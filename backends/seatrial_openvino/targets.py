"""Targets, their rules, and the capped instruction sets. Standard library only."""

from __future__ import annotations

import dataclasses

from seatrial.results import Description, InputRules, QdqDialect, Target, TargetKind

INSTALL = "pip install 'seatrial[openvino]'"
DOCS = "https://docs.openvino.ai"

#: Name of the artefact that the builds write: an ``.xml`` beside a ``.bin`` of the same name.
FORMAT = "openvino-ir"


@dataclasses.dataclass(frozen=True)
class Cap:
    """A lesser CPU that this one can act.

    Attributes:
        isa: value of ``ONEDNN_MAX_CPU_ISA`` and ``OV_CPU_MAX_ISA``.
        level: highest family of kernels that may then run, see :data:`LEVELS`.
        needs: flags of ``/proc/cpuinfo`` without which this CPU cannot act it.
        vnni: whether it multiplies u8 x s8 without saturating in 16 bits.
        machine_class: the machine meant, for people.
    """

    isa: str
    level: str
    needs: tuple[str, ...]
    vnni: bool
    machine_class: str


#: Families of x86 kernels as OpenVINO names them, lowest first.
LEVELS = ("sse42", "avx", "avx2", "avx512", "amx")

CAPS = {
    "sse42": Cap("SSE41", "sse42", ("sse4_2",), False, "x86 CPU with SSE4.2"),
    "avx2": Cap("AVX2", "avx2", ("avx2", "fma"), False, "x86 CPU with AVX2, without VNNI"),
    "avx2_vnni": Cap("AVX2_VNNI", "avx2", ("avx2", "avx_vnni"), True, "x86 CPU with AVX2-VNNI"),
    "avx512": Cap(
        "AVX512_CORE",
        "avx512",
        ("avx512f", "avx512bw", "avx512dq", "avx512vl"),
        False,
        "x86 CPU with AVX-512, without VNNI",
    ),
}


def device_of(target: str) -> str:
    """The OpenVINO device of a target id: ``CPU/avx2`` runs on ``CPU``."""
    return target.partition("/")[0]


def cap_of(target: str) -> Cap | None:
    """The lesser CPU that a target acts, ``None`` for the device itself.

    Raises:
        ValueError: this backend has no such target.
    """
    device, _, variant = target.partition("/")
    if device not in ("CPU", "GPU", "NPU") or (variant and device != "CPU"):
        raise ValueError(f"no target {target!r}; there are {', '.join(target_ids())}")
    if not variant:
        return None
    if variant not in CAPS:
        raise ValueError(f"no CPU variant {variant!r}; there are {', '.join(CAPS)}")
    return CAPS[variant]


def target_ids() -> tuple[str, ...]:
    """Every target of this backend."""
    return ("CPU", "GPU", "NPU", *(f"CPU/{name}" for name in CAPS))


def _rules(*, vnni: bool = True, static: bool = False) -> InputRules:
    # The ONNX front end takes models of any later opset as long as each node converts, so no
    # highest opset is stated. Without VNNI a sum of two u8 x s8 products saturates in 16 bits;
    # weights in 7 bits cannot.
    return InputRules(
        opset_min=1,
        opset_max=0,
        static_shapes=static,
        layouts=("NCHW", "NHWC"),
        # Float biases, as its own quantizer writes them: the CPU plugin fuses them either way.
        qdq=QdqDialect(bias="float", reduce_range=not vnni),
    )


def _variant(name: str, cap: Cap) -> Target:
    return Target(
        id=f"CPU/{name}",
        title=f"OpenVINO on this CPU, acting as an {cap.machine_class}",
        device="CPU",
        kind=TargetKind.EMULATED,
        machine_class=cap.machine_class,
        install_hint=INSTALL,
        rules=_rules(vnni=cap.vnni),
    )


def describe() -> Description:
    """Who this backend is."""
    targets = (
        Target(
            id="CPU",
            title="OpenVINO on the CPU",
            device="CPU",
            default=True,
            install_hint=INSTALL,
            rules=_rules(),
        ),
        Target(
            id="GPU",
            title="OpenVINO on an Intel GPU",
            device="GPU",
            default=True,
            install_hint="needs an Intel GPU and its OpenCL driver (intel-opencl-icd)",
            rules=_rules(),
        ),
        Target(
            id="NPU",
            title="OpenVINO on an Intel NPU",
            device="NPU",
            default=True,
            install_hint="needs a Core Ultra CPU with NPU and the linux-npu-driver package",
            rules=_rules(static=True),
        ),
        *(_variant(name, cap) for name, cap in CAPS.items()),
    )
    return Description(
        title="OpenVINO",
        vendor="Intel",
        targets=targets,
        artifact_format=FORMAT,
        install_hint=INSTALL,
        docs=DOCS,
        # openvino_telemetry, which both openvino and nncf import, sends nothing and writes no
        # consent file when it believes itself in CI; nncf then also leaves it out altogether.
        environment={"CI": "true", "NNCF_CI": "1"},
        seconds_per_compile=3.0,
        seconds_per_sample=0.01,
        schemes=("nncf-mixed-histogram", "nncf-default"),
        int8_forms=("qdq", "float"),
        hardware_run="not needed",
    )
