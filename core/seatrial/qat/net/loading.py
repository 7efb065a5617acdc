"""The user's loader and loss, and the samples of it that choose the epoch. In a user child only."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from seatrial.data.callables import resolve
from seatrial.data.readers import USUAL_DATA, USUAL_LABELS
from seatrial.errors import UserError
from seatrial.export.torch_module import blame, seed
from seatrial.qat.records import Settings

#: Fewest samples that may choose an epoch.
FEWEST = 16


@dataclass
class Batches:
    """Two loaders.

    Attributes:
        train: gives batches; iterated once per epoch.
        validation: gives the batches that choose, the same ones every time.
        train_samples: how many train in an epoch; 0: not known beforehand.
        validation_samples: likewise.
    """

    train: Any
    validation: Any
    train_samples: int = 0
    validation_samples: int = 0


class WithoutHeldOut:
    """A batch sampler without the samples that were set aside; everything else as the user's."""

    def __init__(self, wrapped: Any, held_out: set[int]) -> None:
        self.wrapped = wrapped
        self.held_out = held_out

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.wrapped:
            kept = [i for i in batch if i not in self.held_out]
            if kept:
                yield kept

    def __len__(self) -> int:
        return len(self.wrapped)


def open_batches(train: str, validation: str, settings: Settings) -> Batches:
    """Call the user's factory and set a slice aside.

    Raises:
        UserError: it is no loader, or no slice can be taken from it.
    """
    loader = _opened(train, settings)
    if validation:
        other = _opened(validation, settings)
        return Batches(loader, other, _count(loader), _count(other))
    data = getattr(loader, "dataset", None)
    if data is None or not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
        raise UserError(
            train,
            "its samples cannot be told apart, so none can be set aside to choose the epoch",
            advice="--validation MODULE:CALLABLE, or give a map-style data set or its loader",
        )
    count = len(data)
    held_out = max(round(settings.share * count), FEWEST)
    if held_out > count // 2:
        raise UserError(train, f"{count} samples are too few to train and choose on")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(settings.seed))
    chosen = sorted(order[:held_out].tolist())
    return Batches(
        _rebuilt(loader, WithoutHeldOut(loader.batch_sampler, set(chosen))),
        _rebuilt(loader, _chunks(chosen, loader.batch_size or settings.batch)),
        count - held_out,
        held_out,
    )


def _chunks(indices: Sequence[int], size: int) -> list[list[int]]:
    return [list(indices[k : k + size]) for k in range(0, len(indices), size)]


def _rebuilt(loader: Any, sampler: Any) -> Any:
    return torch.utils.data.DataLoader(
        loader.dataset,
        batch_sampler=sampler,
        collate_fn=loader.collate_fn,
        num_workers=loader.num_workers,
        worker_init_fn=loader.worker_init_fn,
        generator=loader.generator,
    )


def _opened(location: str, settings: Settings) -> Any:
    """What the user's callable gives, as a loader."""
    found = resolve(location)
    seed(settings.seed)
    try:
        data = found() if callable(found) and not hasattr(found, "__iter__") else found
        # A class that gives batches is not yet a loader; an instance of it is.
        data = data() if isinstance(data, type) else data
    except Exception as error:  # noqa: BLE001  # the user's code may raise anything
        blame(location, error)
    if isinstance(data, torch.utils.data.DataLoader):
        return data
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        if not len(data):
            raise UserError(location, "the data set is empty")
        return torch.utils.data.DataLoader(data, batch_size=settings.batch, shuffle=True)
    if hasattr(data, "__next__"):
        raise UserError(
            location,
            "gave an iterator, which can be read only once",
            advice="return a loader, a data set, or an object whose __iter__ begins anew",
        )
    if hasattr(data, "__iter__"):
        return data
    raise UserError(location, f"gave a {type(data).__name__}, neither a loader nor a data set")


def _count(loader: Any) -> int:
    data = getattr(loader, "dataset", None)
    return len(data) if data is not None and hasattr(data, "__len__") else 0


def open_loss(location: str) -> Any:
    """The user's loss: a function, or a module (class or instance).

    Raises:
        UserError: it cannot be called.
    """
    found = resolve(location)
    if isinstance(found, type):
        try:
            found = found()
        except Exception as error:  # noqa: BLE001  # the user's code may raise anything
            blame(location, error)
    if not callable(found):
        raise UserError(location, f"is a {type(found).__name__}, not a loss that can be called")
    return found


def reseed(value: int, loader: Any) -> None:
    """Fix every generator that decides on the order of samples or on their augmentation.

    An epoch depends on its number alone, so a training that was resumed goes on as if it had never
    stopped.
    """
    seed(value)
    random.seed(value)
    samplers = [getattr(loader, "batch_sampler", None)]
    samplers.append(getattr(samplers[0], "wrapped", None))
    samplers += [getattr(s, "sampler", None) for s in samplers if s is not None]
    for holder in (loader, *samplers):
        generator = getattr(holder, "generator", None)
        if isinstance(generator, torch.Generator):
            generator.manual_seed(value)


def split(batch: Any, names: Sequence[str], where: str) -> tuple[dict[str, Any], Any]:
    """A batch as feeds by input and the targets that the loss takes.

    ``(x, target)``; for several inputs ``(x1, x2, ..., target)`` or ``(mapping, target)``; or a
    mapping with an entry per input, whose target is its ``label`` or else the mapping itself.

    Raises:
        UserError: it has another form.
    """
    if isinstance(batch, Mapping):
        return _named(batch, names, where)
    if isinstance(batch, (tuple, list)) and len(batch) >= 2:
        if isinstance(batch[0], Mapping):
            feeds, rest = _named(batch[0], names, where)[0], batch[1:]
        elif len(batch) > len(names):
            feeds = {n: _tensor(x) for n, x in zip(names, batch, strict=False)}
            rest = batch[len(names) :]
        else:
            text = f"a batch of {len(batch)} parts for {len(names)} inputs has no target"
            raise UserError(where, text, advice="give (x1, x2, ..., target)")
        targets = tuple(_tensor(t) for t in rest)
        return feeds, targets[0] if len(targets) == 1 else targets
    raise UserError(
        where, f"a batch is a {type(batch).__name__}, not (inputs, targets)", advice="or a mapping"
    )


def _named(
    batch: Mapping[str, Any], names: Sequence[str], where: str
) -> tuple[dict[str, Any], Any]:
    feeds = {}
    for name in names:
        keys = (name, *(USUAL_DATA if len(names) == 1 else ()))
        key = next((k for k in keys if k in batch), None)
        if key is None:
            known = ", ".join(str(k) for k in itertools.islice(batch, 8))
            raise UserError(where, f"a batch has no entry {name!r}, only {known}")
        feeds[name] = _tensor(batch[key])
    label = next((k for k in USUAL_LABELS if k in batch and k not in feeds), None)
    return feeds, _tensor(batch[label]) if label is not None else batch


def _tensor(value: Any) -> Any:
    """Arrays as tensors, doubles as floats; anything else as it is."""
    if type(value).__module__ == "numpy":
        value = torch.as_tensor(value)
    if torch.is_tensor(value) and value.dtype in (torch.float64, torch.float16, torch.bfloat16):
        value = value.float()
    return value
