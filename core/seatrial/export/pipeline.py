"""One export from module to chosen model, in children; the parent imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from seatrial import results as r
from seatrial.errors import UserError
from seatrial.export import axes, locate
from seatrial.export import records as er
from seatrial.export.choice import choose
from seatrial.export.module_records import (
    Described,
    DescribeRequest,
    ModuleSpec,
    StudyRequest,
    StudyResult,
    SyntheticRequest,
)
from seatrial.export.parity_records import (
    FAIL,
    NOT_PROVEN,
    PASS,
    ParityRequest,
    ParityResult,
    Replay,
    ReplayRequest,
)
from seatrial.export.problems import ERROR, NO_ROWS, WARNING, Problem
from seatrial.export.stage import Made, Stage, Wish, export_request, fault_of, kept
from seatrial.samples import Samples

REFERENCE = "seatrial.reference:load"
#: Samples that the gate compares at most, and those that ``describe`` of a set needs at least.
MOST_SAMPLES, FEWEST_SAMPLES = 100, 10


def describe(stage: Stage, spec: ModuleSpec) -> Described | r.Fault:
    """Build the module in the user's child and say what it takes."""
    outcome = stage.runner.task(
        "seatrial.export.child:describe",
        DescribeRequest(spec=spec),
        refs=spec.refs,
        limits=stage.limits(timeout_s=600),
        user=True,
    )
    found: Described | None = outcome.result
    if found is None:
        return fault_of(outcome.fault)
    return dataclasses.replace(found, seconds=outcome.seconds)


def noise(stage: Stage, inputs: Sequence[r.TensorIO], seed: int) -> tuple[r.Ref, int]:
    """Samples of noise.

    Raises:
        UserError: an input's shape is not known.
    """
    for tensor in inputs:
        if not tensor.shape:
            raise UserError(
                f"--shape {tensor.name}",
                "neither samples nor a shape were given for this input",
                advice=f"--data SRC, or --shape {tensor.name}=1x3x224x224",
            )
    request = SyntheticRequest(inputs=tuple(inputs), seed=seed)
    outcome = stage.runner.task("seatrial.export.noise_child:synthetic", request)
    if outcome.result is None:
        raise UserError("samples", fault_of(outcome.fault).reason)
    ref = stage.runner.adopt(outcome, outcome.result.artifact)
    return dataclasses.replace(ref, entry="samples"), outcome.result.count


def make(stage: Stage, wish: Wish, samples: r.Ref) -> Made:
    """Study, export by every route, compare, choose."""
    store = Samples(stage.workspace.path(samples))
    made = Made(wish=wish, samples=samples, count=min(store.count, MOST_SAMPLES))
    made.study = _study(stage, made, store)
    if made.study is None:
        made.gate = NOT_PROVEN
        return made
    for route in wish.routes:
        if wish.hurried and any(_good(a) for a in made.attempts):
            reason = "not tried: the run is quick, and the other route passes"
            made.attempts.append(er.Attempt(route=route, ok=False, reason=reason))
            continue
        stage.progress("export", route)
        made.attempts.append(_attempt(stage, made, route, store))
    made.attempts = choose(made.attempts, wish.choice)
    made.gate, made.reasons = _gate(made)
    if made.gate == FAIL:
        made.divergence = locate.divergence(stage, made)
        locate.left_out(made)
    return made


def _good(attempt: er.Attempt) -> bool:
    broken = any(p.level == ERROR for p in attempt.problems)
    return attempt.ok and attempt.gate == PASS and not broken


