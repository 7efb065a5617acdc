"""The kit's tables as data, and as one page of all backends.

With ``SEATRIAL_KIT_TABLE=FOLDER`` each suite of a test run leaves ``BACKEND-TARGET.json`` there.
``python -m seatrial.testing.record FOLDER`` prints them side by side, as Markdown.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import seatrial

from .cases import FAMILIES
from .gaps import WORDS

#: Names the folder for the tables.
VARIABLE = "SEATRIAL_KIT_TABLE"
SCHEMA = "seatrial.kit/1"
#: Columns, left to right; the last one must be empty for a pass.
COLUMNS = ("right", "partial", "refused", *WORDS, "not asked", "failed")
#: Operators that are named; the rest is counted.
_NAMED = 40
#: Cases that are named in a row of gaps.
_CASES = 6

Rows = Mapping[str, Mapping[str, Any]]
Table = Mapping[str, Any]


def folder() -> Path | None:
    """Where tables are wanted, ``None``: nowhere."""
    wanted = os.environ.get(VARIABLE, "")
    return Path(wanted) if wanted else None


def counted(rows: Rows) -> dict[str, Counter[str]]:
    """Family -> column -> number of tests, families in the order of the table."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for name, facts in rows.items():
        counts[name.partition("/")[0]][facts["column"]] += 1
    return {family: counts[family] for family in FAMILIES if family in counts}


def operators(rows: Rows) -> tuple[list[str], list[str]]:
    """Operators of ONNX's node tests that were tried, and those that were never taken."""
    nodes = {k: v for k, v in rows.items() if k.startswith("nodes/") and len(v["ops"]) == 1}
    tried = {v["ops"][0] for v in nodes.values() if v["column"] != "not asked"}
    right = {v["ops"][0] for v in nodes.values() if v["column"] in ("right", "partial")}
    return sorted(tried), sorted(tried - right)


def table(suite: str, rows: Rows, badge: str) -> dict[str, Any]:
    """A suite's table.

    Args:
        suite: backend and target.
        rows: test -> what was noted of it, with its ``column``.
        badge: the line to quote.
    """
    about: dict[str, Any] = next((v["about"] for v in rows.values() if v.get("about")), {})
    tried, never = operators(rows)
    asked = sum(not name.startswith("nodes/") for name in rows)
    return {
        "schema": SCHEMA,
        "suite": suite,
        "seatrial": seatrial.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        **about,
        "unusable": next((v["text"] for v in rows.values() if v.get("how") == "unusable"), ""),
        "whole": asked >= max((v.get("mandatory", 0) for v in rows.values()), default=0),
        "families": {family: dict(count) for family, count in counted(rows).items()},
        "operators": {"tried": len(tried), "never": never},
        "gaps": _gaps(rows),
        "failed": sorted(k for k, v in rows.items() if v["column"] == "failed"),
        "badge": badge,
    }


def _gaps(rows: Rows) -> list[dict[str, Any]]:
    found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for name, facts in sorted(rows.items()):
        if facts["column"] in WORDS:
            key = facts["column"], str(facts.get("reason", "")), str(facts.get("shows", ""))
            found[key].append(name)
    return [
        {"word": word, "reason": reason, "shows": shows, "cases": names}
        for (word, reason, shows), names in found.items()
    ]


def write(root: Path, made: Table) -> Path:
    """Write a table into the folder, over an earlier one of the same suite."""
    root.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"\W+", "-", made["suite"]).strip("-")
    path = root / f"{name}.json"
    path.write_text(json.dumps(made, indent=1, sort_keys=True) + "\n", "utf-8")
    return path


def read(root: Path) -> list[dict[str, Any]]:
    """All tables of a folder, by suite.

    Raises:
        ValueError: a file there is none of ours.
    """
    found = []
    for path in sorted(root.glob("*.json")):
        loaded = json.loads(path.read_text("utf-8"))
        if not isinstance(loaded, dict) or loaded.get("schema") != SCHEMA:
            raise ValueError(f"{path}: no table of the kit")
        found.append(loaded)
    return sorted(found, key=lambda t: str(t["suite"]))


