"""The child of a job: ``python -m seatrial.worker JOBDIR``.

``JOBDIR/job.json`` says what to do; every path in it is relative to JOBDIR. By hand the result is
written to ``JOBDIR/result.json`` and one line is printed. With ``--channel`` the child keeps its
standard input and output to itself as a private channel of JSON lines, and lets everything that
plugins print go to standard error, which the parent caps. Standard library and pluggy only,
Python 3.10 and newer: this module is carried to foreign interpreters.
"""

from __future__ import annotations

import faulthandler
import fcntl
import json
import os
import queue
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .codec import CodecError, decode, encode
from .jobs import calls, guard
from .jobs.files import JobFiles
from .results import CONTRACT, FaultKind, LoadRequest
from .session import Loop, RunRequest

_PRIVATE_FD = 100
_PROGRESS_S = 0.02


class Channel:
    """JSON lines to and from the parent over file descriptors that nobody else knows.

    Args:
        nonce: carried by every record, so that text of a plugin cannot pass for one.
    """

    def __init__(self, nonce: str) -> None:
        self.nonce = nonce
        self.commands: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._last_progress = 0.0
        self._in = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, _PRIVATE_FD)
        self._out = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, _PRIVATE_FD)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(2, 1)
        os.close(null)

    def listen(self) -> None:
        """Start the thread that reads commands and ends the job when the parent is gone."""
        threading.Thread(target=self._read, name="seatrial-channel", daemon=True).start()

    def _read(self) -> None:
        with os.fdopen(self._in, "rb", buffering=65536) as lines:
            for line in lines:
                try:
                    command = json.loads(line)
                except ValueError:
                    break
                if command.get("nonce") == self.nonce:
                    self.commands.put(command)
        os.killpg(0, signal.SIGKILL)

    def send(self, kind: str, /, **fields: Any) -> None:
        """Write one record in full."""
        record = {"nonce": self.nonce, "type": kind, **fields}
        data = json.dumps(record, allow_nan=False).encode("ascii") + b"\n"
        with self._lock:
            while data:
                data = data[os.write(self._out, data) :]

    def progress(self, text: str, fraction: float | None) -> None:
        """Send progress, at most fifty times a second."""
        now = time.monotonic()
        if now - self._last_progress >= _PROGRESS_S:
            self._last_progress = now
            self.send("progress", text=text[:500], fraction=fraction)


