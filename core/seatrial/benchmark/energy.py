"""Energy per inference, where the machine counts it: RAPL through ``/sys/class/powercap``.

The counters are those of whole processor packages, idle power and neighbours included, so a
figure is what one inference took of the package while nothing else of ours ran. Where the system
has no counter, or keeps it from us, nothing is estimated.
Source of the interface: the kernel's Documentation/power/powercap/powercap.rst.
"""

from __future__ import annotations

from pathlib import Path

#: Where the kernel lists power zones.
ZONES = "sys/class/powercap"


class Meter:
    """Reads the package counters; every reading is the energy since the one before.

    Args:
        root: where ``sys`` lies.

    Attributes:
        source: names of the packages that are counted, ``""`` when none is.
        reason: why there is no figure, ``""`` when there is one.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._zones: list[tuple[Path, int]] = []
        self._last: list[int] = []
        names, closed = [], False
        for zone in sorted((root / ZONES).glob("*rapl:*")):
            # Sub-zones (cores, uncore, memory) are parts of their package: name:N:M.
            name = _text(zone / "name")
            if zone.name.count(":") != 1 or not name.startswith(("package", "psys")):
                continue
            limit, now = _text(zone / "max_energy_range_uj"), _text(zone / "energy_uj")
            if not now.isdigit():
                closed = True
                continue
            if name.startswith("package"):
                names.append(name)
                self._zones.append((zone / "energy_uj", int(limit) if limit.isdigit() else 0))
        self.source = f"RAPL {', '.join(names)}" if names else ""
        self.reason = "" if names else _reason(closed)
        self._read()

    def joules(self) -> float | None:
        """Energy since the last call, joules; ``None`` where nothing counts it."""
        before, now = self._last, self._read()
        if not self._zones or len(before) != len(now):
            return None
        total = 0
        for (_, limit), a, b in zip(self._zones, before, now, strict=True):
            if b < a and not limit:
                return None
            total += b - a if b >= a else b - a + limit
        return total / 1e6

    def _read(self) -> list[int]:
        found = [_text(path) for path, _ in self._zones]
        self._last = [int(t) for t in found if t.isdigit()]
        return self._last


def _reason(closed: bool) -> str:
    if closed:
        return "the kernel keeps its energy counters from this user"
    return "this machine exposes no energy counters"


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except OSError:
        return ""
