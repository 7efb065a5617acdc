"""The coverage table and the badge line at the end of a test run.

A suite registers this by itself. With several test processes (pytest-xdist) the process that
prints runs no test, so its ``conftest.py`` must say
``pytest_plugins = ["seatrial.testing.table"]``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from seatrial.text import clean

from . import record
from .gaps import FLAKY, WORDS
from .record import COLUMNS

_PROPERTY = "seatrial_kit"
_PLUGIN = "seatrial-kit-table"


def pytest_configure(config: pytest.Config) -> None:
    """For those who name this module in ``pytest_plugins``."""
    register(config)


def register(config: pytest.Config) -> None:
    """Collect and print in this test run; twice does no harm."""
    if not config.pluginmanager.has_plugin(_PLUGIN):
        config.pluginmanager.register(Table(), _PLUGIN)


def noter(
    node: pytest.Item, suite: str, mandatory: int, about: Mapping[str, Any]
) -> Callable[..., None]:
    """A function that keeps facts of one test: they travel with its report.

    Args:
        node: the test.
        suite: backend and target.
        mandatory: how many tests the whole kit has, without the node tests.
        about: the backend's package and versions.
    """
    facts: dict[str, Any] = {"suite": suite, "mandatory": mandatory, "about": about}
    node.user_properties.append((_PROPERTY, facts))
    return lambda **more: facts.update(more)


class Table:
    """Collects what the tests noted."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the facts of a test that was called."""
        facts = dict(report.user_properties).get(_PROPERTY)
        if report.when == "call" and isinstance(facts, Mapping) and "name" in facts:
            column = column_of(report, facts)
            self.rows[str(facts["suite"])][str(facts["name"])] = {**facts, "column": column}

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """One table and one line per suite."""
        for suite, rows in sorted(self.rows.items()):
            terminalreporter.section(f"seatrial kit: {suite}")
            for line in lines(suite, rows):
                terminalreporter.write_line(line)
            if folder := record.folder():
                path = record.write(folder, record.table(suite, rows, badge(suite, rows)))
                terminalreporter.write_line(f"table: {path}")


def column_of(report: pytest.TestReport, facts: Mapping[str, Any]) -> str:
    """Where a test is counted."""
    if report.failed:
        return "failed"
    excused = hasattr(report, "wasxfail")
    if report.skipped and not excused:
        return "not asked"
    if excused or facts.get("word") == FLAKY:  # flaky however it ended this time
        return str(facts.get("word", "notimpl"))
    if facts.get("how") == "refused":
        return "refused"
    return "partial" if facts.get("partial") else "right"


def lines(suite: str, rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The table of one suite."""
    counts = record.counted(rows)
    shown = [c for c in COLUMNS if any(count[c] for count in counts.values())]
    said = [_line("family", shown)]
    for family, count in counts.items():
        said.append(_line(family, [str(count[c] or "-") for c in shown], shown))
    total = Counter(facts["column"] for facts in rows.values())
    said.append(_line("all", [str(total[c]) for c in shown], shown))
    said += _operators(rows)
    said += _unusable(rows)
    said.append(badge(suite, rows))
    return said


def _line(first: str, rest: list[str], heads: list[str] | None = None) -> str:
    widths = [max(len(h), 6) for h in heads or rest]
    return f"{first:<10}" + "".join(f"  {text:>{w}}" for text, w in zip(rest, widths, strict=True))


def _operators(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """How many of ONNX's operators were computed right, and which were only ever refused."""
    tried, refused = record.operators(rows)
    if not tried:
        return []
    taken = len(tried) - len(refused)
    said = [f"operators of the node tests: {taken} of {len(tried)} taken"]
    if refused:
        more = f" and {len(refused) - 40} more" if len(refused) > 40 else ""
        said.append(f"  never taken: {', '.join(refused[:40])}{more}")
    return said


def _unusable(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    why = {str(v.get("text")) for v in rows.values() if v.get("how") == "unusable"}
    return [clean(text, 200) for text in sorted(why)]


def _good(count: Counter[str]) -> int:
    return count["right"] + count["partial"]


def _asked(count: Counter[str]) -> int:
    return count.total() - count["not asked"]


def _others(count: Counter[str]) -> list[str]:
    """What was asked and is not right, column by column: with the right ones it adds up."""
    return [f"{count[c]} {c}" for c in ("refused", *WORDS, "failed") if count[c]]


def badge(suite: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """One line to quote: what was asked, and how it ended."""
    mandatory = [v for k, v in rows.items() if not k.startswith("nodes/")]
    nodes = [v for k, v in rows.items() if k.startswith("nodes/")]
    count = Counter(v["column"] for v in mandatory)
    gaps = _others(count) + ([] if any(count[w] for w in WORDS) else ["no gaps"])
    parts = [f"{_good(count)} of {_asked(count)} right", ", ".join(gaps)]
    if nodes:
        of = Counter(v["column"] for v in nodes)
        said = ", ".join([f"{_good(of)} of {_asked(of)} right", *_others(of)])
        parts.append(f"node tests: {said}")
    contract = next((v["contract"] for v in rows.values() if v.get("contract")), "")
    failed = sum(v["column"] == "failed" for v in rows.values())
    unusable = any(v.get("how") == "unusable" for v in rows.values())
    whole = max((v.get("mandatory", 0) for v in rows.values()), default=0)
    part = "" if len(mandatory) >= whole else f" (only {len(mandatory)} of {whole} tests were run)"
    verdict = f"FAILED ({failed})" if failed else "NOT USABLE HERE" if unusable else "PASSED"
    verdict += part
    return f"badge: seatrial kit {suite} contract {contract or '?'}: {verdict} | " + " | ".join(
        parts
    )
