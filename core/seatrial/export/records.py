"""What the tasks of one route take and give, and what an attempt by it came to.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from seatrial.codec import record
from seatrial.export.module_records import ModuleSpec
from seatrial.export.parity_records import NOT_PROVEN, AxisFact, ParityResult
from seatrial.export.problems import Problem
from seatrial.results import Artifact, Ref, TensorIO

DYNAMO, TORCHSCRIPT = "dynamo", "torchscript"
#: The routes in the order in which they are preferred when both pass alike.
ROUTES = (DYNAMO, TORCHSCRIPT)


@record
class ExportRequest:
    """Ask for one export by one route.

    Attributes:
        spec: the module.
        samples: where the example input comes from.
        route: one of :data:`ROUTES`.
        opset: wanted; the file says what it became.
        dynamic: free axes by input name; empty: static.
        batch: of a static export.
        translations: ``MODULE:TABLE`` of custom translations, dynamo only.
        outputs: names of the outputs, in order.
        scripted: lines that read a tensor's value, from the study.
    """

    spec: ModuleSpec
    samples: Ref
    route: str
    opset: int = 18
    dynamic: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    batch: int = 1
    translations: str = ""
    outputs: tuple[str, ...] = ()
    scripted: tuple[str, ...] = ()


@record
class Exported:
    """What one route gave; without an artefact, ``problems`` say why.

    Attributes:
        guards: where a free axis was tied to a number, as the exporter tells.
    """

    artifact: Artifact | None = None
    problems: tuple[Problem, ...] = ()
    guards: tuple[Problem, ...] = ()
    seconds: float = 0.0


@record
class GraphRequest:
    """Ask what stands in an exported model."""

    model: Ref


@record
class GraphNode:
    """A node worth naming, with its place in the user's source where the file tells."""

    label: str
    op_type: str
    domain: str = ""
    module: str = ""
    file: str = ""
    line: int = 0


@record
class GraphFacts:
    """An exported model, read back.

    Attributes:
        opset: of the default domain.
        nodes: how many, subgraphs included.
        control_flow: If, Loop and Scan nodes.
        foreign: nodes of non-standard domains without a function body in the file.
        lines: the user's lines that its nodes come from, ``FILE:LINE``; empty: the file tells none.
        sources: of these, the innermost line of every node.
        needs: operator -> the opset in which its present form came, the highest first.
        inputs: as declared.
        outputs: as declared.
    """

    opset: int
    nodes: int
    control_flow: tuple[GraphNode, ...] = ()
    foreign: tuple[GraphNode, ...] = ()
    lines: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    needs: Mapping[str, int] = field(default_factory=dict)
    inputs: tuple[TensorIO, ...] = ()
    outputs: tuple[TensorIO, ...] = ()


@record
class Attempt:
    """One route: how it went and what it gave.

    Attributes:
        gate: of its parity.
        reason: why it was kept or not.
    """

    route: str
    ok: bool
    gate: str = NOT_PROVEN
    opset: int = 0
    asked_opset: int = 0
    seconds: float = 0.0
    reason: str = ""
    chosen: bool = False
    problems: tuple[Problem, ...] = ()
    graph: GraphFacts | None = None
    parity: ParityResult | None = None
    axes: tuple[AxisFact, ...] = ()
    model: Ref | None = None
    sha256: str = ""
