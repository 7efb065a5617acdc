"""Sample stores and output stores, as a child sees them: memory-mapped arrays beside an index.

A store is a folder. ``index.json`` describes it; every input (or output) is one ``.npy`` file
whose first axis counts samples, without a batch axis of its own. Where the shape differs from
sample to sample the entry is ``ragged`` and each sample has a file of its own.
Labels, when known, lie in ``labels.json``: a list with one JSON value per sample, or null.
Sequences are samples in order that say ``sequence`` and ``step``; ``state`` in the index names the
outputs of a step that the next one is fed, and ``step_labels`` says that labels are the steps' own.
numpy is imported late, so that the module can be carried into foreign interpreters.
"""

from __future__ import annotations

import json
import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

SCHEMA = "seatrial.samples/1"

#: numpy reads a file's header as Python source, and CPython 3.11 counts the depth of its syntax
#: trees for all threads together: two headers at once end in a SystemError now and then.
_HEADER = threading.Lock()


class Samples:
    """A store opened for reading.

    Args:
        root: the store's folder.

    Raises:
        ValueError: the folder holds no store of this schema.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            self.index: dict[str, Any] = json.loads((root / "index.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"{root} is not a sample store: {error}") from None
        if self.index.get("schema") != SCHEMA:
            raise ValueError(f"{root} has schema {self.index.get('schema')!r}, not {SCHEMA}")
        self.count: int = self.index["count"]
        self.names: tuple[str, ...] = tuple(t["name"] for t in self.index["tensors"])
        self._tensors: dict[str, dict[str, Any]] = {t["name"]: t for t in self.index["tensors"]}
        self._maps: dict[str, Any] = {}
        self._files: dict[str, tuple[int, int, Any]] = {}

    @property
    def ids(self) -> tuple[str, ...]:
        """Identity of each sample: a file name, or the position in the source."""
        return tuple(s["id"] for s in self.index["samples"])

    @property
    def hashes(self) -> tuple[str, ...]:
        """sha256 of each sample's tensors as fed."""
        return tuple(s["sha256"] for s in self.index["samples"])

    @property
    def groups(self) -> tuple[str, ...]:
        """Group of each sample (video, part, patient), or its id when it has none."""
        return tuple(s.get("group") or s["id"] for s in self.index["samples"])

    @property
    def labels(self) -> tuple[Any, ...] | None:
        """One label per sample, or ``None`` when the source has none."""
        path = self.root / "labels.json"
        return tuple(json.loads(path.read_text("utf-8"))) if path.is_file() else None

    @property
    def state(self) -> Mapping[str, str]:
        """Of sequences: output -> the input that takes it in the next step; else empty."""
        found: Mapping[str, str] = self.index.get("state", {})
        return found

    @property
    def made(self) -> tuple[str, ...]:
        """Inputs that the core makes (constants, states) and no source holds."""
        contracts = self.index.get("contracts", {})
        return tuple(n for n, c in contracts.items() if c.get("mode") in ("constant", "state"))

    def follows(self, i: int) -> bool:
        """Whether sample ``i`` is the step after sample ``i - 1`` of one sequence."""
        rows = self.index["samples"]
        if i == 0 or "step" not in rows[i] or "step" not in rows[i - 1]:
            return False
        here, before = rows[i], rows[i - 1]
        return bool(here["sequence"] == before["sequence"] and here["step"] == before["step"] + 1)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Shape of one sample of a tensor; ``None`` when it differs between samples."""
        tensor = self._tensors[name]
        return None if tensor.get("ragged") else tuple(tensor["shape"])

    def array(self, name: str) -> Any:
        """The whole tensor, shape (count, ...), memory-mapped read-only (not for ragged ones)."""
        import numpy as np

        if name not in self._maps:
            file = self.root / self._tensors[name]["file"]
            with _HEADER:
                self._maps[name] = np.load(file, mmap_mode="r", allow_pickle=False)
        return self._maps[name]

    def one(self, name: str, i: int) -> Any:
        """One sample of one tensor, without batch axis."""
        import numpy as np

        tensor = self._tensors[name]
        if tensor.get("ragged"):
            file = self.root / tensor["file"].replace("*", str(i))
            with _HEADER:
                return np.load(file, mmap_mode="r", allow_pickle=False)
        return self.array(name)[i]

    def forget(self) -> None:
        """Close the maps: what was read of a mapped file counts as this process's memory."""
        self._maps.clear()

    def feeds(self, indices: Sequence[int]) -> dict[str, Any]:
        """C-contiguous arrays by input name, the chosen samples stacked along the batch axis.

        A store made with ``"batch_axis": false`` (models without one) gives the sample itself.
        Several threads may call this at once.
        """
        if not self.index.get("batch_axis", True):
            (i,) = indices
            # An ellipsis keeps a number an array without axes.
            return {n: self._read(n, (i,))[0, ...] for n in self.names}
        return {n: self._read(n, indices) for n in self.names}

    def _read(self, name: str, indices: Sequence[int]) -> Any:
        """Samples stacked, read and not mapped: a mapped page would count as our memory."""
        import numpy as np

        tensor = self._tensors[name]
        if tensor.get("ragged"):
            return np.stack([self.one(name, i) for i in indices])
        handle, start, dtype = self._file(name)
        result = np.empty((len(indices), *tensor["shape"]), dtype)
        flat: Any = memoryview(result.reshape(-1).view(np.uint8).data)
        size = len(flat) // max(len(indices), 1)
        for k, i in enumerate(range(self.count)[i] for i in indices):
            row = flat[k * size : (k + 1) * size]
            if os.preadv(handle, [row], start + i * size) < size:
                raise ValueError(f"{self.root} is shorter than its index says")
        return result

    def _file(self, name: str) -> tuple[int, int, Any]:
        """The open file of a stacked tensor, where its data begins, its element type."""
        if name not in self._files:
            array = self.array(name)
            handle = os.open(self.root / self._tensors[name]["file"], os.O_RDONLY)
            weakref.finalize(self, os.close, handle)
            self._files[name] = (handle, array.offset, array.dtype)
        return self._files[name]

    def batches(self, size: int = 1, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Feeds for consecutive groups of ``size`` samples; a last short group is left out."""
        count = self.count if limit is None else min(self.count, limit)
        for start in range(0, count - size + 1, size):
            yield self.feeds(range(start, start + size))


class StoreWriter:
    """Writes a store, one sample at a time, in memory that does not grow with the samples.

    Args:
        root: an empty folder.
        count: how many samples will come.
        batch_axis: whether the model's inputs have a batch axis to stack along.
    """

    def __init__(self, root: Path, count: int, *, batch_axis: bool = True) -> None:
        self.root = root
        self.count = count
        self.batch_axis = batch_axis
        self.written = 0
        self._maps: dict[str, Any] = {}
        self._order: list[str] = []
        self._ragged: dict[str, str] = {}

    def add(self, tensors: Mapping[str, Any]) -> None:
        """Append one sample: arrays without batch axis, the same names every time."""
        if self._order and set(tensors) != set(self._order):
            raise ValueError(f"sample {self.written} has other tensors than the first one")
        for name, value in tensors.items():
            if name not in self._order:
                self._order.append(name)
            self._put(name, value)
        self.written += 1

    def _put(self, name: str, value: Any) -> None:
        import numpy as np

        array = np.asarray(value)
        if array.dtype.hasobject:
            raise ValueError(f"{name} holds Python objects, not numbers")
        file = f"{self._order.index(name)}.npy"
        if name in self._ragged:
            np.save(self.root / self._ragged[name].replace("*", str(self.written)), array)
            return
        if name not in self._maps:
            shape = (self.count, *array.shape)
            self._maps[name] = np.lib.format.open_memmap(
                self.root / file, mode="w+", dtype=array.dtype, shape=shape
            )
        stored = self._maps[name]
        if array.shape == stored.shape[1:] and array.dtype == stored.dtype:
            stored[self.written] = array
            return
        self._unstack(name, file)
        np.save(self.root / self._ragged[name].replace("*", str(self.written)), array)

    def _unstack(self, name: str, file: str) -> None:
        """Turn a stacked tensor into ragged files: a sample of another shape has come."""
        import numpy as np

        pattern = file.replace(".npy", ".*.npy")
        stored = self._maps.pop(name)
        for i in range(self.written):
            np.save(self.root / pattern.replace("*", str(i)), stored[i])
        (self.root / file).unlink()
        self._ragged[name] = pattern

    def restore_axis(self, name: str) -> None:
        """Give the samples of a tensor written so far a first axis of length 1.

        For outputs that looked as if they had a batch axis until a later sample showed otherwise.
        """
        import numpy as np

        if name in self._maps:
            self._unstack(name, f"{self._order.index(name)}.npy")
        for i in range(self.written):
            file = self.root / self._ragged[name].replace("*", str(i))
            np.save(file, np.load(file, allow_pickle=False)[None])

    def close(
        self,
        samples: Sequence[Mapping[str, Any]],
        labels: Sequence[Any] | None = None,
        **facts: Any,
    ) -> tuple[str, ...]:
        """Write index and labels.

        Args:
            samples: one mapping per sample with at least ``id`` and ``sha256``.
            labels: one JSON value per sample.
            facts: further keys of the index (origin, input contract).

        Returns:
            The names of all files of the store.

        Raises:
            ValueError: another number of samples was added than announced.
        """
        if self.written != self.count or len(samples) != self.count:
            raise ValueError(f"{self.written} samples written, {self.count} announced")
        tensors = []
        for k, name in enumerate(self._order):
            entry: dict[str, Any] = {"name": name, "file": self._ragged.get(name, f"{k}.npy")}
            if name in self._ragged:
                entry["ragged"] = True
            else:
                stored = self._maps[name]
                stored.flush()
                entry |= {"dtype": str(stored.dtype), "shape": list(stored.shape[1:])}
            tensors.append(entry)
        index = {
            "schema": SCHEMA,
            "count": self.count,
            "batch_axis": self.batch_axis,
            "tensors": tensors,
            "samples": [dict(s) for s in samples],
            **facts,
        }
        text = json.dumps(index, allow_nan=False, indent=1)
        (self.root / "index.json").write_text(text, "utf-8")
        if labels is not None:
            text = json.dumps(list(labels), allow_nan=False)
            (self.root / "labels.json").write_text(text, "utf-8")
        return tuple(sorted(p.name for p in self.root.iterdir() if p.is_file()))
