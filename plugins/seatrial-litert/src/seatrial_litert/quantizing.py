"""INT8 by LiteRT's own quantizer: weights per channel, activations from the samples."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from seatrial.hookspecs import Job
from seatrial.results import Int8Build, Int8Request, TensorIO
from seatrial.samples import Samples

from .building import ENTRY, converted, save
from .flat import operators

SIGNATURE = "serving_default"
THREADS = 2


class Feeds:
    """The samples as the float model takes them; can be gone through more than once.

    Args:
        samples: the calibration data.
        inputs: of the float artefact, with the turn of their axes.
    """

    def __init__(self, samples: Samples, inputs: Sequence[TensorIO]) -> None:
        self._samples = samples
        self._inputs = inputs

    def __len__(self) -> int:
        return self._samples.count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        import numpy as np

        for k in range(self._samples.count):
            feeds = self._samples.feeds((k,))
            given = {}
            for tensor in self._inputs:
                value = feeds[tensor.onnx]
                value = np.transpose(value, tensor.perm) if tensor.perm else value
                given[tensor.name] = np.asarray(value, tensor.dtype, order="C")
            yield given


def build_int8(request: Int8Request, job: Job) -> Int8Build:
    """Quantise the float model, and read back which operators are INT8.

    Raises:
        ValueError: another form, no samples, nodes to be kept in float, or a refused model.
    """
    from litert_quantizer import quantizer, recipe

    if request.form != "float" or request.calibration is None:
        raise ValueError("LiteRT quantises the float model on samples of its inputs")
    if request.keep_float:
        raise ValueError("this backend cannot keep single nodes in float")
    model, made = converted(request, job)
    artifact = save(made.path, made.records, model, job.out)
    work = quantizer.Quantizer(str(made.path))
    work.load_quantization_recipe(recipe.static_wi8_ai8())
    feeds = Feeds(Samples(job.path(request.calibration)), artifact.inputs)
    job.progress(f"calibrating on {len(feeds)} samples", 0.3)
    quantised = job.scratch / ENTRY
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        ranges = work.calibrate({SIGNATURE: feeds}, num_threads=THREADS)
        job.progress("quantising", 0.8)
        work.quantize(ranges).export_model(str(quantised))
    artifact = save(quantised, made.records, model, job.out)
    ints, floats = precisions(quantised, _nodes(job.out))
    return Int8Build(
        artifact=artifact,
        method=f"LiteRT quantizer, static_wi8_ai8, min-max over {len(feeds)} samples",
        int8_nodes=tuple(n for n in model.labels if n in ints - floats),
        float_nodes=tuple(n for n in model.labels if n in floats),
        notes=("inputs and outputs are INT8 as well; the host quantises them",),
    )


def _nodes(folder: Path) -> dict[str, list[str]]:
    import json

    from .building import FACTS

    found: dict[str, list[str]] = json.loads((folder / FACTS).read_text("utf-8"))["nodes"]
    return found


def precisions(path: Path, nodes: dict[str, list[str]]) -> tuple[set[str], set[str]]:
    """Labels of the nodes in INT8 operators, and of those in others."""
    ints: set[str] = set()
    floats: set[str] = set()
    for operator in operators(path):
        labels = {label for tensor in operator.tensors for label in nodes.get(tensor, ())}
        if operator.precision:
            (ints if operator.precision == "INT8" else floats).update(labels)
    return ints, floats
