"""Programs and archives that carry code, hang or eat all memory: refused or a fault, no crash."""

from __future__ import annotations

import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
import zoo_driver as driver

from seatrial.config import load
from seatrial.errors import UserError
from seatrial.export import opsets, pipeline
from seatrial.export.module_records import ARCHIVE, PROGRAM, ModuleSpec
from seatrial.export.parity_records import FAIL, NOT_PROVEN, PASS
from seatrial.export.problems import ERROR
from seatrial.export.stage import Wish
from seatrial.export.torch_module import build
from seatrial.options import JobOptions
from seatrial.progress import NoProgress
from seatrial.testing.local import LocalJob
from seatrial.trial.context import Trial


class Double(torch.nn.Module):
    def forward(self, x):
        return x * 2


class Endless(torch.nn.Module):
    def forward(self, x):
        while True:
            x = x + 1
        return x


class Hungry(torch.nn.Module):
    def forward(self, x):
        parts = [x]
        while len(parts) > 0:
            parts.append(torch.ones(16_000_000) + x[0, 0])
        return parts[-1][:3] + x


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, where):
        self.where = str(where)

    def __reduce__(self):
        return os.mkdir, (self.where,)


def forged(good, bad, inner, content):
    """A copy of an archive with one entry replaced, and how many were."""
    replaced = 0
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(bad, "w") as new:
        for entry in old.infolist():
            hit = entry.filename.endswith(inner)
            replaced += hit
            new.writestr(entry.filename, content if hit else old.read(entry.filename))
    return replaced


def spec(job, kind, path, **known):
    return ModuleSpec(kind=kind, location=path.name, file=job.add(path), **known)


def test_a_program_runs_no_code_when_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "0")  # what build sets is undone
    trap = tmp_path / "trap"
    torch.export.save(torch.export.export(Double(), (torch.ones(1, 3),)), tmp_path / "good.pt2")
    torch.save(Trap(trap), tmp_path / "payload")
    payload = (tmp_path / "payload").read_bytes()
    bad = tmp_path / "bad.pt2"
    assert forged(tmp_path / "good.pt2", bad, "sample_inputs/model.pt", payload) == 1
    job = LocalJob(tmp_path / "job")
    for trust in (False, True):
        with pytest.raises(UserError, match="pickle that names code"):
            build(spec(job, PROGRAM, bad, trust_pickle=trust), job)
        assert not trap.exists()
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "0")
    torch.load(tmp_path / "payload", weights_only=False)
    assert trap.exists(), "the trap itself does not work"


@pytest.mark.parametrize("inner", ["/data.pkl", "constants.pkl"])
@pytest.mark.parametrize("trust", [False, True])
def test_an_archive_runs_no_code_when_it_is_read(tmp_path, inner, trust):
    trap = tmp_path / "trap"
    torch.jit.script(Double()).save(tmp_path / "good.pt")
    bad = tmp_path / "bad.pt"
    content = pickle.dumps(Trap(trap), protocol=2)
    assert forged(tmp_path / "good.pt", bad, inner, content) == 1
    job = LocalJob(tmp_path / "job")
    with pytest.raises(UserError, match="cannot be read as TorchScript archive"):
        build(spec(job, ARCHIVE, bad, trust_pickle=trust), job)
    assert not trap.exists()


class Dropping(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(x) * 2


def exported(trial, path, kind, folder):
    rows = np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32)
    samples = driver.store(trial, {"x": rows}, folder)
    held = trial.workspace.add({path.name: path}, path.name)
    module = ModuleSpec(kind=kind, location=path.name, file=held)
    return pipeline.make(trial, Wish(spec=module, choice=opsets.choose([])), samples)


def test_sound_files_pass_and_one_in_training_mode_does_not(room, tmp_path):
    torch.export.save(torch.export.export(Double(), (torch.ones(1, 3),)), tmp_path / "good.pt2")
    torch.jit.script(Double()).save(tmp_path / "good.pt")
    torch.jit.script(Dropping().train()).save(tmp_path / "bad.pt")
    rows = (("good.pt2", PROGRAM), ("good.pt", ARCHIVE), ("bad.pt", ARCHIVE))
    gates = {}
    for name, kind in rows:
        made = exported(room, tmp_path / name, kind, tmp_path / f"samples-{name}")
        gates[name] = (made.gate, {p.code for p in made.study.problems if p.level == ERROR})
    assert gates["good.pt2"] == gates["good.pt"] == (PASS, set())
    assert gates["bad.pt"] == (FAIL, {"training-mode"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "limits"),
    [(Endless, {"timeout_s": 6.0}), (Hungry, {"memory_mb": 2500, "timeout_s": 40.0})],
)
def test_an_archive_that_hangs_or_eats_all_memory_is_a_fault(tmp_path, module, limits):
    path = tmp_path / "bad.pt"
    torch.jit.script(module()).save(path)
    jobs = JobOptions(**limits)
    config, quiet = load(None), NoProgress()
    with Trial("export", tmp_path / "out", jobs=jobs, config=config, progress=quiet) as trial:
        made = exported(trial, path, ARCHIVE, tmp_path / "samples")
    assert made.gate == NOT_PROVEN and len(made.faults) == 1
    expected = "timed out" if module is Endless else "out of memory"
    assert made.faults[0].kind.value == expected, made.faults
