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

from seatrial.data.annotations import (
    COCO_NAMES,
    box_columns,
    read_coco,
    read_yolo,
    table_label,
)
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

    ``labels.csv`` or a COCO file decides when it is there, then folders ``images`` and ``labels``
    (text files or masks); else the class folders give labels; else there are none.

    Raises:
        UserError: nothing in it, files on both levels, or a ``labels.csv`` that does not fit.
    """
    root = Path(source.location)
    beside = _beside(root, source)
    if beside.suffix == ".json":
        return _from_coco(root, beside, source)
    if beside.is_dir():
        return _from_files(root, beside, source)
    if beside.suffix == ".csv":
        return _from_table(root, beside, source)
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


def _beside(root: Path, source: Source) -> Path:
    """Where the labels are: a ``.csv``, a COCO ``.json``, a folder; else the root itself.

    Raises:
        UserError: the user names something that is none of them.
    """
    if source.labels:
        path = Path(source.labels)
        if path.is_dir() or path.suffix in (".csv", ".json"):
            return path
        raise UserError(source.labels, "is no .csv, no COCO .json and no folder", place="labels")
    for name in ("labels.csv", *COCO_NAMES):
        if (root / name).is_file():
            return root / name
    for name in ("labels", "masks"):
        if (root / "images").is_dir() and (root / name).is_dir():
            return root / name
    return root / "none"


def _from_coco(root: Path, path: Path, source: Source) -> Listing:
    """Pictures that a COCO file names, with their boxes."""
    labels, names = read_coco(path, bool(source.classes or source.class_index))
    ids = sorted(labels)
    folder = "" if all((root / name).exists() for name in ids[:20]) else "images/"
    listing = Listing(ids=[_inside(root, folder + name, path.name) for name in ids])
    if not source.closed:
        listing.labels = [labels[name] for name in ids]
        listing.notes.append(f"{len(names)} categories are numbered in the order of their ids")
    extra = len(set(_walk(root)[0]) - set(listing.ids))
    if extra:
        text = f"{extra} images of the folder are not in {path.name} and were left out"
        listing.notes.append(text)
    return listing


def _from_files(root: Path, folder: Path, source: Source) -> Listing:
    """Pictures with a file each: a text file of boxes or a picture of class indices.

    Raises:
        UserError: the folder holds neither, or a picture lacks its mask.
    """
    names = [name for name in _walk(root)[0] if not (root / name).is_relative_to(folder)]
    inner = "images/"
    if any(name.startswith(inner) for name in names):
        names = [name for name in names if name.startswith(inner)]
    else:
        inner = ""
    stems = [PurePosixPath(name.removeprefix(inner)).with_suffix("") for name in names]
    listing = Listing(ids=names)
    if source.closed:
        return listing
    if any(folder.rglob("*.txt")):
        listing.labels = [read_yolo(folder / f"{stem}.txt") for stem in stems]
        missing = sum(not (folder / f"{stem}.txt").is_file() for stem in stems)
        if missing:
            listing.notes.append(f"{missing} images have no text file: they show no object")
        return listing
    masks = [folder / f"{stem}.png" for stem in stems]
    lacking = [name for name, mask in zip(names, masks, strict=True) if not mask.is_file()]
    if lacking:
        reason = f"holds no .txt and no .png for {len(lacking)} of {len(names)} images"
        raise UserError(str(folder), reason, place=lacking[0])
    listing.labels = [{"mask_file": str(mask)} for mask in masks]
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
    boxes: dict[str, Any] = {}
    if columns := box_columns(header):
        by_file = {k: list(v) for k, v in itertools.groupby(rows, key=lambda r: r[files])}
        boxes = {k: table_label(v, columns, label, table.name) for k, v in by_file.items()}
        rows = [v[0] for v in by_file.values()]
    names = [_inside(root, row[files], table.name) for row in rows]
    twice = next((a for a, b in itertools.pairwise(names) if a == b), None)
    if twice is not None:
        raise UserError(table.name, "names one file twice", place=twice)
    hidden = {files, label, *columns} if source.closed or boxes else {files}
    labels = [boxes.get(row[files]) or (row[label] or None if label else None) for row in rows]
    listing = Listing(
        ids=names,
        labels=[] if source.closed else labels,
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
