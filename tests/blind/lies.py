"""Trials that are being lied to; none of them may end with exit code 0.

The author of this module had not seen the checks that are tried on it. A lie is files in a folder
and a command line, as a user would have them, or the behaviour of a vendor's plugin, told in
words and as a function on what the plugin returns. Without the lie the same trial is sound (see
`sound_trials.plain`), so that what stops it is the lie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from blind_nets import INPUT, OUTPUT, Floats
from onnx import helper
from spoiled_sets import Recipe
from trial_worlds import (
    COMMAND,
    Step,
    calibration,
    configure,
    honest,
    judged,
    labels_of,
    put,
    replaced,
    table,
    tensors,
    with_tail,
)


@dataclass(frozen=True)
class PluginLie:
    """What a dishonest (or mistaken) backend does; the rest of it is honest.

    Attributes:
        hooks: Where it happens.
        behaviour: What it does, in plain words.
        distort: The same on the outputs of one call after another, N x classes, or None where
            the outputs are honest and only the claim is not.
    """

    hooks: tuple[str, ...]
    behaviour: str
    distort: Callable[[Floats], Floats] | None = None


@dataclass(frozen=True)
class Lie:
    """A trial that must not end with exit code 0.

    Attributes:
        name: Name of the lie.
        folder: Working directory of the commands.
        steps: What the user does, in order; the exit code of the last command counts.
        what: The lie, in plain words.
        expected: What the user must read.
        words: A report (or refusal) that says it holds one of these (lower case).
        plugin: For lies told by a backend.
        codes: Exit codes that are right; 0 never is.
    """

    name: str
    folder: Path
    steps: tuple[Step, ...]
    what: str
    expected: str
    words: tuple[str, ...]
    plugin: PluginLie | None = None
    codes: tuple[int, ...] = (1, 2, 3)


LieMaker = Callable[[int, Path], Lie]
_ONCE = (Step(COMMAND),)


def nan_for_bright(seed: int, out: Path) -> Lie:
    """The model has no answer for some inputs."""
    made = honest(out, seed)
    frames, _ = judged(seed)
    level = float(np.quantile(tensors(frames).mean((1, 2, 3)), 0.9))
    tail = [
        helper.make_node("ReduceMean", [INPUT, "all_axes"], ["level"], "level", keepdims=0),
        helper.make_node("Sub", ["limit", "level"], ["room"], "room"),
        helper.make_node("Sqrt", ["room"], ["root"], "root"),
        helper.make_node("Mul", ["root", "nothing"], ["none"], "none"),
        helper.make_node("Unsqueeze", ["none", "last_axis"], ["column"], "column"),
        helper.make_node("Add", ["inner", "column"], [OUTPUT], "end"),
    ]
    data = with_tail(
        made.model(),
        tail,
        limit=np.asarray(level, np.float32),
        nothing=np.asarray(0, np.float32),
        all_axes=np.asarray([1, 2, 3], np.int64),
        last_axis=np.asarray([1], np.int64),
    )
    (out / "model.onnx").write_bytes(data)
    return Lie(
        "nan_for_bright",
        out,
        _ONCE,
        "the model answers NaN for the brightest tenth of the pictures",
        "NaN in the float output, with the samples",
        ("nan", "finite", "not a number"),
    )


def zero_output(seed: int, out: Path) -> Lie:
    """The head was never loaded."""
    made = honest(out, seed)
    made.weights["head.weight"][:] = 0
    made.weights["head.bias"][:] = 0
    (out / "model.onnx").write_bytes(made.model())
    return Lie(
        "zero_output",
        out,
        _ONCE,
        "all outputs are zero: float and INT8 agree perfectly",
        "a constant (zero) output; accuracy at chance level",
        ("constant", "zero", "chance", "same answer", "one class"),
    )


def always_the_same(seed: int, out: Path) -> Lie:
    """One class whatever is shown, and a test set of that class."""
    made = honest(out, seed)
    made.weights["head.weight"] *= np.float32(1e-3)
    made.weights["head.bias"][:] = 0
    made.weights["head.bias"][2] = 20
    (out / "model.onnx").write_bytes(made.model())
    frames, labels = judged(seed)
    keep = [i for i, label in enumerate(labels) if label == 2]
    for path in (out / "test").iterdir():
        path.unlink()
    put(out / "test", [frames[i] for i in keep], [2] * len(keep))
    return Lie(
        "always_the_same",
        out,
        _ONCE,
        "the model always says class 2 and the test set holds nothing else: 100 % right",
        "one class in the test set, one answer from the model: nothing is proven",
        ("one class", "single class", "constant", "same answer", "classes"),
    )


def shuffled_classes(seed: int, out: Path) -> Lie:
    """Another class order than the labels'."""
    made = honest(out, seed)
    order = np.roll(np.arange(made.classes), 2)
    made.weights["head.weight"] = np.ascontiguousarray(made.weights["head.weight"][:, order])
    made.weights["head.bias"] = made.weights["head.bias"][order]
    (out / "model.onnx").write_bytes(made.model())
    return Lie(
        "shuffled_classes",
        out,
        _ONCE,
        "the model's classes are in another order than the labels': accuracy is far below chance",
        "float accuracy at (or below) chance level: labels and model do not belong together",
        ("chance", "label", "class order", "permut", "shift", "offset"),
    )


