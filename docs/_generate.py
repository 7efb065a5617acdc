"""Pages that are made from the program itself, so that they cannot say anything else.

A hook of mkdocs: commands from their parsers, findings from the stories of ``explain``, the
contract from its types, coverage from what runs of the kit and of ``benchmarks/nodes.py`` left.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import types
import typing
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from seatrial import explain, hookspecs, models, results
from seatrial.cli.app import COMMANDS, parser
from seatrial.testing import record

#: What runs left: tables of the kit, and agreement with the runtimes called directly.
KIT = Path(__file__).parent / "backends" / "kit"
AGREEMENT = Path(__file__).parent / "backends" / "agreement.json"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {
        "commands.md": commands(),
        "findings.md": findings(),
        "backends/contract.md": contract(),
        "backends/coverage.md": coverage(),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def commands() -> str:
    """Every command with its help."""
    whole = parser()
    (choices,) = [a.choices for a in whole._actions if a.choices and hasattr(a, "choices")]
    names = [c.__name__.rpartition(".")[2].replace("_", "-") for c in COMMANDS]
    parts = ["# Commands", "What `seatrial COMMAND --help` prints.", ""]
    for name in names:
        parts += [f"## {name}", "", "```text", choices[name].format_help().rstrip(), "```", ""]
    return "\n".join(parts)


def findings() -> str:
    """Every story, by area."""
    parts = [
        "# Findings",
        "",
        "What `seatrial explain CODE` tells. Codes stand in `report.json`, in SARIF and beside "
        "each finding.",
    ]
    area = ""
    for story in explain.stories():
        if story.area != area:
            area = story.area
            parts += ["", f"## {area.replace('-', ' ').capitalize()}"]
        codes = " ".join(f"`{code}`" for code in story.codes)
        anchor = story.codes[0].replace(".", "-")
        parts += ["", f"### {story.title} {{ #{anchor} }}", "", codes, "", story.text]
    return "\n".join(parts) + "\n"


def contract() -> str:
    """Hooks and every record that crosses them."""
    parts = [
        "# Contract",
        "",
        f"Version {results.CONTRACT}, semantic: a hook lives two minor versions after its "
        "deprecation, and a new field always has a default. [The tutorial](tutorial.md) builds a "
        "backend from it.",
        "",
        "## Hooks",
    ]
    for spec in hookspecs.SPECS:
        for name, function in inspect.getmembers(spec, inspect.isfunction):
            if name in hookspecs.HOOKS:
                signature = re.sub(r"\bself(, )?", "", str(inspect.signature(function)))
                signature = signature.replace("'", "").replace("r.", "")
                must = "Mandatory. " if name in hookspecs.MANDATORY else ""
                parts += ["", f"### {name}", "", f"`{name}{signature}`", ""]
                parts += [must + inspect.cleandoc(function.__doc__ or "")]
                if not must:
                    parts += ["", inspect.cleandoc(spec.__doc__ or "")]
    parts += ["", "## Models", "", *_help(models)]
    parts += ["", "## Records"]
    for name, kind in vars(results).items():
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            parts += ["", f"### {name}", "", *_record(kind)]
    return "\n".join(parts) + "\n"


def _help(module: types.ModuleType) -> list[str]:
    """A module's docstring, and its public classes and functions with theirs."""
    parts = [f"`{module.__name__}`. {inspect.cleandoc(module.__doc__ or '')}"]
    for name, value in vars(module).items():
        mine = getattr(value, "__module__", "") == module.__name__
        if not mine or name.startswith("_") or not callable(value):
            continue
        parts += ["", f"### {name}", "", *_text(value)]
        if inspect.isclass(value):
            for method, function in vars(value).items():
                if inspect.isfunction(function) and not method.startswith("_"):
                    parts += ["", f"**{method}**", "", *_text(function)]
    return parts


def _text(value: Any) -> list[str]:
    """Signature and docstring; its indented parts as they are."""
    signature = re.sub(r"\bself(, )?|'", "", str(inspect.signature(value)))
    signature = re.sub(r"<(\w+\.\w+): [^>]*>", r"\1", signature)
    text = inspect.cleandoc(value.__doc__ or "")
    said, _, more = text.partition("\n\n")
    shown = [f"`{value.__name__}{signature}`", "", said]
    return [*shown, "", "```text", more, "```"] if more else shown


def _record(kind: type[Any]) -> list[str]:
    text = inspect.cleandoc(kind.__doc__ or "")
    said, _, attributes = text.partition("\nAttributes:\n")
    about = dict(re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE))
    rows = [said.strip(), "", "| field | type | default | |", "|---|---|---|---|"]
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        shown = str(hints[field.name]).replace("seatrial.results.", "").replace("typing.", "")
        shown = re.sub(r"<class '([\w.]+)'>", r"\1", shown).replace("|", "or")
        default = _default(field)
        words = " ".join(about.get(field.name, "").split()).replace("|", "&#124;")
        rows.append(f"| `{field.name}` | `{shown}` | {default} | {words} |")
    return rows


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        value = field.default
        return "" if dataclasses.is_dataclass(value) else f"`{value!r}`"
    if field.default_factory is not dataclasses.MISSING:
        return "empty"
    return "required"


def coverage() -> str:
    """Every backend under the kit, and beside its own runtime."""
    parts = [
        "# Coverage",
        "",
        "What the conformance kit counted for each backend: models that it must take and compute "
        "(*right*; *partial*: taken, but not all of it on the target), what was *refused* where "
        "that is allowed, and gaps that are declared with a reason: *notimpl* (the backend could), "
        "*notyet* (its toolchain cannot), *never*; *flaky* is right on some runs only. "
        "[The tutorial](tutorial.md#5-pass-the-conformance-kit) tells how the kit works. The "
        "tables are the output of `make kit` and `make vendors`, not typed in.",
        "",
        *record.markdown(record.read(KIT)).splitlines(),
        "",
        "## Is `check` right?",
        "",
        "ONNX's node tests and whole models go two ways: through the hooks, as `check` does, and "
        "through a few lines against the runtime's own Python API. They agree when both refuse, or "
        "both run and give the same numbers. *Static* counts nodes' models that the table alone "
        "calls unsupported, and how often the compiler took them all the same.",
        "",
    ]
    rows = json.loads(AGREEMENT.read_text("utf-8"))
    heads = ("", "models", "asked", "agree", "", "static: unsupported", "wrong", "date")
    parts += record.grid(heads, (_agreement(row) for row in rows))
    for row in rows:
        if row["disagree"]:
            parts += ["", f"### Where {row['backend']} differs: {row['what']}", ""]
            parts += ["| case | how | |", "|---|---|---|"]
            for case, (kind, text) in row["disagree"].items():
                said = " ".join(text.split()).replace("|", "&#124;").replace("<", "&lt;")
                parts.append(f"| `{case}` | {kind} | {said} |")
    return "\n".join(parts) + "\n"


def _agreement(row: dict[str, Any]) -> tuple[object, ...]:
    share = f"{100 * row['agreed'] / row['asked']:.2f} %"
    static = (row["static_denied"], row["static_wrong"]) if row["static_denied"] else ("-", "-")
    what = f"{row['what']}, {row['part']}" if row["part"] else row["what"]
    return (row["backend"], what, row["asked"], row["agreed"], share, *static, row["date"])
