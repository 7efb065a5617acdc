"""Annotations of pictures as people keep them: COCO JSON, YOLO text files, tables, masks.

Each gives a raw label per picture; :func:`finished` brings it into the form that is stored, once
the picture's size is known. Runs in a child only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seatrial.data.structured import pack_mask
from seatrial.errors import UserError

#: Names under which a COCO file is found beside its pictures.
COCO_NAMES = ("annotations.json", "_annotations.coco.json")
#: Columns of a table of boxes, in order; either all of one row.
BOX_COLUMNS = (("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"))
_MOST_JSON = 2 << 30
_MOST_LINES = 100_000

Label = dict[str, Any]


def read_coco(path: Path, named: bool) -> tuple[dict[str, Label], tuple[str, ...]]:
    """Boxes by picture from a COCO file.

    Args:
        path: the file.
        named: give classes by name (the user lists them), else numbered in order of category ids.

    Returns:
        Labels by file name, and the names of the categories in that order.

    Raises:
        UserError: it is no such file, or contradicts itself.
    """
    try:
        if path.stat().st_size > _MOST_JSON:
            raise UserError(path.name, "is too large for annotations")
        data = json.loads(path.read_text("utf-8"))
        categories = sorted(data["categories"], key=lambda c: int(c["id"]))
        images = {
            i["id"]: (str(i["file_name"]), [int(i["height"]), int(i["width"])])
            for i in data["images"]
        }
        rows = data["annotations"]
        names = tuple(str(c["name"]) for c in categories)
        number = {c["id"]: str(c["name"]) if named else k for k, c in enumerate(categories)}
    except OSError as error:
        raise UserError(str(path), f"cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        reason = f"is no COCO file: {type(error).__name__} {str(error)[:80]}"
        raise UserError(path.name, reason, advice="images, annotations, categories") from None
    found = {name: _empty(size) for name, size in images.values()}
    for k, row in enumerate(rows):
        try:
            label = found[images[row["image_id"]][0]]
            x, y, w, h = (float(v) for v in row["bbox"])
            label["classes"].append(number[row["category_id"]])
        except (KeyError, TypeError, ValueError) as error:
            reason = f"annotation {k} cannot be read: {type(error).__name__} {error}"
            raise UserError(path.name, reason) from None
        _sane((x, y, x + w, y + h), f"{path.name}: annotation {k}")
        label["boxes"].append([x, y, x + w, y + h])
        label["crowd"].append(int(bool(row.get("iscrowd", 0))))
    return found, names


def _empty(size: Sequence[int] = ()) -> Label:
    return {"boxes": [], "classes": [], "crowd": [], "size": list(size)}


def _sane(box: Sequence[float], where: str) -> None:
    if not all(math.isfinite(v) for v in box) or box[2] < box[0] or box[3] < box[1]:
        raise UserError(where, f"{', '.join(f'{v:g}' for v in box)} is no box: corners x0,y0,x1,y1")


def read_yolo(path: Path) -> Label:
    """Boxes of one picture from a text file: ``class cx cy w h`` per line, shares of its sides.

    A picture without a file has no objects.

    Raises:
        UserError: a line that is something else.
    """
    label: Label = {"yolo": [], "classes": []}
    if not path.is_file():
        return label
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(path.name, f"cannot be read: {error}") from None
    for k, line in enumerate(lines[:_MOST_LINES], 1):
        words = line.split()
        if not words:
            continue
        try:
            number, box = int(words[0]), [float(w) for w in words[1:]]
        except ValueError:
            number, box = -1, []
        if number < 0 or len(box) != 4 or not all(-0.1 <= v <= 1.1 for v in box):
            advice = "class cx cy w h, the last four from 0 to 1"
            raise UserError(path.name, "is no YOLO annotation", place=f"line {k}", advice=advice)
        label["classes"].append(number)
        label["yolo"].append(box)
    return label


def box_columns(header: Sequence[str]) -> tuple[str, ...]:
    """The four columns of a table of boxes; empty: it holds none."""
    return next((c for c in BOX_COLUMNS if set(c) <= set(header)), ())


def table_label(
    rows: Sequence[Mapping[str, str]], columns: Sequence[str], label: str, where: str
) -> Label:
    """Boxes of one picture from its rows of a table; a row with empty cells says "no object".

    Raises:
        UserError: a cell that is no number.
    """
    found = _empty()
    for row in rows:
        cells = [row[c].strip() for c in columns]
        if not any(cells):
            continue
        try:
            box = [float(c) for c in cells]
        except ValueError:
            raise UserError(where, f"{', '.join(cells)} is no box", place=row[columns[0]]) from None
        _sane(box, where)
        found["boxes"].append(box)
        found["classes"].append(row[label] if label else 0)
    return found


def structured(raw: Any) -> Any:
    """A label from numpy, torch, Pillow or plain Python: boxes and masks in their stored form.

    Boxes are mappings with ``boxes`` (corners) and ``labels`` or ``classes``; masks are arrays of
    whole numbers with two axes, or pictures of one channel. Anything else is handed through.
    """
    import numpy as np

    if hasattr(raw, "getbbox"):
        return pack_mask(np.asarray(raw))
    if hasattr(raw, "detach"):
        raw = raw.detach().cpu().numpy()
    if isinstance(raw, np.ndarray) and raw.ndim == 2 and raw.dtype.kind in "iub":
        return pack_mask(raw)
    if isinstance(raw, Mapping) and "boxes" in raw:
        kept = {k: _listed(raw[k]) for k in ("boxes", "crowd", "size") if k in raw}
        return {**kept, "classes": _listed(raw.get("classes", raw.get("labels", [])))}
    return raw


def _listed(value: Any) -> Any:
    """An array or a tensor as nested lists; others as they are."""
    value = value.detach().cpu() if hasattr(value, "detach") else value
    return value.tolist() if hasattr(value, "tolist") else value


def finished(raw: Any, where: str, size: Sequence[int]) -> Any:
    """A raw label in the form that is stored, now that the picture's (height, width) is known.

    Raises:
        UserError: a mask file cannot be read, or shares are given for a picture without a size.
    """
    if not isinstance(raw, Mapping):
        return raw
    if "mask_file" in raw:
        return pack_mask(_read_mask(Path(raw["mask_file"])))
    if "yolo" not in raw:
        return raw
    if raw["yolo"] and len(size) != 2:
        raise UserError(where, "has boxes in shares of a picture whose size is not known")
    h, w = size if len(size) == 2 else (0, 0)
    boxes = [
        [(x - bw / 2) * w, (y - bh / 2) * h, (x + bw / 2) * w, (y + bh / 2) * h]
        for x, y, bw, bh in raw["yolo"]
    ]
    return {**_empty(), "boxes": boxes, "classes": raw["classes"], "crowd": [0] * len(boxes)}


def _read_mask(path: Path) -> Any:
    """A picture of class indices: grey values, or the indices of its palette, as stored."""
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode not in ("L", "P", "I", "I;16", "1"):
                reason = f"is {image.mode}; a mask holds one class index per pixel"
                raise UserError(path.name, reason, advice="save it as grey or with a palette")
            return np.asarray(image).astype(np.int64 if image.mode == "I" else np.uint16)
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001  # decoders raise anything on a broken file
        raise UserError(path.name, f"cannot be read: {type(error).__name__}") from None
