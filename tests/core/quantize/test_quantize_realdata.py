"""Insertion on real models and pictures: how often INT8 and FP32 agree."""

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seatrial.calibration.child import ranges
from seatrial.calibration.types import RangesRequest
from seatrial.quantize.child import insert, score
from seatrial.quantize.graph import Graph, attribute
from seatrial.quantize.recipe import KL_FINE
from seatrial.quantize.types import InsertRequest, ScoreRequest
from seatrial.reference import open_model
from seatrial.results import QdqDialect
from seatrial.testing.local import LocalJob

DATA = Path(os.environ.get("SEATRIAL_DATA") or Path(__file__).parents[4] / "shared") / "data"

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"real models and pictures: no {DATA}"),
]


def pictures(split: str, count: int) -> Any:
    """RGB, centre crop 224, (count, 3, 224, 224), 0 to 255."""
    with (DATA / "imagenet/labels.csv").open() as lines:
        rows = [r for r in csv.DictReader(lines) if r["split"] == split][:count]
    found = []
    for row in rows:
        picture = Image.open(DATA / "imagenet" / row["file"]).convert("RGB")
        left, top = (picture.width - 224) // 2, (picture.height - 224) // 2
        crop = picture.crop((left, top, left + 224, top + 224))
        found.append(np.asarray(crop, np.float32).transpose(2, 0, 1))
    return np.stack(found)


def agreement(path: Path, name: str, fit: Any, test: Any, job: LocalJob, store: Any,
              dialect: QdqDialect) -> tuple[float, Any]:  # fmt: skip
    """Share of equal classes, Q/DQ taken literally, and the result of the insertion."""
    model = job.add(path)
    table = job.adopt(
        ranges(RangesRequest(model=model, samples=job.add(store({name: fit}))), job).artifact
    )
    result = insert(InsertRequest(model=model, ranges=table, dialect=dialect), job)

    def classes(file: Path, optimize: str) -> Any:
        session = open_model(file, optimize=optimize)
        runs = (session.run({name: test[i : i + 1]}) for i in range(len(test)))
        return np.array([next(iter(r.values())).argmax() for r in runs])

    same = classes(path, "all") == classes(job.out / result.artifact.entry, "none")
    return float(same.mean()), result


def test_squeezenet_keeps_its_classes(job: LocalJob, store: Any) -> None:
    mean = np.array([104, 117, 123], np.float32)[:, None, None]
    fit, test = (
        np.ascontiguousarray(pictures(split, n)[:, ::-1]) - mean
        for split, n in (("calib", 32), ("test", 40))
    )
    path = DATA / "onnx/squeezenet_imagenet_fp32.onnx"
    same, result = agreement(path, "data_0", fit, test, job, store, QdqDialect())
    assert same >= 0.9
    assert {n.op_type for n in result.float_nodes} == {"GlobalAveragePool"}


def test_mobilenet_needs_scales_per_channel(job: LocalJob, store: Any) -> None:
    fit, test = (pictures(split, n) / 127.5 - 1 for split, n in (("calib", 16), ("test", 24)))
    path = DATA / "onnx/mobilenet_v2_1.0_224_quant_deq_fp32.onnx"
    same, result = agreement(path, "input", fit, test, job, store, QdqDialect())
    assert same >= 0.85
    assert {n.op_type for n in result.float_nodes} == {"Flatten"}
    coarse = QdqDialect(per_channel=False)
    assert agreement(path, "input", fit, test, job, store, coarse)[0] < 0.5


def test_a_transformer_survives(job: LocalJob, store: Any) -> None:
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (
        (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    ))  # fmt: skip
    fit, test = (
        (np.load(DATA / "cifar10" / file)["images"][:n].transpose(0, 3, 1, 2) / 255.0 - mean) / std
        for file, n in (
            ("cifar10_jpeg_train_calib2048.npz", 64),
            ("cifar10_jpeg_test_A5000.npz", 100),
        )
    )
    path = DATA / "nolicence/cifar10_vit.onnx"
    same, result = agreement(
        path, "input", fit.astype(np.float32), test.astype(np.float32), job, store, QdqDialect()
    )
    assert same >= 0.93
    floats = {n.op_type for n in result.float_nodes}
    assert {"Softmax", "LayerNormalization"} <= floats
    assert "MatMul" not in floats


def test_what_recovers_a_net_that_min_max_breaks(job: LocalJob, store: Any) -> None:
    """On calibration pictures that took no part in the ranges; the test pictures stay shut."""
    path = DATA / "nolicence/etinynet_imagenet.onnx"
    samples = job.add(store({"input": pictures("calib", 80) - 128}))
    model = job.add(path)
    request = RangesRequest(
        model=model, samples=samples, indices=tuple(range(48)), statistics="sampled"
    )
    table = job.adopt(ranges(request, job).artifact)
    nodes = Graph.read(path).nodes
    depthwise = tuple(n.name for n in nodes if attribute(n, "group", 1) > 1)
    assert len(depthwise) == 28

    def divergence(method: str, kept: tuple[str, ...] = ()) -> float:
        asked = InsertRequest(model=model, ranges=table, method=method, keep_float=kept)
        made = job.adopt(insert(asked, job).artifact)
        held_out = tuple(range(48, 80))
        found = score(
            ScoreRequest(model=model, candidate=made, samples=samples, indices=held_out), job
        )
        assert found.kl is not None
        return found.kl

    plain = divergence("minmax")
    clipped = divergence("percentile-99.99")
    kept = divergence("percentile-99.99", depthwise)
    assert plain > 10 * KL_FINE
    assert clipped < 0.7 * plain
    assert kept < 0.5 * clipped
