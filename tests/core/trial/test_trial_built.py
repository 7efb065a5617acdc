"""The claimed and built columns: what a plugin says is held against its own evidence."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial import results as r
from seatrial.jobs.outcome import Outcome
from seatrial.trial import built

PLACES = st.sampled_from(r.Placement)
SEVERITIES = st.sampled_from(("error", "warning", "info"))
NAMES = st.sampled_from(("stem", "head", "classes"))
findings = st.builds(
    r.Finding, reason=st.just("so"), node=NAMES, placement=PLACES, severity=SEVERITIES
)
placements = st.builds(
    r.NodePlacement, node=NAMES, op_type=st.just("Conv"), on=st.just("x"), placement=PLACES
)
reports = st.builds(
    r.CompileReport,
    verdict=st.sampled_from(r.Verdict),
    depth=st.sampled_from(r.Depth),
    findings=st.lists(findings, max_size=3).map(tuple),
    placements=st.lists(placements, max_size=3).map(tuple),
    notes=st.just(("first",)),
)
BEST_FIRST = ("supported", "partial", "unknown", "unsupported")


def outcome(report=None, fault=None):
    return Outcome(
        result=report,
        fault=fault,
        seconds=0.25,
        peak_rss_mb=1.0,
        log=None,
        job_id="j",
        out=Path(),
    )


def place(node, where):
    return r.NodePlacement(node=node, op_type="Conv", on="x", placement=where)


def report(verdict=r.Verdict.SUPPORTED, depth=r.Depth.ARTEFACT, **more):
    return r.CompileReport(verdict=verdict, depth=depth, **more)


@given(reports)
def test_supported_survives_only_with_an_artefact_and_nothing_elsewhere(said):
    got = built.honest(said)
    if got.verdict is r.Verdict.SUPPORTED:
        assert said.verdict is r.Verdict.SUPPORTED
        assert got.depth is r.Depth.ARTEFACT
        away = {r.Placement.FALLBACK, r.Placement.NOWHERE}
        assert not away & {p.placement for p in (*got.placements, *got.findings)}
        assert all(f.severity != "error" for f in got.findings)
    if got.verdict is r.Verdict.PARTIAL:
        assert got.depth is r.Depth.ARTEFACT


@given(reports)
def test_a_verdict_is_never_made_better_and_every_change_is_told(said):
    got = built.honest(said)
    assert BEST_FIRST.index(got.verdict.value) >= BEST_FIRST.index(said.verdict.value)
    assert dataclasses.replace(got, verdict=said.verdict, notes=said.notes) == said
    if got.verdict is said.verdict:
        assert got.notes == said.notes
    else:
        assert got.notes[:-1] == said.notes
        assert got.notes[-1].startswith(f"the backend said {said.verdict.value}")


@given(reports)
def test_holding_a_verdict_twice_changes_nothing(said):
    once = built.honest(said)
    assert built.honest(once) == once


@pytest.mark.parametrize(
    ("said", "holds"),
    [
        (report(), r.Verdict.SUPPORTED),
        (report(placements=(place("a", r.Placement.UNKNOWN),)), r.Verdict.SUPPORTED),
        (report(placements=(place("a", r.Placement.FALLBACK),)), r.Verdict.PARTIAL),
        (report(placements=(place("a", r.Placement.NOWHERE),)), r.Verdict.PARTIAL),
        (
            report(findings=(r.Finding(reason="so", placement=r.Placement.FALLBACK),)),
            r.Verdict.PARTIAL,
        ),
        (report(findings=(r.Finding(reason="refused", node="a"),)), r.Verdict.PARTIAL),
        (report(findings=(r.Finding(reason="so", severity="warning"),)), r.Verdict.SUPPORTED),
        (report(depth=r.Depth.PARSE), r.Verdict.UNKNOWN),
        (report(depth=r.Depth.MAP), r.Verdict.UNKNOWN),
        (report(r.Verdict.PARTIAL, r.Depth.PARSE), r.Verdict.UNKNOWN),
        (report(r.Verdict.UNSUPPORTED, r.Depth.PARSE), r.Verdict.UNSUPPORTED),
        (report(r.Verdict.UNKNOWN, r.Depth.PARSE), r.Verdict.UNKNOWN),
    ],
)
def test_what_bears_a_verdict(said, holds):
    assert built.honest(said).verdict is holds


# --- both precisions together ---------------------------------------------------------------------


def column(verdict, **more):
    return built.column(outcome(report(verdict)), precision="X", **more)


NOT_ASKED = built.column(None, precision="INT8", note="no Q/DQ form")
FAULT = r.Fault(kind=r.FaultKind.CRASHED, stage="seatrial_compile_check", reason="died")


@given(st.sampled_from(r.Verdict), st.sampled_from(r.Verdict))
def test_overall_is_the_worse_of_what_was_asked(fp32, int8):
    got = built.overall(column(fp32), column(int8))
    assert got == max((fp32.value, int8.value), key=BEST_FIRST.index)


@given(st.sampled_from(r.Verdict))
def test_int8_that_nobody_could_ask_for_changes_nothing(fp32):
    assert built.overall(column(fp32), None) == fp32.value
    assert built.overall(column(fp32), NOT_ASKED) == fp32.value


def test_an_int8_build_that_crashed_makes_the_whole_unknown():
    crashed = built.column(outcome(fault=FAULT), precision="INT8")
    assert crashed["verdict"] == "unknown" and crashed["fault"]["kind"] == "crashed"
    assert built.overall(column(r.Verdict.SUPPORTED), crashed) == "unknown"


def test_a_column_without_an_answer_says_so_and_has_no_time():
    assert NOT_ASKED["verdict"] == "unknown"
    assert (NOT_ASKED["depth"], NOT_ASKED["seconds"], NOT_ASKED["fault"]) == (None, None, None)
    assert NOT_ASKED["notes"] == ["no Q/DQ form"]


def test_a_column_counts_placements_and_keeps_notes_in_order():
    said = report(
        placements=(
            place("a", r.Placement.TARGET),
            place("b", r.Placement.TARGET),
            place("c", r.Placement.FALLBACK),
        ),
        notes=("theirs",),
    )
    row = built.column(outcome(said), precision="FP32", note="ours", artifact={"format": "x"})
    assert row["placements"] == {"target": 2, "fallback": 1, "nowhere": 0, "unknown": 0}
    assert row["notes"] == ["theirs", "ours"]
    assert (row["precision"], row["artifact"], row["seconds"]) == ("FP32", {"format": "x"}, 0.25)


def test_assemble_takes_the_depth_of_the_float_build_and_tags_findings():
    found = built.assemble(
        column(r.Verdict.SUPPORTED), NOT_ASKED, [("int8", r.Finding(reason="so", node="a"))]
    )
    assert (found["verdict"], found["depth"]) == ("supported", "artefact")
    (finding,) = found["findings"]
    assert (finding["precision"], finding["node"], finding["reason"]) == ("int8", "a", "so")


# --- tables against compilers ---------------------------------------------------------------------


def claims(**said):
    return r.StaticReport(
        claims=tuple(
            r.NodeClaim(node=n, op_type="Conv", claim=c, source="table 1") for n, c in said.items()
        )
    )


def test_the_claimed_column_counts_all_and_shows_what_is_not_listed():
    row = built.claimed(claims(a=r.Claim.LISTED, b=r.Claim.UNSUPPORTED, c=r.Claim.UNKNOWN))
    assert row["counts"] == {"listed": 1, "unsupported": 1, "unknown": 1}
    assert [c["node"] for c in row["claims"]] == ["b", "c"]
    assert row["sources"] == ["table 1"]
    assert built.claimed(None) is None


def test_a_node_that_a_table_refuses_and_the_compiler_takes_is_a_finding():
    static = claims(a=r.Claim.UNSUPPORTED, b=r.Claim.LISTED)
    (found,) = built.disagreements(static, report())
    assert (found.node, found.severity) == ("a", "warning")
    assert found.reason == ("claimed and built disagree: table 1 says unsupported, it was built")


@pytest.mark.parametrize("where", [r.Placement.FALLBACK, r.Placement.NOWHERE, r.Placement.UNKNOWN])
def test_a_node_that_did_not_reach_the_target_is_no_contradiction(where):
    said = report(r.Verdict.PARTIAL, placements=(place("a", where),))
    assert built.disagreements(claims(a=r.Claim.UNSUPPORTED), said) == ()


def test_a_listed_node_that_the_compiler_refuses_is_a_finding():
    said = report(
        r.Verdict.UNSUPPORTED,
        findings=(r.Finding(reason="no kernel", node="a"),),
        placements=(place("a", r.Placement.NOWHERE), place("b", r.Placement.UNKNOWN)),
    )
    (found,) = built.disagreements(claims(a=r.Claim.LISTED, b=r.Claim.LISTED), said)
    assert found.node == "a" and "table 1 lists it, it was refused" in found.reason


def test_without_both_sides_there_is_no_disagreement():
    refused = report(r.Verdict.UNSUPPORTED, findings=(r.Finding(reason="no", node="a"),))
    unknown = report(r.Verdict.UNKNOWN, findings=(r.Finding(reason="no", node="a"),))
    listed = claims(a=r.Claim.LISTED)
    assert built.disagreements(None, refused) == ()
    assert built.disagreements(listed, None) == ()
    assert built.disagreements(listed, unknown) == ()
    assert built.disagreements(claims(a=r.Claim.UNKNOWN), refused) == ()
