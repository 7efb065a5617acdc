"""Which other sizes to try, and what follows for each axis. Standard library only."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from seatrial.export.module_records import Variant, VariantRun
from seatrial.export.parity_records import (
    BAKED,
    CONSTRAINED,
    FIXED,
    FREE,
    UNTRIED,
    AxisFact,
    Replay,
)
from seatrial.export.problems import ERROR, Problem

Shapes = Mapping[str, tuple[int, ...]]

#: Batch sizes that are tried; a sample alone is 1.
BATCHES = (2, 3)
#: No more variants than this are tried.
MOST = 28


def plan(
    shapes: Shapes, asked: Mapping[str, Sequence[int]], *, batch_axis: bool = True
) -> tuple[Variant, ...]:
    """Two other sizes for every axis, alone and, one smaller too, together with those of its size.

    Args:
        shapes: of the inputs, batch axis included.
        asked: axes that should be free, by input: variants of nothing else are kept.
        batch_axis: whether axis 0 counts samples.
    """
    free = {f"{n}:{a}" for n, chosen in asked.items() for a in chosen}
    found: list[Variant] = []
    first = 1 if batch_axis else 0
    if batch_axis:
        found += [_changed(shapes, [(n, 0) for n in shapes], size) for size in BATCHES]
    axes = [(n, a) for n, shape in shapes.items() for a in range(first, len(shape))]
    for name, axis in axes:
        found += [_changed(shapes, [(name, axis)], s) for s in _others(shapes[name][axis])]
    for size in dict.fromkeys(shapes[n][a] for n, a in axes):
        group = [(n, a) for n, a in axes if shapes[n][a] == size]
        if len(group) > 1:
            sizes = (*_others(size), size // 2) if size >= 8 else _others(size)
            found += [_changed(shapes, group, s) for s in sizes]
    return tuple(dataclasses.replace(v, kept=set(v.axes) <= free) for v in found[:MOST])


def _others(size: int) -> tuple[int, ...]:
    """One size that breaks every stride, and one that keeps the usual ones."""
    return (size + 1, size + 32 if size >= 32 else 2 * size)


def _changed(shapes: Shapes, axes: Sequence[tuple[str, int]], size: int) -> Variant:
    sizes = {
        n: tuple(size if (n, a) in axes else d for a, d in enumerate(shape))
        for n, shape in shapes.items()
    }
    label = " = ".join([*(f"{n}[{a}]" for n, a in axes), str(size)])
    return Variant(label=label, axes=tuple(f"{n}:{a}" for n, a in axes), sizes=sizes)


def covered(variants: Sequence[Variant], runs: Sequence[VariantRun]) -> tuple[VariantRun, ...]:
    """The runs, of which only those stay ``ok`` whose tensors were kept."""
    return tuple(
        dataclasses.replace(run, ok=run.ok and variant.kept)
        for variant, run in zip(variants, runs, strict=True)
    )


def judge(
    shapes: Shapes,
    variants: Sequence[Variant],
    runs: Sequence[VariantRun],
    replays: Sequence[Replay],
    asked: Mapping[str, Sequence[int]],
) -> tuple[AxisFact, ...]:
    """What is known of every axis.

    Args:
        shapes: of the inputs.
        variants: what was tried.
        runs: what the module did, in the same order.
        replays: what the exported model did at the sizes that the module took.
        asked: axes that should be free, by input.
    """
    by_label = {x.label: x for x in replays}
    free = {f"{n}:{a}" for n, axes in asked.items() for a in axes}
    facts = []
    for name, shape in shapes.items():
        for axis, size in enumerate(shape):
            key = f"{name}:{axis}"
            mine = [(v, x) for v, x in zip(variants, runs, strict=True) if key in v.axes]
            within = [(v, x) for v, x in mine if v.kept]
            ran = _sizes(name, axis, mine, by_label if key in free else None)
            status, evidence, run = _status(mine, within, by_label if key in free else None)
            facts.append(
                AxisFact(
                    input=name,
                    axis=axis,
                    size=size,
                    status=status,
                    asked=key in free,
                    evidence=evidence,
                    file=run.file if run else "",
                    line=run.line if run else 0,
                    low=min([size, *ran]),
                    high=max([size, *ran]),
                )
            )
    return tuple(facts)


_Tried = tuple[Variant, VariantRun]


def _sizes(
    name: str, axis: int, mine: Sequence[_Tried], replays: Mapping[str, Replay] | None
) -> list[int]:
    """Sizes of an axis at which the module ran, and, where it was asked for, the export agreed."""
    taken = [v for v, x in mine if x.ok]
    if replays is not None:
        done = {label for label, x in replays.items() if x.ran and x.agrees}
        taken = [v for v in taken if v.label in done]
    return [v.sizes[name][axis] for v in taken]


def _status(
    mine: Sequence[_Tried],
    within: Sequence[_Tried],
    replays: Mapping[str, Replay] | None,
) -> tuple[str, str, VariantRun | None]:
    if not mine:
        return UNTRIED, "", None
    taken = [(v, x) for v, x in mine if x.ok]
    refused = next((x for _, x in mine if not x.ok), None)
    if not taken:
        return (
            FIXED,
            f"the module refuses {_labels(mine)}: {refused.reason}" if refused else "",
            (refused),
        )
    if replays is not None:
        tried = [replays[v.label] for v, x in within if x.ok and v.label in replays]
        bad = next((x for x in tried if not (x.ran and x.agrees)), None)
        if bad is not None:
            how = "gives something else" if bad.ran else "fails"
            return BAKED, f"the exported model {how} at {bad.label}: {bad.reason}", None
        if not tried:
            return CONSTRAINED, f"free only together with others: {_labels(taken)}", refused
    if refused is None:
        return FREE, f"tried {_labels(taken)}", None
    text = f"the module takes {_labels(taken)}, not {refused.label}: {refused.reason}"
    return CONSTRAINED, text, refused


def _labels(tried: Sequence[_Tried]) -> str:
    return ", ".join(v.label for v, _ in tried[:3])


def problems(facts: Sequence[AxisFact], guards: Sequence[Problem]) -> tuple[Problem, ...]:
    """Axes that were asked to be free and are not.

    Args:
        facts: of every axis.
        guards: where the exporter tied a size to a number.
    """
    found = []
    for fact in facts:
        if not fact.asked or fact.status in (FREE, CONSTRAINED):
            continue
        guard = guards[0] if guards else None
        found.append(
            Problem(
                code="baked-in-shape" if fact.status == BAKED else "fixed-shape",
                level=ERROR,
                text=f"{fact.input} axis {fact.axis} was asked to be free: {fact.evidence}",
                file=fact.file or (guard.file if guard else ""),
                line=fact.line or (guard.line if guard else 0),
                advice="compute the size from the input's shape inside forward",
            )
        )
    return tuple(found)
