"""Core tasks that compare outputs; numpy and the reference, none of the user's code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seatrial.export.gate import Tally, measured, overall
from seatrial.export.module_records import Variant
from seatrial.export.parity_records import (
    FAIL,
    ParityRequest,
    ParityResult,
    Replay,
    ReplayRequest,
    ReplayResult,
)
from seatrial.hookspecs import Job
from seatrial.samples import Samples


def compare(request: ParityRequest, job: Job) -> ParityResult:
    """Compare the module's outputs with the exported model's, sample by sample."""
    torch, onnx = Samples(job.path(request.torch)), Samples(job.path(request.onnx))
    exact = Samples(job.path(request.exact)) if request.exact is not None else None
    if torch.count != onnx.count:
        reason = f"{onnx.count} samples came back, {torch.count} were fed"
        return ParityResult(gate=FAIL, outputs=(), reason=reason)
    missing = [n for n in torch.names if n not in onnx.names]
    if missing:
        reason = f"the exported model lacks the output {missing[0]!r}"
        return ParityResult(gate=FAIL, outputs=(), reason=reason)
    rows = {i: k for k, i in enumerate(measured(torch.count))}
    tallies = [Tally(name, request.yardstick) for name in torch.names]
    for tally in tallies:
        for i in range(torch.count):
            truth = exact.one(tally.output, rows[i]) if exact and i in rows else None
            one, other = _alike(torch.one(tally.output, i), onnx.one(tally.output, i))
            tally.add(i, torch.ids[i], one, other, truth)
    vary = any(t.varies["torch"] for t in tallies)
    outputs = tuple(t.result(others_vary=vary) for t in tallies)
    return ParityResult(gate=overall(outputs), outputs=outputs)


def _alike(torch: Any, onnx: Any) -> tuple[Any, Any]:
    """Undo a batch axis of 1 that only one of the two stores could split off."""
    import numpy as np

    torch, onnx = np.asarray(torch), np.asarray(onnx)
    if onnx.shape == (1, *torch.shape):
        onnx = onnx[0]
    elif torch.shape == (1, *onnx.shape):
        torch = torch[0]
    return torch, onnx


def replay(request: ReplayRequest, job: Job) -> ReplayResult:
    """Run the exported model at every other size that the module accepted."""
    from seatrial import reference

    session = reference.open_model(job.path(request.model))
    study = job.path(request.study)
    found = []
    for k, (variant, run) in enumerate(zip(request.variants, request.runs, strict=True)):
        if run.ok:
            job.progress(f"{variant.label} on the reference")
            found.append(_replay(session, study / "variants" / str(k), variant, request.outputs))
    return ReplayResult(replays=tuple(found))


def _replay(session: Any, folder: Path, variant: Variant, outputs: tuple[str, ...]) -> Replay:
    import numpy as np

    feeds = {n: np.load(folder / f"in-{i}.npy") for i, n in enumerate(variant.sizes)}
    feeds = {n: v for n, v in feeds.items() if n in session.inputs}
    try:
        given: Mapping[str, Any] = session.run(feeds)
    except Exception as error:  # noqa: BLE001  # the runtime's refusal is the finding
        text = " ".join(str(error).split())
        return Replay(label=variant.label, ran=False, agrees=False, reason=text[:300])
    parts = []
    for i, name in enumerate(outputs):
        exact = folder / f"exact-{i}.npy"
        tally = Tally(name, "fp64" if exact.is_file() else "")
        tally.add(
            0,
            variant.label,
            np.load(folder / f"out-{i}.npy"),
            given[name],
            np.load(exact) if exact.is_file() else None,
        )
        parts.append(tally.result(others_vary=True))
    bad = next((p for p in parts if p.gate == FAIL), None)
    reason = f"output {bad.output}: {bad.reason}" if bad is not None else ""
    return Replay(label=variant.label, ran=True, agrees=bad is None, reason=reason)
