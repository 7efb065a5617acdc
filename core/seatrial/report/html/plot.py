"""A plot area: scales, ticks and axes are leather's, everything drawn into it is ours.

All text enters through ElementTree, which escapes it. Colours and fonts are classes, never
attributes: the style sheet decides, in light, in dark and on paper.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from typing import Any

from leather import Axis, Linear
from markupsafe import Markup

from seatrial.text import clean

#: Coordinates with more digits than anybody sees.
_LONG = re.compile(r"-?\d+\.\d{2,}(?:[eE][-+]?\d+)?")
#: What leather writes and our style sheet decides.
_STYLED = ("fill", "stroke", "stroke-width", "font-family", "font-size")


class Plot:
    """An SVG with one linear or logarithmic horizontal axis, and at will a vertical one.

    Args:
        width: of the whole picture, in user units; about pixels.
        height: of the whole picture.
        x: smallest and largest value across.
        y: smallest and largest value up; ``None``: rows are placed by hand.
        margin: top, right, bottom, left.
        log: the horizontal axis is logarithmic (all values above 0).
        title: what the picture shows, for those who cannot see it.
    """

    def __init__(
        self,
        width: float,
        height: float,
        x: tuple[float, float],
        y: tuple[float, float] | None = None,
        *,
        margin: tuple[float, float, float, float] = (8, 16, 40, 16),
        log: bool = False,
        title: str,
    ) -> None:
        self.top, right, bottom, self.left = margin
        self.width, self.height = width - self.left - right, height - self.top - bottom
        self.log = log
        self.x_scale: Any = Linear(*(map(math.log10, x) if log else x))
        self.y_scale = Linear(*y) if y is not None else None
        self.root = ET.Element("svg", viewBox=f"0 0 {width:g} {height:g}", role="img")
        self.root.set("class", "plot")
        ET.SubElement(self.root, "title").text = clean(title, 200)
        self.area = ET.SubElement(
            self.root, "g", transform=f"translate({self.left:g},{self.top:g})"
        )

    @property
    def start(self) -> float:
        """The value at the left edge: round, so perhaps below the smallest one."""
        return float(self.x_scale.ticks()[0])

    def across(self, value: float) -> float:
        """Where a value lies from the left, kept inside the plot."""
        value = math.log10(value) if self.log else value
        at = float(self.x_scale.project(value, 0, self.width))
        return min(max(at, 0.0), self.width)

    def up(self, value: float) -> float:
        """Where a value lies from the top, kept inside the plot."""
        assert self.y_scale is not None
        at = float(self.y_scale.project(value, self.height, 0))
        return min(max(at, 0.0), self.height)

    def axes(
        self, x_name: str, y_name: str = "", say: Callable[[float], str] | None = None
    ) -> None:
        """Grid, tick labels and names."""
        say = say or label
        self._axis(self.x_scale, "bottom", say, x_name)
        if self.y_scale is not None:
            self._axis(self.y_scale, "left", label, y_name)

    def _axis(self, scale: Any, side: str, say: Callable[[float], str], name: str) -> None:
        ticks = [float(t) for t in scale.ticks()]
        if self.log and side == "bottom":
            ticks = decades(ticks[0], ticks[-1])

        def told(value: Any, *_: int) -> str:
            value = float(value)
            return say(10**value if self.log and side == "bottom" else value)

        group = Axis(ticks, told).to_svg(self.width, self.height, scale, side)
        for element in group.iter():
            for key in _STYLED:
                element.attrib.pop(key, None)
        self.area.append(group)
        if name and side == "bottom":
            self.text(self.width / 2, self.height + 34, name, "axis-name", anchor="middle")
        elif name:
            self.text(-self.left + 2, -16, name, "axis-name")

    def add(self, tag: str, kind: str, tip: str = "", **attributes: float | str) -> ET.Element:
        """An element with a class, and a tip that shows while pointing at it."""
        named = {
            k.rstrip("_").replace("_", "-"): f"{v:g}" if isinstance(v, float | int) else v
            for k, v in attributes.items()
        }
        element = ET.SubElement(self.area, tag, named)
        element.set("class", kind)
        if tip:
            ET.SubElement(element, "title").text = clean(tip, 240)
        return element

    def text(self, x: float, y: float, said: str, kind: str = "", anchor: str = "start") -> None:
        """A line of text, cleaned."""
        self.add("text", kind, x=x, y=y, text_anchor=anchor).text = clean(said, 120)

    def rule(self, x: float, y1: float, y2: float, kind: str, tip: str = "") -> None:
        """A vertical line at a value."""
        at = self.across(x)
        self.add("line", kind, tip, x1=at, x2=at, y1=y1, y2=y2)

    def span(self, low: float, high: float, y: float, kind: str, tip: str = "") -> None:
        """A horizontal line between two values."""
        self.add("line", kind, tip, x1=self.across(low), x2=self.across(high), y1=y, y2=y)

    def band(
        self, ends: tuple[float, float], across: tuple[float, float], kind: str, tip: str = ""
    ) -> None:
        """A rectangle between two values; ``across``: its top edge, and its height."""
        a, b = map(self.across, ends)
        self.add("rect", kind, tip, x=a, y=across[0], width=max(b - a, 0.8), height=across[1])

    def path(self, points: Sequence[tuple[float, float]], kind: str, closed: bool = False) -> None:
        """A line through points in plot coordinates."""
        said = "L".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.add("path", kind, d=f"M{said}{'Z' if closed else ''}")

    def svg(self) -> Markup:
        """The finished picture."""
        for element in self.root.iter():
            for key, value in element.attrib.items():
                if _LONG.fullmatch(value):
                    element.set(key, f"{float(value):.1f}")
        return Markup(ET.tostring(self.root, encoding="unicode"))  # noqa: S704 - ElementTree escaped it


def label(value: float) -> str:
    """A tick: as few digits as it takes."""
    return f"{value:,.6g}".replace("-", "−")


def decades(low: float, high: float) -> list[float]:
    """Logarithms of 1, 2 and 5 times the powers of ten that lie between two logarithms."""
    steps = [
        math.log10(m) + e for e in range(math.floor(low), math.ceil(high) + 1) for m in (1, 2, 5)
    ]
    inside = [s for s in steps if low <= s <= high]
    return inside if len(inside) > 1 else [low, high]
