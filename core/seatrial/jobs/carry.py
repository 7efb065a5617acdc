"""What a foreign interpreter gets on its path: our standard-library modules and the plugin.

The folder is named by the hash of its content and made once. Run as a program
(``python FOLDER JOBDIR``) it is the worker, so a launcher needs no environment to find it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

#: Everything of ours that runs under Python 3.10 with pluggy alone.
MODULES = (
    "__init__.py",
    "codec.py",
    "errors.py",
    "hookspecs.py",
    "models.py",
    "results.py",
    "samples.py",
    "session.py",
    "worker.py",
    "jobs/__init__.py",
    "jobs/batch.py",
    "jobs/calls.py",
    "jobs/files.py",
    "jobs/guard.py",
    "jobs/shared.py",
    "jobs/tensors.py",
)
_MAIN = "import sys\n\nfrom seatrial.worker import main\n\nsys.exit(main(sys.argv[1:]))\n"


def user_cache() -> Path:
    """Our folder in the user's cache directory."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "seatrial"


def plugin_files(value: str) -> dict[str, Path]:
    """The files of a plugin's top-level package or module, found without importing it.

    Args:
        value: an entry point's value.
    """
    top = value.partition(":")[0].partition(".")[0].strip()
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return {}
    if spec is None:
        return {}
    if not spec.submodule_search_locations:
        return {Path(spec.origin).name: Path(spec.origin)} if spec.origin else {}
    files: dict[str, Path] = {}
    for location in spec.submodule_search_locations:
        root = Path(location)
        for path in _walk(root):
            files.setdefault(f"{top}/{path.relative_to(root).as_posix()}", path)
    return files


def _walk(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def carried(value: str | None) -> Path:
    """The folder for a plugin (or, with ``None``, for ourselves alone); made if it is not there."""
    ours = Path(__file__).parent.parent
    files = {f"seatrial/{name}": ours / name for name in MODULES}
    if value is not None:
        files |= plugin_files(value)
    sha = _content(files)
    final = user_cache() / "carried" / sha[:32]
    if final.is_dir() and not _intact(final, files, sha):
        shutil.rmtree(final, ignore_errors=True)
    if not final.is_dir():
        _make(final, files)
    return final


def _content(files: dict[str, Path]) -> str:
    """sha256 over names and contents."""
    sha = hashlib.sha256(_MAIN.encode())
    for name in sorted(files):
        content = hashlib.sha256(files[name].read_bytes()).hexdigest()
        sha.update(f"{name} {content}\n".encode())
    return sha.hexdigest()


def _intact(folder: Path, files: dict[str, Path], sha: str) -> bool:
    try:
        return _content({name: folder / name for name in files}) == sha
    except OSError:
        return False


def _make(final: Path, files: dict[str, Path]) -> None:
    final.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".new-", dir=final.parent))
    try:
        for name, source in files.items():
            target = staging / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        (staging / "__main__.py").write_text(_MAIN, "ascii")
        staging.chmod(0o755)
        try:
            staging.rename(final)
        except OSError:
            if not final.is_dir():
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
