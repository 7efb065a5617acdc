"""What ``backends`` prints: every backend and target, and how to get what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from .safe import safe
from .sheets import NAME, Sheet, columns

if TYPE_CHECKING:
    from seatrial.trial.setup import BackendRow, BackendsResult, TargetRow

    from .draw import Page


def show(result: BackendsResult, stream: TextIO) -> None:
    """Print the list."""
    from .draw import Page

    page = Page(stream)
    if not result.rows:
        page.line("no backend is installed", indent=0)
    page.sheet(_backends(result))
    if result.environments:
        page.sheet(_environments(result))
    page.sheet(_targets(result))
    _problems(page, result)
    _against_contract(page, result)
    usable = [t.target for row in result.rows for t in row.targets if t.usable]
    page.commands([f"seatrial check MODEL.onnx -b {usable[0]}"] if usable else ["seatrial demo"])
    page.end()


def lock(result: BackendsResult) -> str:
    """Versions by name as TOML lines, sorted; the quoting is JSON's, which TOML shares."""
    import json

    lines = [
        f"{json.dumps(safe(name))} = {json.dumps(safe(version))}\n"
        for name, version in sorted(result.lock.items())
    ]
    return "".join(["# versions as found by 'seatrial backends --freeze'\n", *lines])


def _targets(result: BackendsResult) -> Sheet:
    """What can be used, or was not asked; the others have a place of their own, with the reason."""
    shown: list[tuple[str, ...]] = []
    absent = 0
    for row in result.rows:
        for target in row.targets:
            if target.usable is False and target.fault is None:
                absent += 1
                continue
            marks = " *" if target.default else ""
            shown.append(
                (
                    safe(target.target, NAME) + marks,
                    _usable(target),
                    safe(target.title, 100),
                    target.kind.value,
                )
            )
    notes = ["* run when no target is named"]
    notes += [f"{absent} more cannot be used here: see below"] if absent else []
    return Sheet("Targets", columns("target|usable|what|kind"), shown, notes)


def _usable(target: TargetRow) -> str:
    if target.fault is not None:
        return target.fault.kind.value
    return {True: "yes", False: "no", None: "not asked"}[target.usable]


def _backends(result: BackendsResult) -> Sheet:
    rows: list[tuple[str, ...]] = [
        (
            safe(row.backend, NAME),
            safe(f"{row.dist} {row.version}".strip() or "-", 40),
            safe(row.contract or "-", 12),
            str(len(row.hooks)) if row.hooks else "-",
            safe(f"@{row.env}" if row.env else "own", NAME),
            safe(_versions(row), 160),
            safe(row.hardware_run or "-", 40),
        )
        for row in result.rows
    ]
    heads = columns("backend|package|contract| >hooks|env|versions| ?last run on hardware")
    sheet = Sheet("Backends", heads, rows)
    if any(row.env for row in result.rows):
        return sheet
    keep = [i for i, head in enumerate(heads) if head.title != "env"]
    return Sheet("Backends", [heads[i] for i in keep], [tuple(r[i] for i in keep) for r in rows])


def _environments(result: BackendsResult) -> Sheet:
    used: dict[str, list[str]] = {}
    for row in result.rows:
        used.setdefault(row.env, []).append(row.backend)
    rows: list[tuple[str, ...]] = [
        (
            safe(f"@{name}", NAME),
            safe(words or "our own interpreter", 120),
            safe(", ".join(used.get(name, ())) or f"none yet: -b BACKEND@{name}", 80),
        )
        for name, words in result.environments.items()
    ]
    return Sheet("Environments", columns("env|interpreter|backends in it"), rows)


def _versions(row: BackendRow) -> str:
    """Toolchain versions over the targets of a backend that can be used; over all, if none can."""
    found: dict[str, str] = {}
    for target in [t for t in row.targets if t.usable] or row.targets:
        found.update(target.versions)
    listed = (safe(f"{name} {version}", 28) for name, version in sorted(found.items()))
    return ", ".join(listed) or "-"


def _problems(page: Page, result: BackendsResult) -> None:
    """Why something cannot be used, and what to do about it."""
    listed = [item for row in result.rows for item in _of_row(row)]
    if not listed:
        return
    page.heading("Not usable")
    alike: dict[tuple[str, str, str], list[str]] = {}
    for name, why, hint in listed:
        alike.setdefault((name.partition(":")[0], why, hint), []).append(name)
    for (backend, why, hint), names in alike.items():
        name = names[0] if len(names) == 1 else f"{backend}, {len(names)} targets"
        page.labelled(safe(name, NAME), safe(why, 240) or "no reason given", "bold")
        if len(names) > 1:
            short = ", ".join(n.partition(":")[2] or n for n in names)
            page.line((safe(short, 400), "dim"), indent=4)
        if hint:
            page.line(("→ ", "bold cyan"), safe(hint, 240), indent=4)


def _against_contract(page: Page, result: BackendsResult) -> None:
    """For vendors: hooks that are misspelt, unmarked or missing."""
    listed = [(row.backend, text) for row in result.rows for text in row.problems]
    if listed:
        page.heading("Against the contract")
    for backend, text in listed:
        page.labelled(safe(backend, NAME), safe(text, 240), "bold")


def _of_row(row: BackendRow) -> list[tuple[str, str, str]]:
    if row.problem:
        return [(row.backend, row.problem, row.install_hint)]
    if row.fault is not None:
        why = f"{row.fault.kind.value}: {row.fault.reason}"
        return [(row.backend, why, row.install_hint)]
    found = []
    for target in row.targets:
        if target.fault is not None:
            why = f"{target.fault.kind.value}: {target.fault.reason}"
            found.append((target.target, why, target.install_hint))
        elif target.usable is False:
            found.append((target.target, target.reason, target.install_hint or row.install_hint))
    return found
