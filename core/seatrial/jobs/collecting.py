"""From a finished job to its outcome: strict decoding, the artefact's files, the record on disk."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seatrial.codec import CodecError, decode
from seatrial.results import Artifact, Fault, FaultKind, Finding
from seatrial.worker import write_json
from seatrial.workspace import artifact_problem

from .outcome import Outcome
from .prepare import Prepared
from .remote import Finished


def decoded(job: Prepared, finished: Finished, kind: type[Any] | None) -> tuple[Fault | None, Any]:
    """The result record, or the fault of a result that does not fit its type or its files."""
    try:
        wanted = kind if kind is not None else _task_type(finished.type)
        result = decode(wanted, finished.value) if wanted is not None else finished.value
        problem = _artifact_problem(result, job.folder / "out")
    except CodecError as error:
        result, problem = None, str(error)
    if problem:
        return Fault(
            kind=FaultKind.BROKE_CONTRACT,
            stage=job.call.name,
            reason=problem,
            log=job.log_name,
        ), None
    return None, result


def refusal(finished: Finished, fault: Fault | None) -> tuple[Finding, ...]:
    """What a hook refused, where it raised and nothing worse came after."""
    if fault is None or fault.kind is not FaultKind.RAISED:
        return ()
    try:
        return tuple(decode(Finding, told) for told in finished.refusal)
    except (CodecError, TypeError):
        return ()


def _task_type(name: str) -> type[Any] | None:
    """The record type that a core task said it returns; only ours are looked up."""
    module, _, attribute = name.partition(":")
    if not module.startswith("seatrial.") or not attribute.isidentifier():
        return None
    found = getattr(importlib.import_module(module), attribute, None)
    return found if isinstance(found, type) and dataclasses.is_dataclass(found) else None


def _artifact_problem(value: Any, out: Path) -> str:
    if isinstance(value, Artifact):
        return artifact_problem(out, value, {})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts: Any = (getattr(value, f.name) for f in dataclasses.fields(value))
    elif isinstance(value, Mapping):
        parts = value.values()
    elif isinstance(value, (tuple, list)):
        parts = value
    else:
        return ""
    return next((problem for part in parts if (problem := _artifact_problem(part, out))), "")


def store(job: Prepared, outcome: Outcome[Any], value: Any) -> Fault | None:
    """Write ``result.json`` into the job's folder; a fault when the disk does not take it."""
    fault = outcome.fault
    record = {
        "schema": "seatrial.result/1",
        "job": outcome.job_id,
        "value": value if fault is None else None,
        "fault": dataclasses.asdict(fault) if fault else None,
        "seconds": outcome.seconds,
        "peak_rss_mb": outcome.peak_rss_mb,
        "network": outcome.network,
    }
    try:
        write_json(job.folder / "result.json", record)
    except OSError as error:
        reason = f"the result cannot be stored: {error}"
        return Fault(
            kind=FaultKind.UNAVAILABLE, stage=job.call.name, reason=reason, log=job.log_name
        )
    return None
