"""Legal names that attack whoever prints them: an honest answer, and nothing that acts."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

NAMES = (
    "[bold red]SHIP[/bold red] [/nothing]",
    "\n::error file=x::owned\n::set-output name=a::b",
    "##vso[task.setvariable variable=x]y",
    "\x1b]0;owned\x07\x1b[2J\x1b[32mVERDICT: SHIP\x1b[0m",
    "\u202eTPIHS ton OD\u202c",
    "<script>alert(1)</script>",
    "| a | b |\n|---|---|",
    "../../../../tmp/evil",
    "nul\x00inside",
    "long" * 5000,
)
ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|^\\s*::|##vso\\[", re.MULTILINE
)


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """A chain of operators that no backend knows, each with a hostile name and output."""
    tensors = ["x", *(f"{name} t" for name in NAMES), "y"]
    nodes = [
        helper.make_node("Nonsense", [tensors[k]], [tensors[k + 1]], name, domain="com.acme")
        for k, name in enumerate(NAMES)
    ]
    nodes.append(helper.make_node("Relu", [tensors[-2]], ["y"]))
    io = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", io[:1], io[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.acme", 1)]
    path = tmp_path / "named.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_nothing_acts(check, named: Path, tmp_path: Path) -> None:
    """An operator that no backend knows is 1, and every node is named in print."""
    found = check(named, "-b", "onnxruntime:cpu", "-o", str(tmp_path / "out"))
    assert found.code == 1
    findings = found.target("onnxruntime:cpu")["built"]["findings"]
    assert {f["node"] for f in findings if len(f["node"]) < 4096} >= set(NAMES[:-1])
    printed = [found.out, found.err]
    printed += [p.read_text("utf-8") for p in (tmp_path / "out").glob("report.*")]
    assert len(printed) >= 4
    assert [m.group() for text in printed for m in ACTING.finditer(text)] == []
    assert ACTING.search(check(named, "-b", "onnxruntime:cpu", "-v", as_text=True).out) is None
