"""INT8 accuracy of a default `seatrial run` against the default settings of two quantizers.

For every model of the folder named by SEATRIAL_DATA: one `seatrial run` with default settings,
then onnxruntime.quantization (static, its defaults, and per-channel weights) and NNCF (its
defaults) on the same calibration samples. All of them, and the float model, then see the test
samples once; which file was evaluated on which test set is written to `evaluations.log`.
Preprocessing and inference are those of `independent.py`: nothing of Seatrial's own rooms.

Usage: python benchmarks/accuracy.py OUT [NAME...]       (NAME: see MODELS; default: all)
       python benchmarks/accuracy.py OUT --table         (print the table of finished rows)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from independent import Run, loader, read_samples

from seatrial.verdict.proportions import tango

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("SEATRIAL_DATA") or ROOT.parent / "shared") / "data"

IMAGENET = """
[data.calibration]
source = "{data}/imagenet"
where = {{split = "calib"}}
[data.test]
source = "{data}/imagenet"
where = {{split = "test"}}
"""
CIFAR = """
[data.calibration]
source = "{data}/cifar10/cifar10_jpeg_train_calib2048.npz[0:512]"
[data.test]
source = "{data}/cifar10/cifar10_jpeg_test_A5000.npz[0:2000]"
"""
KWS = """
[data.calibration]
source = "{data}/kws/kws01.npz[0:300]"
arrays = {{input = "mfcc_int8", labels = "labels"}}
[data.test]
source = "{data}/kws/kws01.npz[300:]"
arrays = {{input = "mfcc_int8", labels = "labels"}}
"""
UNIT = "scale = 0.00392156862745098\n"
INCEPTION = "scale = 0.00784313725490196\nmean = [1.0]\n"
TORCH_STATS = UNIT + "mean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]\n"
VIT_STATS = UNIT + "mean = [0.4914, 0.4822, 0.4465]\nstd = [0.2023, 0.1994, 0.2010]\n"
#: The documented evaluation of ImageNet nets: short side 256, centre crop 224.
CROP = 'size = [224, 224]\nresize = "crop"\nresize_to = 256\n'
CROP_128 = 'size = [128, 128]\nresize = "crop"\nresize_to = 146\n'
BACKGROUND = '[task]\nkind = "classify"\nlabel_offset = 1\n'
NETS = ROOT / "tests" / "core" / "export" / "zoo_models.py"


@dataclass(frozen=True)
class Model:
    """A model, its input contract and its data."""

    path: str
    input: str
    contract: str
    data: str
    task: str = ""
    weights: str = ""

    def toml(self) -> str:
        """The configuration of its run."""
        path = self.path if ":" in self.path else f"{DATA}/{self.path}"
        return (
            f'[model]\npath = "{path}"\n[input."{self.input}"]\n{self.contract}{self.task}'
            f"{self.data.format(data=DATA)}"
        )


MODELS = {
    "resnet20": Model(
        f"{NETS}:cifar_resnet20",
        "image",
        'size = [32, 32]\nlayout = "NCHW"\ndtype = "float32"\n' + TORCH_STATS,
        CIFAR,
        weights="torch/cifar10_resnet20.safetensors",
    ),
    "resnet32": Model(
        f"{NETS}:cifar_resnet32",
        "image",
        'size = [32, 32]\nlayout = "NCHW"\ndtype = "float32"\n' + TORCH_STATS,
        CIFAR,
        weights="torch/cifar10_resnet32.safetensors",
    ),
    "resnet8": Model("onnx/tiny_ic_resnet8.onnx", "input", "scale = 1.0\n", CIFAR),
    "vit": Model("nolicence/cifar10_vit.onnx", "input", VIT_STATS, CIFAR),
    "etinynet": Model(
        "nolicence/etinynet_imagenet.onnx", "input", CROP + "mean = [128.0]\n", IMAGENET
    ),
    "squeezenet": Model(
        "onnx/squeezenet_imagenet_fp32.onnx",
        "data_0",
        CROP + 'color = "BGR"\nmean = [104.0, 117.0, 123.0]\n',
        IMAGENET,
    ),
    "mobilenet_v2": Model(
        "onnx/mobilenet_v2_1.0_224_quant_deq_fp32.onnx",
        "input",
        CROP + INCEPTION,
        IMAGENET,
        BACKGROUND,
    ),
    "mobilenet_v1_0.25": Model(
        "onnx/mobilenet_v1_0.25_128_quant_deq_fp32.onnx",
        "input",
        CROP_128 + INCEPTION,
        IMAGENET,
        BACKGROUND,
    ),
    "kws": Model(
        "onnx/tiny_kws_dscnn.onnx",
        "input",
        'mode = "tensor"\nzero_point = 83.0\nscale = 0.5847029\nreshape = [1, 49, 10]\n'
        'dtype = "float32"\n',
        KWS,
    ),
}


def main(arguments: list[str]) -> int:
    """Run the rows that are asked for, then print the table of all rows that are there."""
    out, *names = arguments
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    if names != ["--table"]:
        for name in names or MODELS:
            row = study(folder / name, MODELS[name])
            (folder / f"{name}.json").write_text(json.dumps(row, indent=1), "utf-8")
            print(f"{name}: done in {row['run_s']:.0f} s", flush=True)
    print(table([json.loads(p.read_text("utf-8")) for p in sorted(folder.glob("*.json"))]))
    return 0


def study(folder: Path, model: Model) -> dict[str, Any]:
    """One model: the trial, the rivals, and who was right on which test sample."""
    folder.mkdir(parents=True, exist_ok=True)
    report, seconds = trial(folder, model)
    calibration = [x for x, _ in read_samples(report, "calibration")]
    base = float_model(report, folder)
    rivals = {
        "ORT static": rival_onnxruntime(base, calibration, folder, per_channel=False),
        "ORT static per-channel": rival_onnxruntime(base, calibration, folder, per_channel=True),
        "NNCF": rival_nncf(base, calibration),
    }
    samples = list(read_samples(report))
    results = {}
    for name, run in {"float": plain(base), **ours(report, folder / "trial"), **rivals}.items():
        log(folder.parent, f"{folder.name}: {name} on {report['data']['test']['source']}")
        results[name] = classes(run, samples)
    labels = [label for _, label in samples]
    return {
        "model": folder.name,
        "verdict": report["verdict"],
        "run_s": seconds,
        "labels": labels,
        "classes": results,
        "latency": latencies(report),
        "chosen": [c["name"] for c in report["candidates"] if c["chosen"]],
    }


def trial(folder: Path, model: Model) -> tuple[dict[str, Any], float]:
    """`seatrial run` with default settings; a trial that is there already is not run again."""
    done_before = folder / "trial" / "report.json"
    if done_before.exists():
        report = json.loads(done_before.read_text("utf-8"))
        return report, sum(t["seconds"] for t in report["timings"])
    config = folder / "seatrial.toml"
    config.write_text(model.toml(), "utf-8")
    words = [sys.executable, "-m", "seatrial", "run", "--config", str(config)]
    words += ["--weights", f"{DATA}/{model.weights}"] if model.weights else []
    start = time.monotonic()
    done = subprocess.run([*words, "-o", str(folder / "trial")], check=False)
    seconds = time.monotonic() - start
    if done.returncode not in (0, 1, 3):
        raise SystemExit(f"{folder.name}: run ended with {done.returncode}")
    return json.loads((folder / "trial" / "report.json").read_text("utf-8")), seconds


def float_model(report: dict[str, Any], folder: Path) -> Path:
    """The float ONNX file that the trial judged."""
    row = next(r for r in report["ladder"] if r["rung"] == "onnx-fp32")
    (path,) = (folder / "trial" / ".seatrial" / "objects" / row["artifact"]).glob("*.onnx")
    return path


def ours(report: dict[str, Any], folder: Path) -> dict[str, Run]:
    """The INT8 artefact of every target, called through its runtime's plain API."""
    found = {}
    for row in report["ladder"]:
        if row["rung"] == "device-int8" and row.get("artifact"):
            found[f"Seatrial {row['target']}"] = loader(report, row, folder)
    return found


