"""What the tasks that look for the first node that differs take and give.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from seatrial.codec import record
from seatrial.export.records import ExportRequest
from seatrial.results import Artifact, Ref


@record
class Tensors:
    """Tensors of an exported model in topological order; ``modules``: tensor -> module path."""

    names: tuple[str, ...]
    modules: Mapping[str, str] = field(default_factory=dict)


@record
class TapRequest:
    """Ask for the module's inner tensors for one sample.

    Attributes:
        wanted: names of the exported model's tensors, in topological order.
        modules: tensor name -> module path whose output it is (TorchScript route).
    """

    export: ExportRequest
    index: int
    wanted: tuple[str, ...] = ()
    modules: Mapping[str, str] = field(default_factory=dict)


@record
class Tapped:
    """Inner tensors, one ``.npy`` each: ``names[i]`` lies in ``taps/i.npy``."""

    artifact: Artifact | None
    names: tuple[str, ...] = ()


@record
class DivergeRequest:
    """Ask for the first node whose output differs from the module's."""

    model: Ref
    samples: Ref
    index: int
    taps: Ref
    names: tuple[str, ...]


@record
class Divergence:
    """The first node that diverges, in topological order.

    Attributes:
        node: its label.
        before: largest scale-aware error of the nodes before it, each by itself.
        after: its own error, on what the module computed before it.
        compared: tensors that both sides have.
        region: labels of the nodes between it and its nearest compared ancestors.
        found: False: no compared tensor diverges.
    """

    found: bool
    node: str = ""
    op_type: str = ""
    tensor: str = ""
    module: str = ""
    file: str = ""
    line: int = 0
    before: float = 0.0
    after: float = 0.0
    compared: int = 0
    region: tuple[str, ...] = ()
