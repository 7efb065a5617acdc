"""Further trials with nothing wrong, one for every task beside `classify`.

They stand beside the list of an author who did not know the checks (``sound_trials``). Each net
has random filters and weights that were fitted to data of its own: it works, it is seeded, and it
is made in a second.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from blind_nets import INPUT, run
from onnx import TensorProto, helper, numpy_helper
from sound_trials import SoundTrial
from spoiled_sets import Recipe
from trial_worlds import COMMAND, calibration, honest, labels_of, replaced, table, tensors

CALIBRATION, TEST = 160, 300
_ARRAYS = replaced(COMMAND, calibration="calibration.npz", test="test.npz")


class Small:
    """A graph under construction, with one input ``x``; a node called ``n`` writes ``n_out``."""

    def __init__(self, seed: int, shape: Sequence[int]) -> None:
        self.rng = np.random.default_rng([seed, len(shape), *shape])
        self.shape = shape
        self.nodes: list[Any] = []
        self.weights: dict[str, Any] = {}

    def add(self, op: str, name: str, inputs: Sequence[str], **more: Any) -> str:
        """Append a node."""
        self.nodes.append(helper.make_node(op, list(inputs), [f"{name}_out"], name, **more))
        return f"{name}_out"

    def const(self, name: str, value: Any) -> str:
        """Add an initialiser."""
        self.weights[name] = np.asarray(value)
        return name

    def conv(self, x: str, name: str, kernel: Sequence[int], stride: int = 1) -> str:
        """Random filters (out, in, ...) of equal padding, and a ReLU."""
        fan = int(np.prod(kernel[1:]))
        w = self.rng.normal(0, np.sqrt(2 / fan), kernel).astype(np.float32)
        b = self.rng.normal(0, 0.1, kernel[0]).astype(np.float32)
        inputs = [x, self.const(f"{name}_w", w), self.const(f"{name}_b", b)]
        space = kernel[2:]
        x = self.add(
            "Conv",
            name,
            inputs,
            pads=[k // 2 for k in space] * 2,
            strides=[stride] * len(space),
        )
        return self.add("Relu", f"{name}_relu", [x])

    def fitted(self, x: str, name: str, features: Any, wanted: Any, ridge: float = 0.05) -> str:
        """A linear layer of features (samples, width) that gives what is wanted (samples, out)."""
        centre, spread = features.mean(0), features.std(0) + 1e-4
        z = (features - centre) / spread
        middle = wanted.mean(0)
        square = z.T @ z + ridge * len(z) * np.eye(z.shape[1])
        w = np.linalg.solve(square, z.T @ (wanted - middle)) / spread[:, None]
        bias = (middle - centre @ w).astype(np.float32)
        product = self.add("MatMul", name, [x, self.const(f"{name}_w", w.astype(np.float32))])
        return self.add("Add", f"{name}_bias", [product, self.const(f"{name}_b", bias)])

    def rows(self, x: str, name: str, width: int) -> str:
        """Features (n, width, ...) as rows (n, places, width)."""
        shape = self.const(f"{name}_shape", np.asarray([0, width, -1], np.int64))
        flat = self.add("Reshape", f"{name}_flat", [x, shape])
        return self.add("Transpose", name, [flat], perm=[0, 2, 1])

    def run(self, result: str, x: Any) -> Any:
        """A tensor for a batch, float64."""
        import onnxruntime as ort

        session = ort.InferenceSession(
            self.model({result: None}).SerializeToString(), providers=["CPUExecutionProvider"]
        )
        return np.asarray(session.run(None, {"x": x})[0], np.float64)

    def model(self, outputs: dict[str, Any]) -> onnx.ModelProto:
        """The model; shapes of outputs without the batch, ``None``: not told."""
        infos = [
            helper.make_empty_tensor_value_info(name)
            if shape is None
            else helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])
            for name, shape in outputs.items()
        ]
        graph = helper.make_graph(
            self.nodes,
            "small",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *self.shape])],
            infos,
            [numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        opset = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8)


def _write(out: Path, model: onnx.ModelProto, task: str, **sets: dict[str, Any]) -> None:
    """Model, configuration and arrays."""
    out.mkdir(parents=True, exist_ok=True)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, out / "model.onnx")
    for name, arrays in sets.items():
        np.savez(out / f"{name}.npz", **arrays)
    text = f'[model]\npath = "model.onnx"\n\n[input.x]\nmode = "tensor"\n\n[task]\n{task}\n'
    (out / "seatrial.toml").write_text(text)


# --- pictures of shapes ---------------------------------------------------------------------------

SIDE, KINDS = 48, 3


def _shape(kind: int, size: int) -> Any:
    """A disk, a square or a cross of so many pixels, 1 where it is."""
    at = np.arange(size) - (size - 1) / 2
    y, x = np.meshgrid(at, at, indexing="ij")
    if kind == 0:
        return np.hypot(x, y) <= size / 2
    return np.ones((size, size)) if kind == 1 else (abs(x) < size / 6) | (abs(y) < size / 6)


def _scenes(seed: int, count: int, *, alike: bool = False) -> tuple[Any, list[Any], Any]:
    """Pictures (count, 1, side, side), per picture rows (kind, x0, y0, size), and masks.

    One or two shapes of different size and brightness; or one square, always the same.
    """
    rng = np.random.default_rng([seed, 11])
    pictures = rng.normal(0.1, 0.05, (count, 1, SIDE, SIDE))
    masks = np.zeros((count, SIDE, SIDE), np.int64)
    rows = []
    for i in range(count):
        found: list[tuple[int, int, int, int]] = []
        for _ in range(1 if alike else int(rng.integers(1, 3))):
            size, kind = int(rng.integers(14, 22)), int(rng.integers(KINDS))
            size, kind = (16, 1) if alike else (size, kind)
            x, y = (int(v) for v in rng.integers(0, SIDE - size, 2))
            if any(abs(x - a) < size + 4 and abs(y - b) < size + 4 for _, a, b, _ in found):
                continue
            where = np.asarray(_shape(kind, size), bool)
            pictures[i, 0, y : y + size, x : x + size] += (
                0.8 if alike else rng.uniform(0.6, 0.9)
            ) * where
            masks[i, y : y + size, x : x + size][where] = kind + 1
            found.append((kind, x, y, size))
        rows.append(found)
    return pictures.astype(np.float32), rows, masks


def _body(small: Small, widths: Sequence[int], strides: Sequence[int]) -> str:
    x = "x"
    for k, (width, stride) in enumerate(zip(widths, strides, strict=True)):
        before = 1 if k == 0 else widths[k - 1]
        x = small.conv(x, f"conv{k}", [width, before, 3, 3], stride)
    return x


def segment(seed: int, out: Path) -> SoundTrial:
    """Which shape every pixel belongs to."""
    small = Small(seed, [1, SIDE, SIDE])
    feature = _body(small, (16, 32, 64), (1, 2, 1))
    rows = small.rows(feature, "pixels", 64)
    x, _, masks = _scenes(3 * seed + 2, 200)
    z = small.run(rows, x).reshape(-1, 64)
    wanted = np.eye(KINDS + 1)[masks[:, ::2, ::2].ravel()]
    scores = small.fitted(rows, "scores", z, 10 * wanted)
    turned = small.add("Transpose", "turned", [scores], perm=[0, 2, 1])
    half = small.const("half", np.asarray([0, KINDS + 1, SIDE // 2, SIDE // 2], np.int64))
    logits = small.add("Reshape", "logits", [turned, half])
    sets = {}
    for name, count, part in (("calibration", CALIBRATION, 0), ("test", TEST, 1)):
        x, _, masks = _scenes(3 * seed + part, count)
        sets[name] = {"x": x, "labels": masks}
    model = small.model({logits: (KINDS + 1, SIDE // 2, SIDE // 2)})
    _write(out, model, 'kind = "segment"', **sets)
    return SoundTrial("segment", out, _ARRAYS, "labels are masks, the metric is of all pixels")


#: Cells of the detector, their stride, and what its features are.
CELLS, STRIDE, WIDE = 12, 4, 192


def _cells(rows: list[Any]) -> tuple[Any, Any, Any]:
    """Scores (n, cells, kinds), boxes (n, cells, 4) and whether a cell is near a middle."""
    at = (np.arange(CELLS) + 0.5) * STRIDE
    cy, cx = (v.ravel() for v in np.meshgrid(at, at, indexing="ij"))
    scores = np.zeros((len(rows), CELLS**2, KINDS))
    boxes = np.zeros((len(rows), CELLS**2, 4))
    for i, found in enumerate(rows):
        for kind, x, y, size in found:
            off = np.hypot(cx - x - size / 2, cy - y - size / 2)
            scores[i, :, kind] = np.maximum(scores[i, :, kind], np.exp(-((off / 3) ** 2)))
            box = np.stack([x - cx, y - cy, x + size - cx, y + size - cy], axis=-1)
            boxes[i] = np.where((off < 5)[:, None], box, boxes[i])
    return scores, boxes, np.stack([cx, cy, cx, cy], axis=-1)


def detect(seed: int, out: Path) -> SoundTrial:
    """Boxes of shapes; suppression on the host."""
    small = Small(seed, [1, SIDE, SIDE])
    feature = _body(small, (16, 48, 96, WIDE), (2, 2, 1, 1))
    cells = small.rows(feature, "cells", WIDE)
    x, rows, _ = _scenes(3 * seed + 2, 500)
    z = small.run(cells, x)
    wanted, corners, centres = _cells(rows)
    scores = small.fitted(cells, "kinds", z.reshape(-1, WIDE), wanted.reshape(-1, KINDS))
    near = (corners != 0).any(-1)
    offsets = small.fitted(cells, "corners", z[near], corners[near])
    centre = small.const("centres", centres[None].astype(np.float32))
    boxes = small.add("Add", "boxes", [offsets, centre])
    sets = {}
    for name, count, part in (("calibration", CALIBRATION, 0), ("test", TEST, 1)):
        x, rows, _ = _scenes(3 * seed + part, count)
        places, kinds = np.zeros((count, 2, 4), np.float32), np.full((count, 2), -1)
        for i, found in enumerate(rows):
            for k, (kind, left, top, size) in enumerate(found):
                places[i, k], kinds[i, k] = (left, top, left + size, top + size), kind
        sets[name] = {"x": x, "boxes": places, "labels": kinds}
    task = 'kind = "detect"\nmetric = "map50"\nscore_threshold = 0.1\niou_threshold = 0.4\n'
    task += f'boxes = "{boxes}"\nscores = "{scores}"'
    model = small.model({boxes: (CELLS**2, 4), scores: (CELLS**2, KINDS)})
    _write(out, model, task, **sets)
    return SoundTrial("detect", out, _ARRAYS, "two outputs that mean something only together")


def regress(seed: int, out: Path) -> SoundTrial:
    """The middle of the only square, in pixels: less is better."""
    small = Small(seed, [1, SIDE, SIDE])
    feature = _body(small, (8, 16, 16), (2, 2, 2))
    flat = small.add("Flatten", "flat", [feature])
    x, rows, _ = _scenes(3 * seed + 2, 2000, alike=True)

    def middles(rows: list[Any]) -> Any:
        return np.asarray([(r[0][1] + r[0][3] / 2, r[0][2] + r[0][3] / 2) for r in rows])

    place = small.fitted(flat, "place", small.run(flat, x), middles(rows), ridge=5.0)
    sets = {}
    for name, count, part in (("calibration", CALIBRATION, 0), ("test", TEST, 1)):
        x, rows, _ = _scenes(3 * seed + part, count, alike=True)
        sets[name] = {"x": x, "labels": middles(rows).astype(np.float32)}
    _write(out, small.model({place: (2,)}), 'kind = "regress"\nunit = "px"', **sets)
    argv = replaced(_ARRAYS, max_drop="0.5")
    return SoundTrial("regress", out, argv, "labels are numbers, and a drop is one upwards")


# --- the pictures of the other list, asked something else -----------------------------------------


def _retold(out: Path, seed: int, task: str, labels: Any) -> None:
    """The honest trial with other labels and another task."""
    for name in ("calibration", "test"):
        rows = [(file, labels(k)) for file, k in labels_of(out / name)]
        (out / name / "labels.csv").write_bytes(table(rows))
    contract = Recipe().toml(INPUT, tensor=False)
    text = f'[model]\npath = "model.onnx"\n\n{contract}\n[task]\n{task}\n'
    (out / "seatrial.toml").write_text(text)


def embed(seed: int, out: Path) -> SoundTrial:
    """Directions of 24 numbers in place of class scores."""
    made = honest(out, seed)
    rng = np.random.default_rng([seed, 5])
    codes = rng.normal(size=(made.classes, 24))
    for name in ("head.weight", "head.bias"):
        made.weights[name] = (made.weights[name] @ codes).astype(np.float32)
    made.classes = 24
    (out / "model.onnx").write_bytes(made.model())
    _retold(out, seed, 'kind = "embed"', int)
    return SoundTrial("embed", out, COMMAND, "outputs are directions, labels name nobody's class")


def binary(seed: int, out: Path) -> SoundTrial:
    """Is it of class 2? One score; a sixth of all answers are yes."""
    made = honest(out, seed)
    frames, labels = calibration(seed)
    weight, bias = made.weights["head.weight"], made.weights["head.bias"]
    rest = [k for k in range(made.classes) if k != 2]
    made.weights["head.weight"] = weight[:, 2:3] - weight[:, rest].mean(1, keepdims=True)
    made.weights["head.bias"] = bias[2:3] - bias[rest].mean(keepdims=True)
    made.classes = 1

    scores = run(made.model(), {INPUT: tensors(frames)})[:, 0]
    true = np.asarray(labels) == 2
    edges = np.sort(scores)
    best = max(
        edges, key=lambda t: ((scores >= t) & true).sum() / ((scores >= t).sum() + true.sum())
    )
    (out / "model.onnx").write_bytes(made.model())
    _retold(out, seed, f'kind = "binary"\nthreshold = {float(best)!r}', lambda k: int(k == 2))
    return SoundTrial("binary", out, COMMAND, "one score, few answers are yes")


# --- sequences ------------------------------------------------------------------------------------

_SOURCE = '''
    """Steps and answers by sequence."""
    import numpy as np

    class Set:
        def __init__(self, name):
            self.held = np.load(f"{name}-sequences.npz")

        def __len__(self):
            return len(self.held["steps"])

        def __getitem__(self, i):
            if not 0 <= i < len(self):
                raise IndexError(i)
            steps, label = self.held["steps"][i], self.held["labels"][i]
            return {"x": steps, "label": label.tolist(), "id": f"{self.held['name']}-{i}"}

    def calibration():
        return Set("calibration")

    def test():
        return Set("test")
'''
STEPS, MEMORY, GIVEN = 24, 48, 4


def _sums(seed: int, count: int) -> tuple[Any, Any]:
    """Noise (count, steps, given), and whether the first number rose over the last three steps."""
    rng = np.random.default_rng([seed, 23])
    steps = rng.normal(size=(count, STEPS, GIVEN)).astype(np.float32)
    first = np.pad(steps[:, :, 0], ((0, 0), (2, 0)))
    total = first[:, 2:] + first[:, 1:-1] + first[:, :-2]
    return steps, (total > 0).astype(np.int64)


def sequence(seed: int, out: Path) -> SoundTrial:
    """An echo state network: what is right at a step depends on the steps before."""
    rng = np.random.default_rng([seed, 29])
    small = Small(seed, [GIVEN])
    recurrent = rng.normal(size=(MEMORY, MEMORY))
    recurrent *= 0.9 / abs(np.linalg.eigvals(recurrent)).max()
    small.const("take", (0.6 * rng.normal(size=(GIVEN, MEMORY))).astype(np.float32))
    small.const("keep", recurrent.astype(np.float32))
    taken, kept = (small.add("MatMul", n, [a, n]) for n, a in (("take", "x"), ("keep", "state")))
    state = small.add("Tanh", "next", [small.add("Add", "sum", [taken, kept])])
    steps, labels = _sums(3 * seed + 2, 300)
    held, seen = np.zeros((300, MEMORY)), []
    for t in range(STEPS):
        held = np.tanh(steps[:, t] @ small.weights["take"] + held @ small.weights["keep"])
        seen.append(held)
    z = np.stack(seen, axis=1).reshape(-1, MEMORY)
    scores = small.fitted(state, "scores", z, 5 * np.eye(2)[labels.ravel()])
    model = small.model({scores: (2,), state: (MEMORY,)})
    model.graph.input.append(
        helper.make_tensor_value_info("state", TensorProto.FLOAT, ["batch", MEMORY])
    )
    task = f'kind = "sequence"\nmetric = "accuracy"\noutput = "{scores}"\nwarmup = 2\n'
    _write(out, model, task + f'state = {{ {state} = "state" }}')
    for name, count, part in (("calibration", 24, 0), ("test", 120, 1)):
        steps, labels = _sums(3 * seed + part, count)
        np.savez(out / f"{name}-sequences.npz", steps=steps, labels=labels, name=name)
    (out / "sequences.py").write_text(textwrap.dedent(_SOURCE).lstrip())
    argv = replaced(COMMAND, calibration="sequences.py:calibration", test="sequences.py:test")
    return SoundTrial("sequence", out, argv, "steps follow from one another and hold a state")


LETTERS, FRAMES, BANDS = "abcdefgh ", 64, 12


def _spoken(seed: int, count: int) -> tuple[Any, list[str], Any]:
    """Frames (count, bands, frames), texts, and the symbol of every frame (0: none)."""
    rng = np.random.default_rng([seed, 31])
    voices = np.random.default_rng(37).normal(size=(len(LETTERS) + 1, BANDS))
    voices[0] = 0
    x, texts = rng.normal(0, 0.6, (count, BANDS, FRAMES)), []
    symbols = np.zeros((count, FRAMES), int)
    for i in range(count):
        at, text = int(rng.integers(0, 3)), ""
        while at < FRAMES - 6:
            space = text and text[-1] != " " and rng.random() < 0.25
            letter = " " if space else LETTERS[rng.integers(len(LETTERS) - 1)]
            long = int(rng.integers(3, 5))
            symbols[i, at : at + long] = LETTERS.index(letter) + 1
            text += letter
            at += long + int(rng.integers(1, 3))
        texts.append(text.strip())
    x += voices[symbols].transpose(0, 2, 1)
    return x.astype(np.float32), texts, symbols


def transcribe(seed: int, out: Path) -> SoundTrial:
    """Texts of frames, decoded greedily: a word is wrong if one letter is."""
    small = Small(seed, [BANDS, FRAMES])
    feature = small.conv(small.conv("x", "conv0", [64, BANDS, 3]), "conv1", [96, 64, 3])
    rows = small.add("Transpose", "frames", [feature], perm=[0, 2, 1])
    x, _, symbols = _spoken(3 * seed + 2, 300)
    z = small.run(rows, x).reshape(-1, 96)
    wanted = 5 * np.eye(len(LETTERS) + 1)[symbols.ravel()]
    scores = small.fitted(rows, "scores", z, wanted)
    sets = {}
    for name, count, part in (("calibration", CALIBRATION, 0), ("test", TEST, 1)):
        x, texts, _ = _spoken(3 * seed + part, count)
        sets[name] = {"x": x, "labels": np.asarray(texts)}
    task = f'kind = "transcribe"\nmetric = "cer"\nalphabet = "{LETTERS}"\nblank = 0'
    _write(out, small.model({scores: (FRAMES, len(LETTERS) + 1)}), task, **sets)
    return SoundTrial("transcribe", out, _ARRAYS, "labels are texts, and less is better")


SOUND = {
    make.__name__: make for make in (segment, detect, regress, embed, binary, sequence, transcribe)
}
