"""The same calls without a child: for a vendor's debugger, where a breakpoint must hold."""

from __future__ import annotations

import time
from typing import Any

from seatrial.results import Fault, LoadRequest
from seatrial.session import Loop
from seatrial.worker import obey, peak_rss_mb, perform

from . import calls
from .files import JobFiles
from .outcome import Limits
from .prepare import Prepared
from .remote import Finished, Progress


def _fault(error: calls.CallFault, stage: str) -> Fault:
    return Fault(kind=error.kind, stage=stage, reason=error.reason)


def _files(job: Prepared, progress: Progress) -> JobFiles:
    def report(text: str, fraction: float | None) -> None:
        progress(job.call.name, text, fraction)

    return JobFiles(job.folder, job.job["refs"], report)


def run_here(job: Prepared, progress: Progress) -> Finished:
    """Do a one-shot job in this process, with the checks that a child makes."""
    try:
        fields = perform(job.job, _files(job, progress))
    except calls.CallFault as error:
        return Finished(
            fault=_fault(error, job.call.name),
            user_error=error.user_error,
            refusal=error.refusal,
            peak_mb=peak_rss_mb(),
        )
    kind = fields.get("type_name", "")
    return Finished(value=fields["value"], type=kind, peak_mb=peak_rss_mb())


class LocalTransport:
    """A session in this process."""

    def __init__(self, loop: Loop, files: JobFiles, load_ns: int) -> None:
        self.load_ns = load_ns
        self.network = ""
        self._loop = loop
        self._files = files

    @classmethod
    def load(cls, job: Prepared) -> LocalTransport | Finished:
        """Open the session."""
        files = _files(job, lambda stage, text, fraction: None)
        data = job.job
        begin = time.perf_counter_ns()
        try:
            request = calls.decoded(LoadRequest, data["request"], data["name"])
            session = calls.open_session(data["plugin"], data["name"], data["request"], files)
        except calls.CallFault as error:
            return Finished(fault=_fault(error, job.call.name), peak_mb=peak_rss_mb())
        load_ns = time.perf_counter_ns() - begin
        return cls(Loop(session, request, job.folder, load_ns), files, load_ns)

    @property
    def rss_mb(self) -> float:
        """Peak memory of this process: there is no child to measure."""
        return peak_rss_mb()

    @property
    def peak_rss_mb(self) -> float:
        """Peak memory of this process."""
        return peak_rss_mb()

    def ask(self, command: dict[str, Any], limits: Limits, stage: str) -> Any:
        """Do a command now; limits do not hold here."""
        try:
            return obey(command, self._loop, self._files)
        except calls.CallFault as error:
            return _fault(error, stage)

    def close(self) -> None:
        """Close the session; what it raises then is of no use to anybody."""
        try:
            self._loop.close()
        except calls.CallFault:
            return
