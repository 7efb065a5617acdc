"""Labels as written by people to the numbers that a model's outputs are compared with."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from seatrial.data.source import Source
from seatrial.errors import UserError

_MAX_INDEX_FILE = 64 << 20


class LabelMap:
    """How class names become class indices.

    Names come from ``classes`` or ``class_index`` of the source; else names that are all whole
    numbers mean themselves, and others count in sorted order.

    Args:
        source: with ``classes`` and ``class_index``.
        raw: every label of the source, also of samples that are not selected, so that two parts
            of one source number their classes alike.
        texts: labels are texts, not names of classes.
    """

    def __init__(self, source: Source, raw: Iterable[Any], *, texts: bool = False) -> None:
        self.texts = texts
        names = {v.strip() for label in raw for v in _names(label)}
        self.sorted_order = False
        if source.classes:
            self.index = {name: k for k, name in enumerate(source.classes)}
        elif source.class_index:
            self.index = read_class_index(Path(source.class_index))
        elif all(_whole(name) for name in names):
            self.index = {name: int(name) for name in names}
        else:
            self.index = {name: k for k, name in enumerate(sorted(names))}
            self.sorted_order = True

    @property
    def classes(self) -> tuple[str, ...]:
        """Names by index; empty where they say nothing more than the index."""
        if not self.index or all(_whole(name) for name in self.index):
            return ()
        top = max(self.index.values())
        if top >= 1_000_000:
            return ()
        names = [""] * (top + 1)
        for name, k in self.index.items():
            names[k] = names[k] or name
        return tuple(names)

    def __call__(self, raw: Any, where: str) -> Any:
        """The label to store: an int, or JSON values for structured annotations.

        Raises:
            UserError: a name that the class list lacks, or an index below 0.
        """
        value = to_json(raw)
        if isinstance(value, dict) and "boxes" in value:
            classes = value.get("classes") or []
            return {**value, "classes": [self(c, where) for c in classes]}
        if isinstance(value, str) and not self.texts:
            name = value.strip()
            if name not in self.index:
                raise UserError(where, f"the label {name[:60]!r} is not in the class list")
            value = self.index[name]
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and value < 0:
            raise UserError(where, f"the label is {value}; labels count from 0")
        return value


def _names(label: Any) -> list[str]:
    """Class names in a label: itself, or those of its boxes."""
    if isinstance(label, dict):
        return [v for v in label.get("classes", ()) if isinstance(v, str)]
    return [label] if isinstance(label, str) else []


def _whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def read_class_index(path: Path) -> dict[str, int]:
    """A JSON file: a list of names, {name: index}, {index: name} or {index: [name, name]}.

    A mapping with one list of names in it (under any key) is read as that list.

    Raises:
        UserError: anything else.
    """
    try:
        if path.stat().st_size > _MAX_INDEX_FILE:
            raise UserError(str(path), "is too large for a class index")
        data = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(
            str(path), f"cannot be read: {error.strerror}", place="class_index"
        ) from None
    except (ValueError, RecursionError):
        raise UserError(str(path), "is not valid JSON", place="class_index") from None
    index = _index_from(data)
    if not index:
        advice = 'write ["cat", "dog"], {"cat": 0} or {"0": "cat"}'
        raise UserError(str(path), "maps no names to indices", place="class_index", advice=advice)
    return index


def _index_from(data: Any) -> dict[str, int]:
    index: dict[str, int] = {}
    if isinstance(data, list):
        return {name: k for k, name in enumerate(data) if isinstance(name, str)}
    if not isinstance(data, dict):
        return index
    for key, value in data.items():
        if isinstance(value, int) and not isinstance(value, bool):
            index[key] = value
        elif _whole(key):
            names = value if isinstance(value, list) else [value]
            index |= {name: int(key) for name in names if isinstance(name, str)}
    if index:
        return index
    lists = [v for v in data.values() if isinstance(v, list) and v]
    return _index_from(lists[0]) if lists else index


def to_json(value: Any) -> Any:
    """A label from numpy, torch or plain Python as JSON values.

    Raises:
        UserError: it holds something that JSON cannot.
    """
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        value = value.tolist()
        while (
            isinstance(value, list) and len(value) == 1 and not isinstance(value[0], (list, dict))
        ):
            value = value[0]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UserError("labels", "hold a NaN or an infinity")
        return value
    if isinstance(value, (list, tuple)):
        return [to_json(v) for v in value]
    if isinstance(value, dict):
        return {str(k): to_json(v) for k, v in value.items()}
    raise UserError("labels", f"hold a {type(value).__name__}, which is no number, text or list")


def complete_labels(raw: Sequence[Any]) -> bool:
    """Whether every sample has a label.

    Raises:
        UserError: only some have one.
    """
    missing = sum(v is None for v in raw)
    if 0 < missing < len(raw):
        raise UserError("labels", f"{missing} of {len(raw)} samples have none")
    return bool(raw) and not missing
