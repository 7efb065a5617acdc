"""Values of tensors inside a model, sample by sample. Runs in a child only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from seatrial.quantize.graph import Graph
from seatrial.reference import open_model, with_outputs
from seatrial.samples import Samples


def values(
    graph: Graph,
    wanted: Iterable[str],
    samples: Samples,
    indices: Sequence[int],
    hear: Callable[[float], None],
) -> Iterator[tuple[str, Any]]:
    """Each tensor of each group of samples, by name; inputs and outputs of the model as well.

    Args:
        graph: the model.
        wanted: names of tensors.
        samples: what is fed.
        indices: which samples.
        hear: told how far it is, 0 to 1.
    """
    names = tuple(dict.fromkeys(wanted))
    if not names:
        return
    fed, given = set(graph.inputs), set(graph.outputs)
    source = with_outputs(graph.model, [n for n in names if n not in fed | given])
    session = open_model(source, folder=graph.folder)
    for done, group in enumerate(session.groups(samples, indices)):
        hear(done / len(indices))
        feeds = samples.feeds(group)
        got = session.run({n: feeds[n] for n in session.inputs})
        for name in names:
            yield name, feeds[name] if name in fed else got[name]
