"""From what the stages learnt to the rows of the report. No decisions are made here."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatrial.benchmark.machine import machine
from seatrial.codec import encode
from seatrial.report import rows, target_rows

if TYPE_CHECKING:
    from seatrial.intake import Admitted, ModelFacts
    from seatrial.trial.context import Trial
    from seatrial.trial.targets import TargetState

#: Nodes of a graph that a report keeps.
MOST_NODES = 5000
#: Logs of which a report keeps the end, and bytes of each.
MOST_LOGS, LOG_TAIL = 8, 3500


def model_row(admitted: Admitted) -> rows.Row:
    """The model as it was read."""
    facts = admitted.facts
    return rows.model(
        facts.path,
        sha256=facts.sha256,
        bytes=facts.bytes,
        ir_version=facts.ir_version,
        producer=facts.producer,
        opsets=dict(facts.opsets),
        inputs=[tensor_row(t) for t in facts.inputs],
        outputs=[tensor_row(t) for t in facts.outputs],
        nodes=len(facts.nodes),
        op_types=dict(facts.op_types),
        parameters=facts.parameters,
        external_files=list(facts.external_files),
        graph=graph_row(facts),
    )


def graph_row(facts: ModelFacts) -> rows.Row:
    """Nodes of the model's own graph and who reads whom; a very large graph is only counted."""
    own = [node for node in facts.nodes if not node.scope and not node.function]
    if len(own) > MOST_NODES:
        return rows.graph([], left_out=len(facts.nodes))
    made = {name: i for i, node in enumerate(own) for name in node.outputs if name}
    nodes = [
        rows.graph_node(
            node.label,
            node.op_type,
            sorted({made[name] for name in node.inputs if name in made} - {i}),
            node.domain,
        )
        for i, node in enumerate(own)
    ]
    return rows.graph(nodes, left_out=len(facts.nodes) - len(own))


def log_rows(faults: Iterable[rows.Row], root: Path) -> list[rows.Row]:
    """The ends of the logs that faults name, as far as they are still there.

    Args:
        faults: rows whose ``log`` is a path relative to ``root``.
        root: the output folder.
    """
    found = []
    for name in list(dict.fromkeys(row["log"] for row in faults if row["log"]))[:MOST_LOGS]:
        try:
            content = (root / name).read_bytes()
        except OSError:
            continue
        tail = content[-LOG_TAIL:].decode("utf-8", "replace")
        found.append({"path": name, "tail": tail.lstrip("\ufffd"), "bytes": len(content)})
    return found


def tensor_row(tensor: Any) -> rows.Row:
    """One input or output of the model."""
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)}


def target_row(state: TargetState) -> rows.Row:
    """Everything known of one target; the verdict is added by the judge."""
    target = state.target
    return target_rows.target(
        state.id,
        id=target.id if target else "",
        plugin={
            "id": state.plugin.id,
            "dist": state.plugin.dist,
            "version": state.plugin.version,
        },
        title=target.title if target else (state.description.title if state.description else ""),
        kind=target.kind.value if target else "device",
        machine_class=_machine_class(state),
        decides=state.decides,
        availability=_availability(state),
        claimed=state.facts.get("claimed"),
        built=state.facts.get("built"),
        ran=state.facts.get("ran"),
        layout=state.facts.get("layout"),
        int8=state.facts.get("int8"),
        first_break=encode(broken) if (broken := state.facts.get("first_break")) else None,
        benchmark=list(state.facts.get("benchmark", ())),
        generality=list(state.facts.get("generality", ())),
        optimisation=state.facts.get("optimisation"),
        pace=state.facts.get("pace"),
        fault=encode(state.fault) if state.fault else None,
    )


def _machine_class(state: TargetState) -> str:
    """The class of machine that a verdict of this target holds for.

    A variant names the one it emulates; a target that computes with this machine's own
    instruction sets holds for machines of this class; a device of its own has none.
    """
    if state.target is None:
        return ""
    if state.target.machine_class:
        return state.target.machine_class
    found = state.availability
    return machine().machine_class if found is not None and found.instruction_sets else ""


def _availability(state: TargetState) -> rows.Row | None:
    if state.availability is None:
        return None
    row = dict(encode(state.availability))
    if not row["install_hint"] and not row["usable"]:
        hints = [state.target.install_hint if state.target else ""]
        hints.append(state.description.install_hint if state.description else "")
        row["install_hint"] = next((h for h in hints if h), "")
    return row


def fault_rows(states: list[TargetState]) -> list[rows.Row]:
    """Every fault of every target, the ones inside its columns included, without repeats."""
    found: list[rows.Row] = []
    for state in states:
        faults = [state.fault, *state.facts.get("faults", ())]
        for fault in faults:
            if fault is None:
                continue
            row = {"target": state.id, **encode(fault)}
            if row not in found:
                found.append(row)
    return found


def option_reasons(trial: Trial) -> list[rows.Row]:
    """Options of the configuration that their backend says it does not know."""
    found = []
    for state in trial.targets:
        known = state.description.options if state.description is not None else None
        for name in trial.options(state) if known is not None else ():
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in known or ()):
                continue
            near = difflib.get_close_matches(name, known or (), 1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known or ())}"
            text = f"the option {name} is not known to this backend and does nothing"
            text += f" ({hint})" if known else ": it has none"
            found.append(rows.reason("target.option", text, target=state.id, level="warning"))
    return found


def note_reasons(admitted: Admitted) -> list[rows.Row]:
    """What intake found odd about the model, as reasons that decide nothing by themselves."""
    return [
        rows.reason(
            f"model.{note.code}",
            f"{note.place}: {note.text}" if note.place else note.text,
            level=note.level,
        )
        for note in admitted.notes
    ]