# --- Markdown -------------------------------------------------------------------------------------


def markdown(tables: Sequence[Table]) -> str:
    """All tables side by side: who was asked, the counts, each area, and the gaps."""
    parts = [*_who(tables), "", *_totals(tables), "", *_areas(tables)]
    for made in tables:
        if made["gaps"]:
            parts += ["", f"### Gaps of {made['suite']}", "", *_gap_rows(made)]
    return "\n".join(parts) + "\n"


def grid(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> list[str]:
    """A table in Markdown; the first column is text, the others are numbers."""
    heads = list(heads)
    lines = [_row(heads), "|---|" + "---:|" * (len(heads) - 1)]
    return [*lines, *(_row(row) for row in rows)]


def _row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(c).replace("|", "&#124;").replace("\n", " ") for c in cells) + " |"


def _who(tables: Sequence[Table]) -> list[str]:
    lines = ["| suite | package | toolchain | date |", "|---|---|---|---|"]
    for made in tables:
        versions = made.get("versions", {})
        told = ", ".join(f"{k} {v}" for k, v in versions.items()) or "none here: its table alone"
        lines.append(_row((made["suite"], made.get("distribution", ""), told, made["date"])))
    return lines


def _totals(tables: Sequence[Table]) -> list[str]:
    """The kit's own cases, and ONNX's node tests, in a table each."""
    mine = {t["suite"]: _total(t, (f for f in t["families"] if f != "nodes")) for t in tables}
    shown = [c for c in COLUMNS if any(count[c] for count in mine.values())]
    lines = grid(
        ("cases of the kit", *shown),
        ((suite, *(count[c] or "-" for c in shown)) for suite, count in mine.items()),
    )
    return [*lines, "", *grid(("node tests of ONNX", *_NODES), filter(None, map(_nodes, tables)))]


_NODES = ("run", "right", "partial", "refused", "gaps", "operators taken")


def _nodes(made: Table) -> tuple[object, ...] | None:
    count = Counter(made["families"].get("nodes", {}))
    run = count.total() - count["not asked"]
    if not run:
        return None
    gaps = sum(count[word] for word in WORDS)
    tried, never = made["operators"]["tried"], len(made["operators"]["never"])
    numbers = (run, count["right"], count["partial"], count["refused"], gaps)
    return (made["suite"], *(n or "-" for n in numbers), f"{tried - never} of {tried}")


def _total(made: Table, families: Iterable[str]) -> Counter[str]:
    return sum((Counter(made["families"][family]) for family in families), Counter())


def _areas(tables: Sequence[Table]) -> list[str]:
    """Per area: right (in part, if any) of those asked."""
    rows = [
        (family, *(_share(made["families"].get(family)) for made in tables)) for family in FAMILIES
    ]
    lines = grid(("right of asked", *(made["suite"] for made in tables)), rows)
    return [*lines, "", *(f"* *{family}*: {about}" for family, about in FAMILIES.items())]


def _share(count: Mapping[str, int] | None) -> str:
    asked = sum(v for k, v in (count or {}).items() if k != "not asked")
    if not count or not asked:
        return "-"
    partial = count.get("partial", 0)
    right = count.get("right", 0) + partial
    return f"{right} of {asked}" + (f" ({partial} in part)" if partial else "")


def _gap_rows(made: Table) -> Iterator[str]:
    yield "| | cases | how it shows | reason |"
    yield "|---|---|---|---|"
    for gap in sorted(made["gaps"], key=lambda g: (g["word"], g["cases"])):
        names = [f"`{name}`" for name in gap["cases"][:_CASES]]
        more = len(gap["cases"]) - _CASES
        names += [f"and {more} more"] if more > 0 else []
        yield _row((gap["word"], ", ".join(names), gap["shows"], gap["reason"]))


if __name__ == "__main__":
    print(markdown(read(Path(sys.argv[1]))), end="")  # noqa: T201 - the page
