"""From what compilers and tables said to the ``claimed`` and ``built`` columns of the report.

The three columns (claimed, built, ran) are never merged; a disagreement between two of them is a
finding. Pure functions over records, no children.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from seatrial import results as r
from seatrial.codec import encode
from seatrial.report import target_rows

if TYPE_CHECKING:
    from seatrial.isolation import Outcome

#: From best to worst, for combining verdicts.
_ORDER = (r.Verdict.SUPPORTED, r.Verdict.PARTIAL, r.Verdict.UNKNOWN, r.Verdict.UNSUPPORTED)

#: Rows of one list of a target; the rest is counted. A large model of unknown operators would
#: otherwise make a report of a hundred megabytes, and the process that judges take five times that.
MOST = 2000


def claimed(static: r.StaticReport | None) -> dict[str, Any] | None:
    """The static column: counts, and every node that is not plainly listed."""
    if static is None:
        return None
    counts = Counter(c.claim.value for c in static.claims)
    open_ = [c for c in static.claims if c.claim is not r.Claim.LISTED]
    more = [f"{len(open_) - MOST} more claims are not written out"] if len(open_) > MOST else []
    return target_rows.claimed(
        **{claim.value: counts.get(claim.value, 0) for claim in r.Claim},
        claims=[encode(c) for c in open_[:MOST]],
        sources=sorted({c.source for c in static.claims}),
        notes=[*static.notes, *more],
    )


def honest(report: r.CompileReport) -> r.CompileReport:
    """Hold a plugin's verdict against its own placements and depth.

    ``supported`` means that the artefact that would ship was built and that every node is on the
    target: a node placed elsewhere or found in error makes it ``partial``, a build that was never
    made (parsed or mapped only) ``unknown``.
    """
    verdict = report.verdict
    places = [p.placement for p in report.placements] + [f.placement for f in report.findings]
    elsewhere = {r.Placement.FALLBACK, r.Placement.NOWHERE} & set(places)
    errors = any(f.severity == "error" for f in report.findings)
    if verdict is r.Verdict.SUPPORTED and (elsewhere or errors):
        verdict = r.Verdict.PARTIAL
    if verdict in (r.Verdict.SUPPORTED, r.Verdict.PARTIAL) and report.depth is not r.Depth.ARTEFACT:
        verdict = r.Verdict.UNKNOWN
    if verdict is report.verdict:
        return report
    note = f"the backend said {report.verdict.value}; its own findings or depth do not bear it"
    return r.CompileReport(
        verdict=verdict,
        depth=report.depth,
        findings=report.findings,
        placements=report.placements,
        artifact=report.artifact,
        notes=(*report.notes, note),
    )


def placement_counts(placements: Iterable[r.NodePlacement]) -> dict[str, int]:
    """How many nodes went to the target, elsewhere, nowhere, or were not told."""
    counts = Counter(p.placement.value for p in placements)
    return {place.value: counts.get(place.value, 0) for place in r.Placement}


def column(
    outcome: Outcome[r.CompileReport] | None,
    *,
    precision: str,
    structure_only: bool = False,
    artifact: Mapping[str, Any] | None = None,
    note: str = "",
) -> dict[str, Any]:
    """One precision of the built column.

    Args:
        outcome: of the compile-check; ``None`` when nobody could ask the compiler.
        precision: as stated, ``FP32`` or ``INT8``.
        structure_only: the model carried ranges that nobody measured.
        artifact: format, digest and bytes of what was built.
        note: why it was not asked, or anything else worth a line.
    """
    report = outcome.result if outcome is not None else None
    fault = outcome.fault if outcome is not None else None
    notes = [*(report.notes if report else ()), *([note] if note else [])]
    return target_rows.built_precision(
        (report.verdict if report else r.Verdict.UNKNOWN).value,
        depth=report.depth.value if report else None,
        structure_only=structure_only,
        precision=precision,
        placements=placement_counts(report.placements if report else ()),
        artifact=dict(artifact) if artifact else None,
        seconds=round(outcome.seconds, 3) if outcome is not None else None,
        notes=notes,
        fault=None if fault is None else encode(fault),
    )


def overall(fp32: dict[str, Any], int8: dict[str, Any] | None) -> str:
    """The verdict over both precisions: the worse one, where INT8 was put to the compiler.

    INT8 that nobody could ask for (no node to quantise, no Q/DQ form of this model) does not make
    a model that compiles in float unknown; its own column says why it is empty.
    """
    asked = [fp32["verdict"]]
    # Seconds were spent on it exactly if the compiler was asked, whatever it said.
    if int8 is not None and int8["seconds"] is not None:
        asked.append(int8["verdict"])
    return max((r.Verdict(v) for v in asked), key=_ORDER.index).value


def disagreements(
    static: r.StaticReport | None, report: r.CompileReport | None
) -> tuple[r.Finding, ...]:
    """Where the table and the compiler contradict one another: each is a finding.

    A table that says unsupported of a node that the compiler took, or lists every node of a model
    that the compiler refused.
    """
    if static is None or report is None:
        return ()
    away = (r.Placement.FALLBACK, r.Placement.NOWHERE)
    refused = {f.node for f in report.findings if f.severity == "error" and f.node} | {
        p.node for p in report.placements if p.placement in away
    }
    untold = {p.node for p in report.placements if p.placement is r.Placement.UNKNOWN}
    found = []
    if report.verdict in (r.Verdict.SUPPORTED, r.Verdict.PARTIAL):
        for claim in static.claims:
            if claim.claim is r.Claim.UNSUPPORTED and claim.node not in refused | untold:
                found.append(_disagreement(claim, f"{claim.source} says unsupported, it was built"))
    if report.verdict is r.Verdict.UNSUPPORTED:
        for claim in static.claims:
            if claim.claim is r.Claim.LISTED and claim.node in refused:
                found.append(_disagreement(claim, f"{claim.source} lists it, it was refused"))
    return tuple(found)


def _disagreement(claim: r.NodeClaim, reason: str) -> r.Finding:
    return r.Finding(
        node=claim.node,
        op_type=claim.op_type,
        domain=claim.domain,
        reason=f"claimed and built disagree: {reason}",
        severity="warning",
    )


def assemble(
    fp32: dict[str, Any],
    int8: dict[str, Any] | None,
    findings: Iterable[tuple[str, r.Finding]],
) -> dict[str, Any]:
    """The built column of one target.

    Args:
        fp32: from :func:`column`.
        int8: likewise; ``None`` when INT8 was not asked for.
        findings: with the precision (``fp32`` or ``int8``) that each belongs to.
    """
    return target_rows.built(
        overall(fp32, int8),
        depth=fp32["depth"],
        fp32=fp32,
        int8=int8,
        findings=[{"precision": p, **encode(f)} for p, f in _bounded(list(findings))],
    )


def _bounded(findings: list[tuple[str, r.Finding]]) -> list[tuple[str, r.Finding]]:
    """Not more than :data:`MOST` findings, errors first if some must go, and the count of those."""
    if len(findings) <= MOST:
        return findings
    kept = sorted(findings, key=lambda f: f[1].severity != "error")[:MOST]
    reason = f"{len(findings) - MOST} more findings are not written out"
    return [*kept, (kept[-1][0], r.Finding(reason=reason, severity="info"))]
