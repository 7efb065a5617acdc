"""From a document to everything that the templates show. Nothing is decided or measured here."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from seatrial.report import facts, measured, numbers
from seatrial.report.model import new
from seatrial.report.sheets import Data
from seatrial.text import clean

from . import audited, charts, sections, summary, tables, words
from . import graph as graphs
from .untried import untried

_TITLES = {
    "run": "Trial",
    "check": "Does it compile?",
    "audit": "Calibration audit",
    "bench": "Side by side",
    "quantize": "INT8 model",
    "qat": "Quantisation-aware training",
    "export": "Export to ONNX",
}


def page(data: Data) -> str:
    """The whole page."""
    data = {**new(data["command"]), **data}
    style, script = static("page.css"), static("page.js")
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            d=data,
            style=Markup(style),  # noqa: S704 - ours
            script=Markup(script),  # noqa: S704 - ours
            policy=policy(style, script),
            **context(data),
        )
    )


def policy(style: str, script: str) -> str:
    """A content-security policy: our own style and script by their digests, and nothing else."""
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def static(name: str) -> str:
    """A file of the package."""
    return files(__package__).joinpath("static", name).read_text("utf-8")


@cache
def environment() -> jinja2.Environment:
    """Templates that escape everything, refuse what is not there, and show hidden characters."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "clean": clean,
        "count": numbers.count,
        "significant": numbers.significant,
        "size": numbers.size,
        "seconds": numbers.seconds,
        "plain": words.plain,
        "short": charts.short,
        "minus": charts.minus,
        "number": lambda v: numbers.DASH if v is None else charts.minus(f"{v:.4g}"),
    }
    return made


def _visible(value: Any) -> Any:
    """No control or bidirectional character gets through, whatever a template prints."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return "\n".join(clean(line, 10_000) for line in value.split("\n"))


def context(data: Data) -> dict[str, Any]:
    """What the templates need besides the document."""
    known = graphs.facts(data)
    absent = summary.absent(data)
    return {
        "title": _TITLES[data["command"]],
        "subject": subject(data),
        "overall": words.headline(data),
        "cards": summary.cards(data),
        "absent": absent,
        "reasons": _reasons(data),
        "untried": untried(data, absent),
        "lines": _lines(data),
        "ladder": sections.ladder(data),
        "speed": sections.speed(data),
        "recovery": sections.recovery(data),
        "diagnosis": sections.diagnosis(data),
        "support": sections.support(data, known),
        "map": sections.model_map(data, known),
        "audit": audited.audited(data),
        "candidates": tables.of(measured.candidates(data, limit=60)),
        "made": sections.made(data),
        "faults": sections.faults(data),
        "environment": tables.environment(data),
        "artefacts": tables.artefacts(data),
        "next": following(data),
        "glossary": words.GLOSSARY,
        "levels": words.LEVELS,
    }


def subject(data: Data) -> str:
    """What the report is about: the model's file, or the data's."""
    model = data["model"]
    if model:
        return clean(model["path"].rpartition("/")[2], 80)
    source = data["data"]["calibration"]
    return clean(source["source"].rpartition("/")[2] if source else data["command"], 80)


def following(data: Data) -> list[str]:
    """Commands to go on with; none that would print this report in another form."""
    return [text for text in data["next"] if not text.startswith("cat ")]


def _lines(data: Data) -> list[tuple[str, str]]:
    """Facts under the verdict, as name and value."""
    pairs = [("Holds for" if data["verdict"] else "Machine", facts.machines(data))]
    pairs += [("Model", facts.about(data))] if data["model"] else []
    pairs.append(("Limits", facts.limits(data)))
    pairs.append(("Took", facts.time_taken(data).removeprefix("took ")))
    return [(name, text) for name, text in pairs if text]


def _reasons(data: Data) -> list[dict[str, Any]]:
    """Reasons, worst first, without those that say the same again."""
    once = {(r["target"], r["part"], r["text"]): r for r in data["reasons"]}
    parts = {(t["target"], k): v for t in data["targets"] for k, v in (t["answers"] or {}).items()}

    def level(row: Data) -> tuple[str, str, str]:
        answer = parts.get((row["target"], row["part"]))
        unsettled = row["level"] == "error" and answer == "NOT PROVEN"
        return ("open", "?", "not proven") if unsettled else words.LEVELS[row["level"]]

    return [
        {
            "level": level(r),
            "about": clean(" · ".join(filter(None, (r["target"], words.PARTS.get(r["part"])))), 80),
            "text": words.plain(r["text"], 500),
        }
        for r in once.values()
    ]
