"""What is refused: one line on standard error, exit code 2, and nothing else."""

from __future__ import annotations

import pytest

RUN = ["run", "{shelf}/digits.onnx"]
DATA = ["--calibration", "{shelf}/calibration.npz", "--test", "{shelf}/test.npz"]
ORT = ["-b", "onnxruntime:cpu"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            [*RUN, "--test", "{shelf}/test.npz", *ORT],
            "--calibration: no calibration data was given (--calibration SRC, or --data SRC to "
            "split one source in two)",
        ),
        (
            [*RUN, *DATA[:2], "--test", "nowhere.npz", *ORT],
            "nowhere.npz: no such folder or file (write a folder, FILE.npz, FILE.npy or "
            "MODULE:CALLABLE)",
        ),
        (
            [*RUN, *DATA, "-b", "onnxruntme:cpu"],
            "onnxruntme:cpu: no backend called 'onnxruntme' (did you mean onnxruntime?)",
        ),
        (
            [*RUN, *DATA, "-b", "onnxruntime:cup"],
            "onnxruntime:cup: no target called 'cup' (did you mean cpu?)",
        ),
        (
            [*RUN, *DATA, "-b", "onnxruntime@sdk:cpu"],
            "@sdk: no such environment (known: none)",
        ),
        (["run", "absent.onnx", *DATA, *ORT], "absent.onnx: "),
        (["check", "absent.onnx"], "absent.onnx: "),
        (
            ["quantize", "{shelf}/tree.onnx", *DATA[:2], "-o", "q.onnx", *ORT],
            "tree.onnx: INT8 gains nothing here: decision trees compare and look up",
        ),
        (
            ["bench", "{shelf}/digits.onnx", "{shelf}/two.onnx", *ORT],
            "two.onnx: takes other inputs than ",
        ),
    ],
)
def test_refused_in_one_line(start, shelf, tmp_path, words, line):
    made = [word.format(shelf=shelf) for word in words]
    out_words = ["-q"] if "quantize" in words else ["-q", "-o", "out"]
    process = start(tmp_path, [*made, *out_words], extra=False)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2, err
    assert out == ""
    assert err.startswith("seatrial: error: ") and err.count("\n") == 1
    assert line in err
    assert not list(tmp_path.rglob("*.json")) and not list(tmp_path.rglob(".seatrial"))
    assert not (tmp_path / "q.onnx").exists()
