from __future__ import annotations

from pathlib import Path

from seatrial.benchmark.energy import ZONES, Meter


def zone(root: Path, name: str, title: str, energy: int | None, limit: int = 10**9) -> Path:
    folder = root / ZONES / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{title}\n")
    (folder / "max_energy_range_uj").write_text(f"{limit}\n")
    if energy is not None:
        (folder / "energy_uj").write_text(f"{energy}\n")
    return folder / "energy_uj"


def test_packages_are_summed_and_their_parts_are_not(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 5_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 7)
    zone(tmp_path, "intel-rapl:2", "psys", 9)
    meter = Meter(tmp_path)
    assert meter.source == "RAPL package-0, package-1"
    first.write_text("3000000\n")
    second.write_text("5500000\n")
    assert meter.joules() == 2.5
    assert meter.joules() == 0.0


def test_a_counter_that_wraps_goes_on(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 900_000, limit=1_000_000)
    meter = Meter(tmp_path)
    counter.write_text("100000\n")
    assert meter.joules() == 0.2


def test_a_counter_that_goes_away_gives_no_figure(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 1)
    meter = Meter(tmp_path)
    counter.unlink()
    assert meter.joules() is None


def test_a_machine_without_counters_says_why(tmp_path: Path) -> None:
    none = Meter(tmp_path)
    assert (none.source, none.joules()) == ("", None)
    assert "no energy counters" in none.reason
    zone(tmp_path, "intel-rapl:0", "package-0", None)
    assert "keeps its energy counters" in Meter(tmp_path).reason
