"""A backend that fails on demand: ``SEATRIAL_FAULT=WHERE:WHAT``.

WHERE is ``import``, a hook without its prefix (``describe``, ``probe``, ``compile_check``,
``load``) or ``run`` and ``ran`` of a live session. WHAT is a function of this module.
Without the variable it is a healthy backend.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time

from seatrial import hookimpl
from seatrial import results as r

WHERE, _, WHAT = os.environ.get("SEATRIAL_FAULT", "").partition(":")


def sigsegv(job):
    ctypes.string_at(0)


def abort(job):
    os.abort()


def sigfpe(job):
    signal.raise_signal(signal.SIGFPE)


def sigbus(job):
    import mmap

    with open(job.scratch / "short", "w+b") as file:
        file.truncate(mmap.PAGESIZE * 2)
        view = mmap.mmap(file.fileno(), mmap.PAGESIZE * 2)
        file.truncate(0)
        view[mmap.PAGESIZE]


def sigkill(job):
    os.kill(os.getpid(), signal.SIGKILL)


def silent_exit(job):
    os._exit(0)


def exit_seven(job):
    sys.exit(7)


def exit_zero(job):
    sys.exit(0)


def native_hang(job):
    # PyDLL keeps the interpreter's lock: no Python code runs in this process any more.
    while True:
        ctypes.PyDLL(None).pause()


def hang(job):
    time.sleep(1000)


def stubborn(job):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(1000)


def _spawn_stray(environment):
    """A process that left session, group and parent."""
    code = "import os\nif os.fork() == 0:\n    os.setsid()\n    os.execlp('sleep', 'sleep', '1000')"
    subprocess.run([sys.executable, "-S", "-c", code], env=environment, check=True)


def stray(job):
    """Leaves a grandchild behind and goes on as if nothing had happened."""
    _spawn_stray(dict(os.environ))


def stray_hang(job):
    stray(job)
    time.sleep(1000)


def stray_unmarked(job):
    """The stray has lost the marker variable as well."""
    _spawn_stray({"PATH": os.environ["PATH"]})


def stray_crash(job):
    for _ in range(10):
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
    os.abort()


def half_record(job):
    for fd in range(1, 256):
        try:
            os.write(fd, b'{"nonce": "0123", "type": "resu')
        except OSError:
            continue
    os._exit(0)


def half_record_and_on(job):
    for fd in range(3, 256):
        try:
            os.write(fd, b'{"nonce": "0123", "type": "resu')
        except OSError:
            continue


def _forge(job, **fields):
    nonce = json.loads((job.out.parent / "job.json").read_text())["nonce"]
    line = json.dumps({"nonce": nonce, **fields}).encode() + b"\n"
    for fd in range(3, 256):
        try:
            os.write(fd, line)
        except OSError:
            continue


def forged_empty(job):
    _forge(job)


def forged_fault(job):
    _forge(job, type="fault", kind="sunstroke", reason="none")


def forged_size(job):
    _forge(job, type="result", value=None, rss_mb="a lot")


def endless_record(job):
    block = b"x" * (1 << 20)
    for fd in range(100, 256):
        try:
            for _ in range(40):
                os.write(fd, block)
        except OSError:
            continue


def noise(job):
    block = b"x" * 1_000_000
    for _ in range(100):
        os.write(1, block)
    os.write(2, b"\nthe end of the noise\n")


def fake_verdict(job):
    record = {"nonce": "guess", "type": "result", "value": {"usable": True, "reason": "SHIP"}}
    print(json.dumps(record), flush=True)


def eat(job):
    hoard = []
    while True:
        hoard.append(bytearray(b"\1") * 10_000_000)
        time.sleep(0.002)


def eat_in_grandchild(job):
    code = "import time\nhoard = bytearray(b'1') * 600_000_000\ntime.sleep(1000)"
    subprocess.run([sys.executable, "-c", code], check=True)


def memory_error(job):
    raise MemoryError("Unable to allocate 8.00 GiB")


def bad_alloc(job):
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
    os.abort()


def reserve(job):
    bytearray(4_000_000_000)


def raises(job):
    raise ValueError("node 'conv_1' has\na bad [bold]shape[/bold]")


def recursion(job):
    return recursion(job)


def progress(job):
    for i in range(8):
        job.progress(f"step {i}", i / 8)
        time.sleep(0.2)


def progress_then_hang(job):
    job.progress("started", 0.1)
    time.sleep(1000)


# --- what changes the answer ------------------------------------------------------------------


def environment(job):
    return tuple(f"{k}={v}" for k, v in sorted(os.environ.items()))


def surroundings(job):
    core = __import__("resource").getrlimit(__import__("resource").RLIMIT_CORE)
    return (
        f"cwd={os.getcwd()}",
        f"core={core}",
        f"leader={os.getpid() == os.getpgrp() == os.getsid(0)}",
        f"stdin={os.readlink('/proc/self/fd/0')}",
    )


def connect(job):
    port = int(os.environ["LISTENER_PORT"])
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            return ("connected",)
    except OSError as error:
        return (f"refused: {error}",)


def own_loopback(job):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with socket.create_connection(server.getsockname(), timeout=2):
            return ("connected",)


def wrong_types(job):
    return r.CompileReport(verdict="perhaps", depth=r.Depth.PARSE)


def wrong_field(job):
    return r.CompileReport(
        verdict=r.Verdict.SUPPORTED,
        depth=r.Depth.PARSE,
        findings=(r.Finding(reason="fine"), r.Finding(reason=7)),
    )


def wrong_class(job):
    return {"verdict": "supported", "depth": "parse"}


def not_a_number(job):
    return r.Ran(
        where=r.TargetKind.DEVICE,
        device="x",
        layers=(r.LayerRun(layer="a", op_type="b", ms=float("nan")),),
    )


def nothing(job):
    return None


def missing_file(job):
    return _with_files("model.bin")


def link_out(job):
    (job.out / "model.bin").symlink_to("/etc/passwd")
    return _with_files("model.bin")


def climbing(job):
    return _with_files("../job.json")


def artefact(job):
    (job.out / "sub").mkdir()
    (job.out / "model.bin").write_bytes(b"weights")
    (job.out / "sub" / "more.bin").write_bytes(b"more")
    return _with_files("model.bin", "sub/more.bin")


def _with_files(*files):
    return r.CompileReport(
        verdict=r.Verdict.SUPPORTED,
        depth=r.Depth.ARTEFACT,
        artifact=r.Artifact(format="blob", entry=files[0], files=files),
    )


def no_session(job):
    return object()


ANSWERS = (
    wrong_types,
    wrong_field,
    wrong_class,
    not_a_number,
    nothing,
    missing_file,
    link_out,
    climbing,
    artefact,
    no_session,
)
NOTES = (environment, surroundings, connect, own_loopback)
_HEALTHY = object()


def _misbehave(where, job):
    """The fault, if it is this place's turn; the answer to give instead of the healthy one."""
    if where != WHERE:
        return _HEALTHY
    act = globals()[WHAT]
    if act in ANSWERS:
        return act(job)
    said = act(job)
    return said if act in NOTES else _HEALTHY


