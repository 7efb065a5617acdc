"""What is said of very large models is bounded, and says by how much."""

from __future__ import annotations

from seatrial import results as r
from seatrial.trial import built

PART = built.column(None, precision="FP32")


def test_claims_are_counted_beyond_the_bound() -> None:
    claims = [
        r.NodeClaim(node=f"n{k}", op_type="Odd", claim=r.Claim.UNSUPPORTED, source="table 1")
        for k in range(built.MOST + 5)
    ]
    row = built.claimed(r.StaticReport(claims=tuple(claims), notes=("a note",)))
    assert row["counts"]["unsupported"] == built.MOST + 5
    assert [c["node"] for c in row["claims"]] == [f"n{k}" for k in range(built.MOST)]
    assert row["notes"] == ["a note", "5 more claims are not written out"]


def test_findings_keep_their_errors() -> None:
    findings = [
        ("fp32", r.Finding(reason=f"{k}", severity="warning" if k < 10 else "error"))
        for k in range(built.MOST + 5)
    ]
    rows = built.assemble(PART, None, findings)["findings"]
    assert len(rows) == built.MOST + 1
    assert rows[0]["reason"] == "10"
    assert {row["severity"] for row in rows[: built.MOST - 5]} == {"error"}
    assert rows[-1]["reason"] == "5 more findings are not written out"


def test_nothing_is_said_within_the_bound() -> None:
    findings = [("int8", r.Finding(reason="x"))] * built.MOST
    assert len(built.assemble(PART, None, findings)["findings"]) == built.MOST