def shifted_labels(seed: int, out: Path) -> Lie:
    """Labels are counted from another first class."""
    honest(out, seed)
    for name in ("calibration", "test"):
        rows = [(file, (label + 1) % 6) for file, label in labels_of(out / name)]
        (out / name / "labels.csv").write_bytes(table(rows))
    return Lie(
        "shifted_labels",
        out,
        _ONCE,
        "every label is one too high (the last wraps round)",
        "float accuracy below chance level; labels shifted by one",
        ("chance", "label", "shift", "offset"),
    )


def random_labels(seed: int, out: Path) -> Lie:
    """The label file was sorted, the pictures were not."""
    honest(out, seed)
    rows = labels_of(out / "test")
    drawn = np.random.default_rng(seed).permutation([label for _, label in rows])
    mixed = [(name, int(label)) for (name, _), label in zip(rows, drawn, strict=True)]
    (out / "test" / "labels.csv").write_bytes(table(mixed))
    return Lie(
        "random_labels",
        out,
        _ONCE,
        "test labels belong to other pictures",
        "float accuracy at chance level",
        ("chance", "label"),
    )


def empty_test(seed: int, out: Path) -> Lie:
    """Class folders without a picture."""
    honest(out, seed)
    for path in (out / "test").iterdir():
        path.unlink()
    (out / "test" / "bottle").mkdir()
    (out / "test" / "ring").mkdir()
    return Lie(
        "empty_test",
        out,
        _ONCE,
        "the test folder has class folders and not one picture",
        "a refusal that names the folder",
        ("no image", "empty", "no sample", "no pictures"),
    )


def six_pictures(seed: int, out: Path) -> Lie:
    """Six pictures, all right: no drop at all."""
    honest(out, seed)
    frames, labels = judged(seed)
    for path in (out / "test").iterdir():
        path.unlink()
    put(out / "test", frames[:6], labels[:6])
    return Lie(
        "six_pictures",
        out,
        _ONCE,
        "six test pictures: a drop of nought that proves nothing",
        "NOT PROVEN, with the number of samples that is needed",
        ("sample", "few", "need"),
        codes=(2, 3),
    )


def sixty_times_five(seed: int, out: Path) -> Lie:
    """A test set blown up by copies."""
    honest(out, seed)
    frames, labels = judged(seed)
    for path in (out / "test").iterdir():
        path.unlink()
    put(out / "test", frames[:5] * 60, labels[:5] * 60)
    return Lie(
        "sixty_times_five",
        out,
        _ONCE,
        "300 test files that are five pictures: the interval is a lie",
        "duplicates in the test set; no more proof than five samples give",
        ("duplicate", "distinct", "identical", "copies", "same"),
    )


def calibration_is_test(seed: int, out: Path) -> Lie:
    """The same folder twice."""
    honest(out, seed)
    return Lie(
        "calibration_is_test",
        out,
        (Step(replaced(COMMAND, calibration="test")),),
        "calibrated on the test set",
        "calibration and test are the same samples",
        ("duplicate", "same", "overlap", "both", "test set"),
    )


