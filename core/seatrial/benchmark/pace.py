"""Why INT8 is as fast as it is: causes read from what ran, each with its figures, never guesses.

Pure: layers are those of the report's execution rows, in the order in which they ran.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any

from seatrial.codec import record
from seatrial.report import rows
from seatrial.report.speed_rows import pace_cause

#: A model this fast spends its time on dispatch rather than arithmetic, milliseconds.
TINY_MS = 0.5
#: So is a layer this fast.
TINY_LAYER_MS = 0.02
#: Share of the layers' time below which a cause explains nothing.
WORTH = 0.05
#: Share of FP32's time without weights from which on it bounds what INT8 can gain.
BOUND = 0.4
#: Share of INT8's time that reading the artefact once takes at the machine's measured bandwidth.
MEMORY = 0.3
#: Layers that are named.
NAMED = 20

INTEGERS = ("INT8", "UINT8", "I8", "U8")
#: Layer types that convert between precisions, and those that only move data; lower case.
CONVERSIONS = ("quantize", "convert", "cast")
MOVES = ("reorder", "reformat", "transpose", "permute")
#: Layer types that multiply by weights or by one another, in any runtime's words; lower case.
PRODUCTS = ("conv", "gemm", "matmul", "fullyconnected", "innerproduct")

Layer = Mapping[str, Any]


@record
class Seen:
    """What is known of a target's INT8 form and of the float form beside it.

    Attributes:
        int8: layers of the INT8 form.
        fp32: layers of the FP32 form.
        heavy: labels of the nodes that multiply by weights or by one another.
        slower: labels of heavy nodes slower in INT8 -> milliseconds lost, most first.
        fp32_ms: median of FP32.
        int8_ms: median of INT8.
        int8_bytes: size of the INT8 artefact.
        bandwidth: bytes per second that this machine copies; 0: not measured.
        products: this machine has INT8 dot products; ``None``: that does not matter here.
        native: of the runtime's own float: its name and INT8's speed over it (value, low, high);
            ``None``: it has none of its own.
    """

    int8: tuple[Layer, ...] = ()
    fp32: tuple[Layer, ...] = ()
    heavy: tuple[str, ...] = ()
    slower: Mapping[str, float] = field(default_factory=dict)
    fp32_ms: float | None = None
    int8_ms: float | None = None
    int8_bytes: int = 0
    bandwidth: float = 0.0
    products: bool | None = None
    native: tuple[str, float, float, float] | None = None


def causes(seen: Seen) -> list[rows.Row]:
    """What slows INT8 down, weightiest first."""
    found: list[rows.Row] = []
    if seen.products is False:
        text = "this CPU has no INT8 dot-product instructions"
        found.append(pace_cause("no-int8-products", text))
    found += _native(seen)
    measured = [*_floats(seen), *_moving(seen), *_slower(seen), *_tiny(seen), *_memory(seen)]
    found += sorted(measured, key=lambda row: -(row["share"] or 0.0))
    found += _bound(seen)
    if seen.fp32_ms is not None and seen.fp32_ms < TINY_MS:
        text = f"FP32 takes only {seen.fp32_ms:.2g} ms: dispatch costs as much as arithmetic"
        found.append(pace_cause("dispatch", text))
    return found


def _native(seen: Seen) -> list[rows.Row]:
    if seen.native is None:
        return []
    name, value, low, _ = seen.native
    if low > 1:
        return []
    said = "as fast already" if value > 0.98 else "faster already"
    text = f"{name}, this runtime's own float on this machine, is {said} (INT8 {value:.2f}x of it)"
    return [pace_cause("native-float", text)]


def islands(layers: Sequence[Layer]) -> list[list[Layer]]:
    """Runs of float layers between INT8 layers, in the order of execution."""
    return _runs(layers, is_float, is_int8)


def lone(layers: Sequence[Layer], heavy: Sequence[str]) -> tuple[str, ...]:
    """Heavy nodes that run in INT8 with float on both sides: each pays two conversions."""
    known = set(heavy)
    found = []
    for run in _runs(layers, is_int8, is_float):
        nodes = [n for layer in run for n in layer["nodes"] if n in known]
        found += nodes if len(nodes) == 1 else []
    return tuple(dict.fromkeys(found))


def stranded(layers: Sequence[Layer], heavy: Sequence[str]) -> tuple[str, ...]:
    """Heavy nodes that ran in float: if they are quantised, all they get of it is conversions."""
    known = set(heavy)
    found = [n for ly in layers if is_float(ly) for n in ly["nodes"] if n in known]
    return tuple(dict.fromkeys(found))


def _runs(
    layers: Sequence[Layer],
    inside: Callable[[Layer], bool],
    outside: Callable[[Layer], bool],
) -> list[list[Layer]]:
    """Maximal runs of one kind of layer that lie between two of the other; movers count as none."""
    runs: list[list[Layer]] = []
    run: list[Layer] = []
    begun = False
    for layer in layers:
        if outside(layer):
            if begun and run:
                runs.append(run)
            begun, run = True, []
        elif inside(layer):
            run.append(layer)
    return runs


def _floats(seen: Seen) -> list[rows.Row]:
    """Float between INT8 layers, and weights that stayed in float."""
    found = []
    heavy = set(seen.heavy)
    weighted = with_weights(seen.int8, seen.heavy)
    left = [ly for ly in weighted if is_float(ly)]
    if left:
        share = _share(left, seen.int8)
        text = f"{len(left)} of {len(weighted)} layers with weights ran in float{_of(share)}"
        found.append(_cause("not-int8", text, share, left))
    runs = islands(seen.int8)
    inner = [ly for run in runs for ly in run if not heavy.intersection(ly["nodes"])]
    if inner:
        share = _share(inner, seen.int8)
        text = f"{_plural(len(runs), 'island')} of float between INT8 layers: "
        text += f"{_plural(len(inner), 'layer')} without weights ({_kinds(inner)}){_of(share)}"
        found.append(_cause("islands", text, share, inner))
    if not found and not weighted:
        floats = [ly for ly in seen.int8 if is_float(ly)]
        if floats and len(floats) < len(seen.int8):
            share = _share(floats, seen.int8)
            text = f"{len(floats)} of {len(seen.int8)} layers ran in float{_of(share)}"
            found.append(_cause("islands", text, share, floats))
    return [row for row in found if row["share"] is None or row["share"] >= WORTH]


def _moving(seen: Seen) -> list[rows.Row]:
    found = []
    for code, words, name in (
        ("conversions", CONVERSIONS, "conversion"),
        ("reformat", MOVES, "reformat copy"),
    ):
        some = [ly for ly in seen.int8 if _named(ly, words)]
        share = _share(some, seen.int8)
        if some and share is not None and share >= WORTH:
            many = name[:-1] + "ies" if name.endswith("y") else ""
            text = f"{_plural(len(some), name, many)} between precisions or layouts{_of(share)}"
            found.append(_cause(code, text, share, some))
    return found


def _slower(seen: Seen) -> list[rows.Row]:
    lost = sum(seen.slower.values())
    total = _total(seen.int8)
    if not seen.slower or not total or lost / total < WORTH:
        return []
    names = list(seen.slower)
    text = (
        f"{_plural(len(names), 'layer')} slower in INT8 than in FP32, by {lost:.2g} ms together "
        f"({', '.join(names[:3])}{' ...' if names[3:] else ''})"
    )
    return [pace_cause("slower-kernels", text, share=lost / total, layers=names[:NAMED])]


def _tiny(seen: Seen) -> list[rows.Row]:
    timed = [ly for ly in seen.int8 if ly["ms"] is not None]
    tiny = [ly for ly in timed if ly["ms"] < TINY_LAYER_MS]
    share = _share(tiny, seen.int8)
    if share is None or 2 * len(tiny) < len(timed) or share < 2 * WORTH:
        return []
    text = (
        f"{len(tiny)} of {len(timed)} layers take under {TINY_LAYER_MS:g} ms each: starting a "
        f"layer costs as much as its arithmetic{_of(share)}"
    )
    return [_cause("tiny-layers", text, share, tiny)]


def _memory(seen: Seen) -> list[rows.Row]:
    if not seen.bandwidth or not seen.int8_ms:
        return []
    share = 1e3 * seen.int8_bytes / seen.bandwidth / seen.int8_ms
    if share < MEMORY:
        return []
    text = (
        f"memory-bound: reading the artefact once takes {min(share, 1):.0%} of the INT8 latency "
        f"at the {seen.bandwidth / 1e9:.1f} GB/s that this machine copies"
    )
    return [pace_cause("memory-bound", text, share=min(share, 1.0))]


def _bound(seen: Seen) -> list[rows.Row]:
    """Amdahl: what does not multiply by weights gains nothing from faster products."""
    heavy = set(seen.heavy)
    if not any(heavy.intersection(ly["nodes"]) for ly in seen.fp32):
        return []
    rest = [ly for ly in seen.fp32 if not heavy.intersection(ly["nodes"])]
    share = _share(rest, seen.fp32)
    if share is None or share < BOUND:
        return []
    text = (
        f"{share:.0%} of FP32's own time is in layers without weights ({_kinds(rest)}): if all "
        f"products cost nothing INT8 could be {1 / share:.1f}x as fast at most"
    )
    return [_cause("bound", text, share, rest)]


def _cause(code: str, text: str, share: float | None, layers: Sequence[Layer]) -> rows.Row:
    ordered = sorted(layers, key=lambda ly: -(ly["ms"] or 0.0))
    return pace_cause(code, text, share=share, layers=[str(ly["layer"]) for ly in ordered][:NAMED])


def with_weights(layers: Sequence[Layer], heavy: Sequence[str] = ()) -> list[Layer]:
    """Layers that multiply: by the nodes that they stand for, or by what the runtime calls them."""
    known = set(heavy)
    return [
        ly
        for ly in layers
        if known.intersection(ly["nodes"]) or (_named(ly, PRODUCTS) and not _converts(ly))
    ]


def in_name_only(layers: Sequence[Layer]) -> str:
    """That most of an INT8 artefact's layers with weights run in float; ``""``: they do not.

    Args:
        layers: what ran, as the execution rows have it; those of no told precision do not count.
    """
    weighted = with_weights(layers)
    done = [ly for ly in weighted if is_int8(ly)]
    told = len(done) + sum(is_float(ly) for ly in weighted)
    if 2 * len(done) >= told:
        return ""
    verb = "runs" if len(done) == 1 else "run"
    return f"INT8 in name: {len(done)} of {told} layers with weights {verb} in INT8"


def is_int8(layer: Layer) -> bool:
    """Whether a layer computes in INT8."""
    return str(layer["precision"]).upper() in INTEGERS and not _converts(layer)


def is_float(layer: Layer) -> bool:
    """Whether a layer computes in float; one whose precision is not told does not."""
    precision = str(layer["precision"]).upper()
    return "F" in precision and precision not in INTEGERS and not _converts(layer)


def _converts(layer: Layer) -> bool:
    return _named(layer, (*CONVERSIONS, *MOVES))


def _named(layer: Layer, words: Sequence[str]) -> bool:
    name = str(layer["op_type"]).lower()
    return any(word in name for word in words)


def _total(layers: Sequence[Layer]) -> float:
    return float(sum(ly["ms"] or 0.0 for ly in layers))


def _share(some: Sequence[Layer], of: Sequence[Layer]) -> float | None:
    whole = _total(of)
    return _total(some) / whole if whole > 0 else None


def _of(share: float | None) -> str:
    return f", {share:.0%} of the layers' time" if share is not None else ""


def _kinds(layers: Sequence[Layer]) -> str:
    """The types of layer that take most of the time."""
    times: dict[str, float] = {}
    for ly in layers:
        times[str(ly["op_type"])] = times.get(str(ly["op_type"]), 0.0) + (ly["ms"] or 0.0)
    return ", ".join(sorted(times, key=lambda k: -times[k])[:3])


def _plural(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
