import pytest

import seatrial_openvino
from seatrial import hookspecs
from seatrial.codec import decode, encode
from seatrial.results import Description, ProbeRequest, TargetKind
from seatrial_openvino import probing, targets


def test_hooks_match_the_specs():
    manager = hookspecs.plugin_manager()
    manager.register(seatrial_openvino, "openvino")
    manager.check_pending()
    offered = {c.name for c in manager.get_hookcallers(seatrial_openvino)}
    assert offered == set(hookspecs.HOOKS) - {"seatrial_benchmark"}
    assert seatrial_openvino.SEATRIAL_CONTRACT == "1.0"


def test_description_survives_the_codec_and_has_one_default_per_device():
    description = seatrial_openvino.seatrial_describe()
    assert decode(Description, encode(description)) == description
    ids = [t.id for t in description.targets]
    assert len(set(ids)) == len(ids)
    assert set(ids) == set(targets.target_ids())
    defaults = [t.device for t in description.targets if t.default]
    assert sorted(defaults) == ["CPU", "GPU", "NPU"]
    for target in description.targets:
        emulated = target.kind is TargetKind.EMULATED
        assert emulated == ("/" in target.id) == bool(target.machine_class)


def test_weights_lose_a_bit_where_sums_saturate():
    rules = {t.id: t.rules.qdq for t in targets.describe().targets}
    assert rules["CPU/avx2"].reduce_range
    assert rules["CPU/avx512"].reduce_range
    assert not rules["CPU/avx2_vnni"].reduce_range
    assert not rules["CPU"].reduce_range


def test_import_and_describe_load_nothing_heavy(fresh):
    loaded = fresh(
        "import seatrial_openvino as b\n"
        "b.seatrial_describe()\n"
        "heavy = ('openvino', 'nncf', 'onnx', 'onnxruntime', 'torch', 'numpy', 'PIL')\n"
        "give([m for m in heavy if m in sys.modules])\n"
    )
    assert loaded == []


def test_probe_of_this_cpu():
    found = seatrial_openvino.seatrial_probe(ProbeRequest(target="CPU"))
    assert found.usable and not found.reason
    assert {"openvino", "nncf", "openvino build"} <= set(found.versions)
    assert any(d.startswith("CPU: ") for d in found.devices)
    assert "FP32" in found.instruction_sets


@pytest.mark.parametrize("target", ["GPU", "NPU"])
def test_probe_of_a_missing_device_says_so(target):
    found = probing.probe(target)
    if found.usable:
        pytest.skip(f"this machine has an Intel {target}")
    assert f"no {target} here" in found.reason
    assert found.install_hint


def test_probe_without_the_package(fresh):
    found = fresh(
        "sys.modules['openvino'] = None\n"
        "from seatrial_openvino import probing\n"
        "a = probing.probe('CPU')\n"
        "give([a.usable, a.reason, a.install_hint])\n"
    )
    assert found[0] is False
    assert found[1].startswith("import openvino failed")
    assert found[2] == "pip install 'seatrial[openvino]'"


def test_a_cpu_that_lacks_the_flags_cannot_act_the_variant(tmp_path, monkeypatch):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor: 0\nflags\t\t: sse4_2 avx\n")
    monkeypatch.setattr(probing, "CPUINFO", cpuinfo)
    found = probing.probe("CPU/avx2")
    assert not found.usable
    assert "lacks avx2, fma" in found.reason


@pytest.mark.parametrize("target", ["TPU", "CPU/sve", "GPU/avx2", ""])
def test_unknown_targets_are_refused(target):
    with pytest.raises(ValueError, match="there are"):
        targets.cap_of(target)
