"""A module as typed. Standard library only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seatrial.errors import UserError
from seatrial.export.module_records import ARCHIVE, FACTORY, PROGRAM, ModuleSpec
from seatrial.results import Ref


def spec_of(
    text: str, workspace: Any, *, weights: str = "", trust_pickle: bool = False
) -> ModuleSpec | None:
    """A module as typed; ``None`` when it is not one.

    Args:
        text: ``MODULE:FACTORY``, ``FILE.py:FACTORY``, a ``.pt2`` or a TorchScript archive.
        workspace: takes the files in.
        weights: a checkpoint.
        trust_pickle: loading may run code.

    Raises:
        UserError: a file does not exist.
    """
    held = _file(workspace, weights, "--weights") if weights else None
    name = Path(weights).name
    suffix = Path(text).suffix.lower()
    if suffix in (".pt2", ".ep", ".pt", ".pth", ".ts", ".torchscript"):
        if weights:
            raise UserError("--weights", "the file carries its own weights", place=text)
        kind = PROGRAM if suffix in (".pt2", ".ep") else ARCHIVE
        return ModuleSpec(
            kind=kind, location=text, file=_file(workspace, text, text), trust_pickle=trust_pickle
        )
    module, colon, factory = text.rpartition(":")
    if not colon or not module or not factory.replace(".", "_").isidentifier():
        return None
    if module.endswith(".py"):
        if not Path(module).is_file():
            raise UserError(text, "there is no such file", place=module)
        text = f"{Path(module).absolute()}:{factory}"
    return ModuleSpec(
        kind=FACTORY,
        location=text,
        weights=held,
        weights_name=name,
        trust_pickle=trust_pickle,
    )


def _file(workspace: Any, text: str, subject: str) -> Ref:
    path = Path(text)
    if not path.is_file():
        raise UserError(subject, "there is no such file", place=text if text != subject else "")
    ref: Ref = workspace.add({path.name: path}, path.name)
    return ref
