"""Trials with nothing wrong, some of them unusual: DO NOT SHIP or a refusal is a false red.

The author of this module had not seen the checks that are tried on it. SHIP and NOT PROVEN are both
fine (300 samples prove little); what must not be is a red verdict or a red finding on the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from blind_nets import INPUT, OUTPUT, SIZE
from blind_pictures import CLASSES, Bytes
from onnx import helper, numpy_helper
from PIL import Image
from spoiled_sets import Recipe
from trial_worlds import (
    COMMAND,
    calibration,
    configure,
    honest,
    judged,
    put,
    replaced,
    tensors,
    with_tail,
)


@dataclass(frozen=True)
class SoundTrial:
    """A trial that must not be red.

    Attributes:
        name: Name of the trial.
        folder: Working directory.
        argv: Arguments of `seatrial`.
        naive: What a naive check would trip over.
        codes: Exit codes that are right.
    """

    name: str
    folder: Path
    argv: tuple[str, ...]
    naive: str
    codes: tuple[int, ...] = (0, 3)


SoundMaker = Callable[[int, Path], SoundTrial]


def _put_again(out: Path, frames: Sequence[Bytes], labels: Sequence[int], name: str) -> None:
    for path in (out / name).iterdir():
        path.unlink()
    put(out / name, frames, labels)


def plain(seed: int, out: Path) -> SoundTrial:
    """The honest trial itself."""
    honest(out, seed)
    return SoundTrial("plain", out, COMMAND, "nothing")


def attention(seed: int, out: Path) -> SoundTrial:
    """A transformer; its INT8 may cost accuracy, so a wide limit is asked for."""
    honest(out, seed, "transformer")
    argv = replaced(COMMAND, max_drop="15")
    return SoundTrial("attention", out, argv, "softmax and layer norms")


def probabilities(seed: int, out: Path) -> SoundTrial:
    """Softmax at the end: outputs sum to one."""
    made = honest(out, seed)
    tail = [helper.make_node("Softmax", ["inner"], [OUTPUT], "softmax", axis=-1)]
    (out / "model.onnx").write_bytes(with_tail(made.model(), tail))
    return SoundTrial("probabilities", out, COMMAND, "most outputs are nearly zero")


def huge_logits(seed: int, out: Path) -> SoundTrial:
    """Logits in the thousands."""
    made = honest(out, seed)
    for name in ("head.weight", "head.bias"):
        made.weights[name] *= np.float32(1000)
    (out / "model.onnx").write_bytes(made.model())
    return SoundTrial("huge_logits", out, COMMAND, "absolute differences are large")


def tiny_logits(seed: int, out: Path) -> SoundTrial:
    """Logits of a ten-thousandth."""
    made = honest(out, seed)
    for name in ("head.weight", "head.bias"):
        made.weights[name] *= np.float32(1e-4)
    (out / "model.onnx").write_bytes(made.model())
    return SoundTrial("tiny_logits", out, COMMAND, "outputs look like zero")


def class_never_used(seed: int, out: Path) -> SoundTrial:
    """A seventh class (background) that no picture has and the model never says."""
    made = honest(out, seed)
    made.classes += 1
    weight, bias = made.weights["head.weight"], made.weights["head.bias"]
    made.weights["head.weight"] = np.pad(weight, ((0, 0), (0, 1)))
    made.weights["head.bias"] = np.append(bias, np.float32(-12)).astype(np.float32)
    (out / "model.onnx").write_bytes(made.model())
    return SoundTrial("class_never_used", out, COMMAND, "a class without samples or answers")


def two_outputs(seed: int, out: Path) -> SoundTrial:
    """Logits and the features they are read from."""
    made = honest(out, seed)
    model = onnx.load_model_from_string(made.model())
    shape = ["batch", made.weights["head.weight"].shape[0]]
    model.graph.output.append(
        helper.make_tensor_value_info(made.features, onnx.TensorProto.FLOAT, shape)
    )
    onnx.checker.check_model(model, full_check=True)
    (out / "model.onnx").write_bytes(model.SerializeToString())
    return SoundTrial("two_outputs", out, COMMAND, "a second output with many zeros in it")


def channels_last(seed: int, out: Path) -> SoundTrial:
    """The model takes N x 48 x 48 x 3."""
    made = honest(out, seed)
    model = onnx.load_model_from_string(made.model())
    model.graph.node[0].input[0] = "nchw"
    turn = helper.make_node("Transpose", [INPUT], ["nchw"], "turn", perm=[0, 3, 1, 2])
    model.graph.node.insert(0, turn)
    shape = ["batch", *SIZE, 3]
    model.graph.input[0].CopyFrom(
        helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, shape)
    )
    onnx.checker.check_model(model, full_check=True)
    (out / "model.onnx").write_bytes(model.SerializeToString())
    contract = Recipe().toml(INPUT, tensor=False).replace('"NCHW"', '"NHWC"')
    configure(out, contract)
    return SoundTrial("channels_last", out, COMMAND, "the layout is not the usual one")


def caffe_style(seed: int, out: Path) -> SoundTrial:
    """BGR, 0 to 255, means subtracted: undone inside the model."""
    made = honest(out, seed)
    mean = (104.0, 117.0, 123.0)
    model = onnx.load_model_from_string(made.model())
    model.graph.node[0].input[0] = "rgb"
    head = [
        helper.make_node("Add", [INPUT, "bgr_mean"], ["bgr"], "add_mean"),
        helper.make_node("Mul", ["bgr", "unit"], ["bgr_unit"], "to_unit"),
        helper.make_node("Gather", ["bgr_unit", "order"], ["rgb"], "to_rgb", axis=1),
    ]
    for position, node in enumerate(head):
        model.graph.node.insert(position, node)
    values = {
        "bgr_mean": np.asarray(mean, np.float32).reshape(1, 3, 1, 1),
        "unit": np.asarray(1 / 255, np.float32),
        "order": np.asarray([2, 1, 0], np.int64),
    }
    model.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in values.items())
    onnx.checker.check_model(model, full_check=True)
    (out / "model.onnx").write_bytes(model.SerializeToString())
    configure(out, Recipe(scale=1.0, mean=mean, color="BGR").toml(INPUT, tensor=False))
    return SoundTrial("caffe_style", out, COMMAND, "BGR and values to 255 are what it wants")


def as_tensors(seed: int, out: Path) -> SoundTrial:
    """Ready tensors in .npz files."""
    honest(out, seed)
    for name, (frames, labels) in (("calibration", calibration(seed)), ("test", judged(seed))):
        np.savez(out / f"{name}.npz", x=tensors(frames), labels=np.asarray(labels))
    configure(out, Recipe().toml(INPUT, tensor=True))
    argv = replaced(COMMAND, calibration="calibration.npz", test="test.npz")
    return SoundTrial("as_tensors", out, argv, "samples are not pictures")


def class_folders(seed: int, out: Path) -> SoundTrial:
    """Labels by folder, as most downloads have them."""
    honest(out, seed)
    for name in ("calibration", "test"):
        frames, labels = calibration(seed) if name == "calibration" else judged(seed)
        for path in (out / name).iterdir():
            path.unlink()
        for number, (frame, label) in enumerate(zip(frames, labels, strict=True)):
            path = out / name / CLASSES[label] / f"{name[0]}{number:05d}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(frame).save(path)
    return SoundTrial("class_folders", out, COMMAND, "no label file")


def unequal_classes(seed: int, out: Path) -> SoundTrial:
    """A third of the pictures of some classes, in both sets."""
    honest(out, seed)
    for name, (frames, labels) in (("calibration", calibration(seed)), ("test", judged(seed))):
        keep = [i for i, label in enumerate(labels) if label < 3 or i // 6 % 3 == 0]
        _put_again(out, [frames[i] for i in keep], [labels[i] for i in keep], name)
    return SoundTrial("unequal_classes", out, COMMAND, "classes are not balanced")


def batch_of_one(seed: int, out: Path) -> SoundTrial:
    """A static batch of one, as devices want it."""
    made = honest(out, seed)
    model = onnx.load_model_from_string(made.model())
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.checker.check_model(model, full_check=True)
    (out / "model.onnx").write_bytes(model.SerializeToString())
    return SoundTrial("batch_of_one", out, COMMAND, "no free axis")


def leftovers(seed: int, out: Path) -> SoundTrial:
    """What exporters leave behind: Identity, Dropout, an initialiser that nothing reads."""
    made = honest(out, seed)
    tail = [
        helper.make_node("Identity", ["inner"], ["again"], "identity"),
        helper.make_node("Dropout", ["again"], [OUTPUT], "dropout"),
    ]
    data = with_tail(made.model(), tail, nobody=np.full((3, 3), 1e30, np.float32))
    (out / "model.onnx").write_bytes(data)
    return SoundTrial("leftovers", out, COMMAND, "a huge constant that is never used")


SOUND: dict[str, SoundMaker] = {
    trial.__name__: trial
    for trial in (
        plain,
        attention,
        probabilities,
        huge_logits,
        tiny_logits,
        class_never_used,
        two_outputs,
        channels_last,
        caffe_style,
        as_tensors,
        class_folders,
        unequal_classes,
        batch_of_one,
        leftovers,
    )
}
