"""Where samples come from: ``FOLDER``, ``FILE.npz``, ``FILE.npy`` or ``MODULE:CALLABLE``.

A source may end in a slice, ``photos[0:256]``. It is applied to the sorted samples that are left
after ``where``; a split in two comes next, ``limit`` last. The parent process only looks whether
the place exists: what a set holds is read by a child, once.
Standard library only.
"""

from __future__ import annotations

import dataclasses
import re
import stat
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from seatrial.codec import record
from seatrial.errors import UserError

_SLICE = re.compile(r"^(?P<place>.+)\[(?P<a>-?\d*):(?P<b>-?\d*)(?::(?P<c>-?\d*))?\]$", re.DOTALL)
_CALLABLE = re.compile(r"^(?P<module>[A-Za-z_][\w.]*|.+\.py):(?P<name>[A-Za-z_][\w.]*)$")
#: Most samples that the calibration part takes when one source is split in two.
SPLIT_COUNT = 512


@record
class Source:
    """One set of samples, before it is read.

    Attributes:
        kind: ``folder``, ``array`` (npz or npy) or ``callable``.
        location: absolute path, or ``MODULE:CALLABLE``.
        text: as the user typed it.
        start: slice, as in Python.
        stop: slice, as in Python.
        step: slice; at least 1.
        where: column of ``labels.csv`` -> the value that keeps a row.
        arrays: model input, ``labels``, ``groups`` or ``ids`` -> name of the array (of an npz), of
            the key (of a callable's dict) or of the column (of ``labels.csv``).
        labels: path of a ``labels.csv`` or a ``.npy`` of labels; empty: the folder's own.
        classes: class names in the order of the model's outputs.
        class_index: path of a JSON file that maps class names to indices.
        limit: keep so many samples, evenly spaced (or drawn, with ``sample_seed``); 0: all.
        sample_seed: draw the ``limit`` samples at random with this seed.
        part: ``calibration`` or ``test`` when one source is split in two by group.
        split_seed: orders the groups of that split.
        split_count: most samples of the calibration part (at most half of all).
        closed: labels are not read; where a file name or a shared array brings them along, they
            are dropped at once.
        read_seed: seeds the usual generators before the user's own code is called.
    """

    kind: str
    location: str
    text: str = ""
    start: int | None = None
    stop: int | None = None
    step: int = 1
    where: Mapping[str, str] = field(default_factory=dict)
    arrays: Mapping[str, str] = field(default_factory=dict)
    labels: str = ""
    classes: tuple[str, ...] = ()
    class_index: str = ""
    limit: int = 0
    sample_seed: int | None = None
    part: str = ""
    split_seed: int = 0
    split_count: int = SPLIT_COUNT
    closed: bool = False
    read_seed: int = 0

    @property
    def user_code(self) -> bool:
        """Whether reading it runs the user's own code."""
        return self.kind == "callable"


def parse(text: str, *, base: Path | None = None, subject: str = "") -> Source:
    """Read a source as typed, and look whether it exists.

    Args:
        text: ``PLACE`` or ``PLACE[a:b]`` or ``PLACE[a:b:c]``.
        base: the folder that relative paths start from; ``None``: the working folder.
        subject: option or key that the text came from, for messages.

    Raises:
        UserError: it is empty, does not exist, or is no source.
    """
    if not text.strip() or "\0" in text:
        raise UserError(subject or "data source", "is empty", advice="name a folder or a file")
    root = base or Path.cwd()
    place = text
    bounds: tuple[int | None, int | None, int] = (None, None, 1)
    match = _SLICE.match(text)
    if match and not _exists(root / text):
        place = match["place"]
        bounds = _bounds(match, text)
    kind, location = _locate(place, root, text)
    start, stop, step = bounds
    return Source(kind=kind, location=location, text=text, start=start, stop=stop, step=step)


def expanded(path: str) -> Path:
    """A path with ``~`` replaced; one of an unknown user stays as it is, a name like any other."""
    try:
        return Path(path).expanduser()
    except (RuntimeError, ValueError):
        return Path(path)


def _bounds(match: re.Match[str], text: str) -> tuple[int | None, int | None, int]:
    try:
        start, stop, step = (int(v) if v else None for v in match.group("a", "b", "c"))
    except ValueError:
        raise UserError(text, "a slice is written [a:b] or [a:b:c]", place="slice") from None
    if step is not None and step < 1:
        reason = f"the step is {step}: samples keep their order, so it is at least 1"
        raise UserError(text, reason, place="slice")
    return start, stop, 1 if step is None else step


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


def _locate(place: str, root: Path, text: str) -> tuple[str, str]:
    path = (root / expanded(place)).absolute()
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return _locate_callable(place, root, text)
    if stat.S_ISDIR(mode):
        return "folder", str(path)
    if not stat.S_ISREG(mode):
        raise UserError(text, "is neither a folder nor a regular file")
    if path.suffix.lower() not in (".npz", ".npy"):
        raise UserError(
            text,
            f"a data source is a folder, an .npz or an .npy, not a {path.suffix or 'plain'} file",
            advice="name the folder that holds the images",
        )
    return "array", str(path)


def _locate_callable(place: str, root: Path, text: str) -> tuple[str, str]:
    match = _CALLABLE.match(place)
    if match is None:
        advice = "write a folder, FILE.npz, FILE.npy or MODULE:CALLABLE"
        raise UserError(text, "no such folder or file", advice=advice)
    module = match["module"]
    if not module.endswith(".py"):
        return "callable", place
    path = (root / expanded(module)).absolute()
    if not path.is_file():
        raise UserError(text, f"no such file: {module}")
    return "callable", f"{path}:{match['name']}"


def split(source: Source, *, seed: int = 0) -> tuple[Source, Source, str]:
    """Divide one source into a calibration and a test part that share no group.

    Whole groups (a sample without one is its own) are ordered by the sha256 of seed and group
    name; the first ones make the calibration part until it has ``split_count`` samples or half
    of all. Both parts come out the same however often and wherever they are read.

    Returns:
        The calibration source, the test source, and one sentence for the report.
    """
    calibration = dataclasses.replace(source, part="calibration", split_seed=seed)
    test = dataclasses.replace(source, part="test", split_seed=seed)
    how = (
        f"{source.text} was split in two by group (seed {seed}): up to {source.split_count} "
        "samples, at most half of all, calibrate; the rest tests"
    )
    return calibration, test, how
