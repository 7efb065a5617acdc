"""The judge and its gates, on honest ladders and on every lie that must turn a row red."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from seatrial.codec import decode, encode
from seatrial.ladder import records as lr
from seatrial.ladder.child import TaskError
from seatrial.ladder.differences import _width
from seatrial.sla import SLA
from seatrial.tasks.base import TaskSpec

Make = Callable[..., tuple[np.ndarray, np.ndarray]]


def noisy(values: np.ndarray, size: float, seed: int = 9) -> np.ndarray:
    """Outputs as another precision would give them."""
    rng = np.random.default_rng(seed)
    return (values + rng.normal(0, size, values.shape)).astype(np.float32)


def ladder(bench: Any, fp32: np.ndarray, int8: np.ndarray, **known: Any) -> list[lr.Rung]:
    """The float baseline and one INT8 rung of the reference."""
    return [
        lr.Rung(rung=lr.ONNX_FP32, outputs=bench.store({"y": fp32}), precision="FP32"),
        lr.Rung(rung=lr.ONNX_INT8, outputs=bench.store({"y": int8}), source="qdq:a", **known),
    ]


def test_an_honest_ladder_passes(bench: Any, logits: Make, rows: Any) -> None:
    values, labels = logits(2000)
    int8, device = noisy(values, 0.4), noisy(noisy(values, 0.4), 0.05, seed=3)
    rungs = [
        lr.Rung(rung=lr.PYTORCH, outputs=bench.store({"logits": values})),
        *ladder(bench, noisy(values, 1e-6), int8),
        lr.Rung(
            rung=lr.DEVICE_FLOAT, outputs=bench.store({"y": values}), target="a:b", precision="FP32"
        ),
        lr.Rung(
            rung=lr.DEVICE_INT8,
            outputs=bench.store({"y": device[:, :, None, None]}),
            target="a:b",
            source="qdq:a",
        ),
    ]
    result = bench.judge(bench.test_set(labels.tolist(), 2000), rungs)
    assert decode(lr.JudgeResult, encode(result)) == result
    graded = rows(result)
    assert {k: g.row["gate"] for k, g in graded.items()} == {
        ("pytorch-fp32", None): "not applicable",
        ("onnx-fp32", "pytorch-fp32"): "pass",
        ("onnx-int8", "onnx-fp32"): "pass",
        ("device-float", "onnx-fp32"): "pass",
        ("device-int8", "onnx-int8"): "pass",
        ("device-int8", "onnx-fp32"): "pass",
    }
    row = graded["device-int8", "onnx-fp32"].row
    assert row["ci95"][0] <= row["drop"] <= row["ci95"][1] <= row["limit"] == 1.0
    assert graded["device-int8", "onnx-int8"].row["limit"] == 0.5


def test_a_real_drop_fails_and_a_small_set_proves_nothing(
    bench: Any, logits: Make, rows: Any
) -> None:
    values, labels = logits(1000)
    broken = values.copy()
    broken[::10] = np.roll(broken[::10], 1, axis=1)
    graded = rows(bench.judge(bench.test_set(labels.tolist(), 1000), ladder(bench, values, broken)))
    found = graded["onnx-int8", "onnx-fp32"]
    assert (found.row["gate"], found.code) == ("fail", "accuracy.drop")
    assert "the limit is 1.00" in found.row["reason"]
    few = rows(
        bench.judge(
            bench.test_set(labels[:50].tolist(), 50),
            ladder(bench, values[:50], noisy(values[:50], 0.1)),
        )
    )["onnx-int8", "onnx-fp32"]
    assert few.row["gate"] == "not proven"
    assert few.row["n_needed"] == 381
    assert "381 samples" in few.row["reason"]


def lie_nan(values: np.ndarray) -> np.ndarray:
    values = values.copy()
    values[7, 3] = np.nan
    return values


def lie_infinite(values: np.ndarray) -> np.ndarray:
    values = values.copy()
    values[7, 3] = np.inf
    return values


def lie_zero(values: np.ndarray) -> np.ndarray:
    return np.zeros_like(values)


def lie_constant(values: np.ndarray) -> np.ndarray:
    return np.broadcast_to(values[0], values.shape).copy()


def lie_same_class(values: np.ndarray) -> np.ndarray:
    values = noisy(values, 0.1)
    values[:, 2] += 100
    return values


def lie_shuffled_classes(values: np.ndarray) -> np.ndarray:
    return np.roll(noisy(values, 0.1), 3, axis=1)


def lie_float(values: np.ndarray) -> np.ndarray:
    return noisy(values, 1e-6)


def lie_vanished(values: np.ndarray) -> np.ndarray:
    values = noisy(values, 0.1)
    values[:, 4] -= 1000
    return values


def lie_shape(values: np.ndarray) -> np.ndarray:
    return noisy(values, 0.1)[:, :9]


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (lie_nan, "ladder.nonfinite"),
        (lie_infinite, "ladder.nonfinite"),
        (lie_zero, "ladder.constant"),
        (lie_constant, "ladder.constant"),
        (lie_same_class, "ladder.constant"),
        (lie_shuffled_classes, "accuracy.class-vanished"),
        (lie_float, "ladder.not-int8"),
        (lie_vanished, "accuracy.class-vanished"),
        (lie_shape, "ladder.shape"),
    ],
)
def test_a_lie_of_the_int8_rung_is_red(
    bench: Any, logits: Make, rows: Any, lie: Callable[[np.ndarray], np.ndarray], code: str
) -> None:
    values, labels = logits()
    result = bench.judge(
        bench.test_set(labels.tolist(), len(labels)), ladder(bench, values, lie(values))
    )
    found = rows(result, SLA(max_drop=100.0))["onnx-int8", "onnx-fp32"]
    assert (found.row["gate"], found.code) == ("fail", code)


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (lie_nan, "ladder.nonfinite"),
        (lie_zero, "ladder.constant"),
        (lie_same_class, "baseline.chance"),
        (lie_shuffled_classes, "baseline.chance"),
    ],
)
def test_a_lie_of_the_baseline_is_red(
    bench: Any, logits: Make, rows: Any, lie: Callable[[np.ndarray], np.ndarray], code: str
) -> None:
    values, labels = logits(right=0.9)
    lied = lie(values)
    result = bench.judge(
        bench.test_set(labels.tolist(), len(labels)), ladder(bench, lied, noisy(lied, 0.1))
    )
    graded = rows(result, SLA(max_drop=100.0))
    found = graded["onnx-fp32", None]
    assert (found.row["gate"], found.code) == ("fail", code)


@pytest.mark.parametrize("shift", [-1, 1])
def test_labels_off_by_one_are_named_and_an_offset_heals_them(
    bench: Any, logits: Make, rows: Any, shift: int
) -> None:
    values, labels = logits(300)
    rungs = ladder(bench, values, noisy(values, 0.1))
    test = bench.test_set((labels - shift).tolist(), 300)
    found = rows(bench.judge(test, rungs))["onnx-fp32", None]
    assert (found.row["gate"], found.code) == ("fail", "baseline.labels-shifted")
    assert f"label_offset = {shift:+d}" in found.row["reason"]
    healed = TaskSpec(name="classify", options={"label_offset": shift})
    assert rows(bench.judge(test, rungs, healed))["onnx-fp32", None].row["gate"] == "not applicable"


def test_one_label_for_all_proves_nothing(bench: Any, logits: Make, rows: Any) -> None:
    values, _ = logits(300)
    values[:, 3] += 6
    test = bench.test_set([3] * 300, 300)
    found = rows(bench.judge(test, ladder(bench, values, noisy(values, 0.1))))["onnx-fp32", None]
    assert (found.row["gate"], found.code) == ("not proven", "baseline.one-class")


def test_few_samples_cannot_tell_chance(bench: Any, rows: Any) -> None:
    values = np.eye(2, dtype=np.float32)[[0, 1, 0, 1]] + np.arange(4)[:, None] / 100
    test = bench.test_set([0, 1, 1, 0], 4)
    found = rows(bench.judge(test, ladder(bench, values, noisy(values, 0.01))))["onnx-fp32", None]
    assert (found.row["gate"], found.code) == ("not proven", "baseline.chance")


@pytest.mark.parametrize(("n", "gate"), [(60, "not proven"), (600, "fail")])
def test_guessing_is_told_only_with_enough_samples(
    bench: Any, rows: Any, n: int, gate: str
) -> None:
    values = np.random.default_rng(2).normal(size=(n, 2)).astype(np.float32)
    labels = np.random.default_rng(3).integers(0, 2, n)
    test = bench.test_set(labels.tolist(), n)
    found = rows(bench.judge(test, ladder(bench, values, noisy(values, 0.01))))["onnx-fp32", None]
    assert (found.row["gate"], found.code) == (gate, "baseline.chance")


@pytest.mark.parametrize("size", [0.1, 0.45, 1.2])
def test_a_device_that_moves_numbers_more_than_quantisation_did(
    bench: Any, logits: Make, rows: Any, size: float
) -> None:
    """Classes hold still, numbers do not: rounding moves them less than quantisation did."""
    values, labels = logits(300, right=1.0)
    int8 = noisy(values, 0.3)
    device = noisy(int8, size, seed=4)
    rungs = ladder(bench, values, int8)
    rungs.append(
        lr.Rung(
            rung=lr.DEVICE_INT8, outputs=bench.store({"y": device}), target="a:b", source="qdq:a"
        )
    )
    graded = rows(bench.judge(bench.test_set(labels.tolist(), 300), rungs))
    found = graded["device-int8", "onnx-int8"]
    assert found.row["gate"] == "not proven" and found.row["agreement"] > 98
    assert (found.code == "ladder.noise") is (size > 1)
    assert ("more than rounding moves" in found.row["reason"]) is (size > 1)


@pytest.mark.parametrize(
    ("kept", "extra", "accused"),
    [(0.0, 0.3, True), (0.3, 0.1, True), (1.0, 0.3, False), (1.0, 1.0, False), (0.7, 0.5, False)],
    ids=["no quantiser", "a third of them", "rounds a little", "rounds much", "rounds its own way"],
)
def test_a_device_that_is_rather_the_float_model_proves_no_int8(
    bench: Any, logits: Make, rows: Any, kept: float, extra: float, accused: bool
) -> None:
    """It leaves quantisers out: better than its own Q/DQ model, whose drop it does not show."""
    values, labels = logits(1500)
    lost = np.random.default_rng(5).normal(0, 1.2, values.shape).astype(np.float32)
    device = noisy(values + np.float32(kept) * lost, extra, seed=6)
    rungs = ladder(bench, values, values + lost)
    rungs.append(
        lr.Rung(
            rung=lr.DEVICE_INT8, outputs=bench.store({"y": device}), target="a:b", source="qdq:a"
        )
    )
    graded = rows(bench.judge(bench.test_set(labels.tolist(), 1500), rungs))
    found = graded["device-int8", "onnx-int8"]
    assert (found.code == "ladder.in-float") is accused, found.row["reason"]
    if accused:
        assert found.row["gate"] == "not proven" and found.row["n_needed"] is None
        assert "'y' is closer to the float model (" in found.row["reason"]
        assert "neither its latency nor its answers" in found.row["reason"]


@pytest.mark.parametrize("n", [300, 1000, 3000])
def test_a_baseline_barely_above_chance_never_passes(
    bench: Any, logits: Make, rows: Any, n: int
) -> None:
    """A fifth right where guessing gets a sixth: told from chance or not, it proves nothing."""
    values, labels = logits(n, right=0.05, classes=6)
    test, rungs = bench.test_set(labels.tolist(), n), ladder(bench, values, noisy(values, 0.01))
    graded = rows(bench.judge(test, rungs))
    found = graded["onnx-fp32", None]
    assert 17 < found.row["value"] < 25
    assert found.row["gate"] != "not applicable" and found.code == "baseline.chance"
    assert (found.row["gate"] == "not proven") is (n > 300)
    known = TaskSpec(name="classify", expected=21.0)
    found = rows(bench.judge(test, rungs, known), SLA(max_drop=0.2))["onnx-fp32", None]
    assert (found.row["gate"] == "not applicable") is (n == 3000)
    high = TaskSpec(name="classify", expected=60.0)
    found = rows(bench.judge(test, rungs, high))["onnx-fp32", None]
    assert found.row["gate"] in ("fail", "not proven")


@pytest.mark.parametrize(("limit", "gate"), [(1.0, "not applicable"), (4.0, "not proven")])
def test_a_limit_that_a_constant_answer_meets_proves_nothing(
    bench: Any, rows: Any, limit: float, gate: str
) -> None:
    """Of 1,000 samples 40 are of the rare class: always the other one is 96 % right."""
    labels = (np.arange(1000) % 25 == 0).astype(int)
    values = np.tile(np.array([1, 0], np.float32), (1000, 1)) + np.arange(1000)[:, None] / 1e4
    rare = np.flatnonzero(labels)[:32]
    values[rare] = values[rare, ::-1]
    rungs = ladder(bench, values.astype("f4"), noisy(values, 0.01))
    result = bench.judge(bench.test_set(labels.tolist(), 1000), rungs)
    assert result.blind is not None and result.blind.answer == "always class 0"
    assert result.blind.value == 96.0 and result.blind.ahead == pytest.approx(3.2)
    assert result.blind.least is not None and 2 < result.blind.least < 3.2
    found = rows(result, SLA(max_drop=limit))["onnx-fp32", None]
    assert (found.row["gate"], found.code) == (
        gate,
        "baseline.blind" if limit > 1 else "ladder.baseline",
    )


def test_a_rare_class_that_is_found_is_better_than_guessing(bench: Any, rows: Any) -> None:
    labels = np.zeros(200, int)
    labels[:8] = 1
    values = np.tile(np.array([1, 0], np.float32), (200, 1)) + np.arange(200)[:, None] / 1e4
    values[:6] = values[:6, ::-1]
    test = bench.test_set(labels.tolist(), 200)
    rungs = ladder(bench, values.astype("f4"), noisy(values, 0.01))
    assert rows(bench.judge(test, rungs))["onnx-fp32", None].row["gate"] == "not applicable"


def test_a_float_device_in_a_lower_precision_is_not_fp32(
    bench: Any, logits: Make, rows: Any
) -> None:
    values, labels = logits(2000)
    rounded = (values * (1 + np.random.default_rng(0).normal(0, 2e-3, values.shape))).astype("f4")
    test = bench.test_set(labels.tolist(), 2000)

    def gate(precision: str) -> Any:
        rungs = [
            *ladder(bench, values, noisy(values, 0.4)),
            lr.Rung(
                rung=lr.DEVICE_FLOAT,
                outputs=bench.store({"y": rounded}),
                target="a:b",
                precision=precision,
            ),
        ]
        return rows(bench.judge(test, rungs))["device-float", "onnx-fp32"]

    assert (gate("FP32").row["gate"], gate("FP32").code) == ("fail", "ladder.not-equal")
    assert (gate("BF16").row["gate"], gate("BF16").code) == ("pass", "accuracy.drop")


def test_a_device_that_runs_another_int8_model_is_beyond_the_noise_floor(
    bench: Any, logits: Make, rows: Any
) -> None:
    values, labels = logits(2000, right=0.6)
    rng = np.random.default_rng(5)
    wrong = np.flatnonzero(values.argmax(1) != labels)
    other = noisy(values, 0.05)
    # Wrong answers change to other wrong answers: the accuracy does not move at all.
    other[wrong] = rng.normal(size=(len(wrong), values.shape[1]))
    other[wrong, labels[wrong]] = -50
    rungs = [
        *ladder(bench, values, noisy(values, 0.05)),
        lr.Rung(
            rung=lr.DEVICE_INT8, outputs=bench.store({"y": other}), target="a:b", source="qdq:a"
        ),
    ]
    graded = rows(bench.judge(bench.test_set(labels.tolist(), 2000), rungs))
    assert graded["device-int8", "onnx-fp32"].row["gate"] == "pass"
    found = graded["device-int8", "onnx-int8"]
    assert (found.row["gate"], found.code) == ("fail", "ladder.noise")


def test_the_measured_noise_floor_counts(bench: Any, logits: Make, rows: Any) -> None:
    values, labels = logits(1000)
    values = noisy(np.where(values > 4, values - 7.2, values), 0.0)
    again = noisy(values, 0.3, seed=4)
    device = noisy(values, 0.3, seed=6)

    def gate(noise: tuple[Any, ...]) -> str:
        rungs = [
            lr.Rung(rung=lr.ONNX_FP32, outputs=bench.store({"y": values}), noise=noise),
            lr.Rung(rung=lr.DEVICE_FLOAT, outputs=bench.store({"y": device}), target="a:b"),
        ]
        result = bench.judge(bench.test_set(labels.tolist(), 1000), rungs)
        return rows(result)["device-float", "onnx-fp32"].code

    def floor(y: Any) -> tuple[Any, ...]:
        return (lr.NoiseRun(what="1 thread", outputs=bench.store({"y": y})),)

    assert gate(floor(values)) == "ladder.noise"
    assert gate(floor(again)) == "accuracy.drop"


@pytest.mark.parametrize(
    ("what", "apart", "code"),
    [
        ("1 thread", 0.0, "accuracy.drop"),  # a kernel repeats itself: no claim about another's
        (lr.INTEGERS, 0.3, "accuracy.drop"),  # sound rounding flips as many
        (lr.INTEGERS, 0.0, "ladder.noise"),
    ],
)
def test_int8_without_a_float_twin_is_held_against_sound_rounding(
    bench: Any, logits: Make, rows: Any, what: str, apart: float, code: str
) -> None:
    values, labels = logits(1000)
    values = noisy(np.where(values > 4, values - 7.2, values), 0.0)
    noise = lr.NoiseRun(what=what, outputs=bench.store({"y": noisy(values, apart, seed=4)}))
    rungs = [
        lr.Rung(
            rung=lr.ONNX_INT8,
            outputs=bench.store({"y": values}),
            source="qdq:a",
            noise=(noise,),
        ),
        lr.Rung(
            rung=lr.DEVICE_INT8,
            outputs=bench.store({"y": noisy(values, 0.3, seed=6)}),
            target="a:b",
            source="qdq:a",
        ),
    ]
    result = bench.judge(bench.test_set(labels.tolist(), 1000), rungs)
    assert rows(result)["device-int8", "onnx-int8"].code == code


@pytest.mark.parametrize(
    ("own", "device", "code"),
    [
        (None, 3e-4, "ladder.not-equal"),  # nothing excuses it
        (3e-4, 3e-4, "ladder.equal"),  # the reference itself moves as much
        (3e-4, 3e-2, "ladder.not-equal"),  # far more than that
        (3e-1, 3e-1, "ladder.not-equal"),  # a floor like BF16 is no floor
    ],
)
def test_float_may_differ_by_the_floor_of_a_sensitive_net(
    bench: Any, logits: Make, rows: Any, own: float | None, device: float, code: str
) -> None:
    values, labels = logits(200)
    few = tuple(range(0, 200, 4))
    noise = ()
    if own is not None:
        outputs = bench.store({"y": noisy(values, own, seed=1)[list(few)]})
        noise = (lr.NoiseRun(what="optimisation off", outputs=outputs, indices=few),)
    rungs = [
        lr.Rung(rung=lr.ONNX_FP32, outputs=bench.store({"y": values}), noise=noise),
        lr.Rung(
            rung=lr.DEVICE_FLOAT,
            outputs=bench.store({"y": noisy(values, device, seed=2)}),
            target="a:b",
            precision="FP32",
        ),
    ]
    result = bench.judge(bench.test_set(labels.tolist(), 200), rungs)
    found = rows(result)["device-float", "onnx-fp32"]
    assert found.code == code, found.row["reason"]
    if own is not None:
        (told,) = result.rungs[0].noise
        assert (told.what, told.n, told.identical) == ("optimisation off", 50, False)
        assert told.sqnr_db == pytest.approx(20 * np.log10(values.std() / own), abs=3)
        assert "optimisation off" in found.row["reason"] or code != "ladder.equal"


def test_a_floor_of_a_few_samples_is_no_share_of_all(bench: Any, logits: Make) -> None:
    values, labels = logits(100)
    store = bench.store({"y": values[:10]})
    noise = (lr.NoiseRun(what="again", outputs=store, indices=tuple(range(10))),)
    rungs = ladder(bench, values, values)
    rungs[0] = lr.Rung(rung=lr.ONNX_FP32, outputs=rungs[0].outputs, noise=noise)
    result = bench.judge(bench.test_set(labels.tolist(), 100), rungs)
    assert result.comparisons[0].noise_agreed == -1
    assert result.rungs[0].noise[0].agreed == 10 and result.rungs[0].noise[0].identical


def test_native_int8_is_judged_against_the_float_model_only(
    bench: Any, logits: Make, rows: Any
) -> None:
    values, labels = logits()
    rungs = [
        *ladder(bench, values, noisy(values, 0.2)),
        lr.Rung(
            rung=lr.DEVICE_INT8,
            outputs=bench.store({"y": noisy(values, 0.2, seed=1)}),
            target="a:b",
            source=lr.NATIVE,
        ),
    ]
    graded = rows(bench.judge(bench.test_set(labels.tolist(), len(labels)), rungs))
    assert ("device-int8", "onnx-fp32") in graded
    assert ("device-int8", "onnx-int8") not in graded


def test_a_missing_reference_rung_is_not_a_pass(bench: Any, logits: Make, rows: Any) -> None:
    values, labels = logits(1000)
    rungs = [
        ladder(bench, values, values)[0],
        lr.Rung(
            rung=lr.DEVICE_INT8,
            outputs=bench.store({"y": noisy(values, 0.1)}),
            target="a:b",
            source="qdq:b",
        ),
    ]
    graded = rows(bench.judge(bench.test_set(labels.tolist(), 1000), rungs))
    found = graded["device-int8", "onnx-int8"]
    assert (found.row["gate"], found.code) == ("not proven", "ladder.reference")
    alone = rows(bench.judge(bench.test_set(labels.tolist(), 1000), rungs[1:]))
    assert {g.row["gate"] for g in alone.values()} == {"not proven"}


def test_each_output_branch_is_compared_and_a_lost_one_fails(
    bench: Any, logits: Make, rows: Any
) -> None:
    values, labels = logits()
    boxes = np.random.default_rng(0).normal(size=(400, 8, 4)).astype(np.float32)
    test = bench.test_set(labels.tolist(), 400)
    full = [
        lr.Rung(rung=lr.ONNX_FP32, outputs=bench.store({"y": values, "boxes": boxes})),
        lr.Rung(
            rung=lr.ONNX_INT8,
            outputs=bench.store({"y": noisy(values, 0.1), "boxes": boxes * np.float32(0.5)}),
            source="qdq:a",
        ),
    ]
    outputs = {o.output: o for o in bench.judge(test, full).comparisons[0].outputs}
    assert outputs["boxes"].cosine_min == pytest.approx(1.0)
    assert outputs["boxes"].sqnr_db == pytest.approx(6.02, abs=0.01)
    assert outputs["y"].worst >= 0
    lost = [full[0], ladder(bench, values, noisy(values, 0.1))[1]]
    assert rows(bench.judge(test, lost))["onnx-int8", "onnx-fp32"].code == "ladder.shape"
    stuck = [
        full[0],
        lr.Rung(
            rung=lr.ONNX_INT8,
            outputs=bench.store({"y": noisy(values, 0.1), "boxes": boxes * 0}),
            source="qdq:a",
        ),
    ]
    assert rows(bench.judge(test, stuck))["onnx-int8", "onnx-fp32"].code == "ladder.constant"


@pytest.mark.parametrize(
    ("change", "gate", "code"),
    [
        (lambda x, rng: x + 0.1 * rng.normal(size=x.shape), "pass", "accuracy.drop"),
        (lambda x, rng: rng.permutation(x), "fail", "ladder.branch"),
        (lambda x, rng: x.mean(0) + 0.01 * rng.normal(size=x.shape), "fail", "ladder.branch"),
        (lambda x, rng: x + 0.9 * rng.normal(size=x.shape), "not proven", "ladder.branch"),
    ],
    ids=["a little noise", "other samples", "its mean", "much noise"],
)
def test_a_branch_that_no_metric_reads_must_follow_the_float_model(
    bench: Any, logits: Make, rows: Any, change: Any, gate: str, code: str
) -> None:
    values, labels = logits(n=1500)
    rng = np.random.default_rng(1)
    # A large mean makes any cosine look good.
    boxes = (100 + rng.normal(size=(1500, 6))).astype(np.float32)
    other = change(boxes, rng).astype(np.float32)
    test = bench.test_set(labels.tolist(), 1500)
    rungs = [
        lr.Rung(rung=lr.ONNX_FP32, outputs=bench.store({"y": values, "boxes": boxes})),
        lr.Rung(
            rung=lr.ONNX_INT8,
            outputs=bench.store({"y": noisy(values, 0.1), "boxes": other}),
            source="qdq:a",
        ),
    ]
    result = bench.judge(test, rungs)
    graded = rows(result)["onnx-int8", "onnx-fp32"]
    assert (graded.row["gate"], graded.code) == (gate, code), graded.row["reason"]
    told = {o.output: o for o in result.comparisons[0].outputs}
    assert told["boxes"].cosine_mean > 0.99
    assert result.comparisons[0].unscored == ("boxes",)


def quantised(values: np.ndarray, scale: Any) -> np.ndarray:
    """Values in 8 bits."""
    return (np.clip(np.rint(values / scale), 0, 255) * scale).astype(np.float32)


@pytest.mark.parametrize("shape", [(5,), (1, 6, 5)], ids=["one", "rows"])
@pytest.mark.parametrize(
    ("pixels", "scales", "column"),
    [
        (720.0, (720 / 255,) * 5, 4),
        (1.0, (1 / 255,) * 5, -1),
        (720.0, (720 / 255,) * 4 + (1 / 255,), -1),
    ],
    ids=["one scale for pixels and scores", "one scale for shares", "two scales"],
)
def test_a_column_that_large_neighbours_hide_is_not_proven(
    bench: Any,
    logits: Make,
    rows: Any,
    shape: tuple[int, ...],
    pixels: float,
    scales: tuple[float, ...],
    column: int,
) -> None:
    values, labels = logits(n=1500)
    rng = np.random.default_rng(1)
    found = rng.uniform(size=(1500, *shape)).astype(np.float32)
    found[..., 4] *= 0.4
    found[..., :4] *= np.float32(pixels)
    # Float rounding that no INT8 keeps: dust, not a column that varies.
    found[..., 2] = 0.5 * pixels + rng.normal(0, 1e-6 * pixels, (1500, *shape[:-1]))
    test = bench.test_set(labels.tolist(), 1500)
    rungs = [
        lr.Rung(rung=lr.ONNX_FP32, outputs=bench.store({"y": values, "det": found})),
        lr.Rung(
            rung=lr.ONNX_INT8,
            outputs=bench.store({"y": noisy(values, 0.1), "det": quantised(found, scales)}),
            source="qdq:a",
        ),
    ]
    result = bench.judge(test, rungs)
    graded = rows(result)["onnx-int8", "onnx-fp32"]
    told = {o.output: o for o in result.comparisons[0].outputs}["det"]
    assert told.explained is not None and told.explained > 0.99
    if column < 0:
        assert (graded.row["gate"], graded.code) == ("pass", "accuracy.drop"), graded.row["reason"]
        assert told.column_explained is not None and told.column_explained > 0.99
        return
    assert (graded.row["gate"], graded.code) == ("not proven", "ladder.branch")
    assert f"column {column} of output 'det'" in graded.row["reason"]
    assert "follows 0% " in graded.row["reason"] and "together 100.0%" in graded.row["reason"]
    assert graded.row["n_needed"] is None
    assert told.column_std == pytest.approx(0.4 / 12**0.5, rel=0.05)


def test_maps_and_wide_outputs_hold_no_records() -> None:
    for shape in ((17,), (3, 17), (2, 3, 4), (1,), (4, 1), ()):
        assert _width(shape) == 0
    assert [_width(x) for x in ((16,), (100, 6), (1, 100, 6))] == [16, 6, 6]


def test_numbers_of_a_lower_precision_are_told(bench: Any, logits: Make) -> None:
    values, labels = logits()
    bits = values.view(np.uint32) & np.uint32(0xFFFF0000)
    test = bench.test_set(labels.tolist(), 400)
    for got, kind in (
        (bits.view(np.float32), "BF16"),
        (values.astype(np.float16).astype(np.float32), "FP16"),
        (noisy(values, 1e-3), ""),
    ):
        rungs = ladder(bench, values, got)
        (step,) = bench.judge(test, rungs).comparisons
        assert step.outputs[0].coarse == kind
    # Integers are numbers of every precision: nothing is given away where the reference has them.
    whole = np.rint(values)
    (step,) = bench.judge(test, ladder(bench, whole, np.roll(whole, 1, 0))).comparisons
    assert step.outputs[0].coarse == ""


def test_cosine_survives_huge_and_zero_outputs(bench: Any, rows: Any) -> None:
    values = np.full((12, 4), 1e30, np.float32) * np.arange(1, 13)[:, None]
    values[0] = 0
    rungs = ladder(bench, values, values * np.float32(1.01))
    task = TaskSpec(name="none")
    (found,) = bench.judge(bench.test_set(None, 12), rungs, task).comparisons[0].outputs
    assert found.cosine_min == pytest.approx(1.0)


def test_without_labels_agreement_is_no_proof_unless_accepted(
    bench: Any, logits: Make, rows: Any
) -> None:
    values, _ = logits(1000)
    rungs = ladder(bench, values, noisy(values, 0.1))
    for task in (TaskSpec(name="none"), TaskSpec(name="classify")):
        result = bench.judge(bench.test_set(None, 1000), rungs, task)
        found = rows(result)["onnx-int8", "onnx-fp32"]
        assert (found.row["gate"], found.code) == ("not proven", "accuracy.no-labels")
        assert found.row["agreement"] > 95
        assert found.row["drop"] is None
        accepted = rows(result, SLA(accept_agreement=80.0))["onnx-int8", "onnx-fp32"]
        assert accepted.row["gate"] == "pass"
        assert "instead of labels" in accepted.row["reason"]
        strict = rows(result, SLA(accept_agreement=99.99))["onnx-int8", "onnx-fp32"]
        assert strict.row["gate"] != "pass"


def test_groups_are_resampled_whole(bench: Any, logits: Make, rows: Any) -> None:
    values, labels = logits(600)
    worse = values.copy()
    worse[:30] = np.roll(worse[:30], 1, axis=1)
    groups = [f"video{i // 10}" for i in range(600)]
    rungs = ladder(bench, values, noisy(worse, 0.1))
    result = bench.judge(bench.test_set(labels.tolist(), 600, groups), rungs)
    (found,) = [c for c in result.comparisons if c.paired]
    assert found.paired is not None
    assert (found.paired.unit, found.paired.n) == ("groups", 60)
    assert rows(result)["onnx-int8", "onnx-fp32"].row["groups"] == 60


@pytest.mark.parametrize("grouped", [False, True])
def test_a_sample_that_is_repeated_counts_once(
    bench: Any, logits: Make, rows: Any, grouped: bool
) -> None:
    values, labels = logits(40)
    worse = values.copy()
    worse[0] = np.roll(worse[0], 1)
    often = {k: np.tile(v, (12, 1)) for k, v in (("fp32", values), ("int8", noisy(worse, 0.01)))}
    rungs = ladder(bench, often["fp32"], often["int8"])
    groups = [f"video{i % 40 // 2}" for i in range(480)] if grouped else None
    test = bench.test_set(np.tile(labels, 12).tolist(), 480, groups, repeats=12)
    result = bench.judge(test, rungs)
    (found,) = [c.paired for c in result.comparisons if c.paired]
    assert (found.samples, found.differing <= 1) == (40, True)
    assert found.ci95[1] > 5
    row = rows(result)["onnx-int8", "onnx-fp32"].row
    assert (row["gate"], row["n"]) == ("not proven", 480)
    assert ("20 groups" if grouped else "40 distinct samples") in row["reason"]


@pytest.mark.parametrize(("samples", "code"), [(400, "baseline.constant-output"), (9, "")])
def test_an_output_that_never_moves_proves_nothing_of_it(
    bench: Any, logits: Make, rows: Any, samples: int, code: str
) -> None:
    values, labels = logits(samples)
    dead = np.full((samples, 3), 0.5, np.float32)
    rungs = [
        lr.Rung(rung=lr.ONNX_FP32, outputs=bench.store({"y": values, "quality": dead})),
        lr.Rung(
            rung=lr.ONNX_INT8,
            outputs=bench.store({"y": noisy(values, 0.1), "quality": dead}),
            source="qdq:a",
        ),
    ]
    found = rows(bench.judge(bench.test_set(labels.tolist(), samples), rungs))["onnx-fp32", None]
    assert (found.code == code) == bool(code)
    if code:
        assert found.row["gate"] == "not proven" and "'quality' is constant" in found.row["reason"]


@pytest.mark.parametrize(
    ("labels", "outputs", "task", "words"),
    [
        ([], 0, "classify", "no samples"),
        ([0, 1, 2], 2, "classify", "2 of 3 samples"),
        ([0, None, 2], 3, "classify", "1 of 3 samples have no label"),
        (["cat", "dog", "cat"], 3, "classify", "no class index"),
        ([0, 1, 2], 3, "nonsense", "no task 'nonsense'"),
        ([0, 1, 2], 3, "json:JSONDecoder", "has no 'name'"),
    ],
)
def test_what_cannot_be_judged_is_refused(
    bench: Any, logits: Make, labels: list[Any], outputs: int, task: str, words: str
) -> None:
    values, _ = logits(3)
    test = bench.test_set(labels, len(labels))
    rung = lr.Rung(rung=lr.ONNX_FP32, outputs=bench.store({"y": values}, count=outputs))
    refused = bench.judge(test, [rung], TaskSpec(name=task)).refused
    assert refused is not None
    assert words in refused.reason


def test_a_task_of_ones_own_that_gives_nan_is_red(
    bench: Any, logits: Make, rows: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_metric_task.py").write_text(
        "class Mine:\n"
        "    name, unit, higher_is_better = 'error', 'mm', False\n"
        "    def __init__(self, bad=False): self.bad = bad\n"
        "    def score(self, outputs, label):\n"
        "        if self.bad and label == 0: return float('nan')\n"
        "        return float(abs(outputs['y'].max() - 8))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    values, labels = logits()
    rungs = ladder(bench, values, noisy(values, 0.2))
    test = bench.test_set(labels.tolist(), 400)
    good = bench.judge(test, rungs, TaskSpec(name="own_metric_task:Mine"))
    row = rows(good, SLA(max_drop=0.5))["onnx-int8", "onnx-fp32"].row
    assert (row["metric"], row["unit"], row["gate"]) == ("error", "mm", "pass")
    bad = bench.judge(test, rungs, TaskSpec(name="own_metric_task:Mine", options={"bad": True}))
    found = rows(bad)["onnx-int8", "onnx-fp32"]
    assert (found.row["gate"], found.code) == ("fail", "ladder.nonfinite")


@pytest.mark.parametrize(
    ("body", "line", "words"),
    [
        ("return outputs['y'][0][0]['x']", 5, "IndexError"),
        ("return np.stack([])", 5, "ValueError: need at least one array"),
        ("return helper(sample)", 7, "TypeError: 'Sample' object is not subscriptable"),
    ],
    ids=["itself", "in a package", "in a function that it calls"],
)
def test_a_task_of_ones_own_that_raises_names_its_line(
    bench: Any,
    logits: Make,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    body: str,
    line: int,
    words: str,
) -> None:
    name = f"own_raising_{line}_{len(body)}"
    (tmp_path / f"{name}.py").write_text(
        "import numpy as np\n"
        "class Mine:\n"
        "    name, unit, higher_is_better = 'error', 'mm', False\n"
        "    def score(self, outputs, label, sample):\n"
        f"        {body}\n"
        "def helper(sample):\n"
        "    return sample['id']\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    values, labels = logits(20)
    test = bench.test_set(labels.tolist(), 20)
    with pytest.raises(TaskError) as caught:
        bench.judge(test, ladder(bench, values, values), TaskSpec(name=f"{name}:Mine"))
    assert f"{name}.py line {line}: {words}" in str(caught.value)
    assert "\n" not in str(caught.value)
