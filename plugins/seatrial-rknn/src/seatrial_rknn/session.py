"""A live simulator. It runs no ``.rknn`` file: it is built again from what lies beside it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seatrial.hookspecs import Job
from seatrial.results import LayerRun, LoadRequest, Ran, TargetKind

from . import FORMAT
from .building import FACTS, SIMULATOR, SOURCE
from .toolkit import PARTS, Toolkit, ToolkitError


def load(request: LoadRequest, job: Job) -> RknnSession:
    """Build the simulator of an artefact.

    Raises:
        ValueError: another format, inner tensors are wanted, or damaged files.
    """
    if request.format != FORMAT:
        raise ValueError(f"this backend loads {FORMAT}, not {request.format}")
    if request.taps:
        raise ValueError("the simulator gives a model's outputs only")
    folder = job.path(request.artifact).parent
    try:
        return RknnSession(folder, request.target, job.scratch)
    except ToolkitError as error:
        raise ValueError(str(error)) from None


class RknnSession:
    """See :class:`seatrial.hookspecs.Session`.

    Args:
        folder: of the artefact.
        chip: that is simulated.
        scratch: a folder for the toolkit.

    Raises:
        ToolkitError: the files cannot be built from.
    """

    def __init__(self, folder: Path, chip: str, scratch: Path) -> None:
        self._facts: dict[str, Any] = json.loads((folder / FACTS).read_text("utf-8"))
        self._chip = chip
        # The toolkit writes beside what it reads, and artefacts are read-only.
        for name in PARTS if self._facts["int8"] else (SOURCE,):
            shutil.copyfile(folder / name, scratch / name)
        self._kit: Toolkit | None = Toolkit(chip, scratch)
        if self._facts["int8"]:
            self._kit.build_quantised(scratch)
        else:
            self._kit.read(scratch / SOURCE)
            self._kit.build()
        self._kit.simulate()

    def run(self, feeds: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run once.

        Raises:
            ValueError: other inputs than the model's.
        """
        wanted = self._facts["inputs"]
        if sorted(feeds) != sorted(wanted) or self._kit is None:
            raise ValueError(f"inputs {sorted(feeds)} were given, {sorted(wanted)} are wanted")
        found = self._kit.run([feeds[name] for name in wanted])
        pairs = zip(self._facts["outputs"], found, strict=True)
        # The simulator gives every number as float32; the model's own type is put back.
        return {name: value.astype(dtype, copy=False) for (name, dtype), value in pairs}

    def ran(self) -> Ran:
        """The compiler's table of layers; the simulator follows it and tells nothing itself."""
        layers = tuple(
            LayerRun(
                layer=f"{row['name']}@{k}",
                op_type=row["op"],
                nodes=(row["node"],) if row["node"] else (),
                on=row["on"],
                precision=row["precision"],
                kernel=f"{row['cycles']} cycles",
            )
            for k, row in enumerate(self._facts["layers"])
        )
        device = f"simulator of {self._chip}"
        return Ran(where=TargetKind.SIMULATOR, device=device, layers=layers, notes=(SIMULATOR,))

    def close(self) -> None:
        """Free everything; twice does no harm."""
        if self._kit is not None:
            self._kit.close()
        self._kit = None
