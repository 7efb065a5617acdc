"""A lesser CPU that was not acted after all says so: the figures are this machine's."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from seatrial.results import LayerRun, TargetKind

pytest.importorskip("openvino")


@pytest.mark.parametrize(
    ("target", "kernel", "where"),
    [
        ("CPU", "brgconv_avx512_I8", TargetKind.DEVICE),
        ("CPU/avx2", "jit_avx2_I8", TargetKind.EMULATED),
        ("CPU/avx2", "brgconv_avx512_I8", TargetKind.DEVICE),
    ],
)
def test_where_it_ran_is_read_back_from_the_kernels(monkeypatch, target, kernel, where):
    from seatrial_openvino import session as module
    from seatrial_openvino.targets import cap_of

    layer = LayerRun(layer="conv", op_type="Convolution", kernel=kernel)
    monkeypatch.setattr(module, "runtime_layers", lambda *known: (layer,))
    core = SimpleNamespace(get_property=lambda device, name: "a CPU")
    runtime = SimpleNamespace(cap=cap_of(target), core=core, device="CPU")
    compiled = SimpleNamespace(
        inputs=(), get_property=lambda name: 2, create_infer_request=lambda: None
    )
    names = SimpleNamespace(inputs=())
    session = module.OpenVinoSession(
        runtime, compiled, names, outputs={}, profile=False, properties={}
    )
    ran = session.ran()
    assert ran.where is where
    assert any("this is no avx2" in note for note in ran.notes) == (
        target == "CPU/avx2" and where is TargetKind.DEVICE
    )
