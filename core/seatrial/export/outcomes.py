"""What a module's outputs say: problems of batches, of NaN, of constants, with the line at fault.

Runs in a user child only.
"""

from __future__ import annotations

from seatrial.export.findings import plain
from seatrial.export.problems import ERROR, NO_ROWS, WARNING, Problem
from seatrial.export.watch import Place, Trace, first_difference, last_difference

#: Difference over magnitude of a sample's row that other kernels for other batches do not make.
ROW_SHARE = 1e-3


def coupled(output: str, gap: float, alone: Trace, together: Trace) -> Problem:
    """A sample's output depends on what else is in its batch.

    Args:
        output: its name.
        gap: how much, over its scale.
        alone: a pass over one sample.
        together: a pass over it and another one.
    """
    event = first_difference(alone, together, share=ROW_SHARE)
    place = event.place if event is not None else Place()
    return Problem(
        code="batch-coupling",
        level=ERROR,
        text=(
            f"output {output} of a sample changes by {gap:.2g} of its scale "
            "with what else is in the batch"
        ),
        file=place.file,
        line=place.line,
        module=place.module,
        op=plain(event.name) if event is not None else "",
        advice="work along the axes of a sample, not along the batch",
    )


def shared(output: str, alone: tuple[int, ...], two: tuple[int, ...], pair: Trace) -> Problem:
    """Two samples together do not give two rows.

    Args:
        output: its name.
        alone: its shape for one sample.
        two: its shape for two.
        pair: a pass over two samples.
    """
    lost = next((e for e in pair.of("op") if e.size and not e.row and e.place.file), None)
    place = lost.place if lost is not None else Place()
    return Problem(
        code=NO_ROWS,
        level=WARNING,
        text=f"output {output} has the shape {list(alone)} for one sample and {list(two)} for two",
        file=place.file,
        line=place.line,
        module=place.module,
        advice="keep the batch axis: no squeeze() without an axis, no reshape to a fixed batch",
    )


def spoilt(trace: Trace) -> Problem | None:
    """The operator that first gave NaN, or infinity when nothing gave NaN."""
    for kind in ("nan", "inf"):
        event = next((e for e in trace.of("op") if e.spoilt == kind and e.place.file), None)
        if event is not None and (kind == "nan" or "full" not in event.name):
            return Problem(
                code="non-finite",
                level=ERROR if kind == "nan" else WARNING,
                text=f"{plain(event.name)} gives {kind} on a real sample",
                file=event.place.file,
                line=event.place.line,
                module=event.place.module,
                op=plain(event.name),
                advice="clamp what it reads",
            )
    return None


def constant(one: Trace, other: Trace) -> Problem:
    """All samples give the same output; the operator after which they agree."""
    event = last_difference(one, other)
    place = event.place if event is not None else Place()
    what = f": {plain(event.name)} makes them equal" if event is not None else ""
    return Problem(
        code="constant-output",
        level=ERROR,
        text=f"every sample gives the same output{what}",
        file=place.file,
        line=place.line,
        module=place.module,
        op=plain(event.name) if event is not None else "",
        advice="look at the range of what it reads",
    )
