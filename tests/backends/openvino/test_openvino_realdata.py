"""Every unusual and hostile file: the hook's verdict is the outcome of a direct user's calls.

Each file is opened twice, in two children with a deadline: some files kill the runtime's reader
and one hangs it, and then both children must end that way.
"""

import collections

import pytest

SWEEP = """
import os, resource, signal, tempfile, time
from pathlib import Path
import onnx, openvino
import seatrial_openvino.check, seatrial_openvino.static
from seatrial.results import CheckRequest
from seatrial.testing import LocalJob

DEADLINE = 5

def direct(path):
    core = openvino.Core()
    try:
        core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except RuntimeError as error:
        return "fault: MemoryError" if "bad_alloc" in str(error) else "unsupported"
    return "supported"

def hook(path):
    job = LocalJob(Path(tempfile.mkdtemp()))
    request = CheckRequest(model=job.add(Path(path)), target="CPU")
    report = seatrial_openvino.check.compile_check(request, job)
    assert report.verdict.value != "unsupported" or report.findings
    assert report.verdict.value != "supported" or report.artifact
    named = sum(1 for f in report.findings if f.node)
    return report.verdict.value + (f"/{named} named" if named else "")

def static(path):
    job = LocalJob(Path(tempfile.mkdtemp()))
    request = CheckRequest(model=job.add(Path(path)), target="CPU")
    report = seatrial_openvino.static.check_static(request, job)
    return f"{len(report.claims)} claims"

def child(call, path, out):
    resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    try:
        text = call(str(path))
    except BaseException as error:
        text = f"fault: {type(error).__name__}"
    Path(out).write_text(text)
    os._exit(0)

def run(call, path):
    out = tempfile.mktemp()
    pid = os.fork()
    if not pid:
        child(call, path, out)
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return Path(out).read_text() if os.path.exists(out) else "fault: died"
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "fault: hung"

def outcomes(path):
    first = run(direct, path)
    # the front end that killed or hung one child would do the same to the static check
    return [first, run(hook, path), "" if "fault" in first else run(static, path)]

give({str(p): outcomes(p) for p in map(Path, sys.argv[1:])})
"""


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.parametrize(
    "folder", ["onnx", "odd", pytest.param("negative", marks=pytest.mark.long)]
)
def test_verdict_is_the_runtimes_own(shared, fresh, folder, capsys):
    files = sorted((shared / folder).glob("*.onnx"))
    assert files, f"no models in {shared / folder}"
    found = fresh(SWEEP, *files, timeout=280)
    agree = {p: o for p, o in found.items() if o[1].partition("/")[0] == o[0]}
    tally = collections.Counter(o[0] for o in found.values())
    named = sum(1 for o in found.values() if o[1].endswith("named"))
    with capsys.disabled():
        print(f"\n{folder}: {len(agree)} of {len(found)} agree; {dict(tally)}; nodes in {named}")
    different = {p: o for p, o in found.items() if p not in agree}
    assert different == {}
    faults = {p: o[2] for p, o in found.items() if o[2] and not o[2].endswith("claims")}
    # what onnx cannot parse has no nodes to make claims of
    assert {p for p in faults if faults[p] != "fault: DecodeError"} == set()
    assert len(found) == len(files)
