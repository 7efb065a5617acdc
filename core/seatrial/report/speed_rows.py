"""Rows of the report on speed, with every key present: timings, and what they rest on."""

from __future__ import annotations

from typing import Any

from .rows import Row, filled


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


def conditions(**known: Any) -> Row:
    """What the benchmark ran under, and what disturbed it."""
    blank: Row = {
        "cpus": "",
        "cores": 0,
        "pinned": False,
        "threads": 0,
        "governor": "",
        "smt": None,
        "turbo": None,
        "load_before": None,
        "load_after": None,
        "stolen_percent": None,
        "throttled": None,
        "energy": "",
        "energy_reason": "",
        "disturbances": [],
    }
    return filled("conditions", blank, known)


def ranking(**known: Any) -> Row:
    """Who is faster among artefacts timed alike, or why nobody says."""
    blank: Row = {"model": "", "shape": [], "streams": 1, "places": [], "told": False, "text": ""}
    return filled("ranking", blank, known)


def generality(precision: str, **known: Any) -> Row:
    """What free shapes cost against static ones; ``ratio`` above 1: the free form is slower."""
    blank: Row = {
        "precision": precision,
        "static_ms": None,
        "dynamic_ms": None,
        "ratio": None,
        "ci95": None,
        "distinguishable": False,
        "text": "",
    }
    return filled("generality", blank, known)


def optimisation(**known: Any) -> Row:
    """What a runtime made of the graph, and whether that changed what it computes."""
    blank: Row = {
        "nodes": 0,
        "layers": 0,
        "told": False,
        "fused": [],
        "folded": [],
        "inserted": [],
        "layouts": {},
        "off": "",
        "n": 0,
        "max_abs_error": None,
        "max_rel_error": None,
        "tolerance": None,
        "equal": None,
        "reason": "",
    }
    return filled("optimisation", blank, known)


def pace(**known: Any) -> Row:
    """Why INT8 is as fast as it is: causes with their evidence, and what was tried against them."""
    blank: Row = {
        "faster": None,
        "ratio": None,
        "ci95": None,
        "causes": [],
        "tried": [],
        "recommend": "",
        "text": "",
    }
    return filled("pace", blank, known)


def pace_cause(code: str, text: str, **known: Any) -> Row:
    """One cause; ``share`` is of the INT8 layers' time unless the text says otherwise."""
    blank: Row = {"code": code, "text": text, "share": None, "layers": []}
    return filled("pace cause", blank, known)


def pace_try(name: str, **known: Any) -> Row:
    """One counter-measure, built and timed beside FP32 and INT8; ratios above 1 are faster."""
    blank: Row = {
        "name": name,
        "against": "",
        "nodes": [],
        "p50_ms": None,
        "ci95_ms": None,
        "of_fp32": None,
        "of_fp32_ci95": None,
        "of_int8": None,
        "of_int8_ci95": None,
        "agreement": None,
        "outcome": "not tried",
        "reason": "",
    }
    return filled("pace try", blank, known)
