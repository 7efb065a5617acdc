"""``seatrial init`` on real models and pictures, its tasks run in this process."""

from __future__ import annotations

import dataclasses
import importlib
import os
import shlex
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from PIL import Image

from seatrial import intake
from seatrial.config import load
from seatrial.data import InputContract, complete, parse
from seatrial.data.contract import check
from seatrial.errors import UserError
from seatrial.init.command import run as run_init
from seatrial.init.guess import choose
from seatrial.init.presets import BY_NAME, PRESETS, Hint, find, hint, is_picture
from seatrial.init.records import Score
from seatrial.init.render import number, quote
from seatrial.init.sheet_child import as_seen
from seatrial.results import Artifact, TensorIO
from seatrial.testing.local import LocalJob
from seatrial.workspace import Workspace


class Runner:
    """Runs core tasks here, where a real runner would start a child."""

    def __init__(self, root: Path, workspace: Workspace) -> None:
        self.root = root
        self.workspace = workspace
        self.calls: list[tuple[str, object]] = []

    def task(self, name, request, *, refs=(), limits=None, user=False):
        self.calls.append((name, request))
        job = LocalJob(self.root / f"job{len(self.calls)}")
        for ref in refs:
            job._paths[ref.sha256] = self.workspace.path(dataclasses.replace(ref, entry=""))
        module, _, function = name.partition(":")
        result = getattr(importlib.import_module(module), function)(request, job)
        return SimpleNamespace(result=result, fault=None, out=job.out)

    def adopt(self, outcome, artifact: Artifact):
        return self.workspace.adopt(outcome.out, artifact)


