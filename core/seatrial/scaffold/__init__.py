"""``new-backend``: a vendor package that passes the conformance kit, ready to edit."""

from __future__ import annotations

import re
from pathlib import Path

from seatrial import registry
from seatrial.codec import record
from seatrial.errors import UserError
from seatrial.options import NewBackendOptions

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_PLAIN = re.compile(r"[^\"\\\x00-\x1f@]{1,80}")

#: File of the template -> file of the package.
FILES = {
    "pyproject.toml.in": "pyproject.toml",
    "README.md.in": "README.md",
    "hooks.py.in": "src/@module@/__init__.py",
    "toolchain.py.in": "src/@module@/toolchain.py",
    "conformance.py.in": "tests/test_conformance.py",
}


@record
class NewBackendResult:
    """What ``seatrial new-backend`` wrote: names of ``files`` are relative to ``folder``."""

    backend: str
    folder: str
    files: tuple[str, ...]


def new_backend(options: NewBackendOptions) -> NewBackendResult:
    """Write the package.

    Raises:
        UserError: a name that cannot be an id or is taken, or a folder that is not empty.
    """
    name = options.name
    if not _NAME.fullmatch(name):
        advice = "lower case letters, digits, - and _, as in acme"
        raise UserError(name or "NAME", "cannot be a backend's id", advice=advice)
    taken = [p for p in registry.discover() if p.id == name]
    if taken:
        raise UserError(name, f"is the id of an installed backend, of {taken[0].dist}")
    words = _words(options)
    folder = Path(options.out or words["dist"])
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(str(folder), "exists and is not empty", advice="name another with -o")
        written = tuple(_write(folder, source, target, words) for source, target in FILES.items())
    except OSError as error:
        reason = (error.strerror or "cannot be written").lower()
        raise UserError(str(folder), reason) from None
    return NewBackendResult(backend=name, folder=str(folder), files=written)


def _words(options: NewBackendOptions) -> dict[str, str]:
    """What the template's places are filled with."""
    parts = re.split(r"[-_]+", options.name)
    title = options.title or " ".join(p.capitalize() for p in parts)
    vendor = options.vendor or title
    for flag, text in (("--title", title), ("--vendor", vendor)):
        if not _PLAIN.fullmatch(text):
            raise UserError(flag, "plain text of up to 80 characters, without quotes, please")
    return {
        "id": options.name,
        "dist": f"seatrial-{options.name.replace('_', '-')}",
        "module": f"seatrial_{options.name.replace('-', '_')}",
        "class": "".join(p.capitalize() for p in parts),
        "title": title,
        "vendor": vendor,
    }


def _write(folder: Path, source: str, target: str, words: dict[str, str]) -> str:
    """Fill one file of the template in; its name in the package."""
    text = (Path(__file__).parent / "template" / source).read_text("utf-8")
    name = filled(target, words)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(filled(text, words), "utf-8")
    return name


def filled(text: str, words: dict[str, str]) -> str:
    """The text with every ``@word@`` replaced."""
    return re.sub(r"@([a-z]+)@", lambda match: words[match.group(1)], text)
