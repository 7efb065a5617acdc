"""Tables of the page: from the sheets that all views share, and those that only a page has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seatrial.report import numbers as nr
from seatrial.report.sheets import Column, Data, Sheet, columns
from seatrial.text import clean

from . import graph as graphs
from .charts import minus

#: Rows that are drawn at once; the script shows the rest of longer tables on demand.
PAGE_ROWS = 100


@dataclass(frozen=True)
class Table:
    """A table of plain text.

    Attributes:
        kinds: class of each row, for its colour.
        filters: it is long enough to be worth a search field.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    note: str = ""
    kinds: Sequence[str] = field(default=())

    @property
    def filters(self) -> bool:
        """Whether it is long enough for a search field."""
        return len(self.rows) > 8

    @property
    def paged(self) -> bool:
        """Whether rows are hidden at first."""
        return len(self.rows) > PAGE_ROWS


def of(sheet: Sheet) -> Table | None:
    """A shared sheet as a table; ``None`` when it has no rows."""
    if not sheet.rows:
        return None
    signs = [i for i, column in enumerate(sheet.columns) if column.right]
    rows = [
        [minus(cell) if i in signs and len(cell) > 1 else cell for i, cell in enumerate(row)]
        for row in sheet.rows
    ]
    return Table(sheet.title, sheet.columns, rows, sheet.notes, sheet.note)


def some(sheets: Iterable[Sheet]) -> list[Table]:
    """Those of several sheets that have rows."""
    return [table for table in map(of, sheets) if table is not None]


def operators(facts: Mapping[str, Any] | None) -> list[Table]:
    """Per target: operators and what became of their nodes; claimed, built and ran apart."""
    if facts is None:
        return []
    ops: list[str] = facts["ops"]
    made = []
    for target in facts["targets"]:
        groups: dict[str, list[int]] = {}
        for i, op in enumerate(ops):
            groups.setdefault(op, []).append(i)
        rows = [_operator(op, at, target) for op, at in groups.items()]
        rows.sort(key=lambda row: (-_trouble(row[0]), -row[1], row[2][0]))
        heads = "operator| >nodes|claimed by tables|built, float|built, INT8|ran in| >ms"
        made.append(
            Table(
                target["name"],
                columns(heads),
                [row[2] for row in rows],
                kinds=[row[0] for row in rows],
            )
        )
    return made


def _trouble(kind: str) -> int:
    return {"bad": 2, "open": 1}.get(kind, 0)


def _operator(op: str, at: list[int], target: Mapping[str, Any]) -> tuple[str, int, list[str]]:
    """Class of the row, nodes, and cells of one operator on one target."""
    cells = [op, nr.count(len(at))]
    kinds = []
    for key, meaning in (
        ("claimed", graphs.CLAIMS), ("fp32", graphs.BUILDS), ("int8", graphs.BUILDS)
    ):  # fmt: skip
        letters: str = target[key]
        counts = Counter(letters[i] for i in at)
        kinds += [meaning[c][0] for c in counts]
        cells.append(
            ", ".join(_counted(meaning[c][1], n, len(at)) for c, n in counts.most_common())
        )
    precision = target["precision"]
    codes = [precision["codes"][i] for i in at]
    ran = Counter(precision["kinds"][code] for code in codes if code >= 0)
    cells.append(", ".join(_counted(k, n, len(at)) for k, n in ran.most_common()) or nr.DASH)
    known = [i for i in at if target["ms"][i] is not None and target["shared"][i]]
    spent = sum(target["ms"][i] / target["shared"][i] for i in known)
    cells.append(nr.significant(spent) if known else nr.DASH)
    kind = "bad" if "bad" in kinds else "open" if "open" in kinds else ""
    return kind, len(at), cells


def _counted(words: str, n: int, of_all: int) -> str:
    return words if n == of_all else f"{n} {words}"


def environment(data: Data) -> list[tuple[str, str]]:
    """What the figures hold for, as name and value."""
    here = data["environment"]
    model = data["model"] or {}
    cpu = here["cpu"]
    pairs = [
        ("Command", " ".join(data["command_line"])),
        ("Made", data["created"]),
        ("Seed", str(data["seed"])),
        ("Model", model.get("path", "")),
        ("Model, sha256", model.get("sha256", "")),
        ("Made by", model.get("producer", "")),
        ("Opsets", ", ".join(f"{k or 'ai.onnx'} {v}" for k, v in model.get("opsets", {}).items())),
    ]
    for role, source in data["data"].items():
        if source:
            pairs.append((f"{role.capitalize()} data", f"{source['source']} ({source['how']})"))
            pairs.append((f"{role.capitalize()} data, sha256", source["sha256"]))
    cost = (data["calibration"] or {}).get("cost")
    pairs += [("Calibration table, sha256", cost["table_sha256"] if cost else "")]
    pairs += [
        ("Processor", f"{cpu['model']}, {cpu['cores']} cores" if cpu["cores"] else cpu["model"]),
        ("Instruction sets", " ".join(cpu["flags"])),
        ("Governor", cpu["governor"]),
        ("Platform", here["platform"]),
        ("Python", here["python"]),
        ("Seatrial", here["seatrial"]),
        ("Packages", ", ".join(f"{k} {v}" for k, v in here["packages"].items())),
    ]
    for row in data["targets"]:
        versions = (row["availability"] or {"versions": {}})["versions"]
        if versions:
            pairs.append((row["target"], ", ".join(f"{k} {v}" for k, v in versions.items())))
    return [(clean(name, 80), clean(value, 600)) for name, value in pairs if value]


def artefacts(data: Data) -> Table | None:
    """Every compiled file with its digest."""
    rows = []
    for target in data["targets"]:
        for form in ("fp32", "int8"):
            part = (target["built"] or {}).get(form)
            if part and part["artifact"]:
                made = part["artifact"]
                rows.append(
                    [clean(target["target"], 60), form.upper().replace("FP32", "float"),
                     clean(made["format"], 24), nr.size(made["bytes"]), clean(made["sha256"], 64)]
                )  # fmt: skip
    heads = columns("target|build|format| >size|sha256")
    return Table("Artefacts", heads, rows) if rows else None