def brightness_model(path: Path, *, colour: int, classes: int = 4, first: str = "") -> Path:
    """Classifies by the mean of one channel, and expects it between -1 and 1.

    Class k is surest at a mean of -0.75 + 0.5 k, so only pictures prepared as x / 127.5 - 1,
    with the right channel order, are classified well.
    """
    centres = np.linspace(-0.75, 0.75, classes)
    weight = np.zeros((classes, 3), np.float32)
    weight[:, colour] = 2 * centres * 16
    bias = (-(centres**2) * 16).astype(np.float32)
    nodes = [helper.make_node(first, ["in", "offset"], ["x"])] if first else []
    nodes += [
        helper.make_node("GlobalAveragePool", ["x" if first else "in"], ["m"]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["scores"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, ["N", 3, 64, 64])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", classes])],
        [
            helper.make_tensor("w", TensorProto.FLOAT, weight.shape, weight.ravel()),
            helper.make_tensor("b", TensorProto.FLOAT, bias.shape, bias),
            *([helper.make_tensor("offset", TensorProto.FLOAT, [1], [1.0])] if first else []),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def pictures(root: Path, *, colour: int, labelled: bool, n: int = 24) -> Path:
    """Smooth pictures whose class is the brightness of one channel; the others vary freely."""
    draw = np.random.default_rng(1)
    y, x = np.mgrid[0:64, 0:64] / 64
    for k in range(n):
        label = k % 4
        planes = [np.full((64, 64), draw.uniform(20, 235)) for _ in range(3)]
        planes[colour] = np.full((64, 64), 32 + 64 * label + draw.uniform(-12, 12))
        value = np.stack(planes, 2) + 12 * np.sin(6 * (x + y) + k)[:, :, None]
        folder = root / f"c{label}" if labelled else root
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(value, 0, 255).astype(np.uint8)).save(folder / f"{k}.png")
    return root


def started(tmp_path: Path, model: Path, source: str, *, force: bool = False, out: str = ""):
    workspace = Workspace(tmp_path / ".seatrial")
    runner = Runner(tmp_path / "jobs", workspace)
    admitted = intake.admit(model, workspace)
    chosen = parse(source) if source else None
    target = Path(out) if out else tmp_path / "seatrial.toml"
    return run_init(runner, model, admitted, chosen, target, force), runner


@pytest.mark.parametrize("colour", [0, 2])
def test_labelled_pictures_show_which_preset_is_right(tmp_path, colour):
    model = brightness_model(tmp_path / "m.onnx", colour=colour)
    data = pictures(tmp_path / "d", colour=colour, labelled=True)
    result, runner = started(tmp_path, model, str(data))
    c = load(Path(result.config))
    contract = c.inputs["in"]
    assert (contract.scale, contract.mean, contract.std) == (1 / 127.5, (1.0,), (1.0,))
    assert contract.color == "RGB" and contract.resize == "none" and contract.size == (64, 64)
    assert c.model.path == str(model) and c.task.kind == "classify" and c.task.label_offset == 0
    assert {c.source("calibration").part, c.source("test").part} == {"calibration", "test"}
    text = Path(result.config).read_text()
    assert "chosen by trial on 12 labelled calibration samples" in text
    assert "signed: 12 of 12 right" in text and "GUESS" in text
    for preset in PRESETS:
        assert preset.name == "signed" or preset.usual in text
    assert shlex.split(result.next[0])[:2] == ["seatrial", "run"]
    assert "--accept-agreement" not in result.next[0]
    tried = [r for n, r in runner.calls if n.endswith("try_presets")]
    assert all(r.source.part == "calibration" for r in tried), "the test part is not for guessing"
    assert len({p for r in tried for p in r.contracts}) <= 8


def test_a_model_that_wants_bgr_is_found_out(tmp_path):
    """Class by the first channel as fed, which holds the pictures' blue: BGR."""
    model = brightness_model(tmp_path / "m.onnx", colour=0)
    data = pictures(tmp_path / "d", colour=2, labelled=True)
    result, _ = started(tmp_path, model, str(data))
    contract = load(Path(result.config)).inputs["in"]
    assert (contract.color, contract.scale, contract.mean) == ("BGR", 1 / 127.5, (1.0,))
    assert "signed-bgr: 12 of 12 right" in Path(result.config).read_text()


def test_twenty_unlabelled_photos(tmp_path):
    model = brightness_model(tmp_path / "m.onnx", colour=0)
    data = pictures(tmp_path / "d", colour=0, labelled=False, n=20)
    result, _ = started(tmp_path, model, str(data))
    text = Path(result.config).read_text()
    assert "surest of itself on 10 unlabelled samples, a weak sign" in text
    assert result.next[0].endswith("--accept-agreement 99 -o trial")
    assert load(Path(result.config)).task.kind == "none"
    assert "# accept_agreement = 99" in text and "no labels" in " ".join(result.lines)
    with Image.open(result.contact_sheet) as sheet:
        assert sheet.format == "PNG" and sheet.width > 600 and sheet.height > 700


def test_normalisation_inside_the_model_points_to_raw_pixels(tmp_path):
    model = brightness_model(tmp_path / "m.onnx", colour=0, first="Sub")
    facts = intake.admit(model, Workspace(tmp_path / "w")).facts
    said = hint(facts, facts.inputs[0])
    assert said.preset == "raw" and "Sub" in said.why
    plain = brightness_model(tmp_path / "p.onnx", colour=0)
    facts = intake.admit(plain, Workspace(tmp_path / "w")).facts
    assert hint(facts, facts.inputs[0]) == Hint()
    yolo = dataclasses.replace(facts, metadata={"stride": "32", "names": "{0: 'x'}"})
    assert hint(yolo, facts.inputs[0]).resize == "letterbox"
    windows = {"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "Normalized_0_1"}
    said = hint(dataclasses.replace(facts, metadata=windows), facts.inputs[0])
    assert find(said.preset).contract.color == "BGR" and find(said.preset).contract.scale == 1 / 255


def test_without_data_the_model_alone_is_described(tmp_path):
    model = brightness_model(tmp_path / "m.onnx", colour=0)
    result, runner = started(tmp_path, model, "")
    assert not runner.calls and result.contact_sheet == ""
    assert "--data SRC" in result.next[0] or "--data 'SRC'" in result.next[0]
    c = load(Path(result.config))
    assert c.inputs["in"].std == (0.229, 0.224, 0.225) and c.data == {}
    assert "nothing points anywhere" in Path(result.config).read_text()


def test_it_never_writes_over_a_file_unless_forced(tmp_path):
    model = brightness_model(tmp_path / "m.onnx", colour=0)
    target = tmp_path / "seatrial.toml"
    target.write_text("# mine\n")
    (tmp_path / "seatrial.1.toml").write_text("# also mine\n")
    result, _ = started(tmp_path, model, "")
    assert result.config.endswith("seatrial.2.toml") and target.read_text() == "# mine\n"
    (tmp_path / "seatrial.2.toml").unlink()
    result, _ = started(tmp_path, model, "", force=True)
    assert result.config == str(target) and "[model]" in target.read_text()
    with pytest.raises(UserError, match="is a folder"):
        started(tmp_path, model, "", out=str(tmp_path))


def test_a_broken_picture_ends_init_with_its_name(tmp_path):
    model = brightness_model(tmp_path / "m.onnx", colour=0)
    data = pictures(tmp_path / "d", colour=0, labelled=False, n=4)
    (data / "0.png").write_bytes((data / "0.png").read_bytes()[:99])
    with pytest.raises(UserError, match=r"^0\.png: cannot be decoded"):
        started(tmp_path, model, str(data))


def test_arrays_with_a_scale_beside_them(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["m"], ["f"])],
        "g",
        [helper.make_tensor_value_info("m", TensorProto.FLOAT, ["N", 1, 5, 4])],
        [helper.make_tensor_value_info("f", TensorProto.FLOAT, ["N", 20])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "m.onnx")
    data = np.random.default_rng(0).integers(-128, 127, (30, 5, 4), dtype=np.int8)
    np.savez(
        tmp_path / "a.npz", mfcc=data, labels=np.arange(30) % 3, s_scale=0.5, zero_s=np.int8(3)
    )
    result, _ = started(tmp_path, tmp_path / "m.onnx", f"{tmp_path}/a.npz")
    c = load(Path(result.config)).inputs["m"]
    assert (c.mode, c.reshape, c.scale, c.zero_point) == ("tensor", (1, 5, 4), 0.5, 3.0)


def test_a_sheet_shows_the_pixels_that_went_in():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    from seatrial.data.pictures import Normaliser, fit

    for preset in PRESETS:
        contract = preset.over(InputContract(size=(6, 5)))
        contract = complete(contract, TensorIO(name="x", dtype="float32", shape=("N", 3, 6, 5)))
        fed = Normaliser(contract, "x")(fit(Image.fromarray(pixels), contract, "s")[0])
        assert np.array_equal(as_seen(fed, contract), pixels)


def test_choosing_needs_more_than_chance():
    nothing = (Score(preset="raw", n=20, right=2, true_log=-3.0),)
    name, _, lines = choose(Hint(), nothing, labelled=True)
    assert name == "imagenet" and any("chance" in line for line in lines)
    name, why, _ = choose(Hint(preset="unit", why="so"), nothing, labelled=True)
    assert name == "unit" and why == "GUESS: so"
    good = (*nothing, Score(preset="signed", n=20, right=15, true_log=-1.0))
    assert choose(Hint(preset="unit", why="so"), good, labelled=True)[0] == "signed"


def test_which_inputs_are_pictures():
    def shaped(*shape):
        return is_picture(TensorIO(name="x", shape=shape))

    assert shaped("N", 3, 224, 224) and shaped(1, 96, 96, 1) and shaped(3, "h", "w")
    assert not shaped("N", 10) and not shaped("N", 1, 5, 4) and not shaped("...")
    assert not shaped("N", 64, 56, 56)


def test_presets_are_valid_contracts():
    for preset in (*PRESETS, *(find(f"{name}-bgr") for name in BY_NAME if name != "caffe")):
        check(preset.over(InputContract(size=(8, 8))), "x")
    assert find("caffe-rgb").contract.mean == (123.0, 117.0, 104.0)


@given(st.text(max_size=30))
def test_quoted_texts_are_toml(text):
    written = tomllib.loads(f"x = {quote(text)}")["x"]
    assert written == text.encode("utf-8", "replace").decode()


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_written_numbers_are_read_back_exactly(value):
    from seatrial.config.values import number as read

    assert read(tomllib.loads(f"x = {number(value)}")["x"]) == value


def data_root() -> Path:
    root = Path(os.environ.get("SEATRIAL_DATA") or Path(__file__).parents[4] / "shared")
    if not (root / "data").is_dir():
        pytest.skip("the folder of real data is not here (SEATRIAL_DATA)")
    return root / "data"


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "source", "expected", "offset"),
    [
        ("squeezenet_imagenet_fp32", "imagenet", "caffe", 0),
        ("mobilenet_v2_1.0_224_quant_deq_fp32", "imagenet", "signed", 1),
        ("tiny_ic_resnet8", "cifar10/cifar10_jpeg_test_A5000.npz", "raw", 0),
    ],
)
def test_real_models_get_their_real_contract(tmp_path, name, source, expected, offset):
    root = data_root()
    result, _ = started(tmp_path, root / f"onnx/{name}.onnx", str(root / source))
    c = load(Path(result.config))
    (contract,) = c.inputs.values()
    wanted = find(expected).contract
    assert (contract.color, contract.scale, contract.mean) == (
        wanted.color,
        wanted.scale,
        wanted.mean,
    )
    assert c.task.label_offset == offset
    assert Path(result.contact_sheet).is_file()
