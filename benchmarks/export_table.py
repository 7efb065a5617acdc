"""Parity of real architectures: exporter kept, opset, error against own rounding, time.

Run it as ``python benchmarks/export_table.py [NAME...]``. CIFAR weights are taken from the folder
named by SEATRIAL_DATA (``torch/cifar10_resnet20.safetensors``), and those rows are left out
without it. The last part plants wrong nodes into an exported ResNet-50, one by one, and
looks for each.
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
from seatrial.export.locate import search, tap  # noqa: E402
from seatrial.export.module_records import FACTORY, ModuleSpec  # noqa: E402
from seatrial.export.parity_records import FREE, PASS  # noqa: E402
from seatrial.export.stage import Wish, export_request  # noqa: E402
from seatrial.trial.context import Trial  # noqa: E402

DATA = Path(os.environ.get("SEATRIAL_DATA") or ROOT.parent / "shared") / "data"
BATCH = {"image": (0,)}
CASES = {
    "resnet20": ("cifar_resnet20", "cifar", BATCH),
    "resnet32": ("cifar_resnet32", "cifar", BATCH),
    "ultraface": ("ultraface", "faces", {"picture": (0,)}),
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
    if kind == "faces":
        from PIL import Image

        files = sorted((DATA / "imagenet" / "images").glob("*.jpg"))[:n]
        rows = [np.asarray(Image.open(f).convert("RGB").resize((320, 240))) for f in files]
        x = (np.stack(rows).astype(np.float32) - 127) / 128
        return {name: np.ascontiguousarray(x.transpose(0, 3, 1, 2))}
    if kind == "steps":
        return images(n, 30, 40, name=name)
    return images(n, 3, kind, kind, name=name)


def spec_of(trial: Trial, row: str, factory: str) -> ModuleSpec:
    """The module, with its real weights for the CIFAR nets."""
    weights, name = None, ""
    trained = {"ultraface": "ultraface_rfb320", "resnet20": "cifar10_resnet20"}
    trained["resnet32"] = "cifar10_resnet32"
    if row in trained:
        name = f"{trained[row]}.safetensors"
        weights = trial.workspace.add({name: DATA / "torch" / name}, name)
    file = "zoo_ultraface" if row == "ultraface" else "zoo_models"
    driver.module_of(ZOO / f"{file}.py")
    return ModuleSpec(
        kind=FACTORY, location=f"{file}:{factory}", weights=weights, weights_name=name
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
        parts = [o for o in (a.parity.outputs if a.parity else ()) if o.max_rel is not None]
        o = max(parts, key=lambda part: part.max_rel / part.allowed, default=None)
        numbers = (
            f"{o.max_abs:.1e} {o.max_rel:.1e} {o.own:.1e} {o.allowed:.1e} {100 * o.beyond:5.1f}%"
            if o and o.max_rel is not None and o.own is not None
            else "-"
        )
        mark = "*" if a.chosen else " "
        free = ",".join(str(x.axis) for x in a.axes if x.asked and x.status == FREE)
        lines.append(
            f"{row:16}{mark}{a.route:12}{a.gate if a.ok else 'failed':11}{a.opset:3}"
            f"{a.graph.nodes if a.graph else 0:6}  {a.seconds:6.1f}s  {numbers:46} free {free}"
            f"  {'' if a.gate == PASS else a.reason[:80]}"
        )
    return "\n".join([*lines, f"{'':16} whole gate {made.gate}, {seconds:.0f} s"])


def planted(trial: Trial, folder: Path) -> str:
    """Make Convs of an exported ResNet-50 wrong, one at a time, and look for each."""
    import onnx

    spec = spec_of(trial, "planted", "resnet50")
    samples = driver.store(trial, images(10, 3, 224, 224, name="input"), folder)
    wish = Wish(spec=spec, choice=driver.opsets.choose([]), routes=(er.DYNAMO,))
    begin = time.monotonic()
    made = pipeline.make(trial, wish, samples)
    lines = [f"ResNet-50, 224 px, {made.count} samples: {made.gate}, {_since(begin)}"]
    path = trial.workspace.path(made.attempts[0].model)
    request = export_request(made, er.DYNAMO)
    begin = time.monotonic()
    taps = tap(trial, made, made.attempts[0].model, request, 0)
    lines.append(f"the module's {len(taps.names)} tensors for one sample: {_since(begin)}")
    count = sum(n.op_type == "Conv" for n in onnx.load(path).graph.node)
    hits = 0
    chosen = (0, count // 3, count * 2 // 3, count - 1)
    for place, factor in [(p, f) for p in chosen for f in (1.01, 1.001)]:
        model = onnx.load(path)
        victim = [n for n in model.graph.node if n.op_type == "Conv"][place]
        weight = next(t for t in model.graph.initializer if t.name == victim.input[1])
        values = onnx.numpy_helper.to_array(weight).copy()
        values[values.shape[0] // 2] *= factor
        weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
        wrong = folder.parent / f"planted-{place}-{factor}.onnx"
        onnx.save(model, wrong)
        ref = trial.workspace.add({"planted.onnx": wrong}, "planted.onnx")
        begin = time.monotonic()
        found = search(trial, made, ref, taps)
        named = found is not None and found.node == victim.name
        hits += named
        lines.append(
            f"one of {values.shape[0]} filters of {victim.name} x {factor}: "
            f"{found.node if found else None}, by itself {found.after if found else 0:.1e} "
            f"(nodes before {found.before if found else 0:.1e}), {_since(begin)}: "
            f"{'named' if named else 'MISSED'}"
        )
    right = search(trial, made, made.attempts[0].model, taps)
    alarm = right is not None and right.found
    lines.append(f"{hits} of 8 named; the right model: {'FALSE ALARM' if alarm else 'nothing'}")
    return "\n".join(lines)


def _since(begin: float) -> str:
    return f"{time.monotonic() - begin:.0f} s"


def main(rows: list[str]) -> None:
    """Print the table."""
    print(
        "model            exporter    gate     opset nodes  export   "
        "max abs, of scale, own rounding, allowed, beyond 1e-5"
    )
    with tempfile.TemporaryDirectory() as tmp, driver.in_process(Path(tmp) / "work") as trial:
        for i, row in enumerate(rows):
            if CASES.get(row, ("", "", ""))[1] in ("cifar", "faces") and not DATA.is_dir():
                continue
            text = planted if row == "planted" else None
            folder = Path(tmp) / f"samples-{i}"
            print(text(trial, folder) if text else one(trial, row, folder), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or [*CASES, "planted"])
