"""The audit of a calibration set, as tables that somebody can act on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import numbers as nr
from . import sheets
from .safe import safe
from .sheets import Data

if TYPE_CHECKING:
    from .draw import Page

#: Levels as people read them.
COLOURS = {"error": "red", "warning": "yellow", "info": "note"}
_STYLES = {"error": "bold red", "warning": "yellow", "info": "dim"}
#: Findings shown in full by ``audit``, and in brief by other commands.
MOST, BRIEF = 20, 6


def headline(page: Page, data: Data) -> None:
    """How many findings of which level, and what was looked at."""
    part = data["calibration"]
    if part is None or part["audit"] is None:
        page.banner("NOT PROVEN", "the calibration set could not be judged")
        return
    counts = dict.fromkeys(COLOURS, 0)
    for row in part["findings"]:
        counts[row["level"]] += 1
    subject = f"{safe(data['data']['calibration']['source'], 60)}"
    failed = [c for c in part["audit"]["checks"] if c["status"] == "failed"]
    if counts["error"]:
        page.line((f" {nr.plural(counts['error'], 'red finding').upper()} ", "bold white on red"),
                  "  ", (subject, "bold"), indent=0)  # fmt: skip
    elif failed:
        page.line(
            (" NOT JUDGED IN FULL ", "bold black on yellow"), "  ", (subject, "bold"), indent=0
        )
    else:
        page.line((" NO RED FINDING ", "bold white on green"), "  ", (subject, "bold"), indent=0)
    lines = [("sets", _sets(part["audit"]))]
    if data["model"]:
        lines.append(("model", safe(data["model"]["path"], 60)))
    lines += [("values", _values(scale)) for scale in part["audit"]["scales"][:3]]
    page.grid([(name, "dim"), (text, "")] for name, text in lines)


def _sets(part: Data) -> str:
    said = []
    for row in part["sets"]:
        text = f"{nr.count(row['count'])} {row['role']}"
        text += f" ({nr.count(row['distinct'])} distinct)" if row["distinct"] < row["count"] else ""
        said.append(text)
    return ", ".join(said)


def _values(scale: Data) -> str:
    name = f"{safe(scale['name'])}: " if scale["name"] else ""
    pairs = [f"{a:.4g} to {b:.4g}" for a, b in zip(scale["low"], scale["high"], strict=True)]
    shown = pairs[0] if len(set(pairs)) == 1 else " / ".join(pairs)
    return f"{safe(scale['tensor'], 30)} is fed pixels as {name}{shown}"


def draw(page: Page, data: Data) -> None:
    """All that ``audit`` found and measured."""
    part = data["calibration"]
    if part is None or part["audit"] is None:
        return
    page.heading("Findings")
    for row in part["findings"][:MOST]:
        one(page, row)
    if not part["findings"]:
        page.line(("nothing was found", "dim"))
    for text in sheets.more(len(part["findings"]), MOST, "findings"):
        page.note(text)
    measured = part["audit"]
    for sheet in SHEETS:
        page.sheet(sheet(measured))
    _not_judged(page, measured)


def samples(row: Data) -> list[str]:
    """The samples of a finding, or its pairs: first in the set, then what it is a copy of."""
    if row["pairs"]:
        return [
            f"{safe(a, 40)} = {safe(b, 40)} ({safe(s, 12)}, {safe(how, 30)})"
            for a, b, s, how in row["pairs"][:3]
        ]
    return [safe(n, 48) for n in row["samples"][:4]]


def one(page: Page, row: Data) -> None:
    """One finding: the sentence, the samples, the tensors, what to do, the rule."""
    label = COLOURS[row["level"]]
    page.labelled(f"{label:6}", f"{row['code']}: {safe(row['text'], 600)}", _STYLES[row["level"]])
    named = samples(row)
    rest = max(row["count"], len(row["samples"])) - len(named)
    if named:
        more = f" and {rest} more in report.json" if rest > 0 and not row["pairs"] else ""
        page.line(("samples ", "dim"), ", ".join(named) + more, indent=10)
    if row["tensors"]:
        names = [safe(n, 40) for n in row["tensors"]]
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        page.line(("tensors ", "dim"), ", ".join(names[:4]) + more, indent=10)
    if row["advice"]:
        page.line(("→ ", "bold cyan"), safe(row["advice"], 200), indent=10)
    if row["rule"]:
        page.line((f"rule: {safe(row['rule'], 200)}", "dim"), indent=10)


def brief(page: Page, data: Data) -> None:
    """The audit within another command's view."""
    part = data["calibration"]
    if part is None:
        return
    method = f"{nr.plural(part['count'], 'sample')}, {safe(part['method'], 60)}"
    page.heading("Calibration", method.rstrip(", "))
    measured = part["audit"]
    for row in part["findings"][:BRIEF]:
        names = [safe(n, 48) for n in (row["samples"] or row["tensors"])[:3]]
        told = not names or all(name in row["text"] for name in names)
        shown = "" if told else f" ({', '.join(names)}{' ...' if row['count'] > 3 else ''})"
        label = f"{COLOURS[row['level']]:6}"
        page.labelled(label, safe(row["text"], 400) + shown, _STYLES[row["level"]])
    if not part["findings"]:
        said = "the audit found nothing" if measured else "the set was not audited"
        page.line((said, "dim"))
    for text in sheets.more(len(part["findings"]), BRIEF, "findings"):
        page.note(text)
    if measured and measured["growth"]:
        page.line((safe(measured["growth"]["text"], 300), "dim"))
    elif measured and measured["stability"] and measured["stability"]["curve"]:
        page.line((safe(measured["stability"]["text"], 200), "dim"))