def peak_rss_mb() -> float:
    """Peak resident memory of this process (VmHWM: ru_maxrss would count the parent's)."""
    try:
        text = Path("/proc/self/status").read_text("utf-8")
        line = next(x for x in text.splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def secure(job: Mapping[str, Any], folder: Path, *, parent: int, channel: bool) -> str:
    """Put every limit of a job in force; nothing of a plugin is loaded yet.

    Returns:
        How far the network is away, see :mod:`seatrial.jobs.guard`.
    """
    network = guard.ALLOWED if job["network"] else guard.leave_network()
    if channel:
        guard.die_with_parent(parent)
    limits = job["limits"]
    guard.limit_resources(limits["memory_mb"] if limits["address_space"] else None)
    scratch = folder / "scratch"
    for part in ("home", "tmp", "cwd"):
        (scratch / part).mkdir(parents=True, exist_ok=True)
    user = job["user"]
    variables = guard.job_environment(
        os.environ, job["environment"], scratch, network=job["network"], own_home=not user
    )
    variables.pop("PYTHONPATH", None)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(job["cwd"] if user else scratch / "cwd")
    sys.path[:] = _search_path(job)
    faulthandler.enable()
    return network


def _search_path(job: Mapping[str, Any]) -> list[str]:
    """The parent's path, then what only we have, without the folder we were started in."""
    given = [p for p in job["path"] if Path(p).exists()]
    own = [p for p in sys.path if p not in ("", str(Path.cwd()), *given)]
    return [job["cwd"], *given, *own] if job["user"] else [*given, *own]


def perform(job: Mapping[str, Any], files: JobFiles) -> dict[str, Any]:
    """Do a one-shot job and give the fields of its result record.

    Raises:
        CallFault: there is no result.
    """
    if job["kind"] == "task":
        return calls.run_task(job["name"], job["request"], files)
    return calls.run_hook(job["plugin"], job["name"], job["request"], files)


def serve(job: Mapping[str, Any], files: JobFiles, folder: Path, channel: Channel) -> None:
    """Open a session and obey commands until ``close``.

    Raises:
        CallFault: the session could not be opened.
    """
    request = calls.decoded(LoadRequest, job["request"], job["name"])
    start = time.perf_counter_ns()
    session = calls.open_session(job["plugin"], job["name"], job["request"], files)
    loop = Loop(session, request, folder, time.perf_counter_ns() - start)
    channel.send("opened", load_ns=loop.load_ns, rss_mb=peak_rss_mb())
    while True:
        command = channel.commands.get()
        try:
            value = obey(command, loop, files)
        except calls.CallFault as fault:
            channel.send("fault", id=command["id"], **_fault(fault))
        else:
            channel.send("reply", id=command["id"], value=value, rss_mb=peak_rss_mb())
        if command["do"] == "close":
            return


def obey(command: Mapping[str, Any], loop: Loop, files: JobFiles) -> Any:
    """Do one command of a session; its result as JSON."""
    if command["do"] == "run":
        files.add(command["refs"])
        try:
            request = decode(RunRequest, command["request"])
            return encode(calls.guarded(lambda: loop.run(request)))
        except CodecError as error:
            raise calls.CallFault(FaultKind.BROKE_CONTRACT, str(error)) from None
    if command["do"] == "ran":
        return loop.ran()
    loop.close()
    return None


def _fault(fault: calls.CallFault) -> dict[str, Any]:
    fields = {"kind": fault.kind.value, "reason": fault.reason, "rss_mb": peak_rss_mb()}
    more = {"user_error": fault.user_error, "refusal": fault.refusal}
    return {**fields, **{name: told for name, told in more.items() if told}}


def _on_channel(job: Mapping[str, Any], folder: Path, channel: Channel, parent: int) -> None:
    network = secure(job, folder, parent=parent, channel=True)
    channel.listen()
    channel.send(
        "hello",
        contract=CONTRACT,
        python=sys.version.split()[0],
        network=network,
    )
    files = JobFiles(folder, job["refs"], channel.progress)
    try:
        if job["kind"] == "session":
            serve(job, files, folder, channel)
        else:
            fields = perform(job, files)
            channel.send("result", **fields, rss_mb=peak_rss_mb())
    except calls.CallFault as fault:
        channel.send("fault", **_fault(fault))


def _by_hand(job: Mapping[str, Any], folder: Path) -> int:
    network = secure(job, folder, parent=0, channel=False)
    files = JobFiles(folder, job["refs"], lambda text, _: print(f"... {text}"))  # noqa: T201
    outcome: dict[str, Any] = {"schema": "seatrial.result/1", "network": network}
    try:
        if job["kind"] == "session":
            request = calls.decoded(LoadRequest, job["request"], job["name"])
            session = calls.open_session(job["plugin"], job["name"], job["request"], files)
            loop = Loop(session, request, folder, 0)
            outcome["value"] = loop.ran()
            loop.close()
        else:
            outcome.update(perform(job, files))
        said, status = f"{job['name']}: done", 0
    except calls.CallFault as fault:
        outcome["fault"] = _fault(fault)
        said, status = f"{job['name']}: {fault.kind.value}: {fault.reason}", 1
    write_json(folder / "result.json", outcome)
    print(f"{said} ({folder / 'result.json'})")  # noqa: T201 - the line a person reads
    return status


def write_json(path: Path, value: Any) -> None:
    """Write aside, fsync, rename: a reader sees the old file, the new one, or none."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("w", encoding="utf-8") as file:
            json.dump(value, file, allow_nan=False, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def main(arguments: list[str]) -> int:
    """Run the job in ``arguments[0]``.

    Args:
        arguments: ``JOBDIR [--channel] [--parent PID]``.
    """
    try:
        folder = Path(arguments[0]).resolve()
        job = json.loads((folder / "job.json").read_text("utf-8"))
    except (IndexError, OSError, ValueError) as error:
        print(f"usage: python -m seatrial.worker JOBDIR ({error})", file=sys.stderr)  # noqa: T201
        return 2
    if "--channel" not in arguments:
        return _by_hand(job, folder)
    parent = int(arguments[arguments.index("--parent") + 1]) if "--parent" in arguments else 0
    channel = Channel(job["nonce"])
    status = 0
    try:
        _on_channel(job, folder, channel, parent)
    except Exception:  # noqa: BLE001 - to the log; the parent sees that no record came
        traceback.print_exc()
        status = 1
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # Not sys.exit: a toolchain's exit handlers may crash or hang after all is said.
    os._exit(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
