"""kill -9 at random instants of a run: the rerun must end alike, and use nothing that is damaged.

The command is run once undisturbed, in a folder of its own: that is the truth, and how long it
takes. Then, again and again in a fresh folder: it is started and killed at a random instant (the
process alone, as a kernel would; its children end by themselves), every second time one byte of
something that it left in its cache is turned over, and it is run again to its end. The rerun must
give the same exit code, verdict and answers, the same model digests and the same figures in every
row of the ladder; a planted damage that the rerun came upon must be reported and never used.

Usage: python benchmarks/killed.py [--kills N] [--seed N] [--work DIR] -- run MODEL ... --all-int8

`--all-int8` leaves out the one choice that rests on measured times, so that figures can be equal.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def main() -> int:
    """Print one line per kill; 1 when anything differed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--first", type=int, default=0, help="number of the first kill")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("killed-trials"))
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    truth, seconds = _run(args.command, args.work / "truth")
    print(f"undisturbed: {seconds:.1f} s, exit {truth['exit']}, {truth['verdict']}", flush=True)
    wrong = used = planted = found = 0
    for number in range(args.first, args.first + args.kills):
        dice = random.Random(f"{args.seed}-{number}")
        out = args.work / f"kill-{number}"
        shutil.rmtree(out, ignore_errors=True)
        instant = dice.uniform(0.0, seconds)
        ended = _kill(args.command, out, instant)
        damage = _damage(out, dice) if number % 2 else ""
        after, again = _run(args.command, out)
        differs = [k for k in truth if k not in ("used", "damaged") and truth[k] != after[k]]
        met = bool(damage) and damage[:12] in after["damaged"]
        wrong, used = wrong + bool(differs), used + bool(after["used"])
        planted, found = planted + bool(damage), found + met
        print(
            f"{number:3} killed at {instant:5.1f} s{' (it had ended)' if ended else ''}, "
            f"rerun {again:5.1f} s, {after['used'] or 'no'} steps remembered"
            + (
                f", damaged {damage[:12]}: {'reported' if met else 'not asked for'}"
                if damage
                else ""
            )
            + (f", DIFFERS in {', '.join(differs)}" if differs else ", the same"),
            flush=True,
        )
        shutil.rmtree(out, ignore_errors=True)
    print(
        f"\n{args.kills} kills (seed {args.seed}): {wrong} reruns differ, {used} used what was "
        f"left; {planted} entries damaged on purpose, {found} of them met and done anew"
    )
    return int(wrong > 0)


def _start(command: list[str], out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "seatrial", *command, "-q", "-o", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _run(command: list[str], out: Path) -> tuple[dict[str, Any], float]:
    """Run to the end: what must be equal, and seconds."""
    started = time.monotonic()
    code = _start(command, out).wait()
    seconds = time.monotonic() - started
    report = json.loads((out / "report.json").read_text("utf-8"))
    reasons = {row["code"]: row["text"] for row in report["reasons"]}
    return {
        "exit": code,
        "verdict": report["verdict"],
        "answers": report["answers"],
        "candidates": sorted((c["name"], c["sha256"], c["chosen"]) for c in report["candidates"]),
        "ladder": [
            [row[k] for k in ("rung", "target", "source", "against", "value", "drop", "gate")]
            for row in report["ladder"]
        ],
        "faults": report["faults"],
        "used": reasons.get("run.remembered", "").partition(" ")[0],
        "damaged": reasons.get("run.damaged-cache", ""),
    }, seconds


def _kill(command: list[str], out: Path, instant: float) -> bool:
    """Start, wait, SIGKILL; True when it had ended by itself."""
    process = _start(command, out)
    try:
        process.wait(timeout=instant)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return False
    return True


def _damage(out: Path, dice: random.Random) -> str:
    """Turn one byte of a random file of the cache over; the entry's name, or "" without one."""
    files = [p for p in sorted((out / ".seatrial" / "cache").glob("*/**/*")) if p.is_file()]
    files = [p for p in files if p.stat().st_size and not p.parts[-2].startswith(".new-")]
    if not files:
        return ""
    path = dice.choice(files)
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)  # the same file: whatever else is linked to it is damaged as well
    return path.relative_to(out / ".seatrial" / "cache").parts[0]


if __name__ == "__main__":
    sys.exit(main())