def _study(stage: Stage, made: Made, store: Samples) -> StudyResult | None:
    """Watch and run the module itself."""
    wish = made.wish
    shapes = input_shapes(store)
    request = StudyRequest(
        spec=wish.spec,
        samples=made.samples,
        indices=tuple(range(made.count)),
        variants=axes.plan(shapes, wish.dynamic, batch_axis=store.index.get("batch_axis", True)),
        seed=wish.seed,
    )
    outcome = stage.runner.task(
        "seatrial.export.child:study",
        request,
        refs=(made.samples, *wish.spec.refs),
        limits=stage.limits(timeout_s=1800),
        user=True,
    )
    if outcome.result is None:
        made.faults.append(fault_of(outcome.fault))
        return None
    study: StudyResult = _strict(outcome.result, wish)
    made.study_ref = stage.runner.adopt(outcome, study.artifact)
    return study


def _strict(study: StudyResult, wish: Wish) -> StudyResult:
    """Samples that share an answer are an error where the user wants a free batch."""
    if not any(0 in axes for axes in wish.dynamic.values()):
        return study
    problems = tuple(
        dataclasses.replace(p, level=ERROR) if p.code == NO_ROWS else p for p in study.problems
    )
    return dataclasses.replace(study, problems=problems)


def input_shapes(store: Samples) -> dict[str, tuple[int, ...]]:
    """Shapes of the inputs as fed for one sample."""
    first = store.feeds([0])
    return {n: tuple(int(d) for d in first[n].shape) for n in store.names}


def _attempt(stage: Stage, made: Made, route: str, store: Samples) -> er.Attempt:
    """One route: export, read back, compare, replay at other sizes."""
    asked = made.wish.choice.wanted
    outcome = stage.runner.task(
        "seatrial.export.routes_child:export",
        export_request(made, route),
        refs=(made.samples, *made.wish.spec.refs),
        limits=stage.limits(timeout_s=1800),
        user=True,
    )
    exported: er.Exported | None = outcome.result
    if exported is None:
        fault = fault_of(outcome.fault)
        made.faults.append(fault)
        return er.Attempt(
            route=route,
            ok=False,
            asked_opset=asked,
            reason=f"{fault.kind.value}: {fault.reason}",
            seconds=outcome.seconds,
        )
    attempt = er.Attempt(
        route=route,
        ok=exported.artifact is not None,
        asked_opset=asked,
        seconds=exported.seconds,
        problems=exported.problems,
    )
    if exported.artifact is None:
        reason = exported.problems[0].text if exported.problems else "gave no model"
        return dataclasses.replace(attempt, reason=reason)
    model = stage.runner.adopt(outcome, exported.artifact)
    attempt = dataclasses.replace(attempt, model=model, sha256=model.sha256)
    return _examined(stage, made, attempt, exported, store)


def _examined(
    stage: Stage, made: Made, attempt: er.Attempt, exported: er.Exported, store: Samples
) -> er.Attempt:
    if attempt.model is None or made.study is None or made.study_ref is None:
        return attempt
    shapes = input_shapes(store)
    plan = axes.plan(shapes, made.wish.dynamic, batch_axis=store.index.get("batch_axis", True))
    graph = kept(stage, made, "graph_child:inspect", er.GraphRequest(model=attempt.model))
    known = tuple(t.name for t in graph.inputs) if graph is not None else store.names
    dropped = _dropped(store.names, known)
    if not known:
        return dataclasses.replace(
            attempt, graph=graph, gate=FAIL, problems=(*attempt.problems, *dropped)
        )
    parity, fault = _parity(stage, made, attempt.model, known)
    replays: tuple[Replay, ...] = ()
    if made.wish.dynamic and parity is not None:
        request = ReplayRequest(
            model=attempt.model,
            study=made.study_ref,
            variants=plan,
            runs=axes.covered(plan, made.study.variants),
            outputs=made.study.outputs,
        )
        given = kept(stage, made, "parity_child:replay", request)
        replays = given.replays if given is not None else ()
    facts = axes.judge(shapes, plan, made.study.variants, replays, made.wish.dynamic)
    shaped = axes.problems(facts, exported.guards)
    added = (dataclasses.replace(p, route=attempt.route) for p in (*dropped, *shaped))
    problems = (*attempt.problems, *added)
    reason = fault.reason if fault is not None else (parity.reason if parity else "")
    return dataclasses.replace(
        attempt,
        graph=graph,
        opset=graph.opset if graph is not None else 0,
        parity=parity,
        gate=parity.gate if parity is not None else NOT_PROVEN,
        axes=facts,
        problems=problems,
        reason=reason,
    )


