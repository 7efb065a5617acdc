"""Lesser CPUs, each in an interpreter of its own: the cap is read once per process."""

import pytest

from seatrial_openvino.probing import CPUINFO, cpu_flags
from seatrial_openvino.targets import CAPS

RUN = """
from pathlib import Path
import numpy as np
import seatrial_openvino as b
from seatrial.results import LoadRequest, ProbeRequest
from seatrial.testing import LocalJob
target, root, path, precision = sys.argv[1:]
job = LocalJob(Path(root))
probe = b.seatrial_probe(ProbeRequest(target=target))
request = LoadRequest(artifact=job.add(Path(path)), format="onnx", target=target,
                      precision=precision, profile=True)
session = b.seatrial_load(request, job)
y = session.run({"x": np.full((1, 3, 16, 16), 0.5, np.float32)})["y"]
ran = session.ran()
give({"y": y.tolist(), "set": ran.instruction_set, "where": ran.where.value,
      "precisions": sorted({layer.precision for layer in ran.layers}),
      "kernels": [layer.kernel for layer in ran.layers],
      "usable": probe.usable, "sets": probe.instruction_sets})
"""


def skip_unless(variant):
    missing = set(CAPS[variant].needs) - cpu_flags(CPUINFO)
    if missing:
        pytest.skip(f"this CPU lacks {', '.join(sorted(missing))}")


@pytest.mark.parametrize(
    ("variant", "level"), [("sse42", "sse42"), ("avx2", "avx2"), ("avx512", "avx512")]
)
@pytest.mark.parametrize("precision", ["native", "int8"])
def test_kernels_that_ran_are_those_of_the_lesser_cpu(zoo, fresh, variant, level, precision):
    skip_unless(variant)
    path = zoo.qdq() if precision == "int8" else zoo.cnn()
    found = fresh(RUN, f"CPU/{variant}", zoo.root / "child", path, precision)
    assert found["set"] == level
    assert found["where"] == "emulated"
    assert found["usable"]
    assert "BF16" not in found["sets"]
    assert "BF16" not in found["precisions"]
    assert ("INT8" in found["precisions"]) == (precision == "int8")
    full = fresh(RUN, "CPU", zoo.root / "plain", path, "fp32" if precision == "native" else "int8")
    assert full["where"] == "device"
    assert [round(v, 2) for v in found["y"][0]] == [round(v, 2) for v in full["y"][0]]


def test_one_process_has_one_instruction_set(fresh):
    message = fresh(
        "import openvino\n"
        "from seatrial_openvino.runtime import Runtime\n"
        "try:\n    Runtime('CPU/avx2')\n"
        "except RuntimeError as error:\n    give(str(error))\n"
    )
    assert "needs a process of its own" in message


def test_a_cap_of_the_callers_does_not_reach_the_plain_cpu(fresh):
    found = fresh(
        "import os\n"
        "from seatrial_openvino.runtime import ISA_VARIABLES, Runtime\n"
        "Runtime('CPU')\n"
        "give([os.environ.get(v) for v in ISA_VARIABLES])\n",
        environment={"ONEDNN_MAX_CPU_ISA": "AVX2", "OV_CPU_MAX_ISA": "AVX2"},
    )
    assert found == [None, None]
