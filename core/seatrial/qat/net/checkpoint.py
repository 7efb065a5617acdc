"""One file that holds a training as it stood after an epoch. Runs in a child only.

It is written aside, synced and renamed over the old one: whoever kills the training finds the last
epoch that was finished, never half of one. The form is safetensors: reading it runs no code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seatrial.errors import UserError

#: Name of the file in the checkpoint folder.
FILE = "checkpoint.safetensors"


def write(folder: Path, tensors: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Replace the checkpoint."""
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{FILE}.{os.getpid()}"
    content = save(
        {n: t.detach().contiguous().clone() for n, t in tensors.items()},
        metadata={"facts": json.dumps(dict(facts), allow_nan=False)},
    )
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(folder / FILE)
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The checkpoint's tensors and facts; ``None`` when there is none.

    Raises:
        UserError: the file is damaged.
    """
    from safetensors import safe_open

    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["facts"])
            return {n: file.get_tensor(n) for n in file.keys()}, facts  # noqa: SIM118  # no mapping
    except Exception as error:  # noqa: BLE001  # whatever a damaged file causes
        text = " ".join(str(error).split())[:120]
        raise UserError(
            str(path), f"is no checkpoint: {text}", advice="--fresh begins anew"
        ) from None
