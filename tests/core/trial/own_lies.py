"""Further lies, told by people who know the checks; none may end with exit code 0.

They stand beside the list of an author who did not know them (``lies``), and are made of the same
honest trial.
"""

from __future__ import annotations

import numpy as np
from blind_nets import INPUT, run
from lies import _ONCE, Lie, PluginLie
from spoiled_sets import Recipe
from trial_worlds import (
    COMMAND,
    TEST,
    Step,
    calibration,
    configure,
    honest,
    judged,
    labels_of,
    net,
    put,
    replaced,
    table,
    tensors,
)

_ARRAYS = replaced(COMMAND, calibration="calibration.npz", test="test.npz")


def _as_arrays(out, seed, **test):
    frames, labels = calibration(seed)
    np.savez(out / "calibration.npz", x=tensors(frames), labels=np.asarray(labels))
    np.savez(out / "test.npz", **test)
    configure(out, Recipe().toml(INPUT, tensor=True))


def nan_in_a_picture(seed, out):
    """One test tensor holds a NaN."""
    honest(out, seed)
    frames, labels = judged(seed)
    x = tensors(frames)
    x[17, 0, 3, 3] = np.nan
    _as_arrays(out, seed, x=x, labels=np.asarray(labels))
    words = ("nan", "finite")
    return Lie("nan_in_a_picture", out, (Step(_ARRAYS),), "a test tensor is NaN", "refused", words)


def noise_with_its_own_answers(seed, out):
    """The test set is noise, labelled by the model itself."""
    made = honest(out, seed)
    x = np.random.default_rng(seed).uniform(0, 1, (TEST, 3, 48, 48)).astype(np.float32)
    labels = run(made.model(), {INPUT: x}).argmax(1)
    _as_arrays(out, seed, x=x, labels=labels)
    what = "random tensors with the model's own answers as labels: 100 % right"
    words = ("synthetic", "random", "noise")
    return Lie("noise_with_its_own_answers", out, (Step(_ARRAYS),), what, "synthetic", words)


def all_one_label(seed, out):
    """Every test picture is said to be a class 2."""
    honest(out, seed)
    rows = [(name, 2) for name, _ in labels_of(out / "test")]
    (out / "test" / "labels.csv").write_bytes(table(rows))
    words = ("same label", "chance", "one class")
    return Lie("all_one_label", out, _ONCE, "all labels are 2", "no baseline", words)


def no_labels(seed, out):
    """Nobody knows what is right."""
    honest(out, seed)
    (out / "test" / "labels.csv").unlink()
    return Lie("no_labels", out, _ONCE, "the test set has no labels", "labels", ("label",))


def half_the_labels(seed, out):
    """The second half of the label file was lost."""
    honest(out, seed)
    rows = labels_of(out / "test")
    (out / "test" / "labels.csv").write_bytes(table(rows[: TEST // 2]))
    return Lie("half_the_labels", out, _ONCE, "half of the labels are lost", "labels", ("label",))


def five_videos(seed, out):
    """300 frames of five scenes, and the table says which."""
    honest(out, seed)
    frames, labels = judged(seed)
    dice = np.random.default_rng(seed)
    grain = dice.integers(-6, 7, (TEST, *frames[0].shape))
    made = [
        np.clip(frames[i % 5].astype(int) + grain[i], 0, 255).astype(np.uint8) for i in range(TEST)
    ]
    for path in (out / "test").iterdir():
        path.unlink()
    shown = [labels[i % 5] for i in range(TEST)]
    put(out / "test", made, shown)
    lines = ["file,label,group"]
    lines += [f"{name},{k},video{i % 5}" for i, (name, k) in enumerate(labels_of(out / "test"))]
    (out / "test" / "labels.csv").write_text("\n".join(lines) + "\n")
    what = "300 frames of five videos"
    return Lie("five_videos", out, _ONCE, what, "five groups", ("group",), codes=(2, 3))


def of_another_net(seed, out):
    """The Q/DQ model to be judged was made of another training run."""
    honest(out, seed)
    other = net(seed=seed + 1)
    (out / "other.onnx").write_bytes(other.model())
    steps = (Step((*COMMAND, "--qdq", "other.onnx")),)
    words = ("q/dq", "qdq", "quantis", "quantiz")
    return Lie("of_another_net", out, steps, "the `--qdq` file is a float net", "refused", words)


def _fib(name, target, what, *words):
    def make(seed, out):
        honest(out, seed)
        steps = (Step(replaced(COMMAND, backend=f"fibs:{target}")),)
        lie = PluginLie(("seatrial_load",), what, None)
        return Lie(name, out, steps, what, "the device is contradicted", words, lie)

    make.__name__ = name
    make.__doc__ = what
    return make


OWN = {
    make.__name__: make
    for make in (
        nan_in_a_picture,
        noise_with_its_own_answers,
        all_one_label,
        no_labels,
        half_the_labels,
        five_videos,
        of_another_net,
        _fib("nan_once", "once", "one device answer of 300 is NaN", "nan"),
        _fib("dead_device", "dead", "the device answers zeros", "same output", "zero"),
        _fib("shuffled_device", "shuffles", "the device's classes are shifted", "class", "loses"),
        _fib("stuck_device", "stuck", "the device repeats its first answer", "same output"),
        _fib("now_and_then", "sometimes", "every ninth answer is wrong", "change class", "loses"),
        _fib("simulated", "simulates", "a simulator stood in for the device", "simulator"),
    )
}
