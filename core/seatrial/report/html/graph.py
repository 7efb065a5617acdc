"""The model's graph as a picture, and what is known of each node on each target.

The picture is plain SVG in the page; what a node is coloured by is a class that the script swaps.
The table of all nodes and the panel of one node are made from the same data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from seatrial.report.sheets import Data
from seatrial.text import clean

from . import layout

#: Letters of a name that fit into a box.
FITS = 13
#: Different devices and precisions that have a colour of their own.
KINDS = 7

#: What the letters of the columns mean: class of the colour, and words.
CLAIMS = {
    "l": ("good", "listed in the table"),
    "u": ("bad", "table says unsupported"),
    "q": ("open", "table does not say"),
    "-": ("none", "no table asked"),
}
BUILDS = {
    "t": ("good", "on the target"),
    "f": ("open", "somewhere else (fallback)"),
    "n": ("bad", "refused"),
    "u": ("odd", "compiler did not say"),
    "-": ("none", "not built"),
}
_PLACES = {"target": "t", "fallback": "f", "nowhere": "n", "unknown": "u"}


def facts(data: Data) -> dict[str, Any] | None:
    """Names, operators, and one column per question and target; ``None`` without a graph."""
    graph = (data["model"] or {}).get("graph")
    if not graph or not graph["nodes"]:
        return None
    names = [row["node"] for row in graph["nodes"]]
    targets = [target for row in data["targets"] if _told(target := _target(row, names))]
    return {
        "names": [clean(name, 160) for name in names],
        "ops": [_operator(row) for row in graph["nodes"]],
        "reads": [[a for a in row["reads"] if 0 <= a < len(names)] for row in graph["nodes"]],
        "targets": targets,
        "sensitivity": _sensitivity(data["diagnosis"], names),
        "noise": _noise(data["diagnosis"], names),
        "float": _in_float(data["recovery"], names),
        "claims": CLAIMS,
        "builds": BUILDS,
    }


def _told(target: Mapping[str, Any]) -> bool:
    """Whether anything is known of any node on a target."""
    letters = {*target["claimed"], *target["fp32"], *target["int8"]}
    return letters != {"-"} or bool(target["on"]["kinds"] or target["precision"]["kinds"])


def _operator(row: Data) -> str:
    plain = clean(row["op_type"], 60)
    return f"{clean(row['domain'], 40)}:{plain}" if row["domain"] else plain


def _target(row: Data, names: Sequence[str]) -> dict[str, Any]:
    ran = row["ran"] or {}
    form = "int8" if ran.get("int8") else "fp32"
    layers = (ran.get(form) or {"layers": ()})["layers"]
    # A layer's time belongs to all nodes in it together: it is shown at each, and said so.
    by_node = {node: layer for layer in layers for node in layer["nodes"]}
    told = [by_node.get(name) for name in names]
    return {
        "name": clean(row["target"], 60),
        "title": clean(row["title"], 80),
        "form": form.upper().replace("FP32", "float") if layers else "",
        "claimed": _claims(row["claimed"], names),
        "fp32": _builds(row["built"], "fp32", names),
        "int8": _builds(row["built"], "int8", names),
        "on": _kinds([layer["on"] if layer else "" for layer in told]),
        "precision": _kinds([layer["precision"] if layer else "" for layer in told]),
        "ms": [layer["ms"] if layer else None for layer in told],
        "shared": [len(layer["nodes"]) if layer else 0 for layer in told],
        "why": _reasons(row["built"], names),
    }


def _claims(claimed: Data | None, names: Sequence[str]) -> str:
    if claimed is None:
        return "-" * len(names)
    letter = {"unsupported": "u", "unknown": "q"}
    said = {c["node"]: letter.get(c["claim"], "l") for c in claimed["claims"]}
    return "".join(said.get(name, "l") for name in names)


def _builds(built: Data | None, form: str, names: Sequence[str]) -> str:
    """What the compiler did with each node; without a finding a node is where all others are."""
    part = (built or {}).get(form)
    if part is None or part["fault"]:
        return "-" * len(names)
    places = part["placements"]
    rest = "t" if places["target"] and not places["unknown"] else "u"
    said: dict[str, str] = {}
    for found in (built or {})["findings"]:
        if found["precision"].lower() == form and found["node"]:
            said[found["node"]] = _PLACES[found["placement"]]
    if part["verdict"] == "unsupported" and not places["target"]:
        rest = "u"
    return "".join(said.get(name, rest) for name in names)


def _reasons(built: Data | None, names: Sequence[str]) -> dict[str, str]:
    """By position: what the compiler said, and what to do about it."""
    where = {name: i for i, name in enumerate(names)}
    said: dict[str, str] = {}
    for found in (built or {"findings": ()})["findings"]:
        if found["node"] in where:
            text = f"{found['reason']} → {found['advice']}" if found["advice"] else found["reason"]
            said[str(where[found["node"]])] = clean(text, 300)
    return said


def _kinds(values: Sequence[str]) -> dict[str, Any]:
    """Different values, the most frequent first, and the position of each node's (-1: none)."""
    counts: dict[str, int] = {}
    for value in values:
        if value:
            counts[value] = counts.get(value, 0) + 1
    # Integers keep the colour that they have in the other charts, however few they are.
    kinds = sorted(counts, key=lambda v: (v.upper() != "INT8", -counts[v], v))
    where = {value: min(i, KINDS - 1) for i, value in enumerate(kinds)}
    shown = [clean(k, 40) for k in kinds[:KINDS]]
    if len(kinds) > KINDS:
        shown[-1] = "others"
    return {"kinds": shown, "codes": [where.get(value, -1) for value in values]}


