"""Single classes that lose more than their limit: exact tails, few false alarms, the gate."""

from __future__ import annotations

from collections.abc import Callable
from math import comb
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.data.structured import pack_mask
from seatrial.ladder import records as lr
from seatrial.ladder.falls import FAR, falls, tail
from seatrial.sla import SLA
from seatrial.tasks.base import TaskSpec
from seatrial.verdict import pooled


def brute(lost: int, won: int, n: int, share: float) -> float:
    """The same tail, summed outcome by outcome at rates found on a grid."""
    grid = np.linspace(0, (1 - share) / 2, 20_001)
    with np.errstate(divide="ignore", invalid="ignore"):
        rest = n - lost - won
        likely = lost * np.log(grid + share) + rest * np.log(1 - 2 * grid - share)
        likely += won * np.log(grid) if won else 0.0
    win = float(grid[np.nanargmax(likely)])
    lose = win + share
    chance = 0.0
    for a in range(n + 1):
        for b in range(n - a + 1):
            if a - b >= lost - won:
                same = max(1 - lose - win, 0.0)
                chance += comb(n, a) * comb(n - a, b) * lose**a * win**b * same ** (n - a - b)
    return chance


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(1, 25),
    lost=st.integers(1, 25),
    won=st.integers(0, 24),
    share=st.sampled_from([0.0, 0.01, 0.05, 0.2]),
)
def test_the_tail_is_exact(n: int, lost: int, won: int, share: float) -> None:
    if won >= lost or lost + won > n:
        return
    found = tail(lost, won, n, share)
    wanted = 1.0 if lost - won <= share * n else brute(lost, won, n, share)
    assert found == pytest.approx(wanted, abs=2e-3)
    assert found <= tail(lost, won, n, min(share + 0.1, 0.9)) + 1e-9


def test_without_a_limit_it_is_close_to_a_sign_test() -> None:
    # Eight losses and no win: 2 ** -8 by the sign test, which is given how many differ.
    assert tail(8, 0, 1000, 0.0) == pytest.approx(2**-8, rel=0.35)


