"""``backends`` also asks in the environments that the configuration names."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from seatrial.cli import main


def test_a_backend_in_another_environment_is_a_row_of_its_own(tmp_path, monkeypatch, capsys):
    other = Path(sys.executable).with_name("python3")
    if not other.exists() or str(other) == sys.executable:
        pytest.skip("this interpreter has no second name")
    monkeypatch.chdir(tmp_path)
    Path("seatrial.toml").write_text(
        f'[env.sdk]\npython = "{other}"\n[env.idle]\nlauncher = ["ssh", "board"]\n'
        '[target."onnxruntime:cpu"]\nenv = "sdk"\n[target."absent@sdk:cpu"]\nthreads = 1\n'
    )
    assert main(["backends", "-q", "--json", "-", "--config", "seatrial.toml"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["environments"] == {"sdk": str(other), "idle": "ssh board"}
    rows = {(row["backend"], row["env"]): row for row in said["rows"]}
    assert {key for key in rows if key[0] == "onnxruntime"} == {
        ("onnxruntime", ""),
        ("onnxruntime", "sdk"),
    }
    (cpu,) = [t for t in rows["onnxruntime", "sdk"]["targets"] if "cpu" in t["target"]]
    assert cpu["target"] == "onnxruntime@sdk:cpu" and cpu["usable"]
    assert cpu["versions"]["onnxruntime"]
    assert all(backend != "absent" for backend, _ in rows)