def curve(part: Data) -> sheets.Sheet:
    """How wide ranges from fewer samples are."""
    found = part["stability"]
    heads = sheets.columns(">samples|>of the final width, median|>worst tensor")
    if not found:
        return sheets.Sheet("", heads, [])
    rows: list[tuple[str, ...]] = [
        (nr.count(p["n"]), f"{100 * p['median']:.1f} %", f"{100 * p['worst']:.1f} %")
        for p in found["curve"]
    ]
    note = f"smallest to largest value of the {found['source']}"
    title = "Would more samples move the ranges?"
    return sheets.Sheet(title, heads, rows, [safe(found["text"], 200)], note)


def growth(part: Data) -> sheets.Sheet:
    """The INT8 loss after calibration on fewer samples."""
    found = part["growth"]
    heads = sheets.columns(">samples|>loss|>more than with all|>95 %|>models")
    if not found:
        return sheets.Sheet("", heads, [])
    rows: list[tuple[str, ...]] = [
        (
            nr.count(p["n"]),
            nr.significant(p["loss"]),
            nr.DASH if p is found["curve"][-1] else f"{p['more']:+.2g}",
            nr.DASH if p is found["curve"][-1] else nr.interval(p["ci95"], None),
            nr.count(p["draws"]),
        )
        for p in found["curve"]
    ]
    unit = "KL to float, nats" if found["rule"] == "kl" else "error power over signal power"
    note = f"{unit}, {found['held_out']} held-out samples, ranges by {safe(found['method'], 30)}"
    title = "Would more samples lower the INT8 loss?"
    return sheets.Sheet(title, heads, rows, [safe(found["text"], 300)], note)


def clipped(part: Data) -> sheets.Sheet:
    """Tensors whose calibrated range the test set leaves."""
    heads = sheets.columns(
        "tensor|>calibrated|>test set|>samples outside|>by chance|>?elements outside|?farthest"
    )
    beyond = [r for r in part["ranges"] if r["beyond"] > r["usual"]]
    rows: list[tuple[str, ...]] = [
        (
            safe(r["tensor"], 30),
            f"{r['lo']:.4g} to {r['hi']:.4g}",
            f"{r['seen_lo']:.4g} to {r['seen_hi']:.4g}",
            f"{100 * r['beyond']:.1f} %",
            f"{100 * r['usual']:.1f} %",
            nr.DASH if r["clipped"] is None else f"{100 * r['clipped']:.3f} %",
            safe(r["sample"], 30),
        )
        for r in beyond[:8]
    ]
    notes = sheets.more(len(beyond), 8, "tensors")
    return sheets.Sheet("Ranges against the test set", heads, rows, notes)


def clusters(part: Data) -> sheets.Sheet:
    """Clusters of the feature space, those that calibration lacks first."""
    heads = sheets.columns(
        ">cluster|>test|>calibration|>at the test's share|test samples in its middle"
    )
    found = part["coverage"]
    if not found:
        return sheets.Sheet("", heads, [])
    lacking = sorted(found["clusters"], key=lambda c: (c["calibration"] + 1) / (c["expected"] + 1))
    rows: list[tuple[str, ...]] = [
        (
            str(c["cluster"]),
            nr.count(c["test"]),
            nr.count(c["calibration"]),
            f"{c['expected']:.0f}",
            ", ".join(safe(s, 26) for s in c["samples"][:2]),
        )
        for c in lacking[:5]
    ]
    notes = [
        f"distance of the sets {found['distance']:.4f}, {found['usual']:.4f} between random "
        f"halves; "
        f"{100 * found['far']:.0f} % of the test samples are far from every calibration sample "
        "(1 % is usual)"
    ]
    return sheets.Sheet("Coverage of the test set", heads, rows, notes, safe(found["features"], 60))


def ways(part: Data) -> sheets.Sheet:
    """The samples fed in other ways, for comparison."""
    heads = sheets.columns(
        "the samples fed|>distance to test|>in activations|>nats known|>labels named"
    )
    rows: list[tuple[str, ...]] = []
    for row in part["alternatives"]:
        figures = (row["distance"], row["activations"], row["information"])
        # An unbiased distance of equal sets scatters about 0: nothing is nearer than that.
        cells = [nr.DASH if v is None else f"{max(v, 0.0):.3f}" for v in figures]
        right = nr.DASH if row["right"] is None else f"{100 * row['right']:.0f} %"
        rows.append((safe(row["name"], 60), *cells, right))
    notes = ["as fed should be nearest to the test set, and know most"] if rows else []
    return sheets.Sheet("Fed in other ways", heads, rows[:10], notes)


SHEETS = (growth, curve, clipped, clusters, ways)


def _not_judged(page: Page, part: Data) -> None:
    missing = [c for c in part["checks"] if c["status"] != "done"]
    if missing:
        page.heading("Not judged")
        page.grid(
            [(safe(c["name"], 40), "yellow" if c["status"] == "failed" else "dim"),
             (safe(c["reason"], 200), "dim")]
            for c in missing
        )  # fmt: skip
