"""Core task: what a source holds, when no model says what it is fed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seatrial.audit.records import PeekRequest, PeekResult
from seatrial.data.callables import resolve
from seatrial.data.npy import Npz, open_npy
from seatrial.data.readers import USUAL_GROUPS, USUAL_IDS, USUAL_LABELS
from seatrial.data.source import Source
from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.refusal import Refusal
from seatrial.results import TensorIO

_SIDE = {*USUAL_LABELS, *USUAL_GROUPS, *USUAL_IDS}


def peek(request: PeekRequest, job: Job) -> PeekResult:
    """Look at the names, types and ranks of a source's arrays."""
    try:
        return _peek(request.source, job)
    except UserError as error:
        return PeekResult(refused=Refusal.of(error))


def _peek(source: Source, job: Job) -> PeekResult:
    if source.kind == "folder":
        return PeekResult(pictures=True)
    if source.kind == "callable":
        return _first(source)
    path = Path(source.location)
    if path.suffix.lower() == ".npy":
        array = open_npy(path, path.name)
        return PeekResult(inputs=(_io("input", array.dtype, array.ndim - 1),))
    npz = Npz(path, job.scratch)
    taken = _SIDE | {source.arrays.get(k, "") for k in ("labels", "groups", "ids")}
    shapes = {n: npz.shape(n) for n in npz.names if n not in taken}
    kept = {n: s for n, s in shapes.items() if len(s[0]) > 1 and s[1].kind in "fiub"}
    counts = [s[0][0] for s in kept.values()]
    if not kept:
        known = ", ".join(npz.names) or "none at all"
        raise UserError(source.text, f"has no array of samples, only {known}")
    most = max(set(counts), key=counts.count)
    inputs = [_io(n, s[1], len(s[0]) - 1) for n, s in kept.items() if s[0][0] == most]
    return PeekResult(inputs=tuple(inputs))


def _io(name: str, dtype: Any, rank: int) -> TensorIO:
    """An input with free axes: whatever comes fits."""
    return TensorIO(name=name, dtype=str(dtype), shape=("N", *(f"d{k}" for k in range(rank))))


def _first(source: Source) -> PeekResult:
    """The first sample that a callable gives."""
    import numpy as np

    found = resolve(source.location)
    indexable = hasattr(found, "__getitem__") and hasattr(found, "__len__")
    data = found if indexable or not callable(found) else found()
    batched = hasattr(data, "dataset") and hasattr(data, "__iter__")
    indexable = hasattr(data, "__getitem__") and hasattr(data, "__len__") and not batched
    item = data[0] if indexable else next(iter(data))
    if isinstance(item, Mapping):
        values = {str(k): v for k, v in item.items() if str(k) not in _SIDE}
    else:
        values = {"input": item[0] if isinstance(item, (tuple, list)) else item}
    inputs = []
    for name, value in values.items():
        if hasattr(value, "getbbox"):
            return PeekResult(pictures=True)
        plain = value.detach().cpu().numpy() if hasattr(value, "detach") else value
        array = np.asarray(plain)
        if array.dtype.kind in "fiub":
            inputs.append(_io(name, array.dtype, array.ndim - batched))
    if not inputs:
        raise UserError(source.text, "gives samples without arrays of numbers")
    return PeekResult(inputs=tuple(inputs))
