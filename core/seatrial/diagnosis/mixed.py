"""Mixed precision: when more float is called for, how much to try, and what is worth its time.

Pure, standard library only. Decisions rest on held-out calibration samples alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from seatrial.intake.facts import ModelFacts, NodeFact
from seatrial.quantize.recipe import ERROR_FINE, KL_FINE
from seatrial.quantize.types import Score
from seatrial.results import LayerRun

#: Operators that hand the values of the layer before them on, one by one.
TAILS = frozenset(
    {"BatchNormalization", "Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish"}
)

#: Operators with weights or products.
HEAVY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})

#: A layer is slower in INT8 if it takes this many times its float time.
SLOWER = 1.1

#: Of the time of a profile so much must belong to known layers for it to be used.
RECOGNISED = 0.5

#: A group of layers with this share of the loss is tried in float as a whole.
GUILTY = 0.3


def meets(score: Score | None, max_drop: float) -> bool | None:
    """Whether a candidate is safe by the rule on held-out calibration samples.

    Safe is a mean KL divergence to the float model of at most 0.02 nats (which goes with a drop
    lost in noise), or no more samples of another class than the drop that is allowed: a drop can
    never exceed the share of changed answers. Outputs that are no class scores: error power at
    most 0.015 of the signal power.

    Args:
        score: on held-out samples; ``None``: unknown.
        max_drop: points that the metric may lose.
    """
    if score is None or not score.losses:
        return None
    if score.nonfinite or not all(math.isfinite(x) for x in score.losses):
        return False
    if score.kl is None:
        return math.fsum(score.errors) / len(score.errors) <= ERROR_FINE
    changed = 100.0 * (1 - (score.agreement or 0.0))
    return score.kl <= KL_FINE or changed <= max_drop


def rule_text(score: Score, max_drop: float) -> str:
    """The figure that decided, in words."""
    if score.kl is None:
        error = math.fsum(score.errors) / max(1, len(score.errors))
        return f"relative error {error:.3g} (safe up to {ERROR_FINE:g})"
    changed = 100.0 * (1 - (score.agreement or 0.0))
    return (
        f"KL {score.kl:.3g} to the float model (safe up to {KL_FINE:g}), {changed:.1f} % of "
        f"{score.n} answers changed (safe up to {max_drop:g}); either is enough"
    )


def loss(score: Score | None) -> float | None:
    """The mean loss of a candidate."""
    if score is None or not score.losses or score.nonfinite:
        return None
    return math.fsum(score.losses) / len(score.losses)


def sizes(total: int) -> tuple[int, ...]:
    """How many layers to leave in float, one try after the other: 1, 2, 4, ... and all."""
    found = []
    size = 1
    while size < total:
        found.append(size)
        size *= 2
    return (*found, total) if total else ()


def between(failed: int, met: int) -> int | None:
    """The next size to try between one that failed and one that met; ``None``: near enough."""
    middle = (failed + met) // 2
    close = met - failed <= max(1, met // 8)
    return None if close or middle in (failed, met) else middle


def front(points: Mapping[str, tuple[float, float]]) -> set[str]:
    """The points that no other beats in one figure without losing in the other.

    Args:
        points: name -> (loss, latency), both better when smaller.
    """
    kept = set()
    for name, (a, b) in points.items():
        beaten = any(
            (x <= a and y <= b) and (x < a or y < b)
            for other, (x, y) in points.items()
            if other != name
        )
        if not beaten:
            kept.add(name)
    return kept


def owners(facts: ModelFacts) -> dict[str, str]:
    """Node labels and tensors -> label of the heavy node whose layer they belong to."""
    known: dict[str, str] = {}
    writers: dict[str, str] = {}
    for node in facts.nodes:
        if node.scope or node.function:
            continue
        owner = node.label if node.op_type in HEAVY else ""
        if node.op_type in TAILS and node.inputs:
            owner = writers.get(node.inputs[0], "")
        if owner:
            known[node.label] = owner
            for name in node.outputs:
                known[name] = writers[name] = owner
    return known


def time_by_layer(
    layers: Sequence[LayerRun], known: Mapping[str, str]
) -> tuple[dict[str, float], float]:
    """Milliseconds of each heavy node's layer in a profile, and the share that was recognised.

    A runtime's layer is recognised if its name is, or begins with, a node or tensor of the model.
    """
    times: dict[str, float] = {}
    total = 0.0
    for layer in layers:
        if layer.ms < 0:
            continue
        total += layer.ms
        owner = _owner(layer.layer, known)
        if owner:
            times[owner] = times.get(owner, 0.0) + layer.ms
    return times, sum(times.values()) / total if total > 0 else 0.0


def _owner(name: str, known: Mapping[str, str]) -> str:
    ends = [len(name), *(k for k in range(len(name) - 1, 0, -1) if name[k] in "_/:.")]
    return next((known[name[:k]] for k in ends if name[:k] in known), "")


def slower(
    facts: ModelFacts, plain: Sequence[LayerRun], int8: Sequence[LayerRun], quantised: Sequence[str]
) -> dict[str, float]:
    """Quantised layers that take longer in INT8 than in float -> milliseconds lost, most first."""
    known = owners(facts)
    before, seen = time_by_layer(plain, known)
    after, seen_too = time_by_layer(int8, known)
    if min(seen, seen_too) < RECOGNISED:
        return {}
    lost = {
        node: after[node] - before[node]
        for node in quantised
        if node in before and node in after and after[node] > SLOWER * before[node]
    }
    return dict(sorted(lost.items(), key=lambda item: -item[1]))


def classes(facts: ModelFacts, quantised: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Quantised nodes by class of operator, where there is more than one class."""
    wanted = set(quantised)
    found: dict[str, list[str]] = {}
    for node in facts.nodes:
        if node.label in wanted and not node.scope and not node.function:
            found.setdefault(_class(node), []).append(node.label)
    return {k: tuple(v) for k, v in found.items()} if len(found) > 1 else {}


def _class(node: NodeFact) -> str:
    return f"depthwise {node.op_type}" if node.depthwise else node.op_type
