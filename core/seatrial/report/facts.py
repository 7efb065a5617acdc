"""One-line facts that stand around the tables: model, data, limits, versions, time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import numbers as nr
from .safe import safe

Data = Mapping[str, Any]

#: CPU features that change INT8 results or speed, the strongest first.
_INTEGER_FEATURES = (
    "amx_int8",
    "avx512_vnni",
    "avx_vnni",
    "avx512f",
    "avx2",
    "i8mm",
    "sve",
    "asimddp",
    "sse4_2",
)


def about(data: Data) -> str:
    """The model and the data in one line."""
    model = data["model"]
    parts = [safe(model["format"], 16), nr.size(model["bytes"])]
    if model["nodes"] is not None:
        parts.append(nr.plural(model["nodes"], "node"))
    opset = model["opsets"].get("ai.onnx", model["opsets"].get(""))
    parts += [f"opset {opset}"] if opset else []
    parts.append(f"sha256 {safe(model['sha256'][:12])}")
    given = [(n, data["data"][n]) for n in ("calibration", "test") if data["data"][n]]
    counts = [f"{nr.count(source['count'])} {name}" for name, source in given]
    parts += [" + ".join(counts) + " samples"] if counts else []
    return " · ".join(parts)


def calibration_cost(data: Data) -> str:
    """What the last pass of calibration cost, against what was forecast."""
    cost = (data["calibration"] or {}).get("cost")
    if not cost:
        return ""
    said = f"ranges of {nr.count(cost['samples'])} samples took {nr.seconds(cost['seconds'])}"
    said += f" and {nr.count(round(cost['memory_mb']))} MB"
    if cost["forecast_s"] is None:
        return said
    told = f"{nr.seconds(cost['forecast_s'])}, {nr.count(round(cost['forecast_mb']))} MB"
    return f"{said} (forecast: {told})"


def machines(data: Data) -> str:
    """The classes of machine that the report speaks of, those of the deciding targets first."""
    own = _this_machine(data["environment"]["cpu"])
    classes: dict[str, None] = {}
    for row in sorted(data["targets"], key=lambda row: not row["decides"]):
        if row["machine_class"]:
            classes[safe(row["machine_class"], 90)] = None
        elif own and row["ran"] and row["ran"]["where"] == "device" and row["kind"] == "device":
            classes[own] = None
    return "; ".join(classes)


def _this_machine(cpu: Data) -> str:
    """The processor with the features that decide how integers are multiplied."""
    if not cpu["model"]:
        return ""
    flags = [flag for flag in _INTEGER_FEATURES if flag in cpu["flags"]]
    cores = nr.plural(cpu["cores"], "core") if cpu["cores"] else ""
    return safe(", ".join(filter(None, (cpu["model"], cores, " ".join(flags[:3])))), 90)


def synthetic(data: Data) -> str:
    """What must stand in red: which data are not real."""
    made_up = [n for n, source in data["data"].items() if source and source["synthetic"]]
    if not made_up:
        return ""
    return f"SYNTHETIC {' and '.join(made_up)} data: no accuracy below means anything"


def limits(data: Data) -> str:
    """What must hold; limits that nobody set are marked as defaults."""
    sla = data["sla"]
    said = []
    for key, words in (
        ("max_drop", "drop at most {:g} points"),
        ("min_metric", "metric at least {:g} points"),
        ("device_drop", "device drop at most {:g} points"),
        ("accept_agreement", "agreement of {:g} % accepted in place of labels"),
        ("class_drop", "drop of any class at most {:g} points"),
        ("max_memory_mb", "memory at most {:g} MB"),
    ):
        implied = key == "class_drop" and key in sla["defaults"]
        if sla.get(key) is not None and not implied:
            default = " (default)" if key in sla["defaults"] else ""
            text = words.format(sla[key])
            said.append((text.removesuffix("s") if text.endswith(" 1 points") else text) + default)
    if sla["max_latency"]:
        limit = sla["max_latency"]
        said.append(f"{safe(limit['quantile'], 8)} at most {limit['ms']:g} ms")
    if sla["fail_on"] and "fail_on" not in sla["defaults"] and sla["fail_on"] != "not-proven":
        said.append(f"exit code fails on {sla['fail_on']}")
    return ", ".join(said)


def inputs(data: Data) -> list[str]:
    """How a file becomes the network's input, one line per input."""
    lines = []
    for name, contract in (data["input_contract"] or {}).items():
        known = contract.items() if isinstance(contract, Mapping) else [("", contract)]
        if isinstance(contract, Mapping) and contract.get("mode") in ("constant", "state"):
            # How pictures are prepared says nothing of what no source holds.
            known = [(key, contract[key]) for key in ("mode", "value", "output")]
        idle = _idle(contract) if isinstance(contract, Mapping) else ()
        known = [(key, value) for key, value in known if key not in idle]
        facts = ", ".join(f"{key} {_short(value)}".strip() for key, value in known if _said(value))
        lines.append(safe(f"{safe(name, 40)}: {facts}", 300))
    return lines


def _idle(contract: Mapping[str, Any]) -> set[str]:
    """Settings that do nothing beside the others: of a way of resizing that is not taken."""
    resize = contract.get("resize")
    idle = set() if resize == "letterbox" else {"pad_value", "pad_side"}
    if resize == "none":
        idle |= {"resize", "interpolation"}
    if not contract.get("resize_to"):
        idle.add("resize_to")
    return idle


def _said(value: object) -> bool:
    return value is not None and value not in ("", [], {})


def _short(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "/".join(_short(item) for item in value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def versions(data: Data) -> str:
    """Program, interpreter and toolchains."""
    found = {"seatrial": data["environment"]["seatrial"], "python": data["environment"]["python"]}
    for row in data["targets"]:
        found.update((row["availability"] or {"versions": {}})["versions"])
    return ", ".join(safe(f"{name} {version}", 28) for name, version in found.items() if version)


def time_taken(data: Data) -> str:
    """Wall time, and the stages that took most of it."""
    stages = sorted(data["timings"], key=lambda row: -row["seconds"])
    if not stages:
        return ""
    total = nr.seconds(sum(row["seconds"] for row in stages))
    most = ", ".join(f"{safe(row['stage'], 32)} {nr.seconds(row['seconds'])}" for row in stages[:3])
    return f"took {total}: {most}" if len(stages) > 1 else f"took {total}"
