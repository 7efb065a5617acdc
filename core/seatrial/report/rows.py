"""Rows of the report with every key present, nothing known yet.

Each function takes what is known as keywords; a keyword that the row does not have is an error,
so a typing mistake shows where it was made and not in a schema check later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: A row, a report, or a part of one.
Row = dict[str, Any]


def filled(name: str, blank: Row, known: Mapping[str, Any]) -> Row:
    """A row with what is known laid over the blank one.

    Raises:
        TypeError: something known that the row has no key for.
    """
    unknown = sorted(set(known) - set(blank))
    if unknown:
        raise TypeError(f"{name} has no key {unknown[0]!r}")
    return {**blank, **known}


def reason(
    code: str, text: str, *, part: str = "", target: str | None = None, level: str = "error"
) -> Row:
    """One reason for a verdict; ``part`` is compiles, accurate, fast or empty."""
    return {"code": code, "part": part, "target": target, "text": text, "level": level}


def answers(
    compiles: str = "not asked", accurate: str = "not asked", fast: str = "not asked"
) -> Row:
    """The three parts of a verdict."""
    return {"compiles": compiles, "accurate": accurate, "fast": fast}


def model(path: str, **known: Any) -> Row:
    """The model as it was read."""
    blank: Row = {
        "path": path,
        "sha256": "",
        "bytes": 0,
        "format": "onnx",
        "ir_version": None,
        "producer": "",
        "opsets": {},
        "inputs": [],
        "outputs": [],
        "nodes": None,
        "op_types": {},
        "parameters": None,
        "external_files": [],
        "graph": None,
    }
    return filled("model", blank, known)


def graph(nodes: list[Row], left_out: int = 0) -> Row:
    """The model's nodes; ``left_out`` counts those that are not listed."""
    return {"nodes": nodes, "left_out": left_out}


def graph_node(node: str, op_type: str, reads: list[int], domain: str = "") -> Row:
    """One node; ``reads`` are the positions of the nodes whose results it reads."""
    return {"node": node, "op_type": op_type, "domain": domain, "reads": reads}


def data_source(source: str, **known: Any) -> Row:
    """One source of samples."""
    blank: Row = {
        "source": source,
        "kind": "",
        "count": 0,
        "requested": None,
        "labels": False,
        "classes": None,
        "groups": None,
        "sha256": "",
        "synthetic": False,
        "how": "",
        "notes": [],
    }
    return filled("data source", blank, known)


def calibration(**known: Any) -> Row:
    """The audited calibration set and the method used."""
    blank: Row = {
        "count": 0,
        "requested": None,
        "method": "",
        "scheme": "",
        "findings": [],
        "audit": None,
        "facts": {},
        "cost": None,
        "thumbnails": [],
        "histograms": [],
    }
    return filled("calibration", blank, known)


def calibration_finding(code: str, text: str, *, level: str = "warning", **known: Any) -> Row:
    """One finding of the calibration audit."""
    blank: Row = {
        "code": code,
        "level": level,
        "text": text,
        "samples": [],
        "tensors": [],
        "count": 0,
        "pairs": [],
        "rule": "",
        "advice": "",
        "score": None,
    }
    return filled("calibration finding", blank, known)


def candidate(name: str, *, scores: Mapping[str, float | None] | None = None, **known: Any) -> Row:
    """One way to quantize."""
    blank: Row = {
        "name": name,
        "source": "core",
        "scheme": "",
        "sha256": "",
        "scores": {"agreement": None, "cosine": None, "sqnr_db": None, "kl": None},
        "n": 0,
        "chosen": False,
        "reason": "",
        "fault": None,
    }
    row = filled("candidate", blank, known)
    row["scores"] = filled("scores", blank["scores"], scores or {})
    return row


def diagnosis(candidate: str, **known: Any) -> Row:
    """Why a Q/DQ model is far from its float model.

    :class:`seatrial.diagnosis.types.Diagnosis` encodes to the same keys, with ``order`` and
    ``gains`` as one list.
    """
    blank: Row = {
        "candidate": candidate,
        "sha256": "",
        "rule": "kl",
        "n": 0,
        "loss": None,
        "weights": None,
        "activations": None,
        "groups": [],
        "layers": [],
        "culprits": [],
        "order": [],
        "dominated": None,
        "evaluations": 0,
        "quantisers": 0,
        "seconds": None,
        "complete": True,
        "dead": [],
        "notes": [],
    }
    return filled("diagnosis", blank, known)


