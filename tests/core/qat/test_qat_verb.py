"""The command as a whole, and ``run --qdq`` with what it wrote."""

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from qat_bench import USER

import seatrial
from seatrial.errors import UserError
from seatrial.options import QatOptions, RunOptions
from seatrial.qat import records as qr
from seatrial.quantize import child as quantize
from seatrial.quantize import form_child
from seatrial.quantize.types import FormRequest, InsertRequest
from seatrial.results import QdqDialect
from seatrial.trial import given, qat_work

SCHEMA = Path(__file__).parents[3] / "core/seatrial/report/schema/report-1.json"
TARGETS = ("onnxruntime:cpu",)


@pytest.fixture(scope="module")
def shelf(bench, tmp_path_factory):
    """A model and data beside it, as a user has them."""
    import qat_tiny
    import torch

    root = tmp_path_factory.mktemp("shelf")
    qat_tiny.write(root / "tiny.onnx")
    x = np.random.default_rng(4).standard_normal((400, 3, 8, 8), np.float32)
    with torch.no_grad():
        labels = qat_tiny.net()(torch.from_numpy(x)).argmax(1).numpy()
    np.savez(root / "calibration.npz", image=x[:64])
    np.savez(root / "test.npz", image=x[64:], labels=labels[64:])
    return root


def options(root, **known):
    usual = {
        "model": str(root / "tiny.onnx"),
        "train": f"{USER}:loader",
        "loss": f"{USER}:distance",
        "calibration": str(root / "calibration.npz"),
        "out": str(root / "out"),
        "epochs": 4,
        "lr": 1e-2,
        "threads": 1,
        "targets": TARGETS,
    }
    return QatOptions(**{**usual, **known})


@pytest.mark.long
def test_train_go_on_and_be_judged(shelf):
    report = seatrial.qat(options(shelf))
    jsonschema.validate(report.data, json.loads(SCHEMA.read_text("utf-8")))
    part = report.data["qat"]
    assert report.exit_code == 0
    assert part["resumed"] == 0
    assert [e["equal"] for e in part["exports"]] == [True]
    assert part["epochs"][part["best"]]["validation_loss"] < part["epochs"][0]["validation_loss"]
    (chosen,) = [c for c in report.data["candidates"] if c["chosen"]]
    assert chosen["name"].startswith("qat:")
    assert report.data["advice"]["evidence"]
    assert "Training" in report.to_markdown()
    written = (shelf / "out" / "qat.onnx").read_bytes()
    # Called again it finds its checkpoint: nothing is left to train, and the same file comes out.
    again = seatrial.qat(options(shelf))
    assert again.data["qat"]["resumed"] == 4
    assert (shelf / "out" / "qat.onnx").read_bytes() == written
    judged = seatrial.run(
        RunOptions(
            model=str(shelf / "out" / "float.onnx"),
            qdq=(str(shelf / "out" / "qat.onnx"),),
            calibration=str(shelf / "calibration.npz"),
            test=str(shelf / "test.npz"),
            targets=TARGETS,
            quick=True,
            out=str(shelf / "trial"),
        )
    )
    jsonschema.validate(judged.data, json.loads(SCHEMA.read_text("utf-8")))
    rungs = {row["rung"]: row for row in judged.data["ladder"]}
    assert rungs["onnx-int8"]["against"] == "onnx-fp32"  # the float original, not itself
    assert rungs["device-int8"]["source"] == rungs["onnx-int8"]["source"]
    (row,) = [c for c in judged.data["candidates"] if c["chosen"]]
    assert row["name"] == "given:qat.onnx"
    assert rungs["onnx-int8"]["source"] == f"qdq:{row['sha256'][:16]}"
    assert any(c["reason"].startswith("best of the bake-off") for c in judged.data["candidates"])


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"train": ""}, "--train: was not given"),
        ({"loss": ""}, "--loss: was not given"),
        ({"lr": 3.0}, "--lr"),
        ({"calibration": ""}, "no calibration data was given"),
        ({"train": "nothing.py:loader"}, "there is no such file"),
        ({"loss": "no colon"}, "is not MODULE:CALLABLE"),
    ],
)
def test_refusals_leave_one_line_and_no_folder(shelf, tmp_path, known, said):
    with pytest.raises(UserError) as refused:
        seatrial.qat(options(shelf, out=str(tmp_path / "out"), **known))
    assert said in refused.value.line()
    assert not (tmp_path / "out").exists()


def test_a_file_without_pairs_is_refused(shelf, tmp_path):
    with pytest.raises(UserError, match="carries no Q/DQ pairs"):
        seatrial.run(
            RunOptions(
                model=str(shelf / "tiny.onnx"),
                qdq=(str(shelf / "tiny.onnx"),),
                calibration=str(shelf / "calibration.npz"),
                out=str(tmp_path / "out"),
            )
        )


def test_a_callable_is_named_with_its_module():
    assert qat_work.located("torch.nn:L1Loss", "--loss") == "torch.nn:L1Loss"
    with pytest.raises(UserError):
        qat_work.located("torch.nn", "--loss")


FORMS = {
    "u8": QdqDialect(),
    "u8 float bias": QdqDialect(bias="float"),
    "u8 per tensor": QdqDialect(per_channel=False),
    "s8 symmetric": QdqDialect(activations="int8", symmetric=True, bias="float"),
}


@pytest.mark.parametrize("dialect", FORMS.values(), ids=FORMS)
def test_the_form_of_a_given_model_is_read(bench, dialect):
    job = bench.job()
    made = quantize.insert(
        InsertRequest(model=bench.model, ranges=bench.ranges, dialect=dialect, method="minmax"), job
    )
    assert form_child.form(FormRequest(model=job.adopt(made.artifact)), job).dialect == dialect


def test_a_float_model_has_no_form(bench):
    assert form_child.form(FormRequest(model=bench.model), bench.job()).dialect is None


@pytest.mark.parametrize(
    ("form", "wanted", "rank"),
    [
        ("u8", "u8", 0),
        ("u8 float bias", "u8", 1),
        ("u8", "u8 float bias", 1),
        ("s8 symmetric", "s8 symmetric", 0),
        ("u8", "s8 symmetric", None),
        ("s8 symmetric", "u8", None),
    ],
)
def test_a_form_fits_or_not(form, wanted, rank):
    assert given.fits(FORMS[form], FORMS[wanted]) == rank


def test_settings_as_typed_keep_the_defaults_of_the_others():
    made = qat_work.settings(QatOptions(model="m", train="t:t", loss="l:l", lr=0.5), 3)
    assert made == qr.Settings(lr=0.5, seed=3)
