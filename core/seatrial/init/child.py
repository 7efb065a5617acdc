"""Core tasks of ``seatrial init``: look at a source, and try presets on the reference.

What comes out is a hint for a person, never a measurement that a verdict rests on.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seatrial.data.child import open_source
from seatrial.data.contract import InputContract
from seatrial.data.feeder import Feeder
from seatrial.data.labels import LabelMap, to_json
from seatrial.data.listing import select
from seatrial.data.npy import Npz
from seatrial.data.pictures import Oddities
from seatrial.data.records import MaterialiseRequest
from seatrial.data.source import Source
from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.init.presets import is_picture
from seatrial.init.records import Look, LookRequest, Score, TryRequest, TryResult
from seatrial.refusal import Refusal
from seatrial.results import LoadRequest, TensorIO

#: Trying presets ends after this long, with as many samples as were done by then.
TRY_SECONDS = 45.0
#: Most samples taken from an iterable that may have no end.
_MOST = 200


def look(request: LookRequest, job: Job) -> Look:
    """Read the listing and the first samples, raw."""
    try:
        return _look(request, job)
    except UserError as error:
        return Look(refused=Refusal.of(error))


def reading(
    source: Source,
    inputs: Sequence[TensorIO],
    contracts: Mapping[str, InputContract],
    job: Job,
) -> tuple[MaterialiseRequest, Any]:
    """Open a source for a few samples: the request as the data room knows it, and a reader."""
    if source.kind == "callable" and source.stop is None:
        source = dataclasses.replace(source, stop=_MOST)
    request = MaterialiseRequest(source=source, inputs=tuple(inputs), contracts=contracts)
    return request, open_source(request, job, Oddities())


def _look(request: LookRequest, job: Job) -> Look:
    guess = {i.name: InputContract() for i in request.inputs if is_picture(i)}
    opened, reader = reading(request.source, request.inputs, guess, job)
    listing = reader.listing
    every, _ = select(opened.source, listing, opened.source.text)
    limited = dataclasses.replace(opened.source, limit=request.count)
    chosen, _ = select(limited, listing, opened.source.text)
    sizes, dtypes, shapes = [], {}, {}
    for i in chosen:
        for name, value in reader.read(i).items():
            if hasattr(value, "getbbox"):
                sizes.append(tuple(value.size))
                continue
            dtypes[name], shapes[name] = _kind(value)
    labels = [to_json(v) for v in listing.labels]
    known = [v for v in labels if isinstance(v, (int, str))]
    whole = LabelMap(request.source, labels)
    numbers = [v for v in (whole(k, "labels") for k in set(known)) if isinstance(v, int)]
    return Look(
        total=len(every),
        labelled=bool(labels) and all(v is not None for v in labels),
        classes=len(set(known)),
        largest=max(numbers, default=-1),
        grouped=any(listing.groups),
        sizes=tuple(sizes),
        dtypes=dtypes,
        shapes=shapes,
        numbers=_numbers(request.source, job),
        splits=dict(Counter(m["split"] for m in listing.meta if m.get("split"))),
    )


def _kind(value: Any) -> tuple[str, tuple[int, ...]]:
    import numpy as np

    array = np.asarray(value)
    return str(array.dtype), tuple(array.shape)


def _numbers(source: Source, job: Job) -> dict[str, float]:
    """Single finite numbers of an ``.npz``: often the scale and zero point of its arrays."""
    if source.kind != "array" or not source.location.lower().endswith(".npz"):
        return {}
    folder = job.scratch / "numbers"
    folder.mkdir()
    npz = Npz(Path(source.location), folder)
    found = {}
    for name in npz.names:
        shape, dtype = npz.shape(name)
        if shape == () and dtype.kind in "iuf" and math.isfinite(value := float(npz.array(name))):
            found[name] = value
    return found


def try_presets(request: TryRequest, job: Job) -> TryResult:
    """Run the model on a few samples with each contract."""
    try:
        return TryResult(scores=_try(request, job))
    except UserError as error:
        return TryResult(refused=Refusal.of(error))


def _try(request: TryRequest, job: Job) -> tuple[Score, ...]:
    from seatrial import reference

    first = next(iter(request.contracts.values()))
    name = request.input.name
    opened, reader = reading(request.source, (request.input,), {name: first}, job)
    source = dataclasses.replace(opened.source, limit=request.count)
    chosen, _ = select(source, reader.listing, source.text)
    session = reference.load(
        LoadRequest(artifact=request.model, format="onnx", target="reference"), job
    )
    feeders = {
        preset: Feeder(dataclasses.replace(opened, contracts={name: contract}), Oddities())
        for preset, contract in request.contracts.items()
    }
    seen: dict[str, list[Any]] = {preset: [] for preset in feeders}
    labels: list[Any] = []
    names = LabelMap(source, reader.listing.labels)
    deadline = time.monotonic() + TRY_SECONDS
    for k, i in enumerate(chosen):
        raw = reader.read(i)
        for preset, feeder in feeders.items():
            fed, _, _ = feeder.feed(raw, reader.listing.ids[i])
            seen[preset].append(_probabilities(session, fed[name], request.input))
        labels.append(names(reader.listing.labels[i], source.text))
        job.progress("trying input contracts", (k + 1) / len(chosen))
        if time.monotonic() > deadline:
            break
    session.close()
    return tuple(_score(p, rows, labels, request.offsets) for p, rows in seen.items())


def _probabilities(session: Any, fed: Any, model_input: TensorIO) -> Any:
    """The class probabilities of one sample (softmax, unless they sum to 1 already)."""
    import numpy as np

    batch = model_input.shape[0] if model_input.shape else 1
    stacked = len(model_input.shape) == fed.ndim + 1
    times = batch if stacked and isinstance(batch, int) and batch > 0 else 1
    feeds = np.ascontiguousarray(np.stack([fed] * times) if stacked else fed)
    output = next(iter(session.run({model_input.name: feeds}).values()))
    scores = np.asarray(output[0] if stacked else output, dtype=np.float64).ravel()
    if not np.isfinite(scores).all():
        raise UserError("the model", "answers NaN or Inf to a sample")
    if scores.min() >= 0 and abs(scores.sum() - 1) < 1e-3:
        return scores
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def _score(
    preset: str, rows: Sequence[Any], labels: Sequence[Any], offsets: Sequence[int]
) -> Score:
    n = len(rows)
    confidence = float(sum(r.max() for r in rows) / n)
    best = Score(preset=preset, n=n, confidence=confidence)
    if not all(isinstance(v, int) for v in labels):
        return best
    for offset in offsets:
        true = [v + offset for v in labels]
        if not all(0 <= t < len(r) for t, r in zip(true, rows, strict=True)):
            continue
        right = sum(int(r.argmax()) == t for t, r in zip(true, rows, strict=True))
        log = sum(math.log(max(r[t], 1e-12)) for t, r in zip(true, rows, strict=True)) / n
        if best.right < 0 or (right, log) > (best.right, best.true_log):
            best = dataclasses.replace(best, right=right, true_log=log, offset=offset)
    return best
