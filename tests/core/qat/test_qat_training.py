"""Training with fake quantisers: it helps, it is what is exported, it survives being killed."""

import hashlib
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from qat_bench import USER

from seatrial.calibration import child as calibration
from seatrial.calibration import table
from seatrial.calibration.types import SAMPLED, RangesRequest
from seatrial.errors import UserError
from seatrial.qat import child
from seatrial.qat import records as qr
from seatrial.qat.net import checkpoint, train
from seatrial.quantize import child as quantize
from seatrial.quantize.types import InsertRequest
from seatrial.results import QdqDialect

CPU = QdqDialect()
SYMMETRIC = QdqDialect(activations="int8", symmetric=True, bias="float")
SEVEN = QdqDialect(bias="float", reduce_range=True)
PLAIN = QdqDialect(per_channel=False)


def weights(job, ref):
    model = onnx.load(job.path(ref))
    return {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}


def digest(job, *refs):
    return [hashlib.sha256(Path(job.path(r)).read_bytes()).hexdigest() for r in refs]


def test_training_wins_back_what_an_outlier_channel_cost(bench, tmp_path):
    result, _, _ = bench.train(tmp_path, settings={"epochs": 8})
    start = result.epochs[0].validation_loss
    best = result.epochs[result.best].validation_loss
    assert result.float_loss < 1e-9  # the loss is the distance to the float net itself
    assert start > 1e-3
    assert best < 0.5 * start, (start, best)
    assert best == min(e.validation_loss for e in result.epochs)
    assert result.notes == ()


@pytest.mark.parametrize(
    "dialect", [CPU, SYMMETRIC, SEVEN, PLAIN], ids=["u8", "s8", "7bit", "tensor"]
)
def test_the_exported_model_computes_what_was_trained(bench, tmp_path, dialect):
    _, trained, ranges = bench.train(tmp_path, dialect=dialect, settings={"epochs": 2})
    job = bench.job()
    made = quantize.insert(
        InsertRequest(model=trained, ranges=ranges, dialect=dialect, method="minmax"), job
    )
    exported = job.adopt(made.artifact)
    request = qr.VerifyRequest(
        trained=trained,
        ranges=ranges,
        exported=exported,
        samples=bench.samples,
        indices=tuple(range(64)),
        dialect=dialect,
    )
    verified = child.verify(request, bench.job())
    # One step of an activation that fell the other way here and there, nothing more.
    assert verified.equal
    assert verified.sqnr_db > 45
    # The check can fail: the float graph with half of the ranges is another model.
    halved = table.load(job.path(ranges))
    narrow = {n: replace(t, lo=t.lo / 2, hi=t.hi / 2) for n, t in halved.tensors.items()}
    wrong = bench.job()
    other = wrong.adopt(table.save(replace(halved, tensors=narrow), wrong.out))
    assert not child.verify(replace(request, ranges=other), bench.job()).equal


def test_steps_and_zero_points_survive_the_export(bench, tmp_path):
    _, trained, ranges = bench.train(tmp_path, settings={"epochs": 1})
    job = bench.job()
    made = quantize.insert(InsertRequest(model=trained, ranges=ranges, method="minmax"), job)
    model = onnx.load(job.path(job.adopt(made.artifact)))
    values = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    learnt = table.load(job.path(ranges)).tensors
    (node,) = [
        n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == "image"
    ]
    step, zero = float(values[node.input[1]]), int(values[node.input[2]])
    assert (0 - zero) * step == pytest.approx(learnt["image"].lo, rel=1e-6)
    assert (255 - zero) * step == pytest.approx(learnt["image"].hi, rel=1e-6)


def test_batch_norms_are_folded_before_and_their_statistics_stay(bench, tmp_path):
    result, trained, _ = bench.train(tmp_path)
    job = bench.job()
    names = [n.op_type for n in onnx.load(job.path(trained)).graph.node]
    assert result.folded == 2
    assert result.frozen == 0
    assert "BatchNormalization" not in names


def test_a_norm_that_cannot_be_folded_keeps_its_statistics(bench, tmp_path):
    path = tmp_path / "behind.onnx"
    model = onnx.load(bench.first.path(bench.model))
    # Swap ReLU and the norm before it: now no convolution stands in front of the norm.
    stem, norm, relu = model.graph.node[:3]
    relu.input[0], relu.output[0] = "a", "b"
    norm.input[0], norm.output[0] = "b", "c"
    rest = list(model.graph.node)[3:]
    del model.graph.node[:]
    model.graph.node.extend([stem, relu, norm, *rest])
    onnx.save(model, path)
    job = bench.job()
    given = job.add(path)
    ranges = calibration.ranges(
        RangesRequest(model=given, samples=bench.samples, statistics=SAMPLED), job
    )
    result, trained, _ = bench.train(
        tmp_path / "ck", model=given, ranges=job.adopt(ranges.artifact)
    )
    before, after = weights(job, given), weights(job, trained)
    assert (result.folded, result.frozen) == (1, 1)
    assert result.best > 0
    for name in ("norm.running_mean", "norm.running_var"):
        assert np.array_equal(before[name], after[name])
    assert not np.array_equal(before["norm.weight"], after["norm.weight"])


def test_what_has_weights_learns_and_the_rest_is_calibrated(bench, tmp_path):
    result, trained, ranges = bench.train(tmp_path, settings={"layers": qr.WEIGHTED, "epochs": 1})
    everything, _, _ = bench.train(tmp_path / "all", settings={"epochs": 1})
    assert result.learnt < everything.learnt
    assert not everything.calibrate
    assert {"f"} & set(result.calibrate)  # the sum meets no weight
    job = bench.job()
    observed = calibration.ranges(
        RangesRequest(model=trained, samples=bench.samples, statistics=SAMPLED), job
    )
    merged = child.merge(
        qr.MergeRequest(learnt=ranges, observed=job.adopt(observed.artifact), method="mse"),
        bench.job(),
    )
    assert merged.calibrated >= len(result.calibrate)