def _dropped(fed: Sequence[str], known: Sequence[str]) -> tuple[Problem, ...]:
    """Inputs that the exported model does without: nothing it computes depends on them."""
    level = WARNING if known else ERROR
    return tuple(
        Problem(
            code="unused-input" if known else "constant-output",
            level=level,
            text=f"the exported model does not depend on input {name}",
            advice="" if known else "its outputs are constants: see what the export froze",
        )
        for name in fed
        if name not in known
    )


def _parity(
    stage: Stage, made: Made, model: r.Ref, inputs: Sequence[str]
) -> tuple[ParityResult | None, r.Fault | None]:
    """Run the exported model on the reference and compare."""
    given = reference_outputs(stage, model, made.samples, tuple(range(made.count)), inputs)
    if isinstance(given, r.Fault):
        made.faults.append(given)
        return None, given
    if made.study is None or made.study_ref is None:
        return None, None
    exact = dataclasses.replace(made.study_ref, entry="exact") if made.study.yardstick else None
    request = ParityRequest(
        torch=dataclasses.replace(made.study_ref, entry="fp32"),
        onnx=given,
        exact=exact,
        yardstick=made.study.yardstick,
    )
    result: ParityResult | None = kept(stage, made, "parity_child:compare", request)
    return result, None


def reference_outputs(
    stage: Stage,
    model: r.Ref,
    samples: r.Ref,
    indices: tuple[int, ...],
    inputs: Sequence[str] = (),
) -> r.Ref | r.Fault:
    """Outputs of an ONNX model on the reference, as a store.

    Args:
        stage: the command at work.
        model: the model.
        samples: what it is fed from.
        indices: which samples.
        inputs: the inputs that it has; empty: all that the samples have.
    """
    request = r.LoadRequest(
        artifact=model,
        format="onnx",
        target="reference",
        inputs=tuple(r.TensorIO(name=n) for n in inputs),
    )
    opened = stage.runner.open(
        REFERENCE, None, request, refs=[model, samples], limits=stage.limits(timeout_s=900)
    )
    if opened.result is None:
        return fault_of(opened.fault)
    handle = opened.result
    try:
        outcome = handle.run(samples, indices, keep=True, limits=stage.limits(timeout_s=900))
        if outcome.result is None or outcome.result.outputs is None:
            return fault_of(outcome.fault)
        adopted: r.Ref = stage.runner.adopt(outcome, outcome.result.outputs)
        return adopted
    finally:
        handle.close()


def _gate(made: Made) -> tuple[str, list[str]]:
    """The gate of the whole export, with its reasons, worst first."""
    errors = [p.text for p in made.study.problems if p.level == ERROR] if made.study else []
    chosen = made.chosen
    if chosen is None:
        whys = [f"{a.route}: {a.reason}" for a in made.attempts if a.reason]
        faulted = any(f for f in made.faults) and not errors
        return (NOT_PROVEN if faulted else FAIL), errors + whys
    errors += [p.text for p in chosen.problems if p.level == ERROR]
    gate = FAIL if errors else chosen.gate
    reasons = errors
    if chosen.parity is not None and chosen.gate != PASS:
        reasons = reasons + [
            f"output {o.output}: {o.reason}" for o in chosen.parity.outputs if o.gate != PASS
        ]
        reasons += [chosen.parity.reason] if chosen.parity.reason else []
    if gate == PASS and made.wish.synthetic:
        return NOT_PROVEN, ["the samples are noise: give real ones with --data"]
    if gate == PASS and made.count < FEWEST_SAMPLES:
        return NOT_PROVEN, [f"{made.count} samples, at least {FEWEST_SAMPLES} are needed"]
    return gate, reasons