def recovery(candidate: str, **known: Any) -> Row:
    """What was tried to get within the limits, and what it costs on each target."""
    blank: Row = {
        "candidate": candidate,
        "in_danger": None,
        "rule": "",
        "met": None,
        "chosen": "",
        "reason": "",
        "points": [],
        "statements": [],
        "advice": [],
        "n": 0,
        "seconds": None,
        "complete": True,
        "notes": [],
    }
    return filled("recovery", blank, known)


def recovery_point(name: str, **known: Any) -> Row:
    """One way to divide the layers between INT8 and float; ``nodes`` are those in float."""
    blank: Row = {
        "name": name,
        "kind": "prefix",
        "nodes": [],
        "sha256": "",
        "loss": None,
        "agreement": None,
        "meets": None,
        "chosen": False,
        "targets": [],
        "reason": "",
    }
    return filled("recovery point", blank, known)


def recovery_price(target: str, **known: Any) -> Row:
    """What one point takes on one target; ratios above 1 are faster."""
    blank: Row = {
        "target": target,
        "precision": "INT8",
        "p50_ms": None,
        "ci95_ms": None,
        "of_fp32": None,
        "of_fp32_ci95": None,
        "of_int8": None,
        "of_int8_ci95": None,
        "front": False,
        "reason": "",
    }
    return filled("recovery price", blank, known)


def statement(target: str, text: str, *, pays: bool | None = None) -> Row:
    """Whether INT8 pays on a target; ``None``: could not be told."""
    return {"target": target, "text": text, "pays": pays}


def ladder(rung: str, **known: Any) -> Row:
    """One rung of the accuracy ladder."""
    blank: Row = {
        "rung": rung,
        "target": None,
        "source": None,
        "against": None,
        "ran_on": "",
        "artifact": "",
        "metric": "",
        "unit": "points",
        "higher_is_better": True,
        "value": None,
        "value_ci95": None,
        "also": {},
        "right": [],
        "classes": [],
        "drop": None,
        "limit": None,
        "ci95": None,
        "n": 0,
        "groups": None,
        "n_needed": None,
        "agreement": None,
        "gate": "not applicable",
        "reason": "",
    }
    return filled("ladder row", blank, known)


def target(name: str, **known: Any) -> Row:
    """Everything known of one target, ``name`` as in ``backend:target``."""
    backend, _, own = name.partition(":")
    blank: Row = {
        "target": name,
        "id": own,
        "plugin": {"id": backend, "dist": "", "version": ""},
        "title": "",
        "kind": "device",
        "machine_class": "",
        "decides": False,
        "verdict": None,
        "answers": None,
        "reasons": [],
        "availability": None,
        "claimed": None,
        "built": None,
        "ran": None,
        "layout": None,
        "int8": None,
        "first_break": None,
        "benchmark": [],
        "generality": [],
        "optimisation": None,
        "pace": None,
        "fault": None,
    }
    return filled("target", blank, known)


def availability(usable: bool, **known: Any) -> Row:
    """Whether a target can be used here."""
    blank: Row = {
        "usable": usable,
        "reason": "",
        "install_hint": "",
        "versions": {},
        "devices": [],
        "instruction_sets": [],
    }
    return filled("availability", blank, known)


def claimed(listed: int = 0, unsupported: int = 0, unknown: int = 0, **known: Any) -> Row:
    """What static tables say, as counts; ``claims`` are the nodes that are not listed."""
    blank: Row = {
        "counts": {"listed": listed, "unsupported": unsupported, "unknown": unknown},
        "claims": [],
        "sources": [],
        "notes": [],
    }
    return filled("claimed", blank, known)


def claim(node: str, op_type: str, said: str, **known: Any) -> Row:
    """What a table says of one node."""
    blank: Row = {
        "node": node,
        "op_type": op_type,
        "domain": "",
        "claim": said,
        "reason": "",
        "source": "",
        "confidence": "medium",
    }
    return filled("claim", blank, known)


def placements(target: int = 0, fallback: int = 0, nowhere: int = 0, unknown: int = 0) -> Row:
    """Nodes by where they went."""
    return {"target": target, "fallback": fallback, "nowhere": nowhere, "unknown": unknown}


def artifact(form: str, sha256: str, size: int) -> Row:
    """A built artefact; ``size`` in bytes."""
    return {"format": form, "sha256": sha256, "bytes": size}


def built_precision(verdict: str, **known: Any) -> Row:
    """What the compiler said in one precision."""
    blank: Row = {
        "verdict": verdict,
        "depth": None,
        "structure_only": False,
        "precision": "",
        "placements": placements(),
        "artifact": None,
        "seconds": None,
        "notes": [],
        "fault": None,
    }
    return filled("built precision", blank, known)


def built(verdict: str, **known: Any) -> Row:
    """What the real compiler said."""
    blank: Row = {"verdict": verdict, "depth": None, "fp32": None, "int8": None, "findings": []}
    return filled("built", blank, known)


