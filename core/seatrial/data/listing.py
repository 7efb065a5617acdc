"""What a source holds, before any sample is read: ids, groups, labels, metadata.

Runs in a child only.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from seatrial.data.pictures import SUFFIXES
from seatrial.data.source import Source
from seatrial.errors import UserError

_MAX_CSV = 256 << 20
#: Files that belong to a data set without being samples.
_SIDE_FILES = (".csv", ".json", ".txt", ".md", ".xml", ".yaml", ".yml", ".toml", ".sha256", ".db")


@dataclass
class Listing:
    """One entry per sample of a source, in its order.

    Attributes:
        ids: relative file names, or positions.
        labels: raw labels, ``None`` where a sample has none.
        groups: ``""`` where a sample has none.
        meta: further columns of ``labels.csv``.
        notes: what was left out.
        unlisted: pictures of the folder that its own table has no row for.
        varies: says so when reading a sample twice gave two things.
    """

    ids: list[str]
    labels: list[Any] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    meta: list[Mapping[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unlisted: int = 0
    varies: str = ""

    def __post_init__(self) -> None:
        n = len(self.ids)
        self.labels = self.labels or [None] * n
        self.groups = self.groups or [""] * n
        self.meta = self.meta or [{}] * n


class Reader(Protocol):
    """An opened source."""

    listing: Listing

    def read(self, i: int) -> Mapping[str, Any]:
        """Raw value (a Pillow image or an array) by model input, of one sample."""


def list_folder(source: Source) -> Listing:
    """List a folder of pictures, sorted by relative name.

    ``labels.csv`` decides when it is there; else the class folders give labels; else none.

    Raises:
        UserError: nothing in it, files on both levels, or a ``labels.csv`` that does not fit.
    """
    root = Path(source.location)
    table = Path(source.labels) if source.labels else root / "labels.csv"
    if source.labels or table.is_file():
        return _from_table(root, table, source)
    found, others = _walk(root)
    if not found:
        kinds = ", ".join(sorted({Path(o).suffix or "(none)" for o in others})[:5])
        raise UserError(
            source.text or str(root),
            "holds no images" + (f" (only {kinds})" if others else ""),
            advice="images are .jpg, .png, .bmp, .webp, .tif, .gif or .ppm files",
        )
    listing = Listing(ids=found)
    flat = [name for name in found if "/" not in name]
    if flat and len(flat) < len(found):
        raise UserError(
            source.text or str(root),
            f"has {len(flat)} images beside class folders, so their labels are unclear",
            place=flat[0],
            advice="move them into class folders, or write a labels.csv",
        )
    if not flat and not source.closed:
        listing.labels = [PurePosixPath(name).parts[0] for name in found]
    left = [o for o in others if Path(o).suffix.lower() not in _SIDE_FILES]
    if left:
        listing.notes.append(f"{len(left)} files that are no images were left out ({left[0]} ...)")
    return listing


def _walk(root: Path) -> tuple[list[str], list[str]]:
    """Relative posix names of pictures and of other files; hidden ones and link loops left out."""
    found: list[str] = []
    others: list[str] = []
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for file in files:
            if not file.startswith("."):
                name = (Path(folder) / file).relative_to(root).as_posix()
                (found if Path(file).suffix.lower() in SUFFIXES else others).append(name)
    return sorted(found), sorted(others)


def read_table(table: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Header and rows of a ``labels.csv``.

    Raises:
        UserError: unreadable, too large, without header, or a row of another length.
    """
    try:
        if table.stat().st_size > _MAX_CSV:
            raise UserError(table.name, "is too large for a table of labels")
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header = list(reader.fieldnames or ())
            if len(set(header)) != len(header):
                raise UserError(table.name, "has two columns of one name", place="line 1")
            rows = []
            for row in reader:
                if None in row or None in row.values():
                    reason = f"does not have {len(header)} columns"
                    raise UserError(table.name, reason, place=f"line {reader.line_num}")
                rows.append(row)
    except OSError as error:
        raise UserError(str(table), f"cannot be read: {error.strerror}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(table.name, f"is not a readable CSV file: {error}") from None
    return header, rows


def _from_table(root: Path, table: Path, source: Source) -> Listing:
    header, rows = read_table(table)
    files = _column(header, source.arrays.get("ids", ""), ("file", "path", "filename", "image"))
    if not files:
        advice = "the first line names the columns: file,label"
        raise UserError(table.name, "has no column 'file'", place="line 1", advice=advice)
    label = _column(header, source.arrays.get("labels", ""), ("class_index", "label", "class"))
    group = _column(header, source.arrays.get("groups", ""), ("group",))
    rows = sorted(rows, key=lambda r: r[files])
    names = [_inside(root, row[files], table.name) for row in rows]
    twice = next((a for a, b in itertools.pairwise(names) if a == b), None)
    if twice is not None:
        raise UserError(table.name, "names one file twice", place=twice)
    hidden = {files, label} if source.closed else {files}
    listing = Listing(
        ids=names,
        labels=[row[label] or None for row in rows] if label and not source.closed else [],
        groups=[row[group] for row in rows] if group else [],
        meta=[{k: v for k, v in row.items() if k not in hidden} for row in rows],
    )
    extra = len(set(_walk(root)[0]) - set(names))
    if extra and source.labels:
        listing.notes.append(
            f"{extra} images of the folder are not in {table.name} and were left out"
        )
    elif extra:  # nobody chose this table: it is the folder's own, and it is not whole
        listing.unlisted = extra
    return listing


def _column(header: Sequence[str], wanted: str, usual: Sequence[str]) -> str:
    if wanted:
        if wanted not in header:
            known = ", ".join(header)
            raise UserError("labels.csv", f"has no column {wanted!r}, only {known}", place="line 1")
        return wanted
    return next((name for name in usual if name in header), "")


def _inside(root: Path, name: str, table: str) -> str:
    pure = PurePosixPath(name.replace("\\", "/"))
    if not name or "\0" in name or pure.is_absolute() or ".." in pure.parts:
        raise UserError(table, "names a file outside its folder", place=name[:80] or "(empty)")
    if not (root / pure).exists():
        raise UserError(table, "names a file that does not exist", place=name[:80])
    return pure.as_posix()


def select(source: Source, listing: Listing, subject: str) -> tuple[list[int], str]:
    """Choose the samples: ``where``, then the slice, the split, the limit; order kept.

    Returns:
        Positions in the listing, and one sentence on how they were chosen.

    Raises:
        UserError: nothing is left, or a column of ``where`` does not exist.
    """
    chosen = list(range(len(listing.ids)))
    steps = [f"{len(chosen)} samples in sorted order"]
    for column, value in source.where.items():
        known = {m.get(column) for m in listing.meta}
        if known <= {None}:
            raise UserError(
                subject, f"there is no column {column!r} in a labels.csv", place="where"
            )
        chosen = [i for i in chosen if listing.meta[i].get(column) == value]
        steps.append(f"{column} = {value}: {len(chosen)}")
        if not chosen:
            have = ", ".join(sorted(v for v in known if v)[:6])
            raise UserError(
                subject, f"no sample has {column} = {value}", place="where", advice=have
            )
    if (source.start, source.stop, source.step) != (None, None, 1):
        chosen = chosen[source.start : source.stop : source.step]
        steps.append(f"slice: {len(chosen)}")
    if source.part:
        chosen = _split(source, listing, chosen)
        how = f"split by group, seed {source.split_seed}"
        steps.append(f"{source.part} part of a {how}: {len(chosen)}")
    if source.limit and len(chosen) > source.limit:
        chosen = _thin(chosen, source)
        how = "evenly spaced" if source.sample_seed is None else f"drawn, seed {source.sample_seed}"
        steps.append(f"limit: {len(chosen)}, {how}")
    if not chosen:
        raise UserError(subject, "has no samples", advice="; ".join(steps))
    return chosen, "; ".join(steps)


def _thin(chosen: list[int], source: Source) -> list[int]:
    if source.sample_seed is not None:
        draw = random.Random(source.sample_seed)  # noqa: S311  # a sample, not a secret
        return sorted(draw.sample(chosen, source.limit))
    return [chosen[k * len(chosen) // source.limit] for k in range(source.limit)]


def _split(source: Source, listing: Listing, chosen: list[int]) -> list[int]:
    names = {i: listing.groups[i] or listing.ids[i] for i in chosen}
    sizes: dict[str, int] = {}
    for name in names.values():
        sizes[name] = sizes.get(name, 0) + 1
    room = min(source.split_count, len(chosen) // 2)
    calibration: set[str] = set()
    key = {n: hashlib.sha256(f"{source.split_seed}:{n}".encode(errors="replace")) for n in sizes}
    for name in sorted(sizes, key=lambda n: key[n].digest()):
        if sizes[name] <= room:
            calibration.add(name)
            room -= sizes[name]
    wanted = source.part == "calibration"
    return [i for i in chosen if (names[i] in calibration) == wanted]
