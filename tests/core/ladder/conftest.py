"""Output stores made of arrays, and a judge that runs on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seatrial.ladder.child import judge
from seatrial.ladder.gates import Graded, grade
from seatrial.ladder.records import JudgeRequest, JudgeResult, Rung
from seatrial.results import Ref
from seatrial.samples import StoreWriter
from seatrial.sla import SLA
from seatrial.tasks.base import TaskSpec
from seatrial.testing.local import LocalJob

CLASSES = 10


class Bench:
    """Makes stores and judges them."""

    def __init__(self, root: Path) -> None:
        self.job = LocalJob(root)
        self.root = root
        self.made = 0

    def store(
        self,
        outputs: dict[str, Any],
        labels: Sequence[Any] | None = None,
        groups: Sequence[str] | None = None,
        count: int | None = None,
        repeats: int = 1,
    ) -> Ref:
        """A store with one tensor per entry, first axis = sample, each said to be there often."""
        folder = self.root / f"store{self.made}"
        self.made += 1
        folder.mkdir()
        n = len(next(iter(outputs.values()))) if count is None else count
        writer = StoreWriter(folder, n)
        for i in range(n):
            writer.add({name: value[i] for name, value in outputs.items()})
        samples = [{"id": str(i), "sha256": f"{i % (n // repeats):064x}"} for i in range(n)]
        if groups is not None:
            samples = [s | {"group": g} for s, g in zip(samples, groups, strict=True)]
        writer.close(samples, None if labels is None else list(labels))
        return self.job.add(folder)

    def test_set(
        self,
        labels: Sequence[Any] | None,
        n: int,
        groups: Sequence[str] | None = None,
        repeats: int = 1,
    ) -> Ref:
        """A test store; what the samples hold does not matter to the judge."""
        return self.store(
            {"x": np.arange(n, dtype=np.float32)[:, None]}, labels, groups, n, repeats
        )

    def judge(
        self, test: Ref, rungs: Sequence[Rung], task: TaskSpec | None = None, **known: Any
    ) -> JudgeResult:
        """Run the core task in this process."""
        task = task or TaskSpec(name="classify")
        return judge(JudgeRequest(rungs=tuple(rungs), test=test, task=task, **known), self.job)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def logits() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Logits of a model that is right in a share of all samples, and the labels."""

    def make(
        n: int = 400, right: float = 0.8, seed: int = 0, classes: int = CLASSES
    ) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, classes, n)
        shown = np.where(rng.random(n) < right, labels, rng.integers(0, classes, n))
        values = rng.normal(size=(n, classes)).astype(np.float32)
        values[np.arange(n), shown] += 8
        return values, labels

    return make


@pytest.fixture
def rows() -> Callable[[JudgeResult, SLA | None], dict[tuple[str, str | None], Graded]]:
    """The rows with a task metric, by rung and reference."""

    def make(result: JudgeResult, sla: SLA | None = None) -> dict[Any, Graded]:
        graded = grade(result, (sla or SLA()).with_defaults())
        return {(g.row["rung"], g.row["against"]): g for g in graded if g.code != "ladder.output"}

    return make
