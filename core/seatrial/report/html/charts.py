"""The charts of the report. Each takes rows of the document and gives an SVG, or nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from seatrial.report import numbers as nr
from seatrial.report.sheets import Data
from seatrial.text import clean

from . import words
from .plot import Plot

WIDTH = 640
#: Rows, layers and points that one chart shows.
MOST = 24
#: A range of values from which on an axis is logarithmic.
WIDE = 15.0

NOTHING = Markup()


def minus(text: str) -> str:
    """A number with a real minus sign, which is as wide as a plus."""
    return text.replace("-", "−")


def known(pair: Sequence[float | None] | None) -> tuple[float, float] | None:
    """Both ends of an interval, or nothing when one is missing."""
    if pair is None or pair[0] is None or pair[1] is None:
        return None
    return pair[0], pair[1]


def ladder(rows: Sequence[Data]) -> Markup:
    """What each step loses, with its interval and the limit it is held against."""
    rows = [r for r in rows if r["drop"] is not None][:MOST]
    if not rows:
        return NOTHING
    ends = [0.0]
    for row in rows:
        ends += [
            row["drop"],
            *(known(row["ci95"]) or ()),
            *([row["limit"]] if row["limit"] else ()),
        ]
    low, high = min(ends), max(ends)
    room = 0.06 * (high - low or 1.0)
    step = 46
    plot = Plot(
        WIDTH, 54 + step * len(rows), (low - room, high + room),
        margin=(6, 20, 48, 20), title="Accuracy lost at each step, with 95 % intervals and limits",
    )  # fmt: skip
    plot.axes("points lost (left is better, right is worse)")
    plot.rule(0, 0, plot.height, "zero")
    for k, row in enumerate(rows):
        y = step * k + 30
        kind, sign, word = words.GATES[row["gate"]]
        ends95 = known(row["ci95"])
        interval = minus(nr.interval(ends95)) if ends95 else "no interval"
        tip = f"{nr.points(row['drop'])} points lost, 95 % {interval}: {word}"
        name = f"{sign} {words.rung(row, rows)}"
        plot.text(0, y - 14, name, f"name {kind}")
        plot.text(plot.width, y - 14, f"against {words.against(row)}", "quiet", anchor="end")
        if row["limit"] is not None:
            plot.band((plot.start, row["limit"]), (y - 7, 14), "allowed", f"limit {row['limit']:g}")
            plot.rule(row["limit"], y - 9, y + 9, "limit", f"limit {row['limit']:g} points")
        if ends95:
            plot.span(ends95[0], ends95[1], y, f"whisker {kind}", tip)
        plot.add("circle", f"dot {kind}", tip, cx=plot.across(row["drop"]), cy=y, r=5)
    return plot.svg()


def latency(rows: Sequence[tuple[str, Data]], limit: Data | None = None) -> Markup:
    """Strips of latency: half of the calls in the dark part, nine of ten in the light one.

    Args:
        rows: name and benchmark row.
        limit: of the latency that was asked for.
    """
    rows = [(name, r) for name, r in rows if r["p50_ms"] is not None][:MOST]
    if not rows:
        return NOTHING
    ends = [v for _, r in rows for v in (_quantile(r, 0.05, "p50_ms"), _far(r)) if v]
    ends += [limit["ms"]] if limit else []
    log = max(ends) / min(ends) > WIDE
    low = min(ends) * 0.8 if log else 0.0
    step = 44
    plot = Plot(
        WIDTH, 54 + step * len(rows), (low, max(ends) * 1.05), log=log,
        margin=(6, 20, 48, 20), title="Latency of single calls",
    )  # fmt: skip
    plot.axes("milliseconds per call" + (" (logarithmic)" if log else ""))
    for k, (name, row) in enumerate(rows):
        _strip(plot, step * k + 30, name, row)
    if limit:
        said = f"limit: {limit['quantile']} at most {limit['ms']:g} ms"
        plot.rule(limit["ms"], 0, plot.height, "limit", said)
    return plot.svg()


def _strip(plot: Plot, y: float, name: str, row: Data) -> None:
    said = f"p50 {nr.significant(row['p50_ms'])} ms"
    kind = "float" if row["precision"].upper() in ("FP32", "FP16", "BF16") else "int"
    plot.text(0, y - 13, name, "name")
    plot.text(
        plot.width, y - 13, f"{said} · p99 {nr.significant(row['p99_ms'])} ms", "quiet", "end"
    )
    plot.span(_quantile(row, 0.0, "p50_ms"), _far(row), y, "reach", "nearly all calls")
    for low, high, shade in ((0.05, 0.95, "most"), (0.25, 0.75, "half")):
        if _steps(row):
            a, b = _quantile(row, low, "p50_ms"), _quantile(row, high, "p90_ms")
            share = round(100 * (high - low))
            plot.band((a, b), (y - 7, 14), f"strip {kind} {shade}", f"{share} % of the calls")
    plot.rule(row["p50_ms"], y - 9, y + 9, f"median {kind}", said)


def _quantile(row: Data, q: float, otherwise: str) -> float:
    found = _steps(row)
    return float(found[round(q * (len(found) - 1))] if found else row[otherwise])


def _steps(row: Data) -> Sequence[float]:
    """The quantiles, if all of them are there."""
    found = row.get("quantiles_ms") or ()
    return () if None in found else found


def _far(row: Data) -> float:
    """How far a strip reaches: to p99; the largest of all calls would set the axis alone."""
    return float(row["p99_ms"] or row["p90_ms"] or row["p50_ms"])


def pareto(points: Sequence[tuple[int, Data, Data]], unit: str) -> Markup:
    """Loss against latency; what nothing else beats in both is joined by a line.

    Args:
        points: number in the table, recovery point, its price on the target.
        unit: what the loss is.
    """
    shown = [p for p in points if p[2]["p50_ms"] is not None and p[1]["loss"] is not None][:MOST]
    if len(shown) < 2:
        return NOTHING
    times = [v for _, _, p in shown for v in (p["p50_ms"], *(known(p["ci95_ms"]) or ()))]
    losses = [p["loss"] for _, p, _ in shown]
    room = 0.08 * (max(times) - min(times) or 1)
    plot = Plot(
        WIDTH, 300, (max(0.0, min(times) - room), max(times) + room), (0.0, max(losses) * 1.1 or 1),
        margin=(32, 20, 44, 58), title=f"{unit} against latency",
    )  # fmt: skip
    plot.axes("milliseconds per call, median (left is faster)", f"{unit} (lower is better)")
    front = sorted((p["p50_ms"], point["loss"]) for _, point, p in shown if p["front"])
    if len(front) > 1:
        plot.path([(plot.across(x), plot.up(y)) for x, y in front], "front")
    for number, point, price in shown:
        x, y = plot.across(price["p50_ms"]), plot.up(point["loss"])
        tip = f"{point['name']}: {nr.significant(price['p50_ms'])} ms"
        tip += f", {unit} {nr.significant(point['loss'])}"
        if ends := known(price["ci95_ms"]):
            plot.span(ends[0], ends[1], y, "whisker none", tip)
        kind = "chosen" if point["chosen"] else "front" if price["front"] else "beaten"
        plot.add("circle", f"point {kind}", tip, cx=x, cy=y, r=9)
        plot.text(x, y + 4, str(number), f"number {kind}", anchor="middle")
    return plot.svg()


def noise(layers: Sequence[Data]) -> Markup:
    """Signal to quantisation noise, layer by layer in the order of the model."""
    known = [x for x in layers if x["sqnr_db"] is not None]
    if not known:
        return NOTHING
    top = max(x["sqnr_db"] for x in known)
    plot = Plot(
        WIDTH, 220, (0, len(known)), (min(0.0, *(x["sqnr_db"] for x in known)), top),
        margin=(32, 16, 40, 44), title="Signal to noise of each layer, whole model in INT8",
    )  # fmt: skip
    plot.axes("layers in the order of the model", "dB (higher is better)")
    wide = plot.width / max(1.0, float(plot.x_scale.ticks()[-1]))
    zero = plot.up(0)
    for i, layer in enumerate(known):
        y = plot.up(layer["sqnr_db"])
        inherited = layer["inherited"]
        tip = f"{layer['node']} ({layer['op_type']}): {layer['sqnr_db']:.0f} dB"
        tip += "" if inherited is None else f", {inherited:.0%} of the noise comes from before it"
        kind = "bad" if layer["sqnr_db"] < 10 else "open" if layer["sqnr_db"] < 20 else "good"
        plot.add(
            "rect", f"bar {kind}", tip, x=plot.across(i) + 0.1 * wide, y=min(y, zero),
            width=0.8 * wide, height=max(abs(zero - y), 1.0),
        )  # fmt: skip
    return plot.svg()


def histogram(row: Data) -> Markup:
    """Values of one tensor; what lies outside of the range is marked. Heights are logarithmic."""
    counts, low, high = row["counts"], row["lo"], row["hi"]
    ends = (low, high, row["range_lo"], row["range_hi"])
    if not counts or None in ends or None in counts or not high > low:
        return NOTHING
    plot = Plot(300, 112, (low, high), margin=(6, 10, 22, 10), title=f"Values of {row['tensor']}")
    # The ends of the values, not round numbers beyond them: a histogram is wanted in full width.
    plot.x_scale = _Exact(low, high)
    floor = min((c for c in counts if c > 0), default=1.0)
    depth = max(1.0, math.log10(max(*counts, floor) / floor) + 0.5)
    width = plot.width / len(counts)
    for side, a, b in (("below", low, row["range_lo"]), ("above", row["range_hi"], high)):
        if b > a and row[side]:
            tip = f"{100 * row[side]:.3g} % {side} the range"
            plot.band((a, b), (0, plot.height), "outside", tip)
    for i, count in enumerate(counts):
        if count <= 0:
            continue
        tall = plot.height * (math.log10(count / floor) + 0.5) / depth
        middle = low + (i + 0.5) * (high - low) / len(counts)
        inside = row["range_lo"] <= middle <= row["range_hi"]
        plot.add(
            "rect", "column" if inside else "column clipped", f"{100 * count:.3g} % of the values",
            x=i * width, y=plot.height - tall, width=max(width - 0.5, 0.5), height=tall,
        )  # fmt: skip
    for value in (row["range_lo"], row["range_hi"]):
        if low <= value <= high:
            plot.rule(value, 0, plot.height, "limit", f"end of the range: {value:.4g}")
    plot.span(low, high, plot.height, "base")
    for value, at, anchor in ((low, 0.0, "start"), (high, plot.width, "end")):
        plot.text(at, plot.height + 16, minus(f"{value:.4g}"), "quiet", anchor)
    if low < 0 < high:
        plot.text(plot.across(0), plot.height + 16, "0", "quiet", "middle")
    return plot.svg()


class _Exact:
    """A scale without round ends."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def project(self, value: float, start: float, end: float) -> float:
        return start + (value - self.low) / (self.high - self.low) * (end - start)


