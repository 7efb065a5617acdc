"""Parity of real architectures: exporter kept, opset, error against own rounding, time.

Run it as ``python benchmarks/export_table.py [NAME...]``. CIFAR weights are taken from the folder
named by SEATRIAL_DATA (``torch/cifar10_resnet20.safetensors``), and those rows are left out
without it. The last part plants one wrong node into an exported ResNet-50 and looks for it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
ZOO = ROOT / "tests" / "core" / "export"
sys.path.insert(0, str(ZOO))

import zoo_driver as driver  # noqa: E402
from zoo import images  # noqa: E402

from seatrial.export import pipeline  # noqa: E402
from seatrial.export import records as er  # noqa: E402
from seatrial.export.locate import bisect  # noqa: E402
from seatrial.export.stage import Wish, export_request  # noqa: E402
from seatrial.trial.context import Trial  # noqa: E402

DATA = Path(os.environ.get("SEATRIAL_DATA") or ROOT.parent / "shared") / "data"
BATCH = {"image": (0,)}
CASES = {
    "resnet20": ("cifar_resnet20", "cifar", BATCH),
    "resnet32": ("cifar_resnet32", "cifar", BATCH),
    "mobilenet_v2": ("mobilenet_v2", 96, {"input": (0,)}),
    "mobilenet_v3": ("mobilenet_v3", 96, {"input": (0, 2, 3)}),
    "efficientnet_b0": ("efficientnet_b0", 96, {"input": (0,)}),
    "vit": ("vit", 64, BATCH),
    "efficientvit": ("efficientvit", 64, {"input": (0, 2, 3)}),
    "bilstm": ("bilstm", "steps", {"x": (0, 1)}),
}


def feeds(kind: str | int, name: str, n: int = 16) -> dict[str, np.ndarray]:
    """Real CIFAR pictures where there are some, smooth noise otherwise."""
    if kind == "cifar":
        with np.load(DATA / "cifar10" / "cifar10_jpeg_test_A5000.npz") as held:
            x = held["images"][:n].astype(np.float32) / 255
        x = (x - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        return {name: np.ascontiguousarray(x.transpose(0, 3, 1, 2), np.float32)}
    if kind == "steps":
        return images(n, 30, 40, name=name)
    return images(n, 3, kind, kind, name=name)


def spec_of(trial: Trial, row: str, factory: str) -> er.ModuleSpec:
    """The module, with its real weights for the CIFAR nets."""
    weights, name = None, ""
    if row.startswith("resnet"):
        name = f"cifar10_{row}.safetensors"
        weights = trial.workspace.add({name: DATA / "torch" / name}, name)
    driver.module_of(ZOO / "zoo_models.py")
    return er.ModuleSpec(
        kind=er.FACTORY, location=f"zoo_models:{factory}", weights=weights, weights_name=name
    )


def one(trial: Trial, row: str, folder: Path) -> str:
    """One line of the table."""
    factory, kind, dynamic = CASES[row]
    name = next(iter(dynamic))
    spec = spec_of(trial, row, factory)
    samples = driver.store(trial, feeds(kind, name), folder)
    begin = time.monotonic()
    wish = Wish(spec=spec, choice=driver.opsets.choose([]), dynamic=dynamic)
    made = pipeline.make(trial, wish, samples)
    seconds = time.monotonic() - begin
    lines = []
    for a in made.attempts:
        o = a.parity.outputs[0] if a.parity and a.parity.outputs else None
        numbers = (
            f"{o.max_abs:.1e} {o.max_rel:.1e} {o.own:.1e} {o.allowed:.1e} {100 * o.beyond:5.1f}%"
            if o and o.max_rel is not None and o.own is not None
            else "-"
        )
        mark = "*" if a.chosen else " "
        free = ",".join(str(x.axis) for x in a.axes if x.asked and x.status == er.FREE)
        lines.append(
            f"{row:16}{mark}{a.route:12}{a.gate if a.ok else 'failed':11}{a.opset:3}"
            f"{a.graph.nodes if a.graph else 0:6}  {a.seconds:6.1f}s  {numbers:46} free {free}"
            f"  {'' if a.gate == er.PASS else a.reason[:80]}"
        )
    return "\n".join([*lines, f"{'':16} whole gate {made.gate}, {seconds:.0f} s"])


def planted(trial: Trial, folder: Path) -> str:
    """Make one Conv of an exported ResNet-50 wrong, and look for it."""
    import onnx

    spec = spec_of(trial, "planted", "resnet50")
    samples = driver.store(trial, images(4, 3, 224, 224, name="input"), folder)
    wish = Wish(spec=spec, choice=driver.opsets.choose([]), routes=(er.DYNAMO,))
    made = pipeline.make(trial, wish, samples)
    model = onnx.load(trial.workspace.path(made.attempts[0].model))
    convs = [n for n in model.graph.node if n.op_type == "Conv"]
    victim = convs[len(convs) * 2 // 3]
    weight = next(t for t in model.graph.initializer if t.name == victim.input[1])
    values = onnx.numpy_helper.to_array(weight).copy()
    values[values.shape[0] // 2] *= 1.01
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    path = folder.parent / "planted.onnx"
    onnx.save(model, path)
    ref = trial.workspace.add({"planted.onnx": path}, "planted.onnx")
    begin = time.monotonic()
    found = bisect(trial, made, ref, export_request(made, er.DYNAMO), 0)
    seconds = time.monotonic() - begin
    named = found is not None and found.node == victim.name
    return (
        f"planted: one of {values.shape[0]} filters of {victim.name} x 1.01 in a graph of "
        f"{len(model.graph.node)} nodes; found {found.node if found else None} "
        f"(module {found.module if found else ''}, line {found.line if found else 0}, "
        f"{found.before if found else 0:.1e} -> {found.after if found else 0:.1e}, "
        f"{found.compared if found else 0} tensors) in {seconds:.0f} s: "
        f"{'named' if named else 'MISSED'}"
    )


def main(rows: list[str]) -> None:
    """Print the table."""
    print(
        "model            exporter    gate     opset nodes  export   "
        "max abs, of scale, own rounding, allowed, beyond 1e-5"
    )
    with tempfile.TemporaryDirectory() as tmp, driver.in_process(Path(tmp) / "work") as trial:
        for i, row in enumerate(rows):
            if CASES.get(row, ("", "", ""))[1] == "cifar" and not DATA.is_dir():
                continue
            text = planted if row == "planted" else None
            folder = Path(tmp) / f"samples-{i}"
            print(text(trial, folder) if text else one(trial, row, folder), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or [*CASES, "planted"])
