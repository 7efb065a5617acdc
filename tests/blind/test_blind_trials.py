"""The lies are lies and the sound trials are sound, seen with ONNX Runtime directly.

Nothing of the project is imported here: these tests guard the generators, not the checks.
"""

import logging

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from blind_nets import INPUT, run
from blind_pictures import load
from lies import LIES, THIRTEEN
from planted_causes import int8
from sound_trials import SOUND
from trial_worlds import TEST, calibration, judged, labels_of, tensors

CHANCE = 1 / 6


def logits(folder, x):
    return run((folder / "model.onnx").read_bytes(), {INPUT: x})


def accuracy(folder):
    """Of the model in the folder on its test folder as it is."""
    rows = labels_of(folder / "test")
    x = tensors([load(folder / "test" / name) for name, _ in rows])
    y = logits(folder, x)
    assert np.isfinite(y).all()
    return np.mean(y.argmax(1) == [label for _, label in rows])


@pytest.mark.parametrize("name", LIES)
def test_lie_is_complete(name, tmp_path):
    made = LIES[name](0, tmp_path / "a")
    assert made.name == name
    assert made.what and made.expected and made.words and made.steps
    assert 0 not in made.codes
    session = ort.InferenceSession(made.folder / "model.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].name == INPUT
    for step in made.steps:
        assert step.argv[:2] == ("run", "model.onnx")
        for flag in ("--config", "--calibration", "--test"):
            source = step.argv[step.argv.index(flag) + 1].split(":")[0]
            assert (made.folder / source).exists()
        for path, data in step.files:
            old = made.folder / path
            assert len(data) == old.stat().st_size and data != old.read_bytes()


def test_thirteen_of_the_lies():
    assert len(set(THIRTEEN)) == 13
    assert set(THIRTEEN) <= set(LIES)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("zero_output", CHANCE - 0.01, CHANCE + 0.01),
        ("always_the_same", 1, 1),
        ("shuffled_classes", 0, 0.1),
        ("shifted_labels", 0, 0.1),
        ("random_labels", 0.05, 0.3),
        ("six_pictures", 0.5, 1),
        ("black_test", CHANCE - 0.01, CHANCE + 0.01),
        ("calibration_is_test", 0.75, 1),
        ("calibration_is_test_saved_again", 0.75, 1),
    ],
)
def test_lie_by_accuracy(name, low, high, tmp_path):
    made = LIES[name](0, tmp_path)
    assert low <= accuracy(made.folder) <= high


def test_some_answers_are_nan(tmp_path):
    made = LIES["nan_for_bright"](0, tmp_path)
    y = logits(made.folder, tensors(judged(0)[0]))
    share = np.isnan(y).any(1).mean()
    assert 0.05 < share < 0.15
    assert np.isnan(y).any(1).sum() == np.isnan(y).all(1).sum()


def test_sets_are_what_the_lie_says(tmp_path):
    copies = LIES["sixty_times_five"](0, tmp_path / "copies")
    files = [p.read_bytes() for p in (copies.folder / "test").glob("*.png")]
    assert (len(files), len(set(files))) == (TEST, 5)
    empty = LIES["empty_test"](0, tmp_path / "empty")
    assert not [p for p in (empty.folder / "test").rglob("*") if p.is_file()]
    mixed = LIES["nhwc_as_nchw"](0, tmp_path / "nhwc")
    held = np.load(mixed.folder / "test.npz")
    y = logits(mixed.folder, held["x"])
    assert np.mean(y.argmax(1) == held["labels"]) < 0.3
    dead = LIES["dead_second_output"](0, tmp_path / "dead")
    session = ort.InferenceSession(dead.folder / "model.onnx", providers=["CPUExecutionProvider"])
    good, bad = session.run(None, {INPUT: tensors(judged(0)[0][:20])})
    assert good.std() > 1 and not bad.any()


def test_stale_runs_change_what_is_judged(tmp_path):
    for name in ("model_replaced", "labels_replaced"):
        made = LIES[name](0, tmp_path / name)
        assert accuracy(made.folder) > 0.75
        for path, data in made.steps[-1].files:
            (made.folder / path).write_bytes(data)
        assert accuracy(made.folder) < 0.1


def test_plugins_distort(tmp_path):
    y = np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32)
    half = LIES["bf16_baseline"](0, tmp_path / "a").plugin.distort(y)
    assert 0 < np.abs(half / y - 1).max() < 2**-7
    late = LIES["late_by_one"](0, tmp_path / "b").plugin.distort(y)
    assert np.array_equal(late[1:], y[:-1]) and late.shape == y.shape
    assert LIES["fp32_as_int8"](0, tmp_path / "c").plugin.distort is None


@pytest.mark.parametrize("name", SOUND)
def test_sound_trial_is_sound(name, tmp_path):
    made = SOUND[name](0, tmp_path)
    assert made.name == name and made.naive
    assert set(made.codes) == {0, 3}
    model = onnx.load(made.folder / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    if name in {"as_tensors", "class_folders"}:  # the model is the plain one
        assert len(list(made.folder.glob("*.npz"))) == 2 * (name == "as_tensors")
        return
    rows = labels_of(made.folder / "test")
    x = tensors([load(made.folder / "test" / file) for file, _ in rows])
    fed = {
        "channels_last": lambda v: np.ascontiguousarray(v.transpose(0, 2, 3, 1)),
        "caffe_style": lambda v: (
            v[:, ::-1] * np.float32(255) - np.asarray([104, 117, 123], "f").reshape(1, 3, 1, 1)
        ),
    }.get(name, lambda v: v)
    batch = 1 if name == "batch_of_one" else len(x)
    rows_in = [fed(x[i : i + batch]) for i in range(0, len(x), batch)]
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y = np.concatenate([session.run(None, {INPUT: part})[0] for part in rows_in])
    assert np.mean(y.argmax(1) == [label for _, label in rows]) > 0.75


@pytest.mark.parametrize("kind", ["plain", "attention"])
def test_int8_of_a_sound_trial_is_sound(kind, tmp_path):
    logging.disable(logging.WARNING)
    try:
        made = SOUND[kind](0, tmp_path)
        model = (made.folder / "model.onnx").read_bytes()
        quantised = int8(model, tensors(calibration(0)[0]))
    finally:
        logging.disable(logging.NOTSET)
    frames, labels = judged(0)
    right = [run(m, {INPUT: tensors(frames)}).argmax(1) == labels for m in (model, quantised)]
    assert right[0].mean() > 0.75
    assert abs(right[0].mean() - right[1].mean()) < 0.03
