"""Records of the reduction. Standard library only."""

from __future__ import annotations

from seatrial.codec import record
from seatrial.results import Artifact, Ref

#: What becomes of the weights: kept, or numbers of our own of the same shape and type.
KEPT, RANDOM = "kept", "random"


@record
class CutRequest:
    """A part of a model.

    Attributes:
        model: the ONNX model.
        first: index of the first node of the main graph that stays.
        end: index behind the last one; 0: all.
        weights: :data:`KEPT` or :data:`RANDOM`.
        rename: names, texts and metadata become numbers of our own.
        seed: of the weights.
    """

    model: Ref
    first: int = 0
    end: int = 0
    weights: str = KEPT
    rename: bool = False
    seed: int = 0


@record
class CutResult:
    """The part, and what it holds.

    Attributes:
        artifact: ``None``: it cannot be cut there.
        why_not: then, why.
        nodes: of its main graph.
        replaced: weights that are numbers of our own.
        kept: bytes of constants that are the model's own.
        op_types: of its main graph, in order of appearance, at most 20.
    """

    artifact: Artifact | None = None
    why_not: str = ""
    nodes: int = 0
    replaced: int = 0
    kept: int = 0
    op_types: tuple[str, ...] = ()


@record
class CountRequest:
    """How many nodes the main graph has."""

    model: Ref


@record
class Count:
    """The number of nodes."""

    nodes: int
