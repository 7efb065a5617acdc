"""The report: started with every key present, finished to strict JSON, written in one piece."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import enum
import hashlib
import json
import math
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import rows
from .rows import Row

SCHEMA = "seatrial.report/1"

#: Longest text in the document, in characters; longer ones end in their length and digest.
LONGEST = 4096

_EXIT = {"SHIP": 0, "DO NOT SHIP": 1, "NOT PROVEN": 3}


def new(command: str, *, command_line: Sequence[str] = (), seed: int = 0) -> Row:
    """A report that knows nothing: every key present, and an exit code that is not a pass."""
    now = datetime.datetime.now(datetime.UTC)
    return {
        "schema": SCHEMA,
        "command": command,
        "verdict": None,
        "exit_code": 3,
        "answers": None,
        "reasons": [],
        "missing": [],
        "next": [],
        "created": now.isoformat(timespec="seconds"),
        "command_line": list(command_line),
        "seed": seed,
        "interrupted": False,
        "model": None,
        "models": [],
        "export": {},
        "qat": {},
        "advice": None,
        "input_contract": None,
        "data": {"calibration": None, "test": None},
        "calibration": None,
        "candidates": [],
        "diagnosis": [],
        "recovery": [],
        "ladder": [],
        "targets": [],
        "faults": [],
        "logs": [],
        "sla": rows.sla(),
        "environment": rows.environment(),
        "timings": [],
        "conditions": None,
        "ranking": [],
        "noise": {},
        "files": [],
        "not_finite": [],
        "sharing": None,
    }


def finish(data: Mapping[str, Any], *, strict: bool = False) -> Row:
    """A finished copy: plain JSON values only, and the exit code.

    Records and enums become JSON values. NaN and infinities become null, and ``not_finite`` names
    the places. Lone surrogates become visible escapes and very long texts are cut.

    Args:
        data: a report as started by :func:`new`.
        strict: of ``check``: a partial build of a required target is a failure.

    Raises:
        TypeError: for a value that no JSON can hold.
    """
    places: list[Row] = list(data.get("not_finite", ()))
    done: Row = _plain(data, "$", places)
    done["not_finite"] = places
    done["exit_code"] = exit_code(done, strict=strict)
    return done


def exit_code(data: Mapping[str, Any], *, strict: bool = False) -> int:
    """The exit code of the command that made a report.

    0 it holds, 1 shown not to hold, 3 not shown or a fault, 130 interrupted. ``--fail-on`` lets
    a verdict pass, but neither an interruption nor a fault.
    """
    if data["interrupted"]:
        return 130
    if data["command"] == "check":
        return _check_exit(data, strict)
    if data["command"] == "export":
        return {"pass": 0, "fail": 1}.get(data["export"].get("gate", ""), 3)
    if data["verdict"] is not None:
        return _verdict_exit(data)
    own = {
        "audit": _audit_exit,
        "quantize": _quantize_exit,
        "qat": _qat_exit,
        "bench": _bench_exit,
    }.get(data["command"])
    return own(data) if own else 3


def _quantize_exit(data: Mapping[str, Any]) -> int:
    return 0 if any(row["chosen"] for row in data["candidates"]) else 3


def _qat_exit(data: Mapping[str, Any]) -> int:
    """0 if a model was written and every one of them computes what was trained."""
    exports = data["qat"].get("exports", ())
    return 0 if exports and all(e["equal"] for e in exports) else 3


def _verdict_exit(data: Mapping[str, Any]) -> int:
    code = _EXIT[data["verdict"]]
    passed = {"never": (0, 1, 3), "do-not-ship": (0, 3)}.get(data["sla"]["fail_on"] or "", (0,))
    # Nobody has looked at what a fault kept from us: only a verdict can be let pass.
    return 0 if code in passed and not (code == 3 and _faulted(data)) else code


def _faulted(data: Mapping[str, Any]) -> bool:
    """Whether a target that decides, or the core itself, met a fault."""
    deciding = {row["target"] for row in data["targets"] if row["decides"]}
    return any(row["target"] is None or row["target"] in deciding for row in data["faults"])


def _check_exit(data: Mapping[str, Any], strict: bool) -> int:
    """1 if a required target is refused, 3 if one is unknown (or none was required), else 0."""
    required = [row for row in data["targets"] if row["decides"]]
    verdicts = {row["built"]["verdict"] if row["built"] else "unknown" for row in required}
    if "unsupported" in verdicts or (strict and "partial" in verdicts):
        return 1
    return 0 if verdicts and verdicts <= {"supported", "partial"} else 3


def _audit_exit(data: Mapping[str, Any]) -> int:
    """1 with a red finding, 3 if anything could not be judged, else 0."""
    part = data["calibration"]
    if part is None or part["audit"] is None:
        return 3
    if any(row["level"] == "error" for row in part["findings"]):
        return 1
    failed = any(row["status"] == "failed" for row in part["audit"]["checks"])
    return 3 if failed or data["faults"] else 0


def _bench_exit(data: Mapping[str, Any]) -> int:
    """0 if every target that decides has a timing and no fault."""
    required = [row for row in data["targets"] if row["decides"]]
    timed = all(
        row["fault"] is None and any(b["p50_ms"] is not None for b in row["benchmark"])
        for row in required
    )
    return 0 if required and timed else 3


def _plain(value: Any, path: str, places: list[Row]) -> Any:
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, str):
        return _text(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {
            _text(str(k)): _plain(v, f"{path}.{_text(str(k))}", places) for k, v in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_plain(v, f"{path}[{i}]", places) for i, v in enumerate(value)]
    return _scalar(value, path, places)


def _scalar(value: Any, path: str, places: list[Row]) -> Any:
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        places.append({"path": path, "was": "nan" if math.isnan(value) else f"{float(value)}"})
        return None
    if hasattr(value, "item"):
        return _scalar(value.item(), path, places)
    raise TypeError(f"{path}: a {type(value).__name__} cannot stand in a report")


def _text(value: str) -> str:
    """No lone surrogates (many JSON readers refuse them), and not longer than ``LONGEST``."""
    if len(value) > LONGEST:
        mark = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        value = f"{value[: LONGEST - 64]}...[{len(value)} characters, sha256 {mark}]"
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


class Report:
    """A finished report.

    Attributes:
        data: the document, plain JSON values.
        folder: where it was written, or ``None``.
        filed: it was read from a file, where everything can be looked up.
    """

    def __init__(self, data: Mapping[str, Any], *, strict: bool = False) -> None:
        self.data = finish(data, strict=strict)
        self.folder: Path | None = None
        self.filed = False

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Report:
        """A report that was finished before: nothing of it is decided again."""
        report = cls.__new__(cls)
        report.data, report.folder, report.filed = dict(data), None, True
        return report

    @property
    def verdict(self) -> str | None:
        """SHIP, DO NOT SHIP, NOT PROVEN, or ``None`` when the command gives no verdict."""
        verdict: str | None = self.data["verdict"]
        return verdict

    @property
    def exit_code(self) -> int:
        """Exit code of the command."""
        return int(self.data["exit_code"])

    @property
    def path(self) -> Path | None:
        """The JSON file, once written."""
        return self.folder / "report.json" if self.folder else None

    def to_json(self) -> str:
        """Strict ASCII JSON with a newline at its end: safe on any terminal and in any log."""
        return strict_json(self.data)

    def to_markdown(self) -> str:
        """A summary for a pull request."""
        from .markdown import render

        return render(self.data)

    def to_html(self) -> str:
        """One self-contained page, see :mod:`seatrial.report.html`."""
        from .html import render

        return render(self.data)

    def _repr_html_(self) -> str:
        """The first screen as a fragment, for notebooks."""
        from .html.notebook import fragment

        return fragment(self.data)

    def tables(self) -> dict[str, Any]:
        """The document's lists of rows as pandas data frames, see :mod:`seatrial.report.frames`."""
        from .frames import frames

        return frames(self.data)

    def show(self) -> None:
        """Print the view for people on standard output."""
        from .terminal import show

        show(self, sys.stdout)

    def write(self, folder: Path | str) -> Path:
        """Write ``report.json``, ``.md`` and ``.html``; a reader sees the old file or the new one.

        Returns:
            The path of the JSON file.
        """
        from .html import rendered

        root = Path(folder)
        root.mkdir(parents=True, exist_ok=True)
        write_text(root / "report.json", self.to_json())
        self.folder = root
        write_text(root / "report.md", self.to_markdown())
        write_text(root / "report.html", rendered(self.data))
        return root / "report.json"


def strict_json(value: Any) -> str:
    """Strict ASCII JSON of plain values.

    Some CI systems obey ``##vso[...]`` wherever in a line of a log it stands, so no two of these
    signs follow one another; outside of strings JSON has none.
    """
    text = json.dumps(value, indent=1, allow_nan=False)
    return text.replace("##", "#\\u0023") + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a file aside, fsync it, rename it over ``path``, fsync the folder."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
