"""Small nets on real handwritten digits, and their data: made in a second, without training.

Convolutions have random weights; the last layer is solved for (ridge regression on their
features), which reads 98 % of unseen digits correctly. All of it is deterministic.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

#: Images of the 1,797 that the last layer is solved on; calibration and test come after them.
SOLVED = 600
#: Samples of each set.
CALIBRATION, TEST = 96, 800
#: Scale of the outlier channel: small enough for float, far too large for 8 bits per tensor.
OUTLIER = 300.0
WIDTH, FEATURES = 16, 32


def digits() -> tuple[np.ndarray, np.ndarray]:
    """All images as float32 (n, 1, 8, 8) in 0 to 1 and their labels, in a fixed order."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    return (images[order].reshape(-1, 1, 8, 8) / 16).astype(np.float32), labels[order]


def weights(factor: float = 1.0) -> dict[str, np.ndarray]:
    """Weights of the convolutions; ``factor`` scales channel 0 of the residual stream.

    Everything that reads the stream divides by the factor, so the float function is the same.
    """
    rng = np.random.default_rng(7)

    def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
        fan_in = int(np.prod(shape[1:]))
        return (scale * rng.normal(size=shape) * np.sqrt(2 / fan_in)).astype(np.float32)

    made = {
        "stem": normal(WIDTH, 1, 3, 3),
        "depth": normal(WIDTH, 1, 3, 3),
        "point": normal(WIDTH, WIDTH, 1, 1, scale=0.5),
        "head": normal(FEATURES, WIDTH, 3, 3),
        "head_bias": (0.1 * rng.normal(size=FEATURES)).astype(np.float32),
    }
    made["stem"][0] *= factor
    made["point"][0] *= factor
    made["depth"][0] /= factor
    made["head"][:, 0] /= factor
    return made


def _body(image: str) -> list[onnx.NodeProto]:
    """Stem, a depthwise-separable block around a residual stream, head: image to ``features``."""
    node = helper.make_node
    return [
        node("Conv", [image, "stem"], ["s0"], "stem", pads=[1] * 4),
        node("Conv", ["s0", "depth"], ["d0"], "depthwise", pads=[1] * 4, group=WIDTH),
        node("Relu", ["d0"], ["d1"], "relu_1"),
        node("Conv", ["d1", "point"], ["p0"], "pointwise"),
        node("Add", ["s0", "p0"], ["s1"], "residual"),
        node("Conv", ["s1", "head", "head_bias"], ["h0"], "head", pads=[1] * 4, strides=[2, 2]),
        node("Relu", ["h0"], ["h1"], "relu_2"),
        node("Flatten", ["h1"], ["features"], "flatten"),
    ]


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list],
    outputs: dict[str, list],
    constants: dict[str, np.ndarray],
    *,
    domains: tuple[tuple[str, int], ...] = (("", 17),),
    dtype: int = TensorProto.FLOAT,
) -> Path:
    """Write a model of float inputs and outputs, given by name and shape."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(n, dtype, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, dtype, s) for n, s in outputs.items()],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    opsets = [helper.make_opsetid(*d) for d in domains]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def run(path: Path, **feeds: np.ndarray) -> np.ndarray:
    """The first output of a model, computed by nothing of ours."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


