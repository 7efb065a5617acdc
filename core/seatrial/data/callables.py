"""The user's own data set: ``MODULE:CALLABLE`` gives a torch data set, a loader or any iterable.

Runs in a ``user`` child only. Nothing of torch is imported here: tensors, data sets and loaders
are known by what they can do.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from seatrial.data.annotations import structured
from seatrial.data.labels import to_json
from seatrial.data.listing import Listing
from seatrial.data.readers import USUAL_DATA, USUAL_GROUPS, USUAL_IDS, USUAL_LABELS
from seatrial.data.source import Source
from seatrial.errors import UserError, place_of
from seatrial.hookspecs import Job
from seatrial.results import TensorIO

#: Most samples taken from an iterable that does not end by itself.
MAX_STREAM = 1_000_000


def resolve(location: str) -> Any:
    """Import ``MODULE:NAME`` or ``FILE.py:NAME``.

    Raises:
        UserError: it does not exist, or importing it failed.
    """
    module, _, name = location.rpartition(":")
    try:
        if module.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(module).stem, module)
            if spec is None or spec.loader is None:
                raise UserError(location, "is no Python file")
            sys.path.insert(0, str(Path(module).parent))
            found: Any = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = found
            spec.loader.exec_module(found)
        else:
            sys.path.insert(0, str(Path.cwd()))
            found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001  # the user's module may raise anything
        blame(location, error)
    return found


def blame(location: str, error: Exception) -> NoReturn:
    """Say where the user's own code raised."""
    first = (str(error).splitlines() or [""])[0][:160]
    raise UserError(
        location, f"raised {type(error).__name__}: {first}", place=place_of(error)
    ) from None


