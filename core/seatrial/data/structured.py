"""What labels of boxes and masks look like once the data room has read them.

Boxes: ``{"boxes": [[x0, y0, x1, y1], ...], "classes": [...], "crowd": [...], "size": [h, w]}`` in
pixels of the original picture; ``crowd`` and ``size`` (what the annotations were made on) may be
missing. Masks: ``{"mask": TEXT, "shape": [h, w], "dtype": "uint8"}``, the text being the bytes of
the array, deflated and in base 64.
"""

from __future__ import annotations

import base64
import dataclasses
import math
import zlib
from collections.abc import Mapping
from typing import Any

from seatrial.errors import UserError


@dataclasses.dataclass(frozen=True)
class Boxes:
    """The annotated boxes of one picture.

    Attributes:
        boxes: corners in pixels of the original, shape (n, 4).
        classes: shape (n,).
        crowd: shape (n,): regions that count for nothing.
        size: (height, width) that the annotations were made on; empty: unknown.
    """

    boxes: Any
    classes: Any
    crowd: Any
    size: tuple[int, ...] = ()


def boxes_of(label: Any) -> Boxes:
    """A label as boxes.

    Raises:
        UserError: it is none.
    """
    import numpy as np

    if not isinstance(label, Mapping) or "boxes" not in label:
        raise UserError(
            "labels",
            f"{str(label)[:60]!r} is no mapping with boxes",
            advice='COCO JSON, YOLO text files, a labels.csv with boxes, or {"boxes", "classes"}',
        )
    try:
        boxes = np.asarray(label["boxes"], float).reshape(-1, 4)
        classes = np.asarray(label.get("classes", [0] * len(boxes)), dtype=np.int64).reshape(-1)
        crowd = np.asarray(label.get("crowd") or [0] * len(boxes), dtype=bool).reshape(-1)
    except (TypeError, ValueError) as error:
        raise UserError("labels", f"boxes cannot be read: {error}") from None
    if not len(boxes) == len(classes) == len(crowd):
        reason = f"{len(boxes)} boxes with {len(classes)} classes and {len(crowd)} crowd flags"
        raise UserError("labels", reason)
    return Boxes(boxes, classes, crowd, tuple(int(v) for v in label.get("size") or ()))


def pack_mask(mask: Any) -> dict[str, Any]:
    """A mask of class indices, shape (h, w), as a label.

    Raises:
        UserError: it is no array of whole numbers of two axes.
    """
    import numpy as np

    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.dtype.kind not in "iub":
        shape = "x".join(map(str, mask.shape))
        raise UserError("labels", f"a mask is whole numbers, h x w, not {mask.dtype} {shape}")
    small = next((t for t in (np.uint8, np.int16, np.int32) if _holds(t, mask)), np.int64)
    stored = np.ascontiguousarray(mask.astype(small))
    text = base64.b64encode(zlib.compress(stored.tobytes(), 6)).decode("ascii")
    return {"mask": text, "shape": list(mask.shape), "dtype": stored.dtype.name}


def _holds(dtype: Any, mask: Any) -> bool:
    import numpy as np

    limits = np.iinfo(dtype)
    return not mask.size or bool(mask.min() >= limits.min and mask.max() <= limits.max)


def mask_of(label: Any) -> Any:
    """The mask that :func:`pack_mask` packed, shape (h, w).

    Raises:
        UserError: the label is no mask.
    """
    import numpy as np

    try:
        shape, dtype = tuple(label["shape"]), np.dtype(label["dtype"])
        size = math.prod(shape) * dtype.itemsize
        data = zlib.decompressobj().decompress(base64.b64decode(label["mask"]), size)
        return np.frombuffer(data, dtype).reshape(shape)
    except (TypeError, KeyError, ValueError, zlib.error):
        raise UserError(
            "labels",
            f"{str(label)[:60]!r} is no mask",
            advice="masks are PNG files of class indices, or an array of them",
        ) from None
