"""Runs that begin at a PyTorch module: weights, the module as rung 0, an export that is not it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from seatrial import api
from seatrial.config import load
from seatrial.data import contract
from seatrial.errors import UserError
from seatrial.export.module_records import FACTORY, ModuleSpec
from seatrial.export.parity_records import FAIL
from seatrial.options import JobOptions, RunOptions
from seatrial.results import TensorIO
from seatrial.sla import SLA
from seatrial.trial import from_torch
from seatrial.trial.context import Clock
from seatrial.trial.evidence import Evidence
from seatrial.verdict import rules
from seatrial.verdict.records import Circumstances

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.slow

NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 4)

    def forward(self, picture):
        x = self.conv(picture).relu()
        return self.head(x.mean((2, 3)))

class Sly(Net):
    def forward(self, picture):
        x = self.conv(picture).relu()
        if torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export():
            x = x * 1.5  # only while exporting
        return self.head(x.mean((2, 3)))

@torch.library.custom_op("theirs::scale", mutates_args=())
def scale(x: torch.Tensor) -> torch.Tensor:
    return x * 2.0

class Opaque(Net):
    def forward(self, picture):
        x = self.conv(picture)
        x = scale(x)  # nobody knows what it does
        return self.head(x.mean((2, 3)))

class Hung(Net):
    def forward(self, picture):
        while True:
            pass

def sound():
    torch.manual_seed(1)
    return Net().eval()

def blank():
    net = Net().eval()
    for p in net.parameters():
        p.data.zero_()
    return net

def sly():
    return Sly().eval()

def opaque():
    return Opaque().eval()

def hung():
    return Hung().eval()
"""

CONFIG = """
[model]
path = "nets.py:{factory}"
{extra}
[input.picture]
mode = "image"
scale = 0.01
{contract}
[data.calibration]
source = "a.npz[0:24]"
[data.test]
source = "a.npz[24:60]"
"""
HERE = JobOptions(in_process=True)
CONTRACT = 'size = [16, 16]\nlayout = "NCHW"\ndtype = "float32"'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "nets.py").write_text(NETS, "utf-8")
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (60, 4, 4, 3)).astype(np.float32)
    images = coarse.repeat(4, 1).repeat(4, 2) + rng.uniform(0, 8, (60, 16, 16, 3))
    images = images.clip(0, 255).astype(np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(60) % 4)
    return tmp_path


def run(folder, factory, *, extra="", **options):
    config = folder / "seatrial.toml"
    config.write_text(CONFIG.format(factory=factory, extra=extra, contract=CONTRACT), "utf-8")
    options = {"quick": True, "targets": ("onnxruntime:cpu",), "jobs": HERE} | options
    report = api.run(RunOptions(model="", config=str(config), out=str(folder / "out"), **options))
    written = json.loads((folder / "out" / "report.json").read_text("utf-8"))
    return report, written


def test_the_module_with_its_weights_is_rung_0(folder):
    from safetensors.torch import save_file

    state = {k: torch.randn(v.shape) for k, v in _shapes().items()}
    save_file(state, folder / "w.safetensors")
    _, written = run(folder, "blank", weights=str(folder / "w.safetensors"))
    assert written["export"]["gate"] == "pass", written["reasons"]
    rungs = [row["rung"] for row in written["ladder"]]
    assert rungs[0] == "pytorch-fp32" and "onnx-fp32" in rungs and "device-int8" in rungs


def _shapes():
    return {
        "conv.weight": torch.zeros(8, 3, 3, 3),
        "conv.bias": torch.zeros(8),
        "head.weight": torch.zeros(4, 8),
        "head.bias": torch.zeros(4),
    }


@pytest.mark.parametrize(
    ("factory", "part", "line"),
    [("sly", "accurate", "only while exporting"), ("opaque", "compiles", "nobody knows")],
)
def test_an_export_that_is_not_the_module_does_not_ship_and_shows_why(folder, factory, part, line):
    report, written = run(folder, factory)
    assert (written["verdict"], report.exit_code) == ("DO NOT SHIP", 1)
    assert written["answers"][part] == "DO NOT SHIP" and written["export"]["gate"] == "fail"
    assert {t["verdict"] for t in written["targets"] if t["decides"]} == {"DO NOT SHIP"}
    assert written["reasons"][0]["level"] == "error"
    named = {p["line"] for p in written["export"]["problems"] if p["level"] == "error"}
    number = next(i for i, text in enumerate(NETS.splitlines(), 1) if line in text)
    assert number in named, written["export"]["problems"]
    assert not written["ladder"]


def test_a_module_that_hangs_is_a_fault_and_proves_nothing(folder):
    report, written = run(folder, "hung", jobs=JobOptions(timeout_s=6.0))
    assert (written["verdict"], report.exit_code) == ("NOT PROVEN", 3)
    assert written["faults"][0]["kind"] == "timed out"


@pytest.mark.parametrize("lacks", ["size", "layout", "dtype"])
def test_a_contract_that_leaves_out_what_a_module_cannot_tell_is_refused_by_name(lacks):
    full = {"size": (16, 16), "layout": "NCHW", "dtype": "float32"}
    unknown = TensorIO(name="picture", dtype="", shape=("...",))
    done = contract.complete(contract.InputContract(**full), unknown)
    assert contract.fed_shape(done) == (1, 3, 16, 16)
    held = {k: v for k, v in full.items() if k != lacks}
    with pytest.raises(UserError, match=f"the contract lacks {lacks}"):
        contract.complete(contract.InputContract(**held), unknown)


def test_what_a_quick_run_has_no_time_for_is_said_plainly():
    found = Evidence(options=RunOptions(model=""), config=load(None), sla=SLA())
    found.module = ModuleSpec(kind=FACTORY, location="nets:sound")
    found.module_cost = (3.0, 0.5)
    found.exported = {"samples": 32}
    found.test = SimpleNamespace(info=SimpleNamespace(count=100))
    trial = SimpleNamespace(clock=Clock(60.0))
    assert from_torch.rung(trial, found) is None
    (reason,) = found.export_reasons
    assert reason["code"] == "ladder.pytorch-not-tried" and "about 53 s" in reason["text"]
    assert any("--quick" in text for text in found.missing)


def test_a_red_gate_is_no_answer_that_a_target_can_better():
    run = Circumstances(export=FAIL, exported=False)
    verdict = rules.judge_run([], run)
    assert (verdict.verdict, verdict.answers["compiles"]) == ("DO NOT SHIP", "DO NOT SHIP")
