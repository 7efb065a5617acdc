"""What keeps a module from being exported, or an export from being the module.

Standard library only.
"""

from __future__ import annotations

from seatrial.codec import record

ERROR, WARNING, INFO = "error", "warning", "info"

#: Code of the problem that two samples share one answer; an error when a free batch was asked.
NO_ROWS = "no-batch-axis"


@record
class Problem:
    """One thing that keeps a module from being exported, or that the export would hide.

    Attributes:
        code: stable name, ``data-dependent-control-flow``.
        level: ``error`` turns the gate red; ``warning`` and ``info`` do not.
        text: one sentence.
        file: the user's source file.
        line: in that file; 0: unknown.
        module: path in the module tree, ``layers.3.attn``.
        op: operator at fault, ``mylib::foo``.
        advice: what to do.
        route: the route it belongs to, ``""``: the module itself.
    """

    code: str
    level: str
    text: str
    file: str = ""
    line: int = 0
    module: str = ""
    op: str = ""
    advice: str = ""
    route: str = ""