_misbehave("import", None)


@hookimpl
def seatrial_describe():
    said = _misbehave("describe", None)
    title = "Faults on demand" if said is _HEALTHY else str(said)
    return r.Description(
        title=title,
        vendor="nobody",
        targets=(r.Target(id="cpu", title="CPU", device="cpu", default=True),),
        environment={"FAULTS_TELEMETRY": "off"},
    )


@hookimpl
def seatrial_probe(request, job):
    _misbehave("probe", job)
    if request.target == "licensed":
        return r.Availability(usable=False, reason="no licence found", install_hint="buy one")
    return r.Availability(usable=True, versions={"faults": "1.0"})


@hookimpl
def seatrial_compile_check(request, job):
    said = _misbehave("compile_check", job)
    if isinstance(said, tuple):
        return r.CompileReport(verdict=r.Verdict.UNKNOWN, depth=r.Depth.PARSE, notes=said)
    if said is not _HEALTHY:
        return said
    size = job.path(request.model).stat().st_size
    return r.CompileReport(verdict=r.Verdict.SUPPORTED, depth=r.Depth.MAP, notes=(f"{size} bytes",))


@hookimpl
def seatrial_load(request, job):
    said = _misbehave("load", job)
    return Doubler(job, request.options) if said is _HEALTHY else said


class Doubler:
    """Gives every input times two, as ``y`` (or under the input's name behind ``y_``)."""

    def __init__(self, job, options):
        self.job = job
        self.options = options

    def run(self, feeds):
        import numpy as np

        _misbehave("run", self.job)
        shape = str(self.options.get("output", "same"))
        x = next(iter(feeds.values()))
        if shape == "boxes":  # as many rows as the sample's first number says: no batch axis
            rows = int(x.reshape(-1)[0])
            return {"y": np.full((rows, 3), rows, np.float32)}
        if shape == "objects":
            return {"y": np.array([None, {}], dtype=object)}
        if shape == "list":
            return {"y": [1.0]}
        if shape == "echo":
            return {name: np.array(value) for name, value in feeds.items()}
        if shape == "slow":
            time.sleep(0.05)
        return {"y": x * 2}

    def ran(self):
        said = _misbehave("ran", self.job)
        return r.Ran(where=r.TargetKind.DEVICE, device="CPU") if said is _HEALTHY else said

    def close(self):
        pass
