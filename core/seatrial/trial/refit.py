"""Is the float model fed as it was trained? Tried after everything is judged, and chosen by nobody.

A detector that was trained on letterboxed pictures still finds things in stretched ones, only
fewer. Nothing in the outputs says why; feeding some of the same samples in the other usual ways
does. The answer can only turn a verdict red: what is fed stays as configured.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from seatrial import data as data_room
from seatrial import results as r
from seatrial.data.contract import InputContract
from seatrial.ladder.refit_child import Fed, Gain, RefitRequest, Refitted
from seatrial.samples import Samples
from seatrial.tasks.base import FAIL, Doubt
from seatrial.trial.reference import reference_outputs

if TYPE_CHECKING:
    from seatrial.trial.context import Trial
    from seatrial.trial.evidence import Evidence

#: Samples that are fed in every way.
SOME = 96
#: Tasks whose answer has a place in the picture, and so depends on how it was resized.
TASKS = ("detect", "segment")
#: Pictures whose aspect is this far from the input's are changed by another way of resizing ...
ASPECT = 1.1
#: ... and at least this share of them must be, or there is nothing to tell.
SHARE = 0.2
#: Values that letterboxes are usually padded with: black and grey.
PADS = [(0.0,), (114.0,)]
#: Another way is the right one if it gains at least so many points, and surely so many.
GAIN, SURELY = 5.0, 2.0


def doubt(trial: Trial, found: Evidence) -> Doubt | None:
    """What another way of resizing shows, if anything."""
    test = found.test
    pictures = {n: c for n, c in (test.info.contracts if test else {}).items() if c.mode == "image"}
    if test is None or found.task.name not in TASKS or len(pictures) != 1:
        return None
    (name, contract), rows = (
        next(iter(pictures.items())),
        Samples(trial.workspace.path(test.ref)).index["samples"],
    )
    if contract.resize == "none" or not _matters(rows, contract):
        return None
    own = _fed(trial, found, test, name, contract)
    others = [_fed(trial, found, test, name, other) for other in _others(contract)]
    tried = tuple(f for f in others if f is not None)
    if own is None or not tried:
        return None
    request = RefitRequest(task=found.task, own=own, others=tried, least=GAIN, seed=trial.seed)
    outcome = trial.runner.task(
        "seatrial.ladder.refit_child:refit",
        request,
        refs=[ref for f in (own, *tried) for ref in (f.test, f.outputs)],
        limits=trial.limits(timeout_s=1800),
    )
    result: Refitted | None = outcome.result
    better = [g for g in result.gains if better(g)] if result is not None else []
    if not better:
        return None
    best = max(better, key=lambda g: g.gain.drop)
    low, high = best.gain.ci95 or (0.0, 0.0)
    text = (
        f"the float model does better by {best.gain.drop:.1f} points (95 % interval {low:.1f} to "
        f"{high:.1f}, {best.gain.n} samples) when pictures are fed by {best.name} instead of "
        f"{_title(contract)}: the contract is not that of training"
    )
    return Doubt(gate=FAIL, code="input.resize", text=text)


def better(gain: Gain) -> bool:
    """Whether a way of feeding is surely the right one."""
    return gain.gain.drop >= GAIN and gain.gain.ci95 is not None and gain.gain.ci95[0] >= SURELY


def _matters(rows: list[dict[str, object]], contract: InputContract) -> bool:
    """Whether enough pictures have another aspect than the input."""
    aspect = contract.size[1] / contract.size[0]
    changed = 0
    for row in rows:
        for geometry in dict(row.get("geometry", {})).values():  # type: ignore[call-overload]
            h, w = geometry["size"]
            apart = w / h / aspect
            changed += max(apart, 1 / apart) > ASPECT
    return changed >= SHARE * len(rows) > 0


def _others(contract: InputContract) -> list[InputContract]:
    """The other ways; a contract that does not pad says nothing of what padding would be."""
    plain = dataclasses.replace(contract, resize_to=0)
    pads = [contract.pad_value] if contract.resize == "letterbox" else PADS
    ways = [dataclasses.replace(plain, resize=resize) for resize in ("stretch", "crop")]
    ways += [
        dataclasses.replace(plain, resize="letterbox", pad_side=side, pad_value=pad)
        for side in ("center", "topleft")
        for pad in pads
    ]
    return [w for w in ways if _title(w) != _title(contract)]


def _title(contract: InputContract) -> str:
    if contract.resize != "letterbox":
        return contract.resize
    side = "top left" if contract.pad_side == "topleft" else "centred"
    return f"letterbox ({side}, padded with {'/'.join(f'{v:g}' for v in contract.pad_value)})"


def _fed(
    trial: Trial,
    found: Evidence,
    test: data_room.Loaded,
    name: str,
    contract: InputContract,
) -> Fed | None:
    """Some test samples fed in one way, and the float model's outputs."""
    trial.progress("ladder", f"pictures fed by {_title(contract)}")
    loaded = data_room.load(
        trial.runner, test.source, {**found.config.inputs, name: contract},
        trial.model.facts.inputs, role="test", force=True, thin=SOME,
        limits=trial.limits(timeout_s=1800),
    )  # fmt: skip
    if not isinstance(loaded, data_room.Loaded):
        return None
    outputs = reference_outputs(trial, trial.model.ref, loaded.ref)
    if isinstance(outputs, r.Fault):
        return None
    return Fed(name=_title(contract), test=loaded.ref, outputs=outputs)
