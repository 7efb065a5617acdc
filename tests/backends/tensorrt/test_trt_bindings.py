"""The backend against NVIDIA's real Python bindings, with libraries that give nothing.

The bindings (1.3 MB each) are proprietary and not part of this project: ``make bindings``
downloads them beside the environment. Without them, or without a C compiler, this is skipped.
"""

import json
import os
import re
import sys
import zipfile
from pathlib import Path

import pytest
from trt_touched import MODULE, touched
from trt_world import HERE, compiled

ROOT = Path(__file__).parents[3]
WHEELS = Path(os.environ.get("SEATRIAL_TENSORRT_WHEELS") or ROOT / ".venv" / "tensorrt-wheels")
MAJORS = {10: "tensorrt_cu12_bindings-10.", 11: "tensorrt_cu13_bindings-11."}
LIBRARIES = ("libnvinfer", "libnvinfer_plugin", "libnvonnxparser")

PRELUDE = """
import tensorrt as trt
from pathlib import Path
from seatrial_tensorrt import _cuda, _live, _plugins, _trt
from seatrial_tensorrt._dtypes import NUMPY
"""


@pytest.fixture(scope="module", params=MAJORS)
def real(request, tmp_path_factory):
    """Folders for the search paths: the module ``tensorrt`` of one major, and its libraries."""
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    found = sorted(WHEELS.glob(f"{MAJORS[request.param]}*{python}*.whl"))
    if not found:
        pytest.skip(
            f"no {MAJORS[request.param]}*{python}*.whl in {WHEELS}: the real bindings are NOT"
            " tested (make bindings downloads them)"
        )
    root = tmp_path_factory.mktemp(f"bindings{request.param}")
    site, libraries = root / "site", root / "lib"
    with zipfile.ZipFile(found[-1]) as wheel:
        wheel.extractall(site)
    # What NVIDIA's package of this name does.
    (site / "tensorrt").mkdir()
    text = "from tensorrt_bindings import *\nfrom tensorrt_bindings import __version__\n"
    (site / "tensorrt" / "__init__.py").write_text(text)
    for name in LIBRARIES:
        compiled(libraries, HERE / "standin_libraries.c", f"{name}.so.{request.param}")
    return request.param, site, libraries


@pytest.fixture
def asked(real, fresh):
    """Run code against the bindings; with or without libraries and a driver."""
    _, site, libraries = real

    def run(code, *, driver=None, libs=True):
        folders = [libraries] if libs else []
        folders += [driver.parent] if driver else []
        search = os.pathsep.join(map(str, folders))
        whole = PRELUDE + code if libs else code
        return fresh(whole, paths=[site], environment={"LD_LIBRARY_PATH": search})

    return run


def test_the_members_are_those_of_the_list(real, asked):
    names = json.loads((HERE / "api_names.json").read_text("utf-8"))
    found = asked("give([trt.__version__, {c: dir(getattr(trt, c)) for c in dir(trt)}, dir(trt)])")
    version, members, top = found
    assert version.startswith(f"{real[0]}.")
    for name, listed in names[version].items():
        assert set(listed.split()) <= set(members[name] if name else top), name


def test_calls_fit_the_signatures(asked):
    """Number of arguments and keywords, by the signatures in the bindings' own docstrings."""
    calls = [u for u in touched() if u.arguments >= 0 and u.member != "__init__"]
    wanted = sorted({(u.owner, u.member) for u in calls})
    docs = asked(
        f"wanted = {wanted!r}\n"
        "give([(getattr(getattr(trt, o) if o else trt, m).__doc__ or '') for o, m in wanted])"
    )
    known = dict(zip(wanted, docs, strict=True))
    checked = 0
    for use in calls:
        text = known[use.owner, use.member]
        found = re.search(rf"{use.member}\((.*)\) ->", text)
        if found is None:
            continue  # a class
        parts = split(found[1])
        parts = parts[0 if use.owner == MODULE else 1 :]
        least = sum("=" not in p for p in parts)
        names = [p.partition(":")[0].strip() for p in parts]
        given = use.arguments + len(use.keywords)
        assert least <= given <= len(parts), (use, text)
        assert set(use.keywords) <= set(names), (use, text)
        checked += 1
    assert checked > 25