class CallableReader:
    """Samples of a user's callable.

    What it returns may be a map-style data set (length and indexing), a loader whose items are
    batches, or any iterable of samples. A sample is an array (or picture), ``(array, label)``, or
    a mapping with an entry per model input and, if any, ``label``, ``group`` and ``id``.
    Iterables are read once, into files, so that they can be counted and selected from.
    """

    def __init__(self, source: Source, inputs: Sequence[TensorIO], job: Job) -> None:
        self.source = source
        self.inputs = tuple(i.name for i in inputs)
        self.where = source.text or source.location
        self.listing = Listing(ids=[])
        found = resolve(source.location)
        self._seed()
        try:
            data = found() if callable(found) and not _indexable(found) else found
            if _is_loader(data):
                self._spool(self._unbatched(data), job)
            elif _indexable(data):
                self._index(data, job)
            else:
                self._spool(iter(data), job)
        except (UserError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  # the user's code may raise anything
            blame(self.where, error)

    def _seed(self) -> None:
        """Fix the usual generators, so that a shuffled loader gives one order every time."""
        import random

        import numpy as np

        seed = self.source.read_seed
        random.seed(seed)
        np.random.seed(seed)  # the user's code draws from it
        torch = sys.modules.get("torch")
        if torch is not None:
            torch.manual_seed(seed)

    def _index(self, data: Any, job: Job) -> None:
        """A map-style data set: read where it stands."""
        count = len(data)
        self.listing = Listing(ids=[str(i) for i in range(count)])

        def fresh(i: int) -> Mapping[str, Any]:
            item = data[i]
            self._note(i, item)
            return self._values(item, i)

        self._read: Callable[[int], Mapping[str, Any]] = fresh
        if count and self._needs_all(data[0]):
            for i in range(count):
                self._note(i, data[i])
                if i % 1000 == 0:
                    job.progress("reading labels", i / count)
        self._compare_twice(data, count)

    def _needs_all(self, first: Any) -> bool:
        """Whether labels or groups of samples that are not selected matter: then all are read."""
        self._note(0, first)
        named = isinstance(self.listing.labels[0], str)
        return bool(self.source.part) or (
            named and not (self.source.classes or self.source.class_index)
        )

    def _compare_twice(self, data: Any, count: int) -> None:
        for i in range(min(count, 4)):
            first, second = self._values(data[i], i), self._values(data[i], i)
            if any(not _same(first[k], second[k]) for k in first):
                self.listing.varies = f"sample {i} differs when it is read twice"
                return

    def _spool(self, items: Iterator[Any], job: Job) -> None:
        import numpy as np

        stop = self.source.stop
        plain = stop is not None and stop >= 0
        last = min(stop, MAX_STREAM) if plain and stop is not None else MAX_STREAM
        folder = job.scratch / "stream"
        folder.mkdir()
        self.listing = Listing(ids=[])
        for i, item in enumerate(items):
            if i >= last:
                break
            values = {k: np.asarray(v) for k, v in self._values(item, i).items()}
            for k, name in enumerate(self.inputs):
                if values[name].dtype.hasobject:
                    raise UserError(self.where, f"sample {i} of {name!r} holds Python objects")
                np.save(folder / f"{i}-{k}.npy", values[name], allow_pickle=False)
            self.listing.ids.append(str(i))
            self.listing.labels.append(None)
            self.listing.groups.append("")
            self.listing.meta.append({})
            self._note(i, item)
            if i % 100 == 0:
                job.progress(f"{i} samples read", None)
        else:
            last = 0
        if last == MAX_STREAM:
            raise UserError(self.where, f"did not end after {MAX_STREAM} samples", place="[a:b]")

        def stored(i: int) -> Mapping[str, Any]:
            files = (folder / f"{i}-{k}.npy" for k in range(len(self.inputs)))
            return {n: np.load(f) for n, f in zip(self.inputs, files, strict=True)}

        self._read = stored

    def _unbatched(self, loader: Any) -> Iterator[Any]:
        for batch in loader:
            if isinstance(batch, Mapping):
                n = len(next(iter(batch.values())))
                yield from ({k: v[i] for k, v in batch.items()} for i in range(n))
            elif isinstance(batch, (tuple, list)):
                yield from (tuple(part[i] for part in batch) for i in range(len(batch[0])))
            else:
                yield from batch

    def _note(self, i: int, item: Any) -> None:
        """Keep what stands beside the arrays of one sample."""
        listing = self.listing
        if isinstance(item, Mapping):
            label = self._side(item, "labels", USUAL_LABELS)
            group = self._side(item, "groups", USUAL_GROUPS)
            name = self._side(item, "ids", USUAL_IDS)
            listing.groups[i] = "" if group is None else str(to_json(group))
            listing.ids[i] = str(i) if name is None else str(to_json(name))
        else:
            label = item[1] if isinstance(item, (tuple, list)) and len(item) > 1 else None
        listing.labels[i] = None if self.source.closed else to_json(structured(label))

    def _side(self, item: Mapping[str, Any], role: str, usual: Sequence[str]) -> Any:
        wanted = self.source.arrays.get(role, "")
        names = (wanted,) if wanted else tuple(u for u in usual if u not in self.inputs)
        return next((item[n] for n in names if n in item), None)

    def _values(self, item: Any, i: int) -> Mapping[str, Any]:
        if isinstance(item, Mapping):
            return {name: _plain(self._pick(item, name, i)) for name in self.inputs}
        if len(self.inputs) != 1:
            names = ", ".join(self.inputs)
            reason = f"sample {i} is no mapping, but the model has the inputs {names}"
            raise UserError(self.where, reason, advice="yield a dict with an array per input")
        value = item[0] if isinstance(item, (tuple, list)) and len(item) else item
        return {self.inputs[0]: _plain(value)}

    def _pick(self, item: Mapping[str, Any], name: str, i: int) -> Any:
        keys = (self.source.arrays.get(name, name), *(USUAL_DATA if len(self.inputs) == 1 else ()))
        for key in keys:
            if key in item:
                return item[key]
        known = ", ".join(str(k) for k in item)
        raise UserError(self.where, f"sample {i} has no entry {keys[0]!r}, only {known}")

    def read(self, i: int) -> Mapping[str, Any]:
        """One sample's values by model input."""
        try:
            return self._read(i)
        except (UserError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  # the user's code may raise anything
            blame(self.where, error)


def _indexable(data: Any) -> bool:
    return (
        hasattr(data, "__len__")
        and hasattr(data, "__getitem__")
        and not isinstance(data, (type, Mapping, str, bytes))
    )


def _is_loader(data: Any) -> bool:
    """A torch loader whose items are batches (its length counts batches, not samples)."""
    batches = getattr(data, "batch_size", None) or getattr(data, "batch_sampler", None)
    return hasattr(data, "dataset") and bool(batches) and hasattr(data, "__iter__")


def _plain(value: Any) -> Any:
    """A torch tensor as an array; Pillow images, arrays and numbers as they are."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value


def _same(a: Any, b: Any) -> bool:
    import numpy as np

    a, b = np.asarray(a), np.asarray(b)
    return bool(a.shape == b.shape and a.tobytes() == b.tobytes())
