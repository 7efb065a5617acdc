"""Files that a command leaves where the user wants them."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path, PurePosixPath

from seatrial.results import Artifact, Ref
from seatrial.workspace import Workspace


def part(workspace: Workspace, out: Path, artifact: Artifact) -> Ref:
    """Adopt what a task wrote into a folder of its own in ``out``, under its plain names.

    Raises:
        ValueError: the files are no regular files of that folder.
    """
    folder = PurePosixPath(artifact.files[0]).parts[0]
    plain = dataclasses.replace(
        artifact,
        entry=artifact.entry.removeprefix(f"{folder}/"),
        files=tuple(name.removeprefix(f"{folder}/") for name in artifact.files),
    )
    return workspace.adopt(out / folder, plain)


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
