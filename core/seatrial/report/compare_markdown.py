"""The comparison as a comment for a pull request, in GitHub's Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from . import numbers as nr
from .compare_view import SECTIONS, of_kind, tolerances, value
from .markdown import code, line, text
from .safe import guard, safe
from .sheets import Data

#: Rows of a table; the rest is in the JSON.
MOST = 20

_TITLES = {
    "regression": "Regression",
    "no regression": "No regression",
    "cannot tell": "Cannot tell",
}


def render(data: Data) -> str:
    """The whole comment."""
    parts = [f"## seatrial compare: {_TITLES[data['conclusion']]}"]
    parts += [f"* {text(safe(why, 300))}" for why in data["reasons"]]
    for pair in data["pairs"]:
        parts += ["", *_pair(pair)]
    for key, name in (("only_old", "OLD"), ("only_new", "NEW")):
        parts += [f"* only in {name}: {text(safe(side['path'], 200))}" for side in data[key]]
    return guard("\n".join([*parts, "", line(tolerances(data)), ""]))


def _pair(pair: Data) -> list[str]:
    sides = " → ".join(code(safe(pair[side]["path"], 200)) for side in ("old", "new"))
    parts = [f"### {text(safe(pair['model']) or 'the run')}", "", sides, ""]
    if pair["suspects"] and of_kind(pair, "regression"):
        parts += ["**First suspects**", ""]
        parts += [f"* {text(safe(said, 300))}" for said in pair["suspects"][:MOST]] + [""]
    for kind, (title, _) in SECTIONS.items():
        parts += _table(title, of_kind(pair, kind))
    rest = of_kind(pair, "changed") + [
        row for row in of_kind(pair, "same") if row["difference"] is not None
    ]
    if rest:
        parts += ["<details><summary>Everything else</summary>", ""]
        parts += [*_table("Around the numbers, and within noise", rest), "</details>", ""]
    return parts


def _table(title: str, listed: Sequence[Data]) -> list[str]:
    if not listed:
        return []
    rows = [f"**{title}** ({len(listed)})", ""]
    rows += ["| area | target | what | old | new | |", "|---|---|---|---:|---:|---|"]
    for row in listed[:MOST]:
        cells = (
            row["area"],
            safe(row["target"], 60),
            safe(row["subject"], 120),
            value(row, "old"),
            value(row, "new"),
            safe(row["text"], 300),
        )
        rows.append(f"| {' | '.join(text(cell) for cell in cells)} |")
    if len(listed) > MOST:
        rows += ["", f"{nr.count(len(listed) - MOST)} more in the JSON."]
    return [*rows, ""]
