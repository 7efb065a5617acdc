"""Open a folder or an array file: a listing, and each sample's raw values by model input.

Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seatrial.data.contract import InputContract
from seatrial.data.listing import Listing, list_folder, read_table
from seatrial.data.npy import Npz, open_npy
from seatrial.data.pictures import Oddities, open_picture
from seatrial.data.source import Source
from seatrial.errors import UserError
from seatrial.results import TensorIO

USUAL_DATA = ("x", "X", "images", "image", "input", "inputs", "data", "features")
USUAL_LABELS = ("labels", "label", "y", "targets", "target")
USUAL_GROUPS = ("groups", "group")
USUAL_IDS = ("ids", "id", "paths", "files", "names")


class FolderReader:
    """Pictures of a folder, for a model with one image input."""

    def __init__(
        self,
        source: Source,
        inputs: Sequence[TensorIO],
        contracts: Mapping[str, InputContract],
        odd: Oddities,
    ) -> None:
        if len(inputs) != 1:
            names = ", ".join(i.name for i in inputs)
            raise UserError(
                source.text,
                f"a folder of images feeds one input, the model has {len(inputs)}: {names}",
                advice="use an .npz with an array per input, or MODULE:CALLABLE",
            )
        self.name = inputs[0].name
        self.contract = contracts[self.name]
        if self.contract.mode != "image":
            reason = 'a folder of images needs mode = "image"'
            raise UserError("input contract", reason, place=f'[input."{self.name}"] mode')
        self.root = Path(source.location)
        self.odd = odd
        self.listing = list_folder(source)

    def read(self, i: int) -> Mapping[str, Any]:
        """One decoded picture."""
        name = self.listing.ids[i]
        return {self.name: open_picture(self.root / name, name, self.contract.exif, self.odd)}


class ArrayReader:
    """Arrays of an ``.npz`` (or one ``.npy``) whose first axis counts samples."""

    def __init__(self, source: Source, inputs: Sequence[TensorIO], scratch: Path) -> None:
        path = Path(source.location)
        self.file = path.name
        self.arrays: dict[str, Any] = {}
        if path.suffix.lower() == ".npz":
            self.listing = self._from_npz(Npz(path, scratch), source, inputs)
        else:
            if len(inputs) != 1:
                names = ", ".join(i.name for i in inputs)
                raise UserError(self.file, f"holds one array, the model has the inputs {names}")
            self.arrays[inputs[0].name] = self._counted(open_npy(path, self.file), self.file)
            n = len(self.arrays[inputs[0].name])
            self.listing = Listing(ids=[str(i) for i in range(n)])
        if source.labels and not source.closed:
            self.listing.labels = _labels_file(Path(source.labels), source, len(self.listing.ids))

    def read(self, i: int) -> Mapping[str, Any]:
        """One row of each array."""
        return {name: array[i] for name, array in self.arrays.items()}

    def _from_npz(self, npz: Npz, source: Source, inputs: Sequence[TensorIO]) -> Listing:
        labels = self._find(npz, source, "labels", USUAL_LABELS)
        groups = self._find(npz, source, "groups", USUAL_GROUPS)
        ids = self._find(npz, source, "ids", USUAL_IDS)
        taken = {labels, groups, ids} - {""}
        for model_input in inputs:
            name = self._data_name(npz, source, model_input.name, len(inputs) == 1, taken)
            self.arrays[model_input.name] = self._counted(npz.array(name), f"{self.file}: {name}")
        counts = {name: len(array) for name, array in self.arrays.items()}
        n = next(iter(counts.values()))
        for side in (labels, groups, ids):
            if side and not (side == labels and source.closed):
                counts[side] = len(self._counted(npz.array(side), f"{self.file}: {side}"))
        if set(counts.values()) != {n}:
            text = ", ".join(f"{k}: {v}" for k, v in counts.items())
            raise UserError(self.file, f"arrays count different numbers of samples ({text})")
        return Listing(
            ids=_unique(_texts(npz.array(ids))) if ids else [str(i) for i in range(n)],
            labels=self._labels(npz, source, labels, inputs),
            groups=_texts(npz.array(groups)) if groups else [],
        )

    def _labels(
        self, npz: Npz, source: Source, labels: str, inputs: Sequence[TensorIO]
    ) -> list[Any]:
        """Labels by sample; with an array of boxes (samples, most, 4), class -1 ends a list."""
        if source.closed:
            return []
        free = {i.name for i in inputs}
        boxes = self._find(npz, source, "boxes", tuple({"boxes"} - free))
        classes = list(npz.array(labels)) if labels else []
        if not boxes:
            return classes
        found = self._counted(npz.array(boxes), f"{self.file}: {boxes}")
        if found.ndim != 3 or found.shape[2] != 4 or len(classes) != len(found):
            reason = f"boxes of shape {found.shape} do not fit {len(classes)} labels"
            raise UserError(self.file, reason, advice="boxes (samples, most, 4), labels alike")
        return [
            {"boxes": box[kind >= 0], "classes": kind[kind >= 0]}
            for box, kind in zip(found, classes, strict=True)
        ]

    def _find(self, npz: Npz, source: Source, role: str, usual: Sequence[str]) -> str:
        wanted = source.arrays.get(role, "")
        if not wanted:
            inputs = set(source.arrays.values())
            return next((u for u in usual if u in npz.names and u not in inputs), "")
        return self._must(npz, wanted)

    def _must(self, npz: Npz, wanted: str) -> str:
        if wanted not in npz.names:
            known = ", ".join(npz.names)
            raise UserError(self.file, f"has no array {wanted!r}, only {known}", place="arrays")
        return wanted

    def _data_name(self, npz: Npz, source: Source, name: str, single: bool, taken: set[str]) -> str:
        if name in source.arrays:
            return self._must(npz, source.arrays[name])
        if name in npz.names:
            return name
        if single:
            usual = next((u for u in USUAL_DATA if u in npz.names), "")
            if usual:
                return usual
            left = [n for n in npz.names if n not in taken and len(npz.shape(n)[0]) > 0]
            if len(left) == 1:
                return left[0]
        known = ", ".join(npz.names) or "none at all"
        raise UserError(
            self.file,
            f"has no array for the model input {name!r}, only {known}",
            advice=f'write arrays = {{ "{name}" = "ARRAY" }} in the configuration',
        )

    def _counted(self, array: Any, subject: str) -> Any:
        if array.ndim == 0:
            raise UserError(subject, "is a single number; its first axis must count samples")
        if array.dtype.kind not in "fiubSU":
            raise UserError(subject, f"holds {array.dtype}, which is neither numbers nor texts")
        return array


def _texts(array: Any) -> list[str]:
    return [
        v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in array.tolist()
    ]


def _unique(ids: list[str]) -> list[str]:
    if len(set(ids)) == len(ids):
        return ids
    return [f"{i}:{name}" for i, name in enumerate(ids)]


def _labels_file(path: Path, source: Source, count: int) -> list[Any]:
    if path.suffix.lower() == ".npy":
        labels = list(open_npy(path, path.name))
    else:
        header, rows = read_table(path)
        wanted = source.arrays.get("labels") or next(
            (n for n in ("class_index", "label", "class") if n in header), ""
        )
        if wanted not in header:
            raise UserError(path.name, "has no column 'label'", place="line 1")
        labels = [row[wanted] for row in rows]
    if len(labels) != count:
        raise UserError(path.name, f"holds {len(labels)} labels for {count} samples")
    return labels
