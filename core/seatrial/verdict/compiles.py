"""Does the model compile for the target, and does it run there?

A *partial* build ships with a warning: what is promised (accuracy, latency) is measured on the
mixture that really runs, and the warning names the nodes and their share of the time. It is not
proven when most of the time is spent elsewhere (then it is no result for this target), or when
some node runs nowhere.
"""

from __future__ import annotations

from typing import Any

from seatrial.report import rows

from .records import DO_NOT_SHIP, NOT_PROVEN, SHIP, Case, Part

#: A share of the time above this, spent off the target, is no result for the target.
MOSTLY = 0.5

#: How runtimes spell 8-bit precisions.
INT8_NAMES = {"INT8", "UINT8", "I8", "U8", "S8", "QINT8", "QUINT8"}


def compiles(case: Case) -> Part:
    """The answer of the part ``compiles``."""
    target = case.target
    availability, built = target["availability"], target["built"]
    if availability is not None and not availability["usable"]:
        hint = f"; {availability['install_hint']}" if availability["install_hint"] else ""
        text = f"it cannot be used here: {availability['reason']}{hint}"
        return _part(
            case, NOT_PROVEN, "target.unavailable", text, f"{target['target']} usable here"
        )
    if built is None or built["verdict"] == "unknown":
        return _unknown(case)
    if built["verdict"] == "unsupported":
        return _part(case, DO_NOT_SHIP, "compile.unsupported", _refusal(built))
    if case.run.int8 and (text := _not_int8(target)):
        return _part(case, DO_NOT_SHIP, "compile.not-int8", text)
    return _partial(case, built) if built["verdict"] == "partial" else Part(answer=SHIP)


def _unknown(case: Case) -> Part:
    if case.target["fault"] is not None:
        return _part(case, NOT_PROVEN, "compile.fault", fault_text(case.target["fault"]))
    text = "no compiler was asked, or it did not come far enough to tell"
    return _part(case, NOT_PROVEN, "compile.unknown", text)


def fault_text(fault: dict[str, Any]) -> str:
    """One sentence of a fault."""
    signal = f" ({fault['signal']})" if fault["signal"] else ""
    return f"{fault['stage']} {fault['kind']}{signal}: {fault['reason']}"


def _part(case: Case, answer: str, code: str, text: str, missing: str = "") -> Part:
    level = "warning" if answer == SHIP else "error"
    reason = rows.reason(code, text, part="compiles", target=case.target["target"], level=level)
    return Part(answer=answer, reasons=(reason,), missing=(missing,) if missing else ())


def _refusal(built: dict[str, Any]) -> str:
    """The compiler's own words on the first node, and how many more there are."""
    errors = [f for f in built["findings"] if f["severity"] == "error"]
    if not errors:
        return "the compiler refuses the model"
    first = errors[0]
    where = f"node {first['node']} ({first['op_type']}): " if first["node"] else ""
    more = f"; {len(errors) - 1} more findings" if len(errors) > 1 else ""
    return f"the compiler refuses the model: {where}{first['reason']}{more}"


def _not_int8(target: dict[str, Any]) -> str:
    """Why what ran as INT8 is not INT8, as far as the runtime tells its precisions."""
    run = (target["ran"] or {}).get("int8")
    told = {str(k).upper(): v for k, v in (run or {}).get("precisions", {}).items() if k and v}
    if not told or INT8_NAMES & set(told):
        return ""
    return f"the INT8 artefact runs no layer in INT8: {', '.join(sorted(told))}"


def _partial(case: Case, built: dict[str, Any]) -> Part:
    ship = "int8" if case.run.int8 else "fp32"
    column = built[ship] or built["fp32"] or {}
    counts = column.get("placements") or {}
    away, nowhere = counts.get("fallback", 0), counts.get("nowhere", 0)
    if nowhere:
        text = f"{nowhere} nodes run nowhere: the compiler took only a part of the model"
        return _part(case, NOT_PROVEN, "compile.nowhere", text)
    share = ((case.target["ran"] or {}).get(ship) or {}).get("fallback_share")
    time = "their share of the time is not known" if share is None else f"{share:.0%} of the time"
    text = f"{away or 'some'} nodes fall back and run elsewhere, {time}"
    if share is not None and share > MOSTLY:
        return _part(case, NOT_PROVEN, "compile.mostly-elsewhere", text)
    return _part(case, SHIP, "compile.partial", text)