def split(text):
    """Parameters of a signature: commas inside brackets do not part them."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[(<") - (letter in "])>")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [p for p in parts if p.strip()]


def test_logger_profiler_and_allocator_can_be_subclassed(asked):
    said = asked(
        "log = _trt.Log()\n"
        "logger = _trt.make_logger(trt, log)\n"
        "logger.log(trt.ILogger.Severity.ERROR, 'a\\n  b')\n"
        "logger.log(trt.ILogger.Severity.WARNING, 'c')\n"
        "logger.log(trt.ILogger.Severity.INFO, 'd')\n"
        "times = {}\n"
        "profiler = _live.make_profiler(trt, times)\n"
        "profiler.report_layer_time('conv', 0.5)\n"
        "outputs = _live.Outputs(None, {})\n"
        "allocator = _live.make_allocator(trt, outputs)\n"
        "allocator.notify_shape('y', trt.Dims((2, 3)))\n"
        "notes = _plugins.load(trt, logger, '')\n"
        "heard = []\n"
        "monitor = _live.make_monitor(trt, heard.append)\n"
        "monitor.phase_start('a', None, 2)\n"
        "going = monitor.step_complete('a', 0)\n"
        "monitor.phase_finish('a')\n"
        "give([log.lines, times, list(outputs._shapes['y']), list(notes), heard, going])"
    )
    lines, times, shape, notes, heard, going = said
    assert going and heard == [
        "TensorRT: a, 2 steps", "TensorRT: a, step 1", "TensorRT: a done",
    ]  # fmt: skip
    assert lines == [["ERROR", "a b"], ["WARNING", "c"]]
    assert times == {"conv": [0.5]} and shape == [2, 3]
    assert notes == ["the standard plugins of TensorRT could not be registered"]


def test_enumerations_are_numbers_with_names(asked):
    said = asked(
        "give([1 << int(trt.TensorFormat.HWC),\n"
        "      trt.DataType.FLOAT.name, trt.ErrorCode.SUCCESS.name,\n"
        "      trt.TensorIOMode.INPUT == trt.TensorIOMode.INPUT,\n"
        "      1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED),\n"
        "      [n for n in NUMPY if not hasattr(trt.DataType, n)]])"
    )
    bits, *names, same, strong, unknown = said
    assert bits.bit_count() == 1 and strong in (1, 2)
    assert names == ["FLOAT", "SUCCESS"] and same and unknown == []


# --- availability, the real import in each state --------------------------------------------------

PROBE = (
    "import seatrial_tensorrt\nfrom seatrial.results import ProbeRequest\n"
    "a = seatrial_tensorrt.seatrial_probe(request=ProbeRequest(target='gpu'), job=None)\n"
    "give([a.usable, a.reason, a.install_hint])"
)


def test_without_its_libraries_the_import_names_the_one_that_is_missing(asked, driver_library):
    usable, reason, hint = asked(PROBE, libs=False, driver=driver_library())
    assert not usable and "cannot be loaded" in reason and "libnv" in reason
    assert "tensorrt-cu13" in hint


def test_without_a_driver_the_driver_is_missing(asked):
    usable, reason, hint = asked(PROBE)
    assert not usable and reason.startswith("there is no NVIDIA driver")
    assert "driver" in hint


def test_without_a_device_the_device_is_missing(asked, driver_library):
    for library in (driver_library(devices=0), driver_library(init=100)):
        usable, reason, _ = asked(PROBE, driver=library)
        assert not usable and reason == "the NVIDIA driver sees no GPU"


def test_a_builder_that_is_not_made_says_so(real, asked, driver_library):
    usable, reason, _ = asked(PROBE, driver=driver_library())
    assert not usable and f"TensorRT {real[0]}." in reason
    assert "makes no builder on Stand-In GPU, SM 9.0, 8 GiB" in reason
    assert "factory function returned nullptr" in reason
