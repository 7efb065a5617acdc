"""Intake: from a path that a stranger gave to a snapshot that backends may open.

The parent process does this in pure Python: no native parser sees the file before it was walked
here, and what was walked is, byte for byte, what every backend reads later.
"""

from __future__ import annotations

import gc
import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seatrial.results import Artifact, Ref
from seatrial.workspace import Workspace

from . import limits
from .external import stage
from .facts import Admitted, ModelFacts, NodeFact, Note, depthwise, is_tree_ensemble
from .files import copy, opened
from .model import Model
from .parse import Parser
from .refusal import Refused, quoted, refusal
from .rules import screen
from .sniff import HEAD, TAIL, describe_other, refuse_other_format
from .survey import screen_weights, survey
from .weights import Screen
from .wire import Malformed, Reader

__all__ = [
    "Admitted",
    "ModelFacts",
    "NodeFact",
    "Note",
    "admit",
    "depthwise",
    "is_tree_ensemble",
]


def admit(path: Path, workspace: Workspace) -> Admitted:
    """Screen a model and take a snapshot of it, external data included.

    Args:
        path: the ``.onnx`` file, as the user gave it.
        workspace: where the snapshot goes.

    Raises:
        UserError: the file is refused; one line says where, why and what next.
    """
    try:
        with (
            _uncollected(),
            tempfile.TemporaryDirectory(prefix=_prefix(), dir=workspace.objects) as staging,
        ):
            return _admit(path, workspace, Path(staging))
    except Refused as refused:
        raise refusal(os.fspath(path), refused) from None
    except RecursionError:
        raise refusal(os.fspath(path), Refused("is nested too deep")) from None
    except OSError as error:
        reason = f"cannot be stored in {workspace.root}: {(error.strerror or 'error').lower()}"
        raise refusal(os.fspath(path), Refused(reason, advice="free some disk")) from None


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the cyclic collector: the walk makes many small objects and no cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _prefix() -> str:
    """Name of a staging folder that the workspace sweeps away when this process was killed."""
    return f".new-{os.getpid()}-intake-"


def _admit(path: Path, workspace: Workspace, staging: Path) -> Admitted:
    incoming = staging / ".model"
    with opened(path) as descriptor:
        status = os.fstat(descriptor)
        _check_size(status.st_size)
        head = os.pread(descriptor, HEAD, 0)
        refuse_other_format(head, os.pread(descriptor, TAIL, max(0, status.st_size - TAIL)))
        file_sha256, size = copy(descriptor, incoming)
    with _mapped(incoming) as buffer:
        parser = Parser(Reader(buffer))
        model = _walk(parser, head)
        found = screen(model, buffer)
        if parser.not_text:
            at, name = parser.not_text
            raise Refused(
                "has a name that is not UTF-8 text, as ONNX names must be",
                place=f"byte {at}: {quoted(name)}",
                advice="rename it, or export with UTF-8 names",
            )
        pieces = found.pieces.values()
        names = stage(pieces, path.resolve().parent, staging / "files", status)
        entry = _entry(names)
        weights = screen_weights(model, found, Screen(buffer, str(staging / "files")))
        ref = _store(workspace, staging, incoming, entry, names)
    facts = survey(
        model,
        found,
        weights,
        path=os.fspath(path),
        sha256=ref.sha256,
        file_sha256=file_sha256,
        bytes=ref.bytes or size,
        external_files=tuple(names),
    )
    return Admitted(ref=ref, facts=facts, notes=tuple(found.notes))


def _check_size(size: int) -> None:
    if size > limits.MAX_MODEL_BYTES:
        reason = f"has {size} bytes, more than an ONNX file can have (2 GiB)"
        raise Refused(reason, advice="save its weights as external data")


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
        yield buffer


def _walk(parser: Parser, head: bytes) -> Model:
    """Parse, and say what the file is when it is not what it should be."""
    size = len(parser.reader.buffer)
    try:
        model = parser.model()
    except Malformed as error:
        _refuse_other(head)
        advice = "export, download or copy the model again"
        if error.end > size:
            reason = f"is not a complete ONNX file: it ends at byte {size}, in the middle of a part"
        else:
            reason = "is not an ONNX file, or is damaged"
        raise Refused(reason, place=f"byte {error.at}", advice=advice) from None
    if model.graph is None:
        _refuse_other(head)
    return model


def _refuse_other(head: bytes) -> None:
    what, advice = describe_other(head)
    if what:
        raise Refused(what, advice=advice)


def _entry(names: list[str]) -> str:
    """The snapshot's own name for the model: the user's may be hostile, or an external file's."""
    entry = "model.onnx"
    while any(name == entry or name.startswith(f"{entry}/") for name in names):
        entry = f"_{entry}"
    return entry


def _store(
    workspace: Workspace, staging: Path, incoming: Path, entry: str, names: list[str]
) -> Ref:
    """Move the copies into the store; nothing is copied twice."""
    folder = staging / "files"
    folder.mkdir(exist_ok=True)
    incoming.rename(folder / entry)
    artifact = Artifact(format="onnx", entry=entry, files=(entry, *names))
    return workspace.adopt(folder, artifact)