def curve(points: Sequence[Data]) -> Markup:
    """How wide ranges from few samples are, against those from all."""
    points = [p for p in points if p["median"] is not None and p["worst"] is not None]
    if len(points) < 2:
        return NOTHING
    plot = Plot(
        WIDTH, 220, (points[0]["n"], points[-1]["n"]), (0, 100), log=True,
        margin=(32, 20, 44, 44), title="Width of the ranges from fewer samples",
    )  # fmt: skip
    plot.axes("calibration samples used (logarithmic)", "% of the final width")
    for key, kind, name in (("median", "good", "median tensor"), ("worst", "bad", "worst tensor")):
        at = [(plot.across(p["n"]), plot.up(100 * p[key])) for p in points]
        plot.path(at, f"line {kind}")
        for (x, y), p in zip(at, points, strict=True):
            plot.add("circle", f"dot {kind}", f"{name}, {p['n']} samples: {100 * p[key]:.0f} %",
                     cx=x, cy=y, r=3.5)  # fmt: skip
        plot.text(at[-1][0] - 6, at[-1][1] + (-8 if key == "median" else 18), name, "quiet", "end")
    return plot.svg()


def shares(test: float, own: float, most: float) -> Markup:
    """Two bars of one cluster: its share of the test set and of the calibration set."""
    plot = Plot(200, 34, (0, 1), margin=(2, 44, 2, 2), title="Shares of the two sets")
    for y, share, kind, name in ((0, test, "test", "test"), (16, own, "own", "calibration")):
        width = plot.width * share / (most or 1.0)
        tip = f"{100 * share:.1f} % of the {name} set"
        plot.add("rect", f"share {kind}", tip, x=0, y=y, width=max(width, 1.0), height=12)
        plot.text(width + 5, y + 10.5, f"{100 * share:.0f} %", "quiet")
    return plot.svg()


def short(name: str, most: int = 40) -> str:
    """The end of a long name: beginnings are alike."""
    name = clean(name, 300)
    return name if len(name) <= most else "…" + name[1 - most :]