def solved(folder: Path, images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Weights of the last layer."""
    path = folder / "features.onnx"
    size = FEATURES * 16
    save(path, _body("image"), {"image": ["n", 1, 8, 8]}, {"features": ["n", size]}, weights())
    found = run(path, image=images).astype(np.float64)
    found = np.hstack([found, np.ones((len(found), 1))])
    wanted = 2.0 * np.eye(10)[labels] - 1.0
    matrix = np.linalg.solve(found.T @ found + 3.0 * np.eye(size + 1), found.T @ wanted)
    return {"classes": matrix[:-1].astype(np.float32), "bias": matrix[-1].astype(np.float32)}


def make(folder: Path) -> None:
    """All models and data of these tests."""
    images, labels = digits()
    last = solved(folder, images[:SOLVED], labels[:SOLVED])
    _classifiers(folder, last)
    _oddities(folder)
    _data(folder, images[SOLVED:], labels[SOLVED:])


def _classifiers(folder: Path, last: dict[str, np.ndarray]) -> None:
    gemm = helper.make_node("Gemm", ["features", "classes", "bias"], ["logits"], "classes")
    for name, factor, batch in (
        ("digits", 1.0, "n"),
        ("outlier", OUTLIER, "n"),
        ("fixed", 1.0, 4),
    ):
        save(
            folder / f"{name}.onnx",
            [*_body("image"), gemm],
            {"image": [batch, 1, 8, 8]},
            {"logits": [batch, 10]},
            {**weights(factor), **last},
        )
    turn = helper.make_node("Transpose", ["picture"], ["image"], "to_nchw", perm=[0, 3, 1, 2])
    save(
        folder / "nhwc.onnx",
        [turn, *_body("image"), gemm],
        {"picture": ["n", 8, 8, 1]},
        {"logits": ["n", 10]},
        {**weights(), **last},
    )
    gain = helper.make_node("Mul", ["picture", "gain"], ["image"], "gain")
    save(
        folder / "two.onnx",
        [gain, *_body("image"), gemm],
        {"picture": ["n", 1, 8, 8], "gain": ["n", 1, 1, 1]},
        {"logits": ["n", 10]},
        {**weights(), **last},
    )


def _oddities(folder: Path) -> None:
    """Models that INT8 has nothing to offer, and one that not every compiler knows."""
    node = helper.make_node
    save(
        folder / "plain.onnx",
        [node("Relu", ["image"], ["r"], "relu"), node("Flatten", ["r"], ["logits"], "flatten")],
        {"image": ["n", 1, 8, 8]},
        {"logits": ["n", 64]},
        {},
    )
    tree = node(
        "TreeEnsembleRegressor",
        ["image"],
        ["score"],
        "tree",
        domain="ai.onnx.ml",
        n_targets=2,
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_featureids=[10, 0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_values=[0.5, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        nodes_missing_value_tracks_true=[0, 0, 0],
        nodes_hitrates=[1.0, 1.0, 1.0],
        target_ids=[0, 1],
        target_nodeids=[1, 2],
        target_treeids=[0, 0],
        target_weights=[1.0, 1.0],
    )
    save(
        folder / "tree.onnx",
        [tree],
        {"image": ["n", 64]},
        {"score": ["n", 2]},
        {},
        domains=(("", 17), ("ai.onnx.ml", 3)),
    )
    # One runtime's own operator, which others do not know.
    save(
        folder / "custom.onnx",
        [
            node("Conv", ["image", "stem"], ["s0"], "stem", pads=[1] * 4),
            node("Inverse", ["s0"], ["y"], "odd", domain="com.microsoft"),
        ],
        {"image": ["n", 1, 8, 8]},
        {"y": ["n", WIDTH, 8, 8]},
        {"stem": weights()["stem"]},
        domains=(("", 17), ("com.microsoft", 1)),
    )


def _data(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    calibration, test = slice(0, CALIBRATION), slice(CALIBRATION, CALIBRATION + TEST)
    labels = labels.astype(np.int64)
    np.savez(folder / "calibration.npz", image=images[calibration], labels=labels[calibration])
    np.savez(folder / "test.npz", image=images[test], labels=labels[test])
    np.savez(folder / "unlabelled.npz", image=images[test])
    for name, part in (("calibration", calibration), ("test", test)):
        turned = images[part].transpose(0, 2, 3, 1)
        np.savez(folder / f"nhwc-{name}.npz", picture=turned)
        gain = np.ones((len(turned), 1, 1, 1), np.float32)
        gain[::2] = 0.5
        halved = images[part] / gain
        np.savez(folder / f"two-{name}.npz", picture=halved, gain=gain, labels=labels[part])
    above = (images[test].reshape(TEST, 64)[:, 10] > 0.5).astype(np.int64)
    np.savez(folder / "tree-test.npz", image=images[test].reshape(TEST, 64), labels=above)