def drawn(
    rng: np.random.Generator, classes: int, each: int, drop: float, group: int = 1
) -> tuple[Any, ...]:
    """Targets, scores of two models whose true drop is the same in every class, and groups.

    Half of the frames of a group share their fate.
    """
    n = classes * each
    fate = np.repeat(rng.random(n // group), group)
    fate = np.where(rng.random(n) < 0.5, fate, rng.random(n)) if group > 1 else fate
    lose, win = 0.03 + drop / 2, 0.03 - drop / 2
    before, after = np.ones(n), np.ones(n)
    after[fate < lose] = 0
    before[(fate >= lose) & (fate < lose + win)] = 0
    targets = np.repeat(np.arange(classes), each)
    return targets, before, after, [str(i // group) for i in range(n)]


@pytest.mark.parametrize(("classes", "each", "group"), [(10, 40, 1), (10, 200, 1), (10, 200, 5)])
def test_classes_at_the_limit_are_hardly_ever_named(classes: int, each: int, group: int) -> None:
    rng = np.random.default_rng([classes, each, group])
    named = sum(bool(falls(*drawn(rng, classes, each, 0.01, group), 1.0)) for _ in range(100))
    assert named <= 7  # 2.5 expected at most; more than 7 of 100 happens once in 250 times


def test_one_class_that_falls_is_named_among_many() -> None:
    rng, found = np.random.default_rng(5), 0
    for _ in range(20):
        targets, before, after, groups = drawn(rng, 20, 100, 0.0)
        own = targets == 7
        before[own], after[own] = 1, rng.random(own.sum()) > 0.25
        for fall in falls(targets, before, after, groups, 1.0):
            assert fall.least > 1.0 and fall.classes == 20
            assert fall.lost - fall.won == round(fall.n * (fall.before - fall.after))
            found += fall.index == 7
    assert found >= 18


def test_whole_groups_are_what_counts() -> None:
    """Forty lost frames of four videos are four losses, of twenty videos twenty."""
    targets = np.repeat(np.arange(4), 200)
    before, after = np.ones(800), np.ones(800)
    after[:40] = 0
    lone = [str(i) for i in range(800)]
    videos = [str(i // 10) for i in range(800)]
    spread = np.ones(800)
    spread[np.random.default_rng(2).choice(200, 40, replace=False)] = 0
    assert [f.index for f in falls(targets, before, after, lone, 1.0)] == [0]
    assert falls(targets, before, after, videos, 1.0) == ()
    assert [f.index for f in falls(targets, before, spread, videos, 1.0)] == [0]


@pytest.mark.parametrize(
    ("share", "sla", "gate", "code"),
    [
        (0.0, SLA(max_drop=4.0), "pass", "accuracy.drop"),
        (0.2, SLA(max_drop=4.0), "not proven", "accuracy.class-drop"),
        (0.4, SLA(max_drop=4.0), "fail", "accuracy.class-drop"),
        (0.2, SLA(max_drop=4.0, class_drop=30.0), "pass", "accuracy.drop"),
        (0.4, SLA(max_drop=1.0), "fail", "accuracy.drop"),
    ],
)
def test_a_class_that_pays_for_the_mean_keeps_it_from_shipping(
    bench: Any,
    logits: Callable[..., tuple[np.ndarray, np.ndarray]],
    rows: Any,
    share: float,
    sla: SLA,
    gate: str,
    code: str,
) -> None:
    values, labels = logits(2000, right=0.95, classes=20)
    int8 = values + np.random.default_rng(1).normal(0, 0.1, values.shape).astype(np.float32)
    (own,) = np.nonzero(labels == 3)
    lost = own[: int(share * len(own))]
    int8[lost] = np.roll(int8[lost], 1, axis=1)
    rungs = [
        lr.Rung(rung=lr.ONNX_FP32, outputs=bench.store({"y": values}), precision="FP32"),
        lr.Rung(rung=lr.ONNX_INT8, outputs=bench.store({"y": int8}), source="qdq:a"),
    ]
    sla = sla.with_defaults()
    result = bench.judge(
        bench.test_set(labels.tolist(), 2000),
        rungs,
        max_drop=sla.max_drop,
        class_drop=sla.class_drop,
    )
    found = rows(result, sla)["onnx-int8", "onnx-fp32"]
    assert (found.row["gate"], found.code) == (gate, code)
    if code == "accuracy.class-drop":
        (fall,) = result.comparisons[0].fallen
        assert fall.index == 3 and (fall.least > sla.class_drop + FAR) is (gate == "fail")
        assert "points in class 3 alone" in found.row["reason"]
        assert found.row["n_needed"] is None


def test_the_limit_of_a_class_is_that_of_the_mean_unless_it_is_said() -> None:
    assert SLA(max_drop=3.0).with_defaults().class_drop == 3.0
    assert SLA().with_defaults().class_drop == 1.0
    assert SLA(class_drop=8.0).with_defaults().class_drop == 8.0
    assert "class_drop" in SLA(max_drop=3.0).with_defaults().defaults


def pictures(rng: np.random.Generator, n: int, lose: Any, classes: int = 4) -> list[Any]:
    """Masks, and logits of two models; the second turns shares of each class into class 0."""
    found = []
    for _ in range(n):
        mask = rng.integers(0, classes, (4, 4)).repeat(4, 0).repeat(4, 1)
        first = np.where(rng.random(mask.shape) < 0.9, mask, rng.integers(0, classes, mask.shape))
        moved = rng.random(mask.shape) < np.asarray(lose)[first]
        second = np.where(moved, 0, first)
        found.append((mask, *(np.eye(classes)[v].transpose(2, 0, 1) for v in (first, second))))
    return found


@pytest.mark.parametrize(
    ("lose", "gate", "code"),
    [
        ((0, 0, 0, 0.002), "pass", "accuracy.drop"),
        ((0, 0, 0, 0.06), "not proven", "accuracy.class-drop"),
        ((0, 0, 0, 0.25), "fail", "accuracy.class-drop"),
    ],
)
def test_a_class_of_a_metric_of_all_pixels_falls_alike(
    bench: Any, rows: Any, monkeypatch: Any, lose: Any, gate: str, code: str
) -> None:
    monkeypatch.setattr(pooled, "RESAMPLES", 300)
    monkeypatch.setattr(pooled, "LEAST_RESAMPLES", 300)
    made = pictures(np.random.default_rng(4), 80, lose)
    first, second = (np.float32([one[k] for one in made]) for k in (1, 2))
    rungs = [
        lr.Rung(rung=lr.ONNX_FP32, outputs=bench.store({"y": first}), precision="FP32"),
        lr.Rung(rung=lr.ONNX_INT8, outputs=bench.store({"y": second}), source="qdq:a"),
    ]
    labels = [pack_mask(one[0].astype(np.uint8)) for one in made]
    sla = SLA(max_drop=20.0, class_drop=2.0).with_defaults()
    result = bench.judge(
        bench.test_set(labels, 80),
        rungs,
        TaskSpec(name="segment"),
        max_drop=sla.max_drop,
        class_drop=sla.class_drop,
    )
    found = rows(result, sla)["onnx-int8", "onnx-fp32"]
    assert (found.row["gate"], found.code) == (gate, code), found.row["reason"]
    if code == "accuracy.class-drop":
        worst = max(result.comparisons[0].fallen, key=lambda f: f.least)
        assert worst.index == 3 and worst.lost == -1 and worst.classes == 4
        assert "points in class 3 alone" in found.row["reason"]
