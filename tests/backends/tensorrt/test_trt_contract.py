"""Who the backend is, and what it says where something is missing."""

import pytest
from trt_world import HERE, compiled

import seatrial_tensorrt as backend
from seatrial import hookspecs
from seatrial.codec import decode, encode
from seatrial.errors import UserError
from seatrial.results import Description, ProbeRequest, TargetKind, Verdict
from seatrial_tensorrt import _cuda, _versions


def probe(target="gpu"):
    return backend.seatrial_probe(request=ProbeRequest(target=target), job=None)


def test_every_hook_but_the_quantizer_is_offered():
    manager = hookspecs.plugin_manager()
    manager.register(backend, "tensorrt")
    manager.check_pending()
    offered = {c.name for c in manager.get_hookcallers(backend)}
    assert offered == set(hookspecs.HOOKS) - {"seatrial_quantize"}


def test_description_survives_the_codec_and_says_never_on_hardware():
    description = backend.seatrial_describe()
    assert decode(Description, encode(description)) == description
    assert description.hardware_run == "never"
    assert [t.id for t in description.targets] == ["gpu", "dla0", "dla1"]
    assert [t.id for t in description.targets if t.default] == ["gpu"]
    assert {t.kind for t in description.targets} == {TargetKind.DEVICE}
    dialect = description.targets[0].rules.qdq
    assert (dialect.activations, dialect.symmetric, dialect.bias) == ("int8", True, "float")


def test_import_and_describe_load_nothing_heavy(fresh):
    loaded = fresh(
        "import seatrial_tensorrt as b\n"
        "b.seatrial_describe()\n"
        "heavy = ('tensorrt', 'onnx', 'onnxruntime', 'torch', 'numpy')\n"
        "give([m for m in heavy if m in sys.modules])\n"
    )
    assert loaded == []


def test_the_probe_loads_neither_onnx_nor_numpy_where_nothing_is_installed(fresh):
    loaded = fresh(
        "sys.modules['tensorrt'] = None\n"
        "import seatrial_tensorrt as b\n"
        "from seatrial.results import ProbeRequest\n"
        "b.seatrial_probe(request=ProbeRequest(target='gpu'), job=None)\n"
        "give([m for m in ('onnx', 'numpy', 'torch') if m in sys.modules])\n"
    )
    assert loaded == []


# --- availability ---------------------------------------------------------------------------------


@pytest.fixture
def no_driver(monkeypatch):
    monkeypatch.setattr(_cuda, "LIBRARY", "libcuda-that-is-not-here.so.1")


def test_a_device_with_tensorrt_is_usable_and_tells_what_an_engine_is_bound_to(trt):
    found = probe()
    assert found.usable and found.reason == ""
    assert found.versions["tensorrt"] == trt.__version__
    assert found.versions["SM"] == "9.0" and found.versions["GPU"] == "Stand-In GPU"
    assert found.versions["CUDA of the driver"] == "13.0"
    assert found.devices == ("Stand-In GPU, SM 9.0, 8 GiB",)


def test_without_package_and_driver_both_are_named(monkeypatch, no_driver):
    monkeypatch.setattr(_versions.util, "find_spec", lambda name: None)
    found = probe()
    assert not found.usable
    assert found.reason.startswith("the Python package tensorrt is not installed; and there is no")
    assert "pip install 'seatrial[tensorrt]'" in found.install_hint


def test_without_the_package_the_device_is_still_told(monkeypatch, driver):
    monkeypatch.setattr(_versions.util, "find_spec", lambda name: None)
    found = probe()
    assert found.reason == "the Python package tensorrt is not installed"
    assert found.devices == ("Stand-In GPU, SM 9.0, 8 GiB",) and found.versions["SM"] == "9.0"


def test_an_old_tensorrt_is_too_old(trt, monkeypatch):
    monkeypatch.setattr(trt, "__version__", "8.6.1")
    assert "TensorRT 8.6.1 is too old" in probe().reason


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"devices": 0}, "sees no GPU"),
        ({"init": 100}, "sees no GPU"),
        ({"init": 803}, "the NVIDIA driver fails: cuInit: CUDA_ERROR_UNKNOWN"),
    ],
)
def test_driver_and_device_are_told_apart(trt, driver_library, monkeypatch, flags, reason):
    monkeypatch.setattr(_cuda, "LIBRARY", str(driver_library(**flags)))
    assert reason in probe().reason


def test_a_library_that_is_no_driver_is_told(trt, tmp_path, monkeypatch):
    path = compiled(tmp_path, HERE / "standin_libraries.c", "libcuda.so.1")
    monkeypatch.setattr(_cuda, "LIBRARY", str(path))
    assert "it has no cuInit" in probe().reason


def test_a_builder_that_is_not_made_says_what_the_logger_said(trt):
    trt.fail_builder = "CUDA initialization failure with error: 35"
    reason = probe().reason
    assert "CUDA initialization failure with error: 35" in reason
    assert "CUDA 13" not in reason  # the driver serves it


def test_dla_cores_are_counted(trt):
    assert "no DLA cores" in probe("dla0").reason
    trt.dla_cores = 1
    assert probe("dla0").usable
    assert "1 DLA cores" in probe("dla1").reason


def test_an_unknown_target_is_refused():
    with pytest.raises(UserError, match="no such target"):
        probe("tpu")


def test_nothing_is_judged_where_nothing_is_installed(zoo, monkeypatch, no_driver):
    monkeypatch.setattr(_versions.util, "find_spec", lambda name: None)
    report = backend.seatrial_compile_check(request=zoo.check(zoo.cnn()), job=zoo.job)
    assert report.verdict is Verdict.UNKNOWN
    assert "not installed" in report.notes[0]
    static = backend.seatrial_check_static(request=zoo.check(zoo.cnn()), job=zoo.job)
    assert "supported" not in {c.claim.value for c in static.claims}


def test_a_mere_folder_of_the_name_is_no_package(fresh, tmp_path):
    (tmp_path / "tensorrt").mkdir()
    code = (
        "import importlib.util\n"
        "from seatrial_tensorrt import _versions\n"
        "give([importlib.util.find_spec('tensorrt') is None, _versions.present()])"
    )
    assert fresh(code, paths=[tmp_path]) == [False, False]


def test_versions_are_read_without_an_import(monkeypatch):
    assert _versions.parse("11.4.0.106") == (11, 4) and _versions.parse("x") == (0, 0)
    monkeypatch.setattr(_versions, "present", lambda: True)
    monkeypatch.setattr(_versions, "distributions", lambda: {"tensorrt": "10.16.1.11"})
    assert _versions.installed() == (10, 16)
