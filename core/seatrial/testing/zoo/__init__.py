"""The makers of the kit's models. Run in a child: they import onnx when they are called."""

from __future__ import annotations

from pathlib import Path


def make(kind: str, folder: str) -> None:
    """Write all cases of a kind with their index.

    Args:
        kind: ``zoo`` or ``nodes``.
        folder: an empty folder.
    """
    from seatrial.testing.cases import write_index

    from .maker import Maker

    maker = Maker(Path(folder))
    if kind == "nodes":
        from . import nodes

        nodes.fill(maker)
    else:
        from . import broken, flow, form, kinds, nets, operators, quantised

        for part in (operators, nets, kinds, flow, form, broken, quantised):
            part.fill(maker)
    write_index(Path(folder), tuple(maker.cases))
