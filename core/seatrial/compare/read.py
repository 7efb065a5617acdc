"""Read a report that anybody may have written: bounded, typed, its texts made printable.

Unknown keys are left alone and absent ones are empty, so that reports of older and newer minor
versions can be compared; a value of a wrong type is refused with its place.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from seatrial.errors import UserError
from seatrial.report import load
from seatrial.text import clean

from .records import Node, Rung, Samples, Target, Timing, Trial

#: The most rows of one list.
ROWS = 100_000
#: Reports in one folder.
REPORTS = 500
#: Longest text that is kept.
TEXT = 300
#: Numbers beyond this are no measurements.
HUGE = 1e15

#: How :mod:`seatrial.benchmark.machine` words what disturbed a benchmark -> its kind.
DISTURBANCES = {
    "the hypervisor took": "stolen CPU time",
    "the load was": "background load",
    "the CPU throttled": "thermal throttling",
}


def reports(path: str) -> tuple[Trial, ...]:
    """The reports that a path names: a file, a trial folder, or a folder of either.

    Raises:
        UserError: there is none, or one cannot be read.
    """
    given = Path(path)
    try:
        files = _files(given)
    except OSError as error:
        raise UserError(clean(path, TEXT), (error.strerror or "cannot be read").lower()) from None
    if not files:
        advice = "a report.json, a folder that run wrote, or a folder of these"
        raise UserError(clean(path, TEXT), "holds no report", advice=advice)
    if len(files) > REPORTS:
        raise UserError(clean(path, TEXT), f"holds more than {REPORTS} reports")
    return tuple(trial(file) for file in files)


def _files(given: Path) -> list[Path]:
    if not given.is_dir():
        return [given]
    if (given / "report.json").is_file():
        return [given / "report.json"]
    inner = [folder / "report.json" for folder in sorted(given.iterdir()) if folder.is_dir()]
    return [f for f in inner if f.is_file()] + sorted(f for f in given.glob("*.json"))


def trial(file: Path) -> Trial:
    """One report.

    Raises:
        UserError: not a report, of another major version, too large, or broken.
    """
    name = clean(str(file), TEXT)
    data = load.checked(load.read_json(file, name), name)
    return _trial(_Row(data, name, "$"))


class _Row:
    """An object of the document, read key by key.

    Every method raises ``UserError`` with the place when a value has another type than asked for.
    """

    def __init__(self, data: Any, file: str, place: str) -> None:
        self._file, self._place = file, place
        if not isinstance(data, dict):
            self._refuse(place, "an object")
        self._data: Mapping[str, Any] = data

    def _refuse(self, place: str, wanted: str) -> NoReturn:
        raise UserError(self._file, f"is not a report: no {wanted}", place=clean(place, 120))

    def _at(self, key: str) -> str:
        return f"{self._place}.{key}"

    def text(self, key: str, limit: int = TEXT) -> str:
        value = self._data.get(key)
        if value is not None and not isinstance(value, str):
            self._refuse(self._at(key), "text")
        return clean(value or "", limit)

    def optional(self, key: str) -> str | None:
        return None if self._data.get(key) is None else self.text(key)

    def number(self, key: str) -> float | None:
        value = self._data.get(key)
        return None if value is None else self._number(value, self._at(key))

    def _number(self, value: Any, place: str) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > HUGE:
            self._refuse(place, "number of a sensible size")
        if not math.isfinite(value):
            self._refuse(place, "finite number")
        return float(value)

    def count(self, key: str) -> int:
        value = self.number(key) or 0.0
        if value < 0 or value != int(value):
            self._refuse(self._at(key), "count")
        return int(value)

    def flag(self, key: str) -> bool:
        value = self._data.get(key)
        if value is not None and not isinstance(value, bool):
            self._refuse(self._at(key), "true or false")
        return bool(value)

    def pair(self, key: str) -> tuple[float, ...] | None:
        value = self._data.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) != 2:
            self._refuse(self._at(key), "interval")
        if None in value:
            return None
        low, high = (self._number(v, self._at(key)) for v in value)
        if low > high:
            self._refuse(self._at(key), "interval with its lower end first")
        return (low, high)

    def items(self, key: str) -> Sequence[Any]:
        value = self._data.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or len(value) > ROWS:
            self._refuse(self._at(key), f"list of at most {ROWS:,}")
        return value

    def texts(self, key: str, limit: int = TEXT) -> tuple[str, ...]:
        return tuple(
            clean(v if isinstance(v, str) else json.dumps(v), limit) for v in self.items(key)
        )

    def rows(self, key: str) -> list[_Row]:
        place = self._at(key)
        return [_Row(v, self._file, f"{place}[{i}]") for i, v in enumerate(self.items(key))]

    def row(self, key: str) -> _Row | None:
        value = self._data.get(key)
        return None if value is None else _Row(value, self._file, self._at(key))

    def part(self, key: str) -> _Row:
        """Like :meth:`row`, with an empty one where there is none."""
        return self.row(key) or _Row({}, self._file, self._at(key))

    def named(self) -> dict[str, str]:
        """All keys with their values as short texts."""
        if len(self._data) > ROWS:
            self._refuse(self._place, f"object of at most {ROWS:,} keys")
        return {
            clean(k, TEXT): clean(v if isinstance(v, str) else _canonical(v), TEXT)
            for k, v in self._data.items()
        }

    def canonical(self, key: str) -> str:
        value = self._data.get(key)
        return "" if value is None else _canonical(value)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _trial(top: _Row) -> Trial:
    model, environment = top.part("model"), top.part("environment")
    cpu, data = environment.part("cpu"), top.part("data")
    packages = environment.part("packages").named()
    own = {"seatrial": environment.text("seatrial"), "python": environment.text("python")}
    return Trial(
        path=top._file,
        command=top.text("command", 40),
        created=top.text("created", 40),
        seed=top.count("seed"),
        interrupted=top.flag("interrupted"),
        model=model.text("path"),
        model_sha256=model.text("sha256", 80),
        verdict=top.optional("verdict"),
        answers=top.part("answers").named(),
        limits={k: v for k, v in top.part("sla").named().items() if k not in _NO_LIMITS},
        contract=top.canonical("input_contract"),
        calibration=_samples(data.row("calibration")),
        test=_samples(data.row("test")),
        ladder=tuple(_rung(row) for row in top.rows("ladder")),
        targets=tuple(_target(row) for row in top.rows("targets")),
        faults=tuple(_fault(row) for row in top.rows("faults")),
        versions={k: v for k, v in {**own, **packages}.items() if v},
        machine={
            "platform": environment.text("platform"),
            "cpu": cpu.text("model"),
            "cores": str(cpu.count("cores") or ""),
            "governor": cpu.text("governor"),
        },
    )


#: Keys of ``sla`` that limit nothing.
_NO_LIMITS = ("defaults", "fail_on")


def _samples(row: _Row | None) -> Samples | None:
    if row is None:
        return None
    return Samples(
        source=row.text("source"),
        sha256=row.text("sha256", 80),
        count=row.count("count"),
        synthetic=row.flag("synthetic"),
    )


def _fault(row: _Row) -> tuple[str, str, str]:
    return (row.text("target"), row.text("kind", 40), row.text("stage", 80))


def _rung(row: _Row) -> Rung:
    groups = row.number("groups")
    return Rung(
        rung=row.text("rung", 40),
        target=row.optional("target"),
        source=row.optional("source"),
        against=row.optional("against"),
        artifact=row.text("artifact", 80),
        metric=row.text("metric", 60),
        unit=row.text("unit", 20),
        value=row.number("value"),
        value_ci95=row.pair("value_ci95"),
        right=row.texts("right", 2048),
        drop=row.number("drop"),
        n=row.count("n"),
        groups=None if groups is None else row.count("groups"),
        agreement=row.number("agreement"),
    )


def _target(row: _Row) -> Target:
    availability, built, plugin = row.row("availability"), row.part("built"), row.part("plugin")
    builds = {p: b.text("verdict", 40) for p in ("fp32", "int8") if (b := built.row(p))}
    versions = availability.part("versions").named() if availability else {}
    if plugin.text("dist"):
        versions = {**versions, plugin.text("dist"): plugin.text("version", 60)}
    return Target(
        target=row.text("target"),
        decides=row.flag("decides"),
        kind=row.text("kind", 40),
        machine_class=row.text("machine_class"),
        usable=availability is not None and availability.flag("usable"),
        verdict=row.optional("verdict"),
        answers=row.part("answers").named(),
        builds=builds,
        nodes=tuple(_node(finding) for finding in built.rows("findings")),
        timings=tuple(_timing(timing) for timing in row.rows("benchmark")),
        versions=versions,
    )


def _node(row: _Row) -> Node:
    return Node(
        precision=row.text("precision", 20),
        node=row.text("node"),
        op_type=row.text("op_type", 80),
        placement=row.text("placement", 40),
        on=row.text("on", 80),
        reason=row.text("reason"),
        severity=row.text("severity", 20),
    )


def _timing(row: _Row) -> Timing:
    notes = row.texts("notes")
    bytes_ = row.number("artifact_bytes")
    return Timing(
        model=row.text("model", 80),
        artifact=row.text("artifact", 80),
        precision=row.text("precision", 20),
        shape=row.texts("shape", 40),
        layout=row.text("layout", 40),
        streams=row.count("streams"),
        threads=row.count("threads"),
        p50_ms=row.number("p50_ms"),
        ci95_ms=row.pair("ci95_ms"),
        build_s=row.number("build_s"),
        peak_rss_mb=row.number("peak_rss_mb"),
        artifact_bytes=None if bytes_ is None else row.count("artifact_bytes"),
        timed_by=row.text("timed_by", 20),
        emulated=row.flag("emulated"),
        disturbed=tuple(
            kind for said, kind in DISTURBANCES.items() if any(n.startswith(said) for n in notes)
        ),
    )