def plain(path: Path) -> Run:
    """An ONNX file in ONNX Runtime with its defaults."""
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]


def rival_onnxruntime(
    base: Path, calibration: list[Any], folder: Path, *, per_channel: bool
) -> Run:
    """`quantize_static` with its defaults, after its own pre-processing step."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared, result = folder / "ort_prepared.onnx", folder / f"ort_{per_channel}.onnx"
    try:
        quant_pre_process(str(base), str(prepared))
    except Exception as error:  # noqa: BLE001  # its symbolic shape inference does not take every model
        print(f"quant_pre_process without symbolic shapes: {error!r}")
        quant_pre_process(str(base), str(prepared), skip_symbolic_shape=True)
    name = ort.InferenceSession(prepared, providers=["CPUExecutionProvider"]).get_inputs()[0].name

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = iter(calibration)

        def get_next(self) -> dict[str, Any] | None:
            x = next(self.rest, None)
            return None if x is None else {name: x}

    quantize_static(str(prepared), str(result), Reader(), per_channel=per_channel)
    return plain(result)


def rival_nncf(base: Path, calibration: list[Any]) -> Run:
    """`nncf.quantize` with its defaults, one sample per item; float nodes run in f32."""
    import nncf
    import openvino as ov

    model = ov.Core().read_model(base)
    made = nncf.quantize(model, nncf.Dataset(calibration))
    compiled = ov.Core().compile_model(made, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda x: compiled(x)[0]


def classes(run: Run, samples: list[tuple[Any, int]]) -> list[int]:
    """The class a model gives to each sample."""
    return [int(np.asarray(run(x)).reshape(-1).argmax()) for x, _ in samples]


def latencies(report: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Median ms per target of the float and the INT8 artefact, from the interleaved rounds."""
    rungs = {
        (r["target"], r["rung"]): r["artifact"]
        for r in reversed(report["ladder"])
        if r["rung"] in ("device-float", "device-int8")
    }
    found: dict[str, dict[str, float]] = {}
    for target in report["targets"]:
        rows = target.get("benchmark") or []
        for word, rung, precision in (
            ("float", "device-float", "FP32"),
            ("int8", "device-int8", "INT8"),
        ):
            wanted = rungs.get((target["target"], rung))
            times = [b["p50_ms"] for b in rows if b["artifact"] == wanted]
            times = times or [b["p50_ms"] for b in rows if b["precision"] == precision]
            if times:
                found.setdefault(target["target"], {})[word] = times[0]
    return found


