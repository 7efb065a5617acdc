"""``seatrial repro`` as a user starts it: a real runtime's refusal, and a backend that dies."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

#: A compiler that dies of every Sin, and of weights above a hundred in a MatMul.
_PLUGIN = """
import os
import signal
from seatrial import hookimpl
from seatrial import results as r

@hookimpl
def seatrial_describe():
    target = r.Target(id="npu", title="NPU", device="npu", default=True)
    return r.Description(title="Frail", vendor="nobody", targets=(target,))

@hookimpl
def seatrial_probe(request, job):
    return r.Availability(usable=True, versions={"frail": "1.2"})

@hookimpl
def seatrial_compile_check(request, job):
    import onnx
    from onnx import numpy_helper
    graph = onnx.load(str(job.path(request.model))).graph
    large = [t.name for t in graph.initializer if abs(numpy_helper.to_array(t)).max() > 100]
    for node in graph.node:
        if node.op_type == "Sin":
            os.kill(os.getpid(), signal.SIGSEGV)
        if node.op_type == "MatMul" and node.input[1] in large:
            raise RuntimeError(f"scale overflow in /home/somebody/build/{node.name}")
    return r.CompileReport(verdict=r.Verdict.UNKNOWN, depth=r.Depth.PARSE)
"""


@pytest.fixture
def repro(tmp_path):
    site = tmp_path / "site"
    info = site / "seatrial_frail-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: seatrial-frail\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[seatrial]\nfrail = seatrial_frail\n")
    (site / "seatrial_frail.py").write_text(_PLUGIN)
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def start(*words):
        return subprocess.run(
            [sys.executable, "-m", "seatrial", "repro", *map(str, words)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return start


def chain(path, middle, *, scale=1.0, count=24):
    """MatMul and Relu, again and again, with one other node in the middle."""
    draw = np.random.default_rng(0)
    nodes, weights, at = [], [], "secret_x"
    for i in range(count):
        if i == count // 2 and middle is not None:
            nodes.append(middle(at, "secret_middle"))
            at = "secret_middle"
        name = f"secret_w{i}"
        size = scale if i == count // 2 else 1.0
        values = (draw.normal(0, 0.3, (8, 8)) * size).astype(np.float32)
        weights.append(numpy_helper.from_array(values, name))
        nodes.append(helper.make_node("MatMul", [at, name], [f"secret_m{i}"], name=f"secret_n{i}"))
        nodes.append(helper.make_node("Relu", [f"secret_m{i}"], [f"secret_r{i}"]))
        at = f"secret_r{i}"
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("secret_x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info(at, TensorProto.FLOAT, [1, 8])],
        weights,
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("secret.domain", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=9), path)
    return path


def test_a_crash_is_cut_to_one_node_without_weights_or_names(repro, tmp_path):
    model = chain(
        tmp_path / "m.onnx", lambda a, b: helper.make_node("Sin", [a], [b], name="secret_s")
    )
    done = repro(model, "-b", "frail:npu", "-o", "out")
    assert done.returncode == 0, done.stderr
    content = (tmp_path / "out" / "model.onnx").read_bytes()
    assert [n.op_type for n in onnx.load_from_string(content).graph.node] == ["Sin"]
    assert b"secret" not in content
    letter = (tmp_path / "out" / "README.md").read_text()
    assert "SIGSEGV" in letter
    assert "1 node (`Sin`), of 49" in letter
    assert "showed it 3 times" in letter
    assert "Its weights: none" in letter
    assert "frail 1.2" in letter
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["README.md", "model.onnx"]
    assert "none of the model's" in done.stdout


def test_weights_that_are_needed_stay_and_it_says_so(repro, tmp_path):
    model = chain(tmp_path / "m.onnx", None, scale=2000.0)
    done = repro(model, "-b", "frail:npu", "-o", "out")
    assert done.returncode == 0, done.stderr
    graph = onnx.load(tmp_path / "out" / "model.onnx").graph
    assert [n.op_type for n in graph.node] == ["MatMul"]
    assert abs(numpy_helper.to_array(graph.initializer[0])).max() > 100
    letter = (tmp_path / "out" / "README.md").read_text()
    assert "Its weights: **yes**" in letter
    assert "scale overflow" in letter
    assert "somebody" not in letter, "paths of the toolchain's words are taken out"
    assert "ask before you publish" in done.stdout


def test_a_real_runtime_s_refusal(repro, tmp_path):
    model = chain(
        tmp_path / "m.onnx",
        lambda a, b: helper.make_node(
            "Secretive", [a], [b], name="secret_s", domain="secret.domain"
        ),
        count=6,
    )
    done = repro(model, "-b", "onnxruntime:cpu", "-o", "out")
    assert done.returncode == 0, done.stderr
    graph = onnx.load(tmp_path / "out" / "model.onnx").graph
    assert [n.op_type for n in graph.node] == ["Secretive"]
    assert not graph.initializer


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("m.onnx", "-b", "frail:npu"), "there is nothing to reproduce"),
        (("m.onnx", "-b", "frail:gpu"), "no target called 'gpu'"),
        (("none.onnx", "-b", "frail:npu"), "none.onnx"),
        (("m.onnx", "-b", "frail:npu", "-o", "full"), "is not empty"),
    ],
)
def test_what_cannot_be_is_one_line(repro, tmp_path, words, reason):
    chain(tmp_path / "m.onnx", None, count=2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("mine")
    done = repro(*words, "-q")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert Path(tmp_path / "full" / "precious").read_text() == "mine"
    assert not (tmp_path / "m-repro").exists()
