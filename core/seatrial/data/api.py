"""The parent's side: have a child read a source, and judge what it says.

Standard library only.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from seatrial.codec import record
from seatrial.data import contract as contracts_
from seatrial.data.contract import InputContract
from seatrial.data.records import (
    REFUSE,
    DataFinding,
    MaterialiseRequest,
    MaterialiseResult,
    SampleSet,
)
from seatrial.data.source import Source
from seatrial.errors import UserError
from seatrial.refusal import Refusal
from seatrial.results import Artifact, Fault, Ref, TensorIO

TASK = "seatrial.data.child:materialise"
INIT_ADVICE = "seatrial init MODEL --data SRC writes one"


class TaskRunner(Protocol):
    """The part of the runner that is used here."""

    def task(
        self,
        name: str,
        request: Any,
        *,
        refs: Sequence[Ref] = (),
        limits: Any = None,
        user: bool = False,
    ) -> Any:
        """Run a core task in a child and give its outcome."""

    def adopt(self, outcome: Any, artifact: Artifact) -> Ref:
        """Take what a task wrote into the workspace."""


@record
class Loaded:
    """A set of samples that is ready to be fed.

    Attributes:
        ref: the sample store.
        info: what is in it.
        source: where it came from.
        role: ``calibration`` or ``test``.
        forced: findings that would have refused it, had the user not forced it.
    """

    ref: Ref
    info: SampleSet
    source: Source
    role: str
    forced: tuple[DataFinding, ...] = ()


def complete_contracts(
    contracts: Mapping[str, InputContract],
    inputs: Sequence[TensorIO],
    source: Source | None = None,
) -> dict[str, InputContract]:
    """Contracts with everything filled in from the model.

    Args:
        contracts: by input name, as configured.
        inputs: the model's inputs.
        source: what is to be read by them, if anything is.

    Raises:
        UserError: a contract for an input that the model lacks, one that contradicts the model,
            or none where pictures are to be fed.
    """
    by_name = {i.name: i for i in inputs}
    for name in contracts:
        if name not in by_name:
            known = ", ".join(by_name) or "none"
            raise UserError(
                "input contract", f"the model has no input {name!r}, only {known}", place="[input]"
            )
    if source is not None and source.kind == "folder" and not contracts:
        reason = (
            "images need an input contract (size, colour order, scale, mean), and there is none"
        )
        raise UserError(source.text, reason, advice=INIT_ADVICE)
    return {n: contracts_.complete(c, by_name[n]) for n, c in contracts.items()}


def load(
    runner: TaskRunner,
    source: Source,
    contracts: Mapping[str, InputContract],
    model_inputs: Sequence[TensorIO],
    *,
    role: str,
    limit: int | None = None,
    force: bool = False,
    thin: int = 0,
    texts: bool = False,
    limits: Any = None,
) -> Loaded | Fault:
    """Read a source in a child and take the store into the workspace.

    Args:
        runner: runs the child.
        source: where the samples come from.
        contracts: by input name, as configured.
        model_inputs: the model's inputs.
        role: ``calibration`` or ``test``.
        limit: at most so many samples; ``None``: as the source says.
        force: take the set in spite of findings that refuse it; they come back in ``forced``.
        texts: labels are texts, not names of classes.
        thin: at most so many of those samples, evenly spaced; 0: all.
        limits: time and memory of the child.

    Returns:
        The set, or the fault if the child gave no answer.

    Raises:
        UserError: the source or the contract is refused.
    """
    if limit:
        capped = min(limit, source.limit) if source.limit else limit
        source = dataclasses.replace(source, limit=capped)
    request = MaterialiseRequest(
        source=source,
        inputs=tuple(model_inputs),
        contracts=complete_contracts(contracts, model_inputs, source),
        role=role,
        thin=thin,
        texts=texts,
    )
    outcome = runner.task(TASK, request, limits=limits, user=source.user_code)
    if outcome.fault is not None:
        fault: Fault = outcome.fault
        return fault
    result: MaterialiseResult = outcome.result
    if result.set is None:
        raise refusal_error(result.refused)
    refused = tuple(f for f in result.set.findings if f.level == REFUSE)
    if refused and not force:
        first = refused[0]
        raise UserError(
            source.text, first.text, place=f"{role} set", advice=_ADVICE.get(first.code, "")
        )
    ref = runner.adopt(outcome, result.set.artifact)
    return Loaded(ref=ref, info=result.set, source=source, role=role, forced=refused)


_ADVICE = {
    "non-finite": "remove or repair it",
    "synthetic": "use real samples, or --force to go on anyway",
    "duplicate": "use different samples",
}


def refusal_error(refused: Refusal | None) -> UserError:
    """A child's refusal as the error to raise."""
    if refused is None:
        return UserError("data", "the reading child gave neither a set nor a reason")
    return refused.error()


@record
class Overlap:
    """Samples that two sets share.

    Attributes:
        pairs: (id in the first set, id in the second), at most 100.
        count: samples of the second set that the first one also has, by content.
        groups: group names that occur in both, at most 100.
        group_count: how many.
    """

    pairs: tuple[tuple[str, ...], ...] = ()
    count: int = 0
    groups: tuple[str, ...] = ()
    group_count: int = 0


def overlap(first: Path, second: Path) -> Overlap:
    """Exact repeats and shared groups of two stores, from their indices alone.

    Args:
        first: folder of the calibration store.
        second: folder of the test store.
    """
    one, two = _samples(first), _samples(second)
    by_hash = {s["sha256"]: s["id"] for s in reversed(one)}
    pairs = [(by_hash[s["sha256"]], s["id"]) for s in two if s["sha256"] in by_hash]
    groups = sorted({s["group"] for s in one if s.get("group")} & {s.get("group") for s in two})
    return Overlap(
        pairs=tuple(pairs[:100]),
        count=len(pairs),
        groups=tuple(groups[:100]),
        group_count=len(groups),
    )


def _samples(store: Path) -> list[dict[str, Any]]:
    index = json.loads((store / "index.json").read_text("utf-8"))
    samples: list[dict[str, Any]] = index["samples"]
    return samples
