"""What the importer's own table says of each node, without compiling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seatrial import models
from seatrial.results import Claim, StaticReport

#: Not in the table, and taken all the same: the importer handles them itself.
DIRECT = {"If", "Constant"}
#: Operators of another domain that the importer means when it sees their names.
MICROSOFT = {
    *("AllClassNMS", "BiasGelu", "DequantizeLinear", "EmbedLayerNormalization", "FastGelu"),
    *("Gelu", "MatMulInteger16", "QuantizeLinear", "SkipLayerNormalization"),
}


def foreign(node: Any) -> bool:
    """Whether a node's domain is one whose operators the importer does not mean by their names."""
    if node.domain == "com.microsoft":
        return node.op_type not in MICROSOFT
    return node.domain not in ("", "ai.onnx")


def claims(path: Path) -> StaticReport:
    """One claim per node of the main graph."""
    table, source = _table()
    absent = "" if table else "TVM is not installed here: nothing is claimed"

    def judge(node: Any) -> tuple[Claim, str]:
        if absent:
            return Claim.UNKNOWN, absent
        if not foreign(node) and (node.op_type in table or node.op_type in DIRECT):
            return Claim.LISTED, ""
        name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        return Claim.UNSUPPORTED, f"no converter for {name}"

    return models.claims(path, judge, source=source, notes=(absent,) if absent else ())


def _table() -> tuple[frozenset[str], str]:
    """Names of the operators with a converter, and where that is written; empty without TVM."""
    try:
        import tvm
        from tvm.relax.frontend.onnx import onnx_frontend
    except ImportError:
        return frozenset(), "no TVM"
    # Not exported, but the only list there is; a TVM without it claims nothing.
    listed = getattr(onnx_frontend, "_get_convert_map", dict)()
    return frozenset(listed), f"converters of TVM {tvm.__version__}'s ONNX importer"