def calibration_is_test_saved_again(seed: int, out: Path) -> Lie:
    """The test set under other names and in another format."""
    honest(out, seed)
    for path in (out / "calibration").iterdir():
        path.unlink()
    frames, labels = judged(seed)
    order = np.random.default_rng(seed).permutation(len(frames))
    mixed = [frames[int(i)] for i in order], [labels[int(i)] for i in order]
    put(out / "calibration", *mixed, suffix="jpg")
    return Lie(
        "calibration_is_test_saved_again",
        out,
        _ONCE,
        "the calibration pictures are the test pictures, saved as JPEG in another order",
        "calibration and test are nearly the same samples, pairs named",
        ("duplicate", "same", "overlap", "both", "test set"),
    )


def nhwc_as_nchw(seed: int, out: Path) -> Lie:
    """Channels-last memory with a channels-first shape, in both sets."""
    made = honest(out, seed)
    del made
    for name, (frames, labels) in (("calibration", calibration(seed)), ("test", judged(seed))):
        x = tensors(frames)
        wrong = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).reshape(x.shape)
        np.savez(out / f"{name}.npz", x=wrong, labels=np.asarray(labels))
    configure(out, Recipe().toml(INPUT, tensor=True))
    return Lie(
        "nhwc_as_nchw",
        out,
        (Step(replaced(COMMAND, calibration="calibration.npz", test="test.npz")),),
        "samples are channels-last memory in a channels-first shape: float is as bad as INT8",
        "float accuracy far too low (near chance), or a layout mix-up",
        ("layout", "chance", "nhwc", "accuracy", "interleav"),
    )


def black_test(seed: int, out: Path) -> Lie:
    """The test camera was dead."""
    honest(out, seed)
    frames, labels = judged(seed)
    put(out / "test", [np.zeros_like(frame) for frame in frames], labels)
    return Lie(
        "black_test",
        out,
        _ONCE,
        "all test pictures are black: every rung gives the same answer to all of them",
        "constant, identical test samples; accuracy at chance level",
        ("constant", "black", "zero", "identical", "duplicate", "chance"),
    )


def dead_second_output(seed: int, out: Path) -> Lie:
    """One of two outputs is constant; the first is fine."""
    made = honest(out, seed)
    model = onnx.load_model_from_string(made.model())
    model.graph.node.extend(
        [
            helper.make_node("Mul", [OUTPUT, "nothing"], ["quality"], "quality"),
        ]
    )
    model.graph.initializer.append(
        onnx.numpy_helper.from_array(np.asarray(0, np.float32), "nothing")
    )
    shape = ["batch", made.classes]
    model.graph.output.append(
        helper.make_tensor_value_info("quality", onnx.TensorProto.FLOAT, shape)
    )
    onnx.checker.check_model(model, full_check=True)
    (out / "model.onnx").write_bytes(model.SerializeToString())
    return Lie(
        "dead_second_output",
        out,
        _ONCE,
        "the model's second output is zero for every input",
        "the output `quality` is constant",
        ("quality", "constant", "zero"),
    )


def model_replaced(seed: int, out: Path) -> Lie:
    """A second run in the same folder, after the model file was replaced in place."""
    made = honest(out, seed)
    made.weights["head.weight"] = np.ascontiguousarray(made.weights["head.weight"][:, ::-1])
    made.weights["head.bias"] = np.ascontiguousarray(made.weights["head.bias"][::-1])
    worse = made.model()
    assert len(worse) == (out / "model.onnx").stat().st_size
    return Lie(
        "model_replaced",
        out,
        (Step(COMMAND), Step(COMMAND, (("model.onnx", worse),))),
        "after a good run the model file is replaced: same name, same size, same time of change",
        "the second run judges the new model (classes reversed): accuracy below chance",
        ("chance", "label", "accuracy"),
    )


def labels_replaced(seed: int, out: Path) -> Lie:
    """A second run after the test labels were corrected in place."""
    honest(out, seed)
    rows = [(name, (label + 3) % 6) for name, label in labels_of(out / "test")]
    return Lie(
        "labels_replaced",
        out,
        (Step(COMMAND), Step(COMMAND, (("test/labels.csv", table(rows)),))),
        "after a good run the test labels are changed: same name, same size, same time of change",
        "the second run judges by the new labels: accuracy below chance",
        ("chance", "label", "accuracy"),
    )


