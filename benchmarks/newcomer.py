"""A newcomer's first minutes, the clock running: one ONNX file and some unlabelled photos.

Types what the tool prints: `check`, then the command under "Next" (with the photos' folder in
place of FOLDER_OF_IMAGES), then what `init` prints next, with ``--quick``. Every printed command
must work. Prints each command, its exit code and its seconds.

Usage: python benchmarks/newcomer.py MODEL.onnx FOLDER_OF_PHOTOS [--photos 20]
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SUFFIXES = (".jpg", ".jpeg", ".png")


def main() -> int:
    """Run the three commands in a fresh folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=20)
    args = parser.parse_args()
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as root:
        here = Path(root)
        shutil.copyfile(args.model, here / "model.onnx")
        (here / "photos").mkdir()
        pictures = sorted(p for p in args.folder.iterdir() if p.suffix.lower() in SUFFIXES)
        for picture in pictures[: args.photos]:
            shutil.copyfile(picture, here / "photos" / picture.name)
        said = _type("seatrial check model.onnx", here)
        said = _type(_next(said).replace("FOLDER_OF_IMAGES", "photos"), here)
        said = _type(f"{_next(said)} --quick", here)
        print(f"\nlast words of the tool:\n{said[-400:]}")
    print(f"in all: {time.perf_counter() - begin:.0f} s")
    return 0


def _type(command: str, here: Path) -> str:
    begin = time.perf_counter()
    words = [sys.executable, "-m", *shlex.split(command)]
    done = subprocess.run(words, cwd=here, capture_output=True, text=True, check=False)
    took = time.perf_counter() - begin
    print(f"{took:6.1f} s  exit {done.returncode}  $ {command}", flush=True)
    if done.returncode == 2 or "Traceback" in done.stderr:
        raise SystemExit(f"a printed command does not work: {done.stderr}")
    return done.stdout


def _next(said: str) -> str:
    """The first command under the heading "Next"."""
    lines = said.splitlines()
    return lines[lines.index("Next") + 1].strip()


if __name__ == "__main__":
    raise SystemExit(main())