def _sensitivity(diagnoses: Iterable[Data], names: Sequence[str]) -> list[float | None]:
    """How much leaving a node in float is expected to help, of the first diagnosis."""
    gains: dict[str, float] = {}
    for row in list(diagnoses)[:1]:
        gains = {one["node"]: one["gain"] for one in row["order"]}
    return [gains.get(name) for name in names]


def _noise(diagnoses: Iterable[Data], names: Sequence[str]) -> list[float | None]:
    known: dict[str, float | None] = {}
    for row in list(diagnoses)[:1]:
        known = {one["node"]: one["sqnr_db"] for one in row["layers"]}
    return [known.get(name) for name in names]


def _in_float(recoveries: Iterable[Data], names: Sequence[str]) -> list[int]:
    """Positions of the nodes that the chosen point keeps in float."""
    kept: set[str] = set()
    for row in recoveries:
        for point in row["points"]:
            if point["chosen"]:
                kept.update(point["nodes"])
    return [i for i, name in enumerate(names) if name in kept]


def picture(graph: Data, first: Sequence[str]) -> Markup:
    """The graph as SVG.

    Args:
        graph: of the document.
        first: class of each node's colour until a script chooses another.
    """
    nodes = graph["nodes"]
    found = layout.place([row["reads"] for row in nodes])
    wide, tall = layout.BOX
    boxes = []
    for i, (row, (x, y)) in enumerate(zip(nodes, found.centres, strict=True)):
        said = clean(row["op_type"], 60)
        said = said if len(said) <= FITS else f"{said[: FITS - 1]}…"
        boxes.append(
            f'<g data-i="{i}" transform="translate({x:.0f},{y:.0f})">'
            f'<rect class="{escape(first[i])}"/><text>{escape(said)}</text></g>'
        )
    wires = "".join(f'<path class="wires" d="{d}"/>' for d in _lines(nodes, found))
    view = f"{-wide / 2:.0f} {-tall:.0f} {found.width + wide:.0f} {found.height + 2 * tall:.0f}"
    return Markup(  # noqa: S704 - every text in it went through escape
        f'<svg class="graph" viewBox="{view}" role="img" aria-label="The model as a graph"'
        ' tabindex="0">'
        f"{wires}{''.join(boxes)}</svg>"
    )


def _lines(nodes: Sequence[Mapping[str, Any]], found: layout.Layout) -> list[str]:
    """The wires into each column as one path: few elements, and quick where few are in sight."""
    parts: dict[int, list[str]] = {}
    for b, row in enumerate(nodes):
        into = parts.setdefault(found.column[b], [])
        into += [_line(a, b, found) for a in row["reads"] if 0 <= a < len(nodes)]
    return ["".join(lines) for lines in parts.values() if lines]


def _line(a: int, b: int, found: layout.Layout) -> str:
    """From below the one node to above the other; from far away only how it comes in.

    What skips layers in its own column bends around the nodes between; what every block reads (a
    mask, say) would cover the picture with lines: the panel of a node names what it reads.
    """
    (x1, y1), (x2, y2) = found.centres[a], found.centres[b]
    wide, tall = (side / 2 for side in layout.BOX)
    apart = found.column[b] - found.column[a]
    if apart == 0:
        bend = max(10.0, abs(y2 - y1) / 2 - tall)
        skips = y2 - y1 > 1.5 * layout.CELL[1] and abs(x2 - x1) < wide
        around, first = (0.8 * layout.CELL[0], 24.0) if skips else (0.0, bend)
        return (
            f"M{x1:.0f} {y1 + tall:.0f}C{x1 + around:.0f} {y1 + tall + first:.0f} "
            f"{x2 + around:.0f} {y2 - tall - first:.0f} {x2:.0f} {y2 - tall:.0f}"
        )
    if apart == 1:
        return (
            f"M{x1 + wide:.0f} {y1:.0f}C{x1 + 2 * wide:.0f} {y1:.0f} "
            f"{x2 - 2 * wide:.0f} {y2:.0f} {x2 - wide:.0f} {y2:.0f}"
        )
    edge = x2 - wide
    return f"M{edge - 22:.0f} {y2 - 9:.0f}Q{edge - 12:.0f} {y2:.0f} {edge:.0f} {y2:.0f}"
