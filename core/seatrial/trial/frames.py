"""Camera frames: the model with a uint8 NHWC input, built, proven equal and entered for timing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from seatrial import results as r
from seatrial.benchmark.inputs import Feed
from seatrial.codec import encode
from seatrial.data.contract import InputContract
from seatrial.layout.frames import WHOLE, Frames, FramesRequest
from seatrial.report import target_rows
from seatrial.trial import build, layouts

if TYPE_CHECKING:
    from seatrial.isolation import Outcome
    from seatrial.trial.context import Trial
    from seatrial.trial.targets import TargetState

#: Frames that are made; the rounds feed them in turn.
COUNT = 16
#: The formula of samples that nobody wrote a contract for: numbers from 0 to 1.
UNIT = InputContract(scale=1 / 255)


@dataclasses.dataclass
class Camera:
    """The camera form of the trial's model, made once for all targets.

    Attributes:
        frames: what it is fed.
        fed: what the original is fed of the same pictures.
        why: why there is none.
    """

    name: str = ""
    shape: tuple[int, ...] = ()
    layout: str = ""
    model: r.Ref | None = None
    frames: r.Ref | None = None
    fed: r.Ref | None = None
    made: Frames | None = None
    fault: r.Fault | None = None
    why: str = ""


def make(
    trial: Trial,
    contracts: Mapping[str, InputContract],
    samples: r.Ref,
    shapes: Mapping[str, tuple[int, ...]],
) -> Camera | None:
    """Fold the normalisation into the model; ``None`` for a model without one image input.

    Args:
        trial: the command at work.
        contracts: how pictures become what the inputs are fed; none: numbers from 0 to 1.
        samples: what the model is fed.
        shapes: static shapes.
    """
    images = layouts.image_inputs(trial.model.facts.inputs)
    if len(images) != 1:
        return None
    ((name, layout),) = images.items()
    camera = Camera(name=name, layout=layout)
    dtype = next(t.dtype for t in trial.model.facts.inputs if t.name == name)
    contract = contracts.get(name, UNIT)
    if dtype != "float32" or contract.dtype not in ("", "float32"):
        camera.why = f"the input is {dtype}: there is no normalisation to fold"
    elif contract.mode != "image":
        camera.why = "the samples are arrays: no contract says how they come from pictures"
    elif trial.model.facts.control_flow or name not in shapes:
        camera.why = "the model branches, or the shape of its input is not known"
    elif trial.batch > 1:
        camera.why = "one camera gives one frame at a time: the model's batch is larger"
    if not camera.why:
        _fold(trial, camera, contract, samples, shapes[name])
    return camera


def _fold(
    trial: Trial,
    camera: Camera,
    contract: InputContract,
    samples: r.Ref,
    shape: tuple[int, ...],
) -> None:
    request = FramesRequest(
        model=trial.model.ref,
        input=camera.name,
        layout=camera.layout,
        shape=tuple(shape),
        samples=samples,
        count=min(COUNT, trial.samples_count),
        zero_point=contract.zero_point,
        scale=contract.scale,
        mean=contract.mean,
        std=contract.std,
    )
    trial.progress("layout", "camera frames")
    outcome = trial.runner.task(
        "seatrial.layout.frames:make",
        request,
        refs=[trial.model.ref, samples],
        limits=trial.limits(),
    )
    camera.made, camera.fault = outcome.result, outcome.fault
    if camera.made is None:
        return
    batch, *rest = shape
    picture = (*rest[1:], rest[0]) if camera.layout == "NCHW" else tuple(rest)
    camera.shape = (batch, *picture)
    camera.model = trial.runner.adopt(outcome, camera.made.model)
    camera.frames = _take(trial, outcome, camera.made.frames)
    camera.fed = _take(trial, outcome, camera.made.fed)


def _take(trial: Trial, outcome: Outcome[Frames], artifact: r.Artifact) -> r.Ref:
    """Adopt a store that was written into a folder of its own, under its plain names."""
    folder = PurePosixPath(artifact.files[0]).parts[0]
    names = tuple(name.removeprefix(f"{folder}/") for name in artifact.files)
    plain = dataclasses.replace(artifact, files=names)
    return trial.workspace.adopt(outcome.out / folder, plain)


def prove(
    trial: Trial,
    state: TargetState,
    camera: Camera,
    shapes: Mapping[str, tuple[int, ...]],
) -> None:
    """Build the camera form for a target, compare, and enter it for timing if it is equal."""
    if "fp32" not in state.facts.get("pieces", {}):
        return
    variant = target_rows.layout_variant("NHWC", "folded", dtype="uint8", reason=camera.why)
    layouts.note(state, camera.layout, layouts.FRAMES, variant)
    state.facts["pieces"]["fp32"].layout = camera.layout
    if camera.fault is not None:
        variant["fault"] = encode(camera.fault)
    if camera.made is None or camera.model is None or camera.frames is None or camera.fed is None:
        return
    made = camera.made
    state.facts["layout_host_ms"] = made.nchw_ms if camera.layout == "NCHW" else made.nhwc_ms
    variant["host_ms"] = 0.0
    other = state.facts["layout_variants"].get(layouts.OTHER)
    if other is not None:
        other["host_ms"] = made.nhwc_ms if camera.layout == "NCHW" else made.nchw_ms
    variant["transposes_added"] = int(camera.layout == "NCHW")
    static = {name: shape for name, shape in shapes.items() if name != camera.name}
    refusals: list[r.Finding] = []
    piece = build.build_float(
        trial,
        state,
        "fp32",
        {**static, camera.name: camera.shape},
        model=camera.model,
        decisive=False,
        refusals=refusals,
    )
    if refusals:
        layouts.refuse(variant, refusals)
        return
    if piece is None:
        variant["fault"] = encode(state.facts["faults"][-1]) if state.facts.get("faults") else None
        return
    count = min(COUNT, trial.samples_count)
    piece.layout, piece.shape, piece.label = "NHWC uint8", camera.shape, "frames"
    piece.feed = Feed(camera.frames, count)
    layouts.enter(trial, state, layouts.FRAMES, piece, (camera.fed, camera.frames))
    if made.off > WHOLE and not variant["reason"]:
        variant["reason"] = (
            "the samples are no 8-bit pictures by this contract: the frames are rounded"
        )
