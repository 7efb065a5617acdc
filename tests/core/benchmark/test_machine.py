from __future__ import annotations

from pathlib import Path

import pytest

from seatrial.benchmark.machine import Disturbance, conditions, disturbed, look, machine

CPUINFO = """processor\t: 0
model name\t: Imagined CPU 9000
flags\t\t: sse2 avx2 avx512_vnni sse2

processor\t: 1
model name\t: Another
"""


def fake(root: Path, cpuinfo: str = CPUINFO) -> Path:
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text(cpuinfo)
    (root / "proc/stat").write_text("cpu  100 0 50 800 10 0 5 35 7 0\ncpu0 1 2 3\n")
    (root / "proc/loadavg").write_text("3.50 1.00 0.50 2/100 999\n")
    for i, count in enumerate((4, 6)):
        folder = root / f"sys/devices/system/cpu/cpu{i}/thermal_throttle"
        folder.mkdir(parents=True)
        (folder / "core_throttle_count").write_text(f"{count}\n")
    governor = root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    governor.parent.mkdir()
    governor.write_text("powersave\n")
    return root


def test_a_machine_as_the_kernel_tells_it(tmp_path: Path) -> None:
    found = machine(fake(tmp_path))
    assert found.model == "Imagined CPU 9000"
    assert found.flags == ("avx2", "avx512_vnni", "sse2")
    assert found.governor == "powersave"
    assert found.machine_class.endswith("with AVX-512 VNNI")


def test_what_is_not_told_stays_empty(tmp_path: Path) -> None:
    found = machine(tmp_path)
    assert (found.flags, found.governor) == ((), "")
    assert found.machine_class.endswith("without INT8 dot products")
    assert look(tmp_path) == Disturbance(total=0, stolen=0, load=0.0, throttled=-1)


def test_the_counters(tmp_path: Path) -> None:
    assert look(fake(tmp_path)) == Disturbance(total=1000, stolen=35, load=3.5, throttled=10)


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (Disturbance(total=2000, stolen=35, load=1.0, throttled=10), []),
        (Disturbance(total=2000, stolen=85, load=1.0, throttled=10), ["5.0 %"]),
        (Disturbance(total=2000, stolen=35, load=1.0, throttled=12), ["throttled 2 times"]),
    ],
)
def test_disturbances(after: Disturbance, words: list[str]) -> None:
    before = Disturbance(total=1000, stolen=35, load=1.0, throttled=10)
    found = disturbed(before, after, cores=2)
    assert len(found) == len(words)
    assert all(w in text for w, text in zip(words, found, strict=True))
    assert "load was 3.5" in disturbed(look_busy(), look_busy(), cores=2)[0]


def look_busy() -> Disturbance:
    return Disturbance(total=1000, stolen=0, load=3.5, throttled=-1)


def test_this_machine_has_a_cpu() -> None:
    assert machine().cores >= 1


def test_conditions_say_what_the_system_tells(tmp_path: Path) -> None:
    root = fake(tmp_path)
    (root / "sys/devices/system/cpu/smt").mkdir()
    (root / "sys/devices/system/cpu/smt/active").write_text("1\n")
    (root / "sys/devices/system/cpu/intel_pstate").mkdir()
    (root / "sys/devices/system/cpu/intel_pstate/no_turbo").write_text("1\n")
    before = Disturbance(total=1000, stolen=0, load=0.5, throttled=10)
    after = Disturbance(total=2000, stolen=40, load=1.5, throttled=11)
    row = conditions(before, after, threads=2, energy=("RAPL package-0", ""), root=root)
    assert (row["governor"], row["smt"], row["turbo"]) == ("powersave", True, False)
    assert (row["stolen_percent"], row["throttled"], row["threads"]) == (4.0, 1, 2)
    assert (row["load_before"], row["load_after"]) == (0.5, 1.5)
    assert len(row["disturbances"]) == 2
    assert not row["pinned"]
    assert row["energy"] == "RAPL package-0"


def test_conditions_leave_empty_what_nobody_tells(tmp_path: Path) -> None:
    nothing = look(tmp_path)
    row = conditions(nothing, nothing, threads=0, energy=("", "none"), root=tmp_path)
    for key in ("smt", "turbo", "stolen_percent", "throttled"):
        assert row[key] is None, key
    assert (row["governor"], row["disturbances"]) == ("", [])
    assert row["cores"] >= 1
