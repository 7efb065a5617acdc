"""A small detector through the whole trial: the benchmark's cases, on both runtimes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("pycocotools", reason="the extra `detect` is not installed")

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "detection.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("detection_benchmark", BENCHMARK)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def world(bench: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = tmp_path_factory.mktemp("detector")
    bench.world(root, calibration=64, test=150)
    return root


def run(bench: ModuleType, root: Path, name: str) -> dict:
    model, settings, more = bench.cases(root)[name]
    if "--qdq" in more:
        bench.quantised(root / "nms-other.onnx", settings, Path(more[1]))
    report: dict = bench.trial(model, settings, root / f"trial-{name}", *more)
    return report


def metrics(report: dict) -> dict:
    """mAP by rung and target."""
    return {
        (row["rung"], row["target"], row["source"] == "native"): row["value"]
        for row in report["ladder"]
        if row["metric"].startswith("mAP") and row["value"] is not None
    }


@pytest.mark.long
def test_suppression_on_the_host_and_in_the_graph_give_the_same_map(
    bench: ModuleType, world: Path
) -> None:
    host, graph = metrics(run(bench, world, "host")), metrics(run(bench, world, "graph"))
    floats = [key for key in host if key[0] in ("onnx-fp32", "device-float") and not key[2]]
    assert {key[1] for key in floats} == {None, "onnxruntime:cpu", "openvino:CPU"}
    assert host["onnx-fp32", None, False] > 50
    for key in floats:
        assert host[key] == pytest.approx(graph[key], abs=0.01), key
    for key in host:
        assert host[key] == pytest.approx(host["onnx-fp32", None, False], abs=8), key


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("stretch", {"input.resize"}),
        ("no-map", {"detect.map", "detect.outside", "detect.box-format"}),
        ("cxcywh", {"detect.box-format"}),
        ("config-threshold", {"detect.task"}),
        ("other-suppression", {"detect.suppression"}),
    ],
)
def test_mistakes_are_named(bench: ModuleType, world: Path, name: str, codes: set[str]) -> None:
    report = run(bench, world, name)
    found = {reason["code"] for reason in report["reasons"]}
    assert found & codes, [reason["text"] for reason in report["reasons"]]
    if name != "config-threshold":
        assert report["verdict"] == "DO NOT SHIP"
