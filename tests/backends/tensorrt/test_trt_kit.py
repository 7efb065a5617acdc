"""The conformance kit over the fake: every hook at work, in the children that a trial uses."""

import os
import re
import subprocess
import sys

import pytest
from trt_world import HERE

MODULE = """
import sys
sys.path.insert(0, {here!r})
import fake_tensorrt
made = fake_tensorrt.make({major})
made.__spec__ = __spec__
sys.modules[__name__] = made
"""

SUITE = """
from seatrial.testing import BackendSuite, notyet

LATE = notyet("the fake's engine finds it at its first run", shows="wrong")


class TestFake(BackendSuite):
    backend = "tensorrt"
    stand_in = "fake of TensorRT {major}"
    gaps = {{
        "dtypes/Add-int8": notyet("not in the operator table"),
        "dtypes/Add-uint8": notyet("not in the operator table"),
        "dtypes/MatMul-int32": notyet("not in the operator table"),
        "broken/group-0": LATE,
        "broken/channels-differ": LATE,
        "broken/kernel-too-large": LATE,
        "broken/reshape-count": LATE,
    }}
"""


def kit(folder, major, driver, *arguments):
    """The kit in a process of its own, on a machine that has TensorRT and a device."""
    site = folder / "site"
    (site / "tensorrt").mkdir(parents=True)
    (site / "tensorrt" / "__init__.py").write_text(MODULE.format(here=str(HERE), major=major))
    test = folder / "test_fake.py"
    test.write_text(SUITE.format(major=major))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"),
            *("--rootdir", str(folder), str(test), *arguments),
        ],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(site), *sys.path])),
            "LD_LIBRARY_PATH": str(driver.parent),
            "SEATRIAL_KIT": "none",
        },
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def test_a_session_and_int8_on_11(driver_library, tmp_path):
    said = kit(tmp_path, 11, driver_library(), "-k", "test_session or test_int8_from_qdq")
    assert "2 passed" in said


@pytest.mark.long
@pytest.mark.parametrize("major", [10, 11])
def test_the_whole_kit(driver_library, tmp_path, major):
    said = kit(tmp_path, major, driver_library())
    print(said[said.index("seatrial kit") :])
    for family, right in (("contract", 9), ("hooks", 8), ("operators", 115), ("nets", 5)):
        assert re.search(rf"^{family} +{right} ", said, re.MULTILINE), family