def test_fixed_ranges_stay(bench, tmp_path):
    job = bench.job()
    moving = bench.train(tmp_path / "a", settings={"epochs": 1})[2]
    fixed = bench.train(tmp_path / "b", settings={"epochs": 1, "learn_ranges": False})[2]
    start = table.load(job.path(bench.ranges)).tensors["image"]
    kept = table.load(job.path(fixed)).tensors["image"]
    assert kept.hi - kept.lo == pytest.approx(start.hi - start.lo, rel=1e-4)
    assert table.load(job.path(moving)).tensors["image"] != kept


def test_an_epoch_that_is_worse_is_not_kept(bench, tmp_path):
    result, trained, _ = bench.train(
        tmp_path, settings={"lr": 1.0, "epochs": 2, "schedule": qr.CONSTANT}
    )
    assert result.best == 0
    job = bench.job()
    untouched = bench.train(tmp_path / "one", settings={"lr": 1.0, "epochs": 1})
    assert digest(job, trained) == digest(job, untouched[1])


# --- checkpoints --------------------------------------------------------------------------------


def test_a_resumed_training_is_the_same_training(bench, tmp_path, monkeypatch):
    whole = bench.train(tmp_path / "whole", settings={"epochs": 4})
    monkeypatch.setattr(train, "PROGRESS_S", 0.0)
    stop = bench.job()
    stop.progress = _stop_in("epoch 3")
    with pytest.raises(KeyboardInterrupt):
        child.train(bench.request(tmp_path / "parts", settings={"epochs": 4}), stop)
    assert _epochs(tmp_path / "parts") == 2
    again = bench.train(tmp_path / "parts", settings={"epochs": 4})
    assert again[0].resumed == 2
    _same(bench, whole, again)


def _same(bench, one, other):
    """Bit for bit, and the same way there."""
    assert digest(bench.job(), *one[1:]) == digest(bench.job(), *other[1:])
    losses = [[e.validation_loss for e in r[0].epochs] for r in (one, other)]
    assert losses[0] == losses[1]


def _stop_in(epoch):
    def progress(text, fraction=None):
        if text.startswith(epoch):
            raise KeyboardInterrupt

    return progress


def _epochs(folder):
    found = checkpoint.read(folder)
    return len(found[1]["history"]) - 1 if found else -1


def test_a_killed_training_goes_on_as_if_nothing_had_happened(bench, tmp_path):
    settings = {"epochs": 12}
    loss = f"{USER}:slow"
    whole = bench.train(tmp_path / "whole", loss=loss, settings=settings)
    folder = tmp_path / "killed"
    script = textwrap.dedent(
        f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        import torch
        torch.set_num_threads(1)
        import qat_bench, qat_tiny
        root = Path({str(tmp_path)!r}) / "child"
        root.mkdir()
        made = qat_bench.Bench(root, qat_tiny.write(root / "tiny.onnx"))
        made.train({str(folder)!r}, loss={loss!r}, settings={settings!r})
        """
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    try:
        deadline = time.monotonic() + 120
        while _epochs(folder) < 2 and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = _epochs(folder)
    assert 2 <= done < settings["epochs"]
    again = bench.train(folder, loss=loss, settings=settings)
    assert again[0].resumed == done
    _same(bench, whole, again)


def test_another_training_s_checkpoint_is_not_taken_up(bench, tmp_path):
    bench.train(tmp_path, settings={"epochs": 1})
    with pytest.raises(UserError, match="checkpoint of another training"):
        bench.train(tmp_path, settings={"epochs": 1, "lr": 2e-2})


def test_a_damaged_checkpoint_is_named(bench, tmp_path):
    (tmp_path / checkpoint.FILE).write_bytes(b"\x08\0\0\0\0\0\0\0not json")
    with pytest.raises(UserError, match="is no checkpoint"):
        bench.train(tmp_path, settings={"epochs": 1})


def test_torch_sees_every_sample_but_those_that_choose(bench, tmp_path):
    result, _, _ = bench.train(tmp_path, settings={"epochs": 1, "share": 0.25})
    assert (result.train_samples, result.validation_samples) == (144, 48)


@pytest.mark.parametrize("name", ["dataset", "mapping"])
def test_data_sets_and_mappings_are_loaders_too(bench, tmp_path, name):
    result, _, _ = bench.train(tmp_path, train=f"{USER}:{name}", settings={"epochs": 1})
    assert len(result.epochs) == 2


def test_batches_without_a_data_set_need_a_loader_that_chooses(bench, tmp_path):
    result, _, _ = bench.train(
        tmp_path,
        train=f"{USER}:anew",
        validation=f"{USER}:anew",
        settings={"epochs": 1},
    )
    assert (result.train_samples, len(result.epochs)) == (0, 2)


def test_another_scale_is_noticed(bench, tmp_path):
    result, _, _ = bench.train(
        tmp_path, train=f"{USER}:other_scale", settings={"epochs": 1, "lr": 1e-6}
    )
    assert "is the preprocessing the same?" in result.notes[0]


def test_a_baked_in_batch_is_freed_or_run_one_by_one(bench, tmp_path):
    import qat_tiny

    job = bench.job()
    path = qat_tiny.write(tmp_path / "fixed.onnx", batch=1)
    result, _, _ = bench.train(tmp_path / "ck", model=job.add(path), settings={"epochs": 1})
    assert result.notes == ()