def log(folder: Path, text: str) -> None:
    """Every look at a test set leaves a line."""
    with (folder / "evaluations.log").open("a", encoding="utf-8") as file:
        file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")


def table(rows: list[dict[str, Any]]) -> str:
    """Accuracy, agreement with float, and the paired difference to the better rival."""
    lines = [
        "| model (n) | who | top-1 | agrees with float | against the better rival, 95 % "
        "| FP32 / INT8 ms |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        labels = np.array(row["labels"])
        found = {name: np.array(c) for name, c in row["classes"].items()}
        rivals = {k: v for k, v in found.items() if k.startswith(("ORT", "NNCF"))}
        better = max(rivals, key=lambda k: int((rivals[k] == labels).sum()))
        for name, given in found.items():
            right = given == labels
            cells = [f"{row['model']} ({len(labels)})", name, f"{100 * right.mean():.2f}"]
            cells.append(f"{100 * (given == found['float']).mean():.1f}")
            cells.append(_against(right, rivals[better] == labels, name, better))
            cells.append(_speed(row, name))
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _against(right: Any, other: Any, name: str, better: str) -> str:
    if not name.startswith("Seatrial"):
        return ""
    gain, loss, n = int((right & ~other).sum()), int((~right & other).sum()), len(right)
    low, high = tango(gain, loss, n)
    word = "worse" if high < 0 else "better" if low > 0 else "no difference shown"
    return (
        f"{100 * (gain - loss) / n:+.2f} ({100 * low:+.2f} to {100 * high:+.2f}) "
        f"than {better}: {word}"
    )


def _speed(row: dict[str, Any], name: str) -> str:
    times = row["latency"].get(name.removeprefix("Seatrial "), {})
    return f"{times['float']:.2f} / {times['int8']:.2f}" if len(times) == 2 else ""


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
