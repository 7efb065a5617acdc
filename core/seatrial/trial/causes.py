"""Why INT8 is not faster: facts read from what ran, never guesses.

Each sentence states something that was measured or that the machine tells. Where nothing of it
applies, nothing is said.
"""

from __future__ import annotations

from typing import Any

from seatrial.benchmark.machine import machine
from seatrial.report import rows

#: A model this fast spends its time on dispatch rather than arithmetic, milliseconds.
TINY_MS = 0.5
#: Layer types that only convert between precisions or layouts.
CONVERSIONS = ("quantize", "dequantize", "reorder", "convert", "transpose", "cast")
INTEGERS = ("INT8", "UINT8", "I8", "U8")


def why_not_faster(baseline_ms: float | None, ran: rows.Row | None, *, emulated: bool) -> str:
    """What explains an INT8 artefact that is no faster than FP32, in one line, or ``""``.

    Args:
        baseline_ms: median latency of FP32.
        ran: the execution row of the INT8 artefact.
        emulated: the target is a lesser machine emulated.
    """
    parts = []
    here = machine()
    if not emulated and here.arch == "x86_64" and not here.int8_sets:
        parts.append("this CPU has no INT8 dot-product instructions")
    layers = (ran or {}).get("layers") or []
    parts += _conversions(layers)
    floats = [layer for layer in layers if _is_float(layer)]
    if floats and len(floats) < len(layers):
        share = _share(floats, layers)
        text = f"{len(floats)} of {len(layers)} layers ran in float"
        parts.append(text + (f" ({share:.0%} of the layers' time)" if share is not None else ""))
    if baseline_ms is not None and baseline_ms < TINY_MS:
        parts.append(f"FP32 takes only {baseline_ms:.2g} ms: dispatch costs as much as arithmetic")
    return "; ".join(parts)


def _conversions(layers: list[rows.Row]) -> list[str]:
    moving = [layer for layer in layers if _converts(layer)]
    share = _share(moving, layers)
    if not moving or not share or share < 0.05:
        return []
    return [f"{len(moving)} conversions take {share:.0%} of the layers' time"]


def _converts(layer: rows.Row) -> bool:
    name = str(layer["op_type"]).lower()
    return any(word in name for word in CONVERSIONS)


def _is_float(layer: rows.Row) -> bool:
    precision = str(layer["precision"]).upper()
    return bool(precision) and precision not in INTEGERS and not _converts(layer)


def _share(some: list[rows.Row], of: list[rows.Row]) -> float | None:
    def total(layers: list[Any]) -> float:
        return sum(layer["ms"] or 0.0 for layer in layers)

    whole = total(of)
    return total(some) / whole if whole > 0 else None
