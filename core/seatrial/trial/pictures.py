"""The pictures of the report: which samples and tensors to show, and the child that makes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from seatrial import results as r
from seatrial.audit.pictures import Pictures, PicturesRequest
from seatrial.audit.rules import TEST_COPIES
from seatrial.codec import encode
from seatrial.data.contract import InputContract
from seatrial.recovery import plan
from seatrial.report import rows

if TYPE_CHECKING:
    from seatrial.trial.context import Trial
    from seatrial.trial.evidence import Evidence
    from seatrial.trial.quantise import Portable

#: Samples and tensors that a report shows at most.
SAMPLES, TENSORS = 60, 24
#: Samples shown of one finding, and of one cluster.
PER_FINDING, PER_CLUSTER = 6, 3


def illustrate(trial: Trial, found: Evidence) -> None:
    """Make thumbnails and histograms for what the audit and the diagnosis name.

    Pictures decide nothing: what cannot be made is left out, and the reason is told.
    """
    shown = _shown(trial, found)
    if found.calibration is None or shown is None:
        return
    stores = {
        role: loaded.ref
        for role, loaded in (
            ("calibration", found.calibration), ("test", found.test), ("train", found.train)
        )
        if loaded is not None
    }  # fmt: skip
    wanted = _samples(found, set(stores))
    portable = next((p for p in found.portables.values() if p.chosen and p.chosen.table), None)
    table, method = _table(portable)
    request = PicturesRequest(
        stores=stores,
        samples=wanted,
        input=shown,
        contract=found.calibration.info.contracts.get(shown.name),
        table=table,
        method=method,
        symmetric=portable is not None and portable.dialect.symmetric,
        tensors=tuple(_tensors(found)) if table is not None else (),
    )
    refs = [*stores.values(), *([table] if table is not None else [])]
    outcome = trial.runner.task(
        "seatrial.audit.pictures:pictures", request, refs=refs, limits=trial.limits()
    )
    if outcome.result is not None:
        found.pictures = outcome.result
    elif outcome.fault is not None:
        found.unpictured = outcome.fault.reason


def _shown(trial: Trial, found: Evidence) -> r.TensorIO | None:
    """The input that is drawn: the first picture, else the first with two axes or more."""
    contracts: dict[str, InputContract] = (
        dict(found.calibration.info.contracts) if found.calibration is not None else {}
    )
    names = [name for name, c in contracts.items() if c.mode == "image"]
    if trial.admitted is None:
        return r.TensorIO(name=names[0], dtype="", shape=()) if names else None
    inputs = trial.admitted.facts.inputs
    drawn = [i for i in inputs if i.name in names] or [i for i in inputs if len(i.shape) >= 2]
    return drawn[0] if drawn else None


def _samples(found: Evidence, roles: set[str]) -> dict[str, tuple[str, ...]]:
    """Ids by role, the worst findings first; an id may stand in more than one set."""
    chosen: dict[tuple[str, str], None] = {}
    if found.audit is not None:
        for finding in found.audit.findings:
            for one, other, kind, _ in finding.pairs[:PER_FINDING]:
                chosen[("test" if finding.code == TEST_COPIES else "calibration", one)] = None
                chosen[(kind if kind in roles else "calibration", other)] = None
            for name in finding.samples[:PER_FINDING]:
                chosen.update(dict.fromkeys((role, name) for role in sorted(roles)))
        for cluster in found.audit.coverage.clusters if found.audit.coverage else ():
            chosen.update(dict.fromkeys(("test", n) for n in cluster.samples[:PER_CLUSTER]))
        for row in found.audit.ranges[:8]:
            chosen[("test", row.sample)] = None
    by_role: dict[str, list[str]] = {role: [] for role in sorted(roles)}
    for role, name in list(chosen)[: 2 * SAMPLES]:
        if role in by_role and name:
            by_role[role].append(name)
    return {role: tuple(names) for role, names in by_role.items() if names}


def _table(portable: Portable | None) -> tuple[r.Ref | None, str]:
    """The calibration table of what goes forward, and the method that chose its ranges."""
    if portable is None or portable.chosen is None or portable.winner is None:
        return None, ""
    method = portable.winner.method
    return portable.chosen.table, "mse" if method == plan.WEIGHTED else method


def _tensors(found: Evidence) -> Iterator[str]:
    """Tensors whose ranges somebody will want to see, without repeats."""
    named: Iterable[Any] = (
        name
        for group in (
            (c["tensor"] for d in found.diagnoses for c in d["culprits"]),
            (r.tensor for r in (found.audit.ranges if found.audit else ()) if r.beyond > r.usual),
            (t for f in (found.audit.findings if found.audit else ()) for t in f.tensors),
            (x["tensor"] for d in found.diagnoses for x in _noisiest(d["layers"])),
            (r.tensor for r in (found.audit.ranges if found.audit else ())),
        )
        for name in group
    )
    for i, name in enumerate(dict.fromkeys(n for n in named if n)):
        if i >= TENSORS:
            return
        yield name


def _noisiest(layers: list[rows.Row]) -> list[rows.Row]:
    known = [x for x in layers if x["sqnr_db"] is not None]
    return sorted(known, key=lambda x: x["sqnr_db"])[:12]


def thumbnail_rows(made: Pictures | None) -> list[rows.Row]:
    """Thumbnails as the report has them."""
    return [dict(encode(t)) for t in (made.thumbnails if made else ())[:SAMPLES]]


def histogram_rows(made: Pictures | None, method: str) -> list[rows.Row]:
    """Histograms as the report has them; ``weighted``: by what the next layers make of a value."""
    weighted = plan.WEIGHTED in method
    return [
        {**encode(h), "counts": list(h.counts), "weighted": weighted}
        for h in (made.histograms if made else ())
    ]
