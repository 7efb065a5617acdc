"""Modules with published weights: the module is the one that was trained, and its export is it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import zoo_driver as driver

from seatrial import reference
from seatrial.export import opsets
from seatrial.export.module_records import FACTORY, ModuleSpec
from seatrial.export.parity_records import PASS
from seatrial.export.pipeline import make
from seatrial.export.stage import Wish

ROOT = Path(os.environ.get("SEATRIAL_DATA") or Path(__file__).parents[4] / "shared") / "data"
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not ROOT.is_dir(), reason=f"no real data in {ROOT}"),
]


def faces(n):
    """Pictures (n, 3, 240, 320) as the detector was trained on: (pixel - 127) / 128."""
    from PIL import Image

    files = sorted((ROOT / "imagenet" / "images").glob("*.jpg"))[:n]
    rows = [np.asarray(Image.open(f).convert("RGB").resize((320, 240))) for f in files]
    x = (np.stack(rows).astype(np.float32) - 127) / 128
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def loaded(factory, name):
    from safetensors.torch import load_file

    module = factory()
    module.load_state_dict(load_file(ROOT / "torch" / name))
    return module


def test_the_detector_is_the_published_one():
    from zoo_ultraface import ultraface

    net = loaded(ultraface, "ultraface_rfb320.safetensors")
    session = reference.open_model(ROOT / "onnx" / "version-RFB-320.onnx")
    for x in faces(4):
        with torch.no_grad():
            scores, boxes = net(torch.from_numpy(x[None]))
        theirs = session.run({"input": x[None]})
        assert np.abs(scores.numpy() - theirs["scores"]).max() < 1e-4
        assert np.abs(boxes.numpy() - theirs["boxes"]).max() < 1e-4


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("SEATRIAL_ZOO") != "all", reason="minutes: make zoo")
def test_the_detectors_export_is_equal_on_real_pictures(room, tmp_path):
    driver.module_of(driver.HERE / "zoo_ultraface.py")
    name = "ultraface_rfb320.safetensors"
    spec = ModuleSpec(
        kind=FACTORY,
        location="zoo_ultraface:ultraface",
        weights=room.workspace.add({name: ROOT / "torch" / name}, name),
        weights_name=name,
    )
    samples = driver.store(room, {"picture": faces(10)}, tmp_path / "samples")
    wish = Wish(spec=spec, choice=opsets.choose([]), dynamic={"picture": (0,)})
    made = make(room, wish, samples)
    assert made.gate == PASS, made.reasons
    assert {o.output: o.gate for o in made.chosen.parity.outputs} == {
        "output_0": PASS,
        "output_1": PASS,
    }
    assert [a.ok for a in made.attempts] == [True, True]


def test_the_classifier_is_the_trained_one():
    from zoo_models import cifar_resnet20

    net = loaded(cifar_resnet20, "cifar10_resnet20.safetensors")
    with np.load(ROOT / "cifar10" / "cifar10_jpeg_test_A5000.npz") as held:
        x, labels = held["images"][:500].astype(np.float32) / 255, held["labels"][:500]
    x = (x - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.no_grad():
        given = net(torch.from_numpy(x.transpose(0, 3, 1, 2).astype(np.float32))).argmax(1)
    # 81.22 % on all 5,000.
    assert (given.numpy() == labels).mean() > 0.75
