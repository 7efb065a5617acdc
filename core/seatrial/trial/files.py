"""Files that a command leaves where the user wants them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def delivered(entry: Path, out: Path) -> list[Path]:
    """Copy a model (and its external data) into place; each file whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    written = []
    for source in sorted(entry.parent.iterdir(), key=lambda p: p == entry):
        target = out if source == entry else out.parent / source.name
        aside = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.copyfile(source, aside)
        aside.replace(target)
        written.append(target)
    return written
