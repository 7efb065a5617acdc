"""Runtimes called directly, in a few lines each: what a user of the runtime would type.

Runs in whatever interpreter has the runtime, on its own: numpy and the runtime, nothing of ours.

    python benchmarks/direct.py BACKEND JOBS.json OUT
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Feeds = Mapping[str, Any] | None
Shapes = Mapping[str, list[int]]


def onnxruntime(path: Path, feeds: Feeds, shapes: Shapes) -> Iterator[dict | None]:
    """The CPU provider."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    yield None
    names = [o.name for o in session.get_outputs()]
    yield dict(zip(names, session.run(names, feeds), strict=True))


def openvino(path: Path, feeds: Feeds, shapes: Shapes) -> Iterator[dict | None]:
    """FP32 pinned, as everywhere; bf16 would be another number and no disagreement."""
    import openvino as ov

    core = ov.Core()
    model = core.read_model(path)
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    yield None
    # Inputs that no node needs are gone, and one that is passed through has the output's name.
    ports = {k: [n for n in p.get_names() if n in feeds] for k, p in enumerate(compiled.inputs)}
    left = [n for n in feeds if [n] not in ports.values()]
    results = compiled({k: feeds[n[0] if n else left[0]] for k, n in ports.items()})
    yield {str(k): v for k, v in enumerate(results.values())}


def tvm(path: Path, feeds: Feeds, shapes: Shapes) -> Iterator[dict | None]:
    """Import, compile for this CPU, run in the virtual machine."""
    import onnx
    import tvm as runtime
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx
    from tvm.target import codegen

    model = onnx.load(path)
    module = from_onnx(model, dict(shapes))
    target = runtime.target.Target({"kind": "llvm", "mcpu": codegen.llvm_get_system_cpu()})
    executable = runtime.compile(module, target=target)
    yield None
    machine = relax.VirtualMachine(executable, runtime.cpu())
    constants = {t.name for t in model.graph.initializer}
    names = [i.name for i in model.graph.input if i.name not in constants]
    found = machine["main"](*(runtime.runtime.tensor(np.asarray(feeds[n])) for n in names))
    values = [found] if len(model.graph.output) == 1 else list(found)
    # a shape comes as a tuple of its own kind
    given = (v.numpy() if hasattr(v, "numpy") else np.array(list(v), np.int64) for v in values)
    yield {str(k): v for k, v in enumerate(given)}


def litert(path: Path, feeds: Feeds, shapes: Shapes) -> Iterator[dict | None]:
    """Convert by onnx2tf with its defaults, load in the interpreter, run."""
    import onnx
    import onnx2tf
    from ai_edge_litert.interpreter import Interpreter

    with tempfile.TemporaryDirectory() as folder:
        # the converter writes into its input
        copy = Path(shutil.copytree(path.parent, Path(folder) / "in")) / path.name
        given = [f"{n}:{','.join(map(str, s))}" for n, s in shapes.items()] or None
        onnx2tf.convert(
            input_onnx_file_path=str(copy),
            output_folder_path=f"{folder}/out",
            overwrite_input_shape=given,
            non_verbose=True,
            verbosity="error",
        )
        file = f"{folder}/out/{copy.stem}_float32.tflite"
        interpreter = Interpreter(file)
        interpreter.allocate_tensors()
        yield None
        details = {d["name"]: d for d in interpreter.get_input_details()}
        turned = {}
        for name, value in feeds.items():
            detail = details[name if name in details else next(iter(details))]
            wanted = tuple(int(k) for k in detail["shape"])
            last = np.moveaxis(value, 1, -1) if value.ndim > 2 else value
            turned[detail["index"]] = value if last.shape != wanted == value.shape else last
            if turned[detail["index"]].shape != wanted:
                interpreter.resize_tensor_input(detail["index"], turned[detail["index"]].shape)
                interpreter.allocate_tensors()
        for detail in details.values():
            value = np.asarray(turned[detail["index"]], detail["dtype"], order="C")
            interpreter.set_tensor(detail["index"], value)
        interpreter.invoke()
        runner = interpreter.get_signature_runner()
        found = {n: d["index"] for n, d in runner.get_output_details().items()}
        names = [o.name for o in onnx.load(path, load_external_data=False).graph.output]
        order = names if set(names) <= set(found) else list(found)
        yield {n: interpreter.get_tensor(found[n]) for n in order}


def rknn(path: Path, feeds: Feeds, shapes: Shapes) -> Iterator[dict | None]:
    """Build for one chip, and run in the simulator. A line in the log is the only refusal of some.

    The line comes from the native library, so the file descriptor is read.
    """
    import ctypes
    import os

    from rknn.api import RKNN

    home, kept = Path.cwd(), os.dup(1)
    with tempfile.TemporaryDirectory() as folder:
        log = os.open(f"{folder}/log", os.O_CREAT | os.O_WRONLY)
        os.chdir(folder)
        os.dup2(log, 1)
        try:
            kit = RKNN(verbose=False)
            kit.config(target_platform="rk3588")
            names = list(shapes) or None
            sizes = [list(s) for s in shapes.values()] or None
            codes = [kit.load_onnx(model=str(path), inputs=names, input_size_list=sizes)]
            codes.append(kit.build(do_quantization=False))
            codes.append(kit.export_rknn("m.rknn"))
            ctypes.CDLL(None).fflush(None)
            said = Path("log").read_text("utf-8", "replace")
            if any(codes) or "No lowering found" in said:
                raise RuntimeError(said[-300:])
            yield None
            kit.init_runtime(target=None)
            formats = ["nchw" if v.ndim == 4 else "undefined" for v in feeds.values()]
            found = kit.inference(inputs=list(feeds.values()), data_format=formats)
            yield {str(k): v for k, v in enumerate(found)}
        finally:
            os.dup2(kept, 1)
            os.close(kept)
            os.close(log)
            os.chdir(home)


RUNTIMES: dict[str, Callable[..., Iterator[dict | None]]] = {
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "tvm": tvm,
    "litert": litert,
    "rknn": rknn,
}


def one(backend: str, job: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Whether the runtime takes a model, and what it computes."""
    feeds = None
    if job["data"]:
        with np.load(job["data"]) as data:
            feeds = {n: data[key] for n, key in job["feeds"].items()}
    steps = RUNTIMES[backend](Path(job["model"]), feeds, job["shapes"])
    try:
        next(steps)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it raises is its no
        return {"accepted": False, "why": " ".join(str(error).split())[:300]}
    if feeds is None:
        return {"accepted": True}
    try:
        outputs = next(steps)
    except Exception as error:  # noqa: BLE001
        return {"accepted": True, "ran": False, "why": " ".join(str(error).split())[:300]}
    try:
        arrays = {str(k): np.array(v) for k, v in enumerate(outputs.values())}
        np.savez(out / f"{job['file']}.npz", **arrays)
    except ValueError:
        return {"accepted": True}
    return {"accepted": True, "ran": True}


def main() -> None:
    """Ask for each job, and append a line before and after it."""
    backend, jobs, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    with (out / "lines").open("a") as lines:
        for job in json.loads(jobs.read_text()):
            for fields in ({"event": "begin"}, None):
                said = fields or {"event": "end", **one(backend, job, out)}
                lines.write(json.dumps({"id": job["id"], **said}) + "\n")
                lines.flush()


if __name__ == "__main__":
    main()