def never_twice(seed: int, out: Path) -> Lie:
    """The test source is a training loader: other pixels each time it is read."""
    honest(out, seed)
    (out / "loader.py").write_text(
        "import csv, os, pathlib\n"
        "import numpy as np\n"
        "from PIL import Image\n\n\n"
        "def samples():\n"
        "    root = pathlib.Path(__file__).parent / 'test'\n"
        "    dice = np.random.default_rng(int.from_bytes(os.urandom(8), 'little'))\n"
        "    with open(root / 'labels.csv', newline='') as handle:\n"
        "        rows = list(csv.DictReader(handle))\n"
        "    for i in dice.permutation(len(rows)):\n"
        "        frame = np.asarray(Image.open(root / rows[i]['file']))\n"
        "        frame = np.roll(frame, dice.integers(-4, 5, 2), (0, 1))\n"
        "        yield frame[:, :: dice.choice([-1, 1])].copy(), int(rows[i]['label'])\n"
    )
    return Lie(
        "never_twice",
        out,
        (Step(replaced(COMMAND, test="loader.py:samples")),),
        "the test source shuffles and augments: no two readings are alike",
        "the source is not repeatable (augmentation, or no seed): nothing can be repeated",
        ("augment", "differ", "twice", "not repeat", "random", "determin", "changed"),
    )


def _plugin(seed: int, out: Path, name: str, lie: PluginLie, what: str, *words: str) -> Lie:
    honest(out, seed)
    return Lie(name, out, _ONCE, what, "the plugin's claim is contradicted", words, lie)


def fp32_as_int8(seed: int, out: Path) -> Lie:
    """No quantisation took place."""
    return _plugin(
        seed,
        out,
        "fp32_as_int8",
        PluginLie(
            ("seatrial_build_int8", "seatrial_load"),
            "returns its float artefact as the INT8 one and says that every layer ran in INT8",
        ),
        "the INT8 artefact is the float one: no drop, no gain",
        "identical",
        "float",
        "not int8",
        "same as",
        "precision",
    )


def bf16_baseline(seed: int, out: Path) -> Lie:
    """The device's float is not float32, so its INT8 looks as good as "float"."""

    def halve(y: Floats) -> Floats:
        bits = np.ascontiguousarray(y, np.float32).view(np.uint32)
        return (bits & np.uint32(0xFFFF0000)).view(np.float32)

    return _plugin(
        seed,
        out,
        "bf16_baseline",
        PluginLie(
            ("seatrial_build", "seatrial_load"),
            "rounds every float result to bfloat16 (eight bits of mantissa) and reports f32",
            halve,
        ),
        "the device's float rung runs in bf16 and is called FP32: the baseline is not the model",
        "bf16",
        "bfloat16",
        "noise floor",
        "precision",
        "reference",
    )


def late_by_one(seed: int, out: Path) -> Lie:
    """A stale output buffer: each answer belongs to the input before."""

    def late(y: Floats) -> Floats:
        return np.concatenate([y[:1], y[:-1]])

    return _plugin(
        seed,
        out,
        "late_by_one",
        PluginLie(
            ("seatrial_load",),
            "on the INT8 device each call returns the output of the call before (stale buffer)",
            late,
        ),
        "device INT8 answers are those of the previous sample",
        "agree",
        "differ",
        "device",
        "int8",
        "drop",
    )


LIES: dict[str, LieMaker] = {
    lie.__name__: lie
    for lie in (
        nan_for_bright,
        zero_output,
        always_the_same,
        shuffled_classes,
        shifted_labels,
        random_labels,
        empty_test,
        six_pictures,
        sixty_times_five,
        calibration_is_test,
        calibration_is_test_saved_again,
        nhwc_as_nchw,
        black_test,
        dead_second_output,
        model_replaced,
        labels_replaced,
        never_twice,
        fp32_as_int8,
        bf16_baseline,
        late_by_one,
    )
}
# The thirteen for a count of 25 that half comes from elsewhere; the others are extra.
THIRTEEN = (
    "nan_for_bright",
    "zero_output",
    "shuffled_classes",
    "shifted_labels",
    "empty_test",
    "model_replaced",
    "fp32_as_int8",
    "bf16_baseline",
    "nhwc_as_nchw",
    "calibration_is_test_saved_again",
    "sixty_times_five",
    "dead_second_output",
    "always_the_same",
)
