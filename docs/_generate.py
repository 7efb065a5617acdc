"""Pages that are made from the program itself, so that they cannot say anything else.

A hook of mkdocs: commands from their parsers, findings from the stories of ``explain``, the
contract from its types.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from seatrial import explain, hookspecs, results
from seatrial.cli.app import COMMANDS, parser


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {
        "commands.md": commands(),
        "findings.md": findings(),
        "backends/contract.md": contract(),
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
    parts += ["", "## Records"]
    for name, kind in vars(results).items():
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            parts += ["", f"### {name}", "", *_record(kind)]
    return "\n".join(parts) + "\n"


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