def finding(precision: str, reason: str, **known: Any) -> Row:
    """One thing a compiler said of one node, or of the model when ``node`` is empty."""
    blank: Row = {
        "precision": precision,
        "node": "",
        "op_type": "",
        "domain": "",
        "reason": reason,
        "placement": "unknown",
        "on": "",
        "advice": "",
        "severity": "error",
    }
    return filled("finding", blank, known)


def ran(where: str, device: str, **known: Any) -> Row:
    """What really executed."""
    blank: Row = {
        "where": where,
        "device": device,
        "instruction_set": "",
        "fp32": None,
        "int8": None,
    }
    return filled("ran", blank, known)


def execution(**known: Any) -> Row:
    """What one kind of artefact really ran as."""
    blank: Row = {
        "precisions": {},
        "layouts": {},
        "placements": placements(),
        "fallback_share": None,
        "layers": [],
        "notes": [],
    }
    return filled("execution", blank, known)


def layout(native: str, chosen: str, reason: str, variants: list[Row]) -> Row:
    """Layout variants, proven equal and measured."""
    return {
        "native": native,
        "chosen": chosen,
        "runtime": "",
        "reason": reason,
        "variants": variants,
    }


def layout_variant(layout: str, method: str, **known: Any) -> Row:
    """One layout variant."""
    blank: Row = {
        "layout": layout,
        "dtype": "",
        "method": method,
        "transposes_added": 0,
        "transposes_removed": 0,
        "equivalent": None,
        "max_abs_error": None,
        "p50_ms": None,
        "ratio": None,
        "ci95": None,
        "penalty_percent": None,
        "penalty_ci95": None,
        "distinguishable": False,
        "host_ms": None,
        "runtime": "",
        "reorder_ms": None,
        "reason": "",
        "fault": None,
    }
    return filled("layout variant", blank, known)


def int8(source: str, **known: Any) -> Row:
    """The INT8 artefact that was judged; ``source`` is ``qdq:DIGEST`` or ``native``."""
    blank: Row = {
        "source": source,
        "method": "",
        "artifact": None,
        "int8_nodes": None,
        "float_nodes": [],
        "notes": [],
        "fault": None,
    }
    return filled("int8", blank, known)


def benchmark(precision: str, **known: Any) -> Row:
    """One artefact, timed."""
    blank: Row = {
        "model": "",
        "artifact": "",
        "precision": precision,
        "form": "static",
        "shape": [],
        "layout": "",
        "streams": 1,
        "threads": 0,
        "n": 0,
        "rounds": 0,
        "steady": None,
        "p50_ms": None,
        "p90_ms": None,
        "p99_ms": None,
        "ci95_ms": None,
        "quantiles_ms": [],
        "p90_ci95_ms": None,
        "p99_ci95_ms": None,
        "throughput": None,
        "throughput_ci95": None,
        "prepare_ms": None,
        "finish_ms": None,
        "copy_ms": None,
        "cpu_ms": None,
        "energy_mj": None,
        "first_run_ms": None,
        "load_ms": None,
        "build_s": None,
        "peak_rss_mb": None,
        "steady_rss_mb": None,
        "artifact_bytes": None,
        "timed_by": "core",
        "emulated": False,
        "speedup": None,
        "notes": [],
    }
    return filled("benchmark row", blank, known)


def speedup(against: str, ratio: float, **known: Any) -> Row:
    """A ratio of medians over the same rounds; above 1 is faster."""
    blank: Row = {
        "against": against,
        "ratio": ratio,
        "ci95": None,
        "distinguishable": False,
        "cause": "",
    }
    return filled("speedup", blank, known)


def fault(kind: str, stage: str, reason: str, *, signal: str = "", log: str = "") -> Row:
    """A fault; :class:`seatrial.results.Fault` encodes to the same keys."""
    return {"kind": kind, "stage": stage, "reason": reason, "signal": signal, "log": log}


def sla(**known: Any) -> Row:
    """What must hold; :class:`seatrial.sla.SLA` encodes to the same keys."""
    blank: Row = {
        "max_drop": None,
        "max_latency": None,
        "max_memory_mb": None,
        "min_metric": None,
        "device_drop": None,
        "class_drop": None,
        "accept_agreement": None,
        "fail_on": None,
        "defaults": [],
    }
    return filled("sla", blank, known)


def environment(**known: Any) -> Row:
    """Where it was measured."""
    blank: Row = {
        "seatrial": "",
        "python": "",
        "platform": "",
        "cpu": {"model": "", "flags": [], "cores": None, "governor": ""},
        "packages": {},
    }
    return filled("environment", blank, known)
