from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import seatrial_onnxruntime as backend
from seatrial.codec import decode, encode
from seatrial.errors import UserError
from seatrial.hookspecs import HOOKS, plugin_manager
from seatrial.results import CONTRACT, CheckRequest, Description, LoadRequest, ProbeRequest, Verdict


def test_importing_and_describing_imports_nothing_heavy():
    code = (
        "import sys, seatrial_onnxruntime as b; b.seatrial_describe();"
        "print([m for m in ('onnx','onnxruntime','numpy','google.protobuf') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_hook_but_the_vendor_timed_one_is_there_and_fits_its_spec():
    manager = plugin_manager()
    manager.register(backend, "onnxruntime")
    manager.check_pending()
    offered = {name for name in HOOKS if hasattr(backend, name)}
    assert offered == set(HOOKS) - {"seatrial_benchmark"}
    assert backend.SEATRIAL_CONTRACT == CONTRACT


def test_description_survives_the_codec_and_has_one_default_target():
    found = backend.seatrial_describe()
    assert decode(Description, json.loads(json.dumps(encode(found)))) == found
    assert [t.id for t in found.targets if t.default] == ["cpu"]
    assert found.environment["ORT_DISABLE_TELEMETRY"] == "1"
    assert all(t.install_hint for t in found.targets)
    rules = {t.id: t.rules.qdq for t in found.targets}
    assert (rules["cpu"].activations, rules["cpu"].bias) == ("uint8", "int32")
    assert (rules["tensorrt"].activations, rules["tensorrt"].symmetric) == ("int8", True)
    assert rules["tensorrt"].bias == "float"


def test_probe_finds_the_cpu_with_its_versions(desk):
    import onnxruntime

    found = backend.seatrial_probe(ProbeRequest(target="cpu"), desk.job())
    assert found.usable and not found.reason
    assert found.versions["onnxruntime"] == onnxruntime.__version__
    assert len(found.devices) == 1
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        text = file.read()
    assert all(f" {feature}" in text for feature in found.instruction_sets)


@pytest.mark.parametrize("target", [t.id for t in backend.seatrial_describe().targets])
def test_a_missing_provider_says_what_to_install_and_is_never_judged(desk, make_convnet, target):
    import onnxruntime

    from seatrial_onnxruntime._targets import PROVIDERS

    if PROVIDERS[target].name in onnxruntime.get_available_providers():
        pytest.skip(f"{target} is in this wheel")
    found = backend.seatrial_probe(ProbeRequest(target=target), desk.job())
    assert not found.usable
    assert PROVIDERS[target].name in found.reason
    assert found.install_hint == PROVIDERS[target].wheel
    report = desk.check(make_convnet(), target)
    assert report.verdict is Verdict.UNKNOWN
    assert PROVIDERS[target].name in report.findings[0].reason
    assert report.findings[0].advice == PROVIDERS[target].wheel
    static = desk.static(make_convnet(), target)
    assert {c.claim.value for c in static.claims} == {"unknown"}


def test_an_unknown_target_is_the_users_error(desk, make_convnet):
    with pytest.raises(UserError, match="no such target"):
        desk.check(make_convnet(), "gpu")
    job = desk.job()
    with pytest.raises(UserError, match="not known to this backend"):
        request = CheckRequest(
            model=job.add(desk.save(make_convnet())), target="cpu", options={"sesion.x": 1}
        )
        backend.seatrial_compile_check(request, job)


def test_results_survive_the_codec(desk, make_convnet):
    job = desk.job()
    path = desk.save(make_convnet())
    check = CheckRequest(model=job.add(path), target="cpu")
    load = LoadRequest(artifact=check.model, format="onnx", target="cpu", profile=True)
    session = backend.seatrial_load(load, job)
    session.run({"x": np.zeros((1, 3, 16, 16), np.float32)})
    for result in (
        backend.seatrial_check_static(check, job),
        backend.seatrial_compile_check(check, job),
        session.ran(),
    ):
        assert decode(type(result), json.loads(json.dumps(encode(result)))) == result
