"""The compiler's own quantisation: a model script, calibration data in NHWC, ``optimize``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seatrial.results import Option, TensorIO
from seatrial.samples import Samples

#: Images of a check that only wants to know whether the model maps.
MADE_UP = 8


def script(options: Mapping[str, Option], count: int) -> str:
    """The model script: how many images, how hard to try, and the user's own lines.

    Options: ``optimization_level`` (0 to 4), ``compression_level`` (0 to 5), ``script`` (further
    lines of the compiler's model script). Without a level the compiler chooses: with fewer than
    1,024 images, or without a GPU, it says that it takes 0.
    """
    size = min(8, count)
    lines = [f"model_optimization_config(calibration, batch_size={size}, calibset_size={count})"]
    levels = [
        f"{key}={int(options[key])}"
        for key in ("optimization_level", "compression_level")
        if key in options
    ]
    if levels:
        lines.append(f"model_optimization_flavor({', '.join(levels)})")
    return "\n".join([*lines, str(options.get("script", ""))]).strip() + "\n"


def optimise(runner: Any, data: Mapping[str, Any], options: Mapping[str, Option]) -> None:
    """Quantise the translated model.

    Args:
        runner: after parsing.
        data: NHWC float32 arrays, samples first, by input layer; the same number of each.
        options: see :func:`script`.
    """
    count = len(next(iter(data.values())))
    runner.load_model_script(script(options, count))
    # A single input takes the bare array; several are told apart by the names of their layers.
    runner.optimize(next(iter(data.values())) if len(data) == 1 else dict(data))


def made_up(runner: Any) -> dict[str, Any]:
    """A few samples of noise, for the structure alone; never used for anything that is kept."""
    import numpy as np

    draw = np.random.default_rng(0)
    layers = runner.get_hn_dict()["layers"]
    shapes = {
        name: tuple(layer["input_shapes"][0][1:])
        for name, layer in layers.items()
        if layer["type"] == "input_layer"
    }
    return {
        name: draw.standard_normal((MADE_UP, *shape)).astype(np.float32)
        for name, shape in shapes.items()
    }


def calibration(store: Path, inputs: Sequence[TensorIO], scratch: Path) -> dict[str, Any]:
    """The calibration samples as the compiler wants them, on disk: memory does not grow with them.

    Args:
        store: the sample store.
        inputs: of the translated model.
        scratch: where the arrays go.
    """
    import numpy as np

    samples = Samples(store)
    arrays: dict[str, Any] = {}
    for i in range(samples.count):
        feeds = samples.feeds((i,))
        for place, io in enumerate(inputs):
            value = feeds[io.onnx or io.name].astype(np.float32, copy=False)
            value = np.transpose(value, io.perm) if io.perm else value
            if io.name not in arrays:
                shape = (samples.count, *value.shape[1:])
                file = scratch / f"calibration-{place}.npy"
                arrays[io.name] = np.lib.format.open_memmap(file, "w+", np.float32, shape)
            arrays[io.name][i] = value[0]
    return arrays
