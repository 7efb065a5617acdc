"""What a user can get wrong is one line that names it."""

import onnx
import pytest
from qat_bench import USER

from seatrial.errors import UserError
from seatrial.qat import records as qr


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"train": f"{USER}:nothing"}, "no attribute 'nothing'"),
        ({"train": "no_such_module:loader"}, "No module named"),
        ({"train": f"{USER}:breaks"}, "the disk is gone"),
        ({"train": f"{USER}:stream"}, "can be read only once"),
        ({"train": f"{USER}:NOT_CALLABLE"}, "gave a int"),
        ({"train": f"{USER}:anew"}, "none can be set aside"),
        ({"train": f"{USER}:few"}, "20 samples are too few"),
        ({"train": f"{USER}:no_target"}, "not (inputs, targets)"),
        ({"train": f"{USER}:other_shape"}, "which takes float32 (N, 3, 8, 8)"),
        ({"train": f"{USER}:integers"}, "uint8 (16, 3, 8, 8)"),
        ({"loss": f"{USER}:NOT_CALLABLE"}, "not a loss that can be called"),
        ({"loss": f"{USER}:rows"}, "gave a tensor of shape (16,)"),
        ({"loss": f"{USER}:infinite"}, "the loss is not finite"),
        ({"loss": f"{USER}:raises"}, "no such class"),
        ({"settings": {"epochs": 0}}, "--epochs"),
        ({"settings": {"lr": 0.0}}, "--lr"),
        ({"settings": {"share": 0.9}}, "--validation-share"),
        ({"settings": {"schedule": "stairs"}}, "--schedule"),
        ({"settings": {"layers": "some"}}, "--layers"),
    ],
)
def test_one_line_that_names_it(bench, tmp_path, known, said):
    with pytest.raises(UserError) as refused:
        bench.train(tmp_path, **known)
    assert said in refused.value.line()
    assert "\n" not in refused.value.line()


def test_an_operator_that_cannot_be_trained_is_named(bench, tmp_path):
    model = onnx.load(bench.first.path(bench.model))
    model.graph.node[2].op_type = "Selu"
    onnx.save(model, tmp_path / "selu.onnx")
    job = bench.job()
    with pytest.raises(UserError, match="relu: training cannot run the operator Selu"):
        bench.train(tmp_path / "ck", model=job.add(tmp_path / "selu.onnx"))


def test_settings_that_nobody_set_are_sound():
    qr.Settings().check()
