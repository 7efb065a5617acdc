"""A live interpreter."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from seatrial.hookspecs import Job
from seatrial.results import LayerRun, LoadRequest, Ran, TargetKind

from . import FORMAT
from .building import FACTS, ON
from .converting import load as interpreter_of
from .flat import operators


def load(request: LoadRequest, job: Job) -> LiteRtSession:
    """Load a converted model.

    Raises:
        ValueError: another format, a damaged file, or an inner tensor that was fused away.
        RuntimeError: the interpreter refuses it.
    """
    if request.format != FORMAT:
        raise ValueError(f"this backend loads {FORMAT}, not {request.format}")
    path = job.path(request.artifact)
    return LiteRtSession(path, threads=request.threads, taps=request.taps)


class LiteRtSession:
    """See :class:`seatrial.hookspecs.Session`.

    Args:
        path: the model, with its facts beside it.
        threads: of XNNPACK; 0: its own choice, which is one.
        taps: inner ONNX tensors to give as well.
    """

    def __init__(self, path: Path, *, threads: int, taps: Sequence[str]) -> None:
        self._facts: dict[str, Any] = json.loads((path.parent / FACTS).read_text("utf-8"))
        _complete(path)
        self._operators = operators(path)
        options: dict[str, Any] = {"num_threads": threads} if threads else {}
        if taps:
            options["experimental_preserve_all_tensors"] = True
        self._interpreter: Any = interpreter_of(path, **options)
        self._threads = threads or 1
        runner = self._interpreter.get_signature_runner()
        self._inputs = {n: d["index"] for n, d in runner.get_input_details().items()}
        self._outputs = {n: d["index"] for n, d in runner.get_output_details().items()}
        self._taps = {name: self._tap(name) for name in taps}

    def _tap(self, name: str) -> tuple[int, bool]:
        """Index of an inner tensor, and whether its channels come last."""
        known = self._facts["taps"].get(name)
        for detail in self._interpreter.get_tensor_details() if known else ():
            if detail["name"] == known["tensor"] and not any(detail["quantization"]):
                return detail["index"], known["channels_last"]
        raise ValueError(f"no tensor {name!r} in the converted model: unknown, fused or quantised")

    def run(self, feeds: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run once.

        Raises:
            ValueError: other inputs than the model's, or another shape or type.
        """
        if sorted(feeds) != sorted(self._inputs):
            raise ValueError(f"inputs {sorted(feeds)}, {sorted(self._inputs)} are wanted")
        for name, value in feeds.items():
            # the converter gives scalars an axis
            self._interpreter.set_tensor(self._inputs[name], value if value.ndim else value[None])
        self._interpreter.invoke()
        given = {n: self._interpreter.get_tensor(k) for n, k in self._outputs.items()}
        given = {n: self._as_onnx(n, v) for n, v in given.items()}
        for name, (index, channels_last) in self._taps.items():
            value = self._interpreter.get_tensor(index)
            turned = channels_last and value.ndim > 2
            given[name] = value.transpose(0, -1, *range(1, value.ndim - 1)) if turned else value
        return given

    def _as_onnx(self, name: str, value: Any) -> Any:
        """An output in the model's type and rank: int64 and float16 were narrowed or widened."""
        import numpy as np

        value = np.asarray(value)  # a tensor of one number comes without its array
        dtype, rank = self._facts["outputs"][name]
        if not dtype:
            return value
        if value.dtype.kind == "f" or "int64" in dtype:
            wanted = dtype if value.dtype.name in ("int32", "float32") else value.dtype
            value = value.astype(wanted, copy=False)
        return value if rank else value.reshape(())

    def ran(self) -> Ran:
        """What stands in the file; the interpreter does not tell which kernels it picked."""
        nodes = self._facts["nodes"]
        layers = tuple(
            LayerRun(
                layer=f"{operator.name}@{k}",
                op_type=operator.name,
                nodes=tuple(n for t in operator.tensors for n in nodes.get(t, ())),
                on=ON,
                precision=operator.precision,
                layout="NHWC" if operator.name.endswith("_2D") else "",
            )
            for k, operator in enumerate(self._operators)
        )
        version = metadata.version("ai-edge-litert")
        return Ran(
            where=TargetKind.DEVICE,
            device=f"CPU, LiteRT {version}, {self._threads} threads",
            layers=layers,
            notes=(self._delegated(),),
        )

    def _delegated(self) -> str:
        """How much the delegate took, from the plan that was made when tensors were allocated."""
        listed = getattr(self._interpreter, "_get_ops_details", list)()
        parts = sum(o["op_name"] == "DELEGATE" for o in listed)
        return f"XNNPACK runs {parts} parts of the graph" if parts else "no part runs in XNNPACK"

    def close(self) -> None:
        """Free everything; twice does no harm."""
        self._interpreter = None


def _complete(path: Path) -> None:
    """Refuse half a model before the interpreter maps it.

    Raises:
        ValueError: the file cannot be read to its end.
    """
    from ai_edge_litert import schema_py_generated as schema

    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        raise ValueError("not a TFLite model")
    try:
        schema.ModelT.InitFromPackedBuf(content, 0)
    except Exception as error:  # noqa: BLE001 - the reader ends in errors of every kind
        raise ValueError(f"the model is cut short: {type(error).__name__}") from None
