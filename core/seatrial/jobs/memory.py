"""Results of earlier jobs of a folder, used again when nothing that they depend on has changed.

Artefacts and choices are remembered; what a verdict rests on is measured every time, so outputs
over the test set, latencies and profiles never come from here. An entry is a folder named by the
key: the hash of the job's identity (request, objects, versions, processor, environment) and of
every file of ours and of the plugin's. Entries are written aside and renamed, and every byte is
hashed again before an entry is used: one that is damaged is thrown away and the job done anew.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from seatrial.codec import digest
from seatrial.results import Ref
from seatrial.worker import write_json
from seatrial.workspace import Workspace, hashed, plain_name

from .carry import plugin_files
from .prepare import Call

SCHEMA = "seatrial.cache/1"

#: Distributions that core tasks compute with.
PACKAGES = ("numpy", "onnx", "onnxruntime", "pillow", "torch", "onnxscript", "scikit-learn")

ENTRY = "entry.json"


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """What an earlier job gave.

    Attributes:
        value: its result as JSON.
        type: name of the result's record, as the child told it.
        seconds: that it took then.
        peak_mb: its peak memory then.
    """

    value: Any
    type: str = ""
    seconds: float = 0.0
    peak_mb: float = 0.0


@dataclass
class Memory:
    """The remembered jobs of one workspace.

    Attributes:
        workspace: whose objects entries may name.
        off: nothing is looked up; what is done is remembered all the same.
        used: names of the jobs that were not done again, in order.
        damaged: keys of entries that were thrown away, and why.
    """

    workspace: Workspace
    off: bool = False
    used: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for stray in self.root.glob(".new-*"):
            if not Path(f"/proc/{stray.name.split('-')[1]}").exists():
                shutil.rmtree(stray, ignore_errors=True)

    @property
    def root(self) -> Path:
        """Where entries are."""
        return self.workspace.root / "cache"

    def recall(self, key: str, name: str, out: Path) -> Remembered | None:
        """What is remembered under a key, its files linked into ``out``; ``None``: nothing sound.

        Args:
            key: from :func:`key_of`.
            name: of the job, for the report.
            out: an empty folder.
        """
        folder = self.root / key
        if self.off or not folder.exists():
            return None
        try:
            entry = self._checked(folder, key)
            for part in entry["files"]:
                target = out / part
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(folder / "files" / part, target)
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._forget(key, f"{name}: {error}")
            return None
        self.used.append(name)
        facts = {k: entry[k] for k in ("value", "type", "seconds", "peak_mb")}
        return Remembered(**facts)

    def _checked(self, folder: Path, key: str) -> dict[str, Any]:
        """The entry, every byte of it as it was written; ValueError if not."""
        kept = json.loads((folder / ENTRY).read_text("utf-8"))
        entry: dict[str, Any] = kept["entry"]
        if kept["digest"] != digest(entry) or entry["schema"] != SCHEMA or entry["key"] != key:
            raise ValueError("the entry is not what its digest says")
        for part, facts in entry["files"].items():
            if hashed(folder / "files" / plain_name(part)) != facts:
                raise ValueError(f"{part} is not what its digest says")
        for sha in entry["refs"]:
            if not self.workspace.verify(Ref(sha256=sha, entry="")):
                raise ValueError(f"object {sha[:12]} is missing or not what its digest says")
        return entry

    def _forget(self, key: str, why: str) -> None:
        self.damaged.append(f"{key[:12]} ({why})")
        shutil.rmtree(self.root / key, ignore_errors=True)

    def keep(
        self,
        key: str,
        known: Remembered,
        *,
        out: Path | None = None,
        refs: Iterable[Ref] = (),
    ) -> None:
        """Remember a result; what cannot be written is not remembered, and that is no fault.

        Args:
            key: from :func:`key_of`.
            known: the result.
            out: the folder of files that belong to it.
            refs: objects of the workspace that it names.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=f".new-{os.getpid()}-", dir=self.root))
        except OSError:
            return
        try:
            files = {}
            for path in _files(out):
                part = path.relative_to(out or path).as_posix()
                target = staging / "files" / part
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(path, target)
                files[part] = hashed(target)
            entry = {
                "schema": SCHEMA,
                "key": key,
                "value": known.value,
                "type": known.type,
                "seconds": known.seconds,
                "peak_mb": known.peak_mb,
                "files": files,
                "refs": sorted(ref.sha256 for ref in refs),
            }
            write_json(staging / ENTRY, {"entry": entry, "digest": digest(entry)})
            shutil.rmtree(self.root / key, ignore_errors=True)
            staging.rename(self.root / key)
        except (OSError, ValueError):
            return
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def key_of(identity: str, call: Call) -> str:
    """The key of a job: its identity, and the code that it runs."""
    plugin = code_of(call.plugin.value) if call.plugin else ""
    return digest([SCHEMA, identity, code_of(""), plugin, {} if call.plugin else packages()])


@functools.cache
def code_of(value: str) -> str:
    """sha256 over every file of a plugin, or of ourselves."""
    if value:
        files = plugin_files(value)
    else:
        ours = Path(__file__).parent.parent
        files = {p.relative_to(ours).as_posix(): p for p in sorted(ours.rglob("*.py"))}
    return digest({name: hashlib.sha256(p.read_bytes()).hexdigest() for name, p in files.items()})


@functools.cache
def packages() -> Mapping[str, str]:
    """Versions of what core tasks compute with."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _files(out: Path | None) -> Sequence[Path]:
    """Regular files of a job's folder; links lead elsewhere and are no part of a result."""
    if out is None:
        return ()
    return [p for p in sorted(out.rglob("*")) if p.is_file() and not p.is_symlink()]


def _link(source: Path, target: Path) -> None:
    """The same bytes under another name, without a copy where the file system can."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
