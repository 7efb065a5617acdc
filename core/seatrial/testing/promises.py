"""What each hook promises beyond the compile-check, tested where the hook is offered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from seatrial import results as r
from seatrial.isolation import Outcome, SessionHandle
from seatrial.samples import Samples, StoreWriter

from . import cases
from .bed import Bed
from .cases import Case
from .gaps import FAULT, Gaps, find
from .judge import difference

#: Attribute of a test method: the name under which gaps and the coverage table know it.
_NAME = "seatrial_item"
_CALIBRATION = 32
#: Least cosine between an INT8 and the float output of the small CNN.
_COSINE = 0.95


def item(name: str, *hooks: str, usable: bool | None = None) -> Callable[[Any], Any]:
    """Make a method a test with a name, gated by hooks, and by gaps as strict as those of cases.

    Args:
        name: ``contract/what`` or ``hooks/what``.
        hooks: skipped unless all of them are offered.
        usable: skipped unless the target can be used here; ``None``: when hooks are named.
    """
    needed = bool(hooks) if usable is None else usable

    def wrap(test: Callable[[Any, Bed], None]) -> Any:
        def run(self: Any, bed: Bed, note: Callable[..., None]) -> None:
            note(name=name)
            absent = [h for h in hooks if h not in bed.hooks]
            if absent:
                note(how="not offered")
                pytest.skip(f"{absent[0]} is not offered")
            if needed and bed.why_not():
                note(how="unusable", text=bed.why_not())
                pytest.skip(bed.why_not())
            pattern, gap = find(self.gaps, name)
            if gap is None:
                return test(self, bed)
            note(word=gap.word, reason=gap.reason)
            try:
                test(self, bed)
            except (AssertionError, pytest.fail.Exception) as error:
                # ``good`` fails so: a fault, which flaky does not cover unless it says so.
                if gap.either and gap.shows != FAULT and not isinstance(error, AssertionError):
                    raise
                pytest.xfail(f"{gap.word}: {gap.reason}")
            if gap.either:
                return None
            pytest.fail(
                f"declared {gap.word} ({gap.reason}), but it works: remove the gap {pattern!r}",
                pytrace=False,
            )

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        setattr(run, _NAME, name)
        return run

    return wrap


class Promises:
    """Tests of the hooks that are not mandatory."""

    gaps: ClassVar[Gaps] = {}

    @classmethod
    def item_names(cls) -> list[str]:
        """Names of all tests that are not cases."""
        found = (getattr(getattr(cls, n), _NAME, "") for n in dir(cls))
        return sorted(filter(None, found))

    @item("hooks/static", "seatrial_check_static", usable=False)
    def test_static(self, bed: Bed) -> None:
        """The table speaks of every node, and does not list an operator that nobody knows."""
        case, ref = bed.load(cases.shelf("zoo"), "nets/cnn")
        report = good(bed.hook("seatrial_check_static", bed.check(case, ref)))
        assert sorted(c.node for c in report.claims) == sorted(case.labels)
        case, ref = bed.load(cases.shelf("zoo"), "broken/operator-unknown")
        (claim,) = good(bed.hook("seatrial_check_static", bed.check(case, ref))).claims
        assert claim.claim is not r.Claim.LISTED
        assert claim.reason, "say which part is missing"

    @item("hooks/build", "seatrial_build", "seatrial_load")
    def test_build(self, bed: Bed) -> None:
        """The FP32 artefact is stated to be FP32 and computes the truth."""
        case, ref, _ = _taken(bed)
        outcome = bed.hook("seatrial_build", r.BuildRequest(model=ref, target=bed.target.id))
        build = good(outcome)
        assert build.precision in ("FP32", "FP16", "BF16"), "the precision is stated"
        assert _differs(bed, case, _run(bed, case, outcome, build.artifact)) == ""

    @item("hooks/build-native", "seatrial_build", "seatrial_load")
    def test_build_native(self, bed: Bed) -> None:
        """What the runtime would do by itself runs too, in a precision that is stated."""
        case, ref, _ = _taken(bed)
        request = r.BuildRequest(model=ref, target=bed.target.id, precision="native")
        outcome = bed.hook("seatrial_build", request)
        build = good(outcome)
        given = _run(bed, case, outcome, build.artifact, precision="native")
        assert build.precision
        assert _cosine(case, given) > 0.99

    @item("hooks/int8-from-qdq", "seatrial_build_int8", "seatrial_load")
    def test_int8_from_qdq(self, bed: Bed) -> None:
        """A Q/DQ model in the dialect asked for becomes an artefact whose nodes are INT8."""
        if bed.target.rules.qdq is None or "qdq" not in _forms(bed):
            pytest.skip("the target takes no Q/DQ models")
        shelf = cases.shelf("zoo")
        mine = [c.name for c in shelf.cases.values() if c.dialect == bed.target.rules.qdq]
        if not mine:
            pytest.skip("no case is in this target's dialect")
        case, ref = bed.load(shelf, mine[0])
        request = r.Int8Request(model=ref, target=bed.target.id, form="qdq")
        outcome = bed.hook("seatrial_build_int8", request)
        build = good(outcome)
        assert build.int8_nodes, "nothing is INT8 in the INT8 artefact"
        assert not set(build.int8_nodes) & set(build.float_nodes)
        assert set(build.int8_nodes) | set(build.float_nodes) <= set(case.labels)
        given = _run(bed, case, outcome, build.artifact, precision="int8")
        assert _differs(bed, case, given) == ""

    @item("hooks/int8-from-float", "seatrial_build_int8", "seatrial_load")
    def test_int8_from_float(self, bed: Bed) -> None:
        """The target's own calibration of a float model stays close to float."""
        if "float" not in _forms(bed):
            pytest.skip("the backend calibrates nothing itself")
        case, ref = bed.load(cases.shelf("zoo"), "nets/cnn")
        request = r.Int8Request(
            model=ref, target=bed.target.id, form="float", calibration=_calibration(bed)
        )
        outcome = bed.hook("seatrial_build_int8", request)
        build = good(outcome)
        assert build.int8_nodes, "nothing is INT8 in the INT8 artefact"
        given = _run(bed, case, outcome, build.artifact, precision="int8")
        assert _cosine(case, given) > _COSINE

    @item("hooks/quantize", "seatrial_quantize")
    def test_quantize(self, bed: Bed) -> None:
        """The quantizer gives portable ONNX with Q/DQ pairs that the reference runs."""
        case, ref = bed.load(cases.shelf("zoo"), "nets/cnn")
        request = r.QuantizeRequest(model=ref, target=bed.target.id, calibration=_calibration(bed))
        outcome = bed.hook("seatrial_quantize", request)
        made = good(outcome)
        assert made.artifact.format == "onnx" and made.method
        content = (outcome.out / made.artifact.entry).read_bytes()
        assert b"QuantizeLinear" in content and b"DequantizeLinear" in content
        artifact = bed.runner.adopt(outcome, made.artifact)
        load = r.LoadRequest(artifact=artifact, format="onnx", target="", precision="int8")
        session = good(bed.runner.open("seatrial.reference:load", None, load))
        with session:
            assert _cosine(case, _outputs(bed, case, session)) > _COSINE

    @item("hooks/layout", "seatrial_transform_layout", "seatrial_load")
    def test_layout(self, bed: Bed) -> None:
        """The model with channels last computes the same, and says how its axes are turned."""
        case, ref = bed.load(cases.shelf("zoo"), "nets/cnn")
        request = r.LayoutRequest(model=ref, target=bed.target.id, layout="NHWC", inputs=("x",))
        outcome = bed.hook("seatrial_transform_layout", request)
        made = good(outcome)
        (turned,) = [io for io in made.artifact.inputs if "x" in (io.onnx, io.name)]
        assert turned.perm == (0, 2, 3, 1), "NHWC is the ONNX tensor's axes 0, 2, 3, 1"
        assert made.method in ("rewritten", "reconfigured")
        assert _differs(bed, case, _run(bed, case, outcome, made.artifact)) == ""

    @item("hooks/session", "seatrial_load")
    def test_session(self, bed: Bed) -> None:
        """A session repeats itself, says what ran, survives wrong inputs, and closes twice."""
        case, built, artifact = _compiled(bed)
        with _open(bed, built, artifact) as session:
            first, second = (_outputs(bed, case, session) for _ in range(2))
            assert {k: v.tobytes() for k, v in first.items()} == {
                k: v.tobytes() for k, v in second.items()
            }
            ran = good(session.ran())
            assert ran.where is bed.target.kind and ran.device
            strange = session.run(_store(bed, {"nobody": first["y"]}))
            assert strange.fault is not None, "an input that the model has not was accepted"
            assert strange.fault.kind in (r.FaultKind.RAISED, r.FaultKind.BROKE_CONTRACT)
            assert _differs(bed, case, _outputs(bed, case, session)) == ""
            session.close()

    @item("hooks/taps", "seatrial_load")
    def test_taps(self, bed: Bed) -> None:
        """Inner tensors are exposed with their true values, or the backend says that it cannot."""
        case, built, artifact = _compiled(bed)
        request = _load_request(bed, built, artifact, taps=("act",))
        outcome = bed.runner.open(bed.plugin, "seatrial_load", request, env=bed.env)
        if outcome.fault is not None:
            assert outcome.fault.kind is r.FaultKind.RAISED
            pytest.skip(f"no taps: {outcome.fault.reason}")
        with good(outcome) as session:
            assert "act" in (given := _outputs(bed, case, session))
            assert _differs(bed, case, given) == ""

    @item("hooks/damaged-artefact", "seatrial_load")
    def test_damaged_artefact(self, bed: Bed) -> None:
        """Half an artefact is refused, and no process dies of it."""
        _, built, artifact = _compiled(bed)
        folder = bed.workspace.path(r.Ref(sha256=built.sha256, entry=""))
        files = {}
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = path.relative_to(folder).as_posix()
            half = bed.shared / f"half-{bed.plugin.id}" / name
            half.parent.mkdir(parents=True, exist_ok=True)
            half.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            files[name] = half
        broken = bed.workspace.add(files, built.entry)
        outcome = bed.runner.open(
            bed.plugin, "seatrial_load", _load_request(bed, broken, artifact), env=bed.env
        )
        assert outcome.fault is not None, "half an artefact was loaded"
        assert outcome.fault.kind is r.FaultKind.RAISED

    @item("hooks/benchmark", "seatrial_benchmark", "seatrial_load")
    def test_benchmark(self, bed: Bed) -> None:
        """As many raw latencies as were asked for, all positive, and the clock is named."""
        case, built, artifact = _compiled(bed)
        request = r.BenchmarkRequest(
            load=_load_request(bed, built, artifact), samples=_samples(bed, case), warmup=1, n=5
        )
        found = good(bed.hook("seatrial_benchmark", request))
        assert len(found.latencies_ns) == 5 and min(found.latencies_ns) > 0
        assert found.clock


# --- helpers --------------------------------------------------------------------------------------


def good(outcome: Outcome[Any]) -> Any:
    """The result; a fault fails the test with its own words."""
    if outcome.fault is not None:
        fault = outcome.fault
        pytest.fail(f"{fault.stage}: {fault.kind.value} {fault.signal}: {fault.reason}", False)
    return outcome.result


def _forms(bed: Bed) -> tuple[str, ...]:
    said = bed.described().result
    return said.description.int8_forms if said else ()


def _taken(bed: Bed) -> tuple[Case, r.Ref, Outcome[Any]]:
    """The first of these models that the backend takes: case, model, and what it said."""
    for name in ("nets/cnn", "nets/plain"):
        case, ref = bed.load(cases.shelf("zoo"), name)
        outcome = bed.hook("seatrial_compile_check", bed.check(case, ref))
        if good(outcome).verdict in (r.Verdict.SUPPORTED, r.Verdict.PARTIAL):
            return case, ref, outcome
    pytest.fail("neither nets/cnn nor nets/plain is taken, so no hook can be tried", False)


def _compiled(bed: Bed) -> tuple[Case, r.Ref, r.Artifact]:
    """The small network as this backend builds it, in the store."""
    case, ref, outcome = _taken(bed)
    artifact = good(outcome).artifact
    if artifact is None and "seatrial_build" in bed.hooks:
        outcome = bed.hook("seatrial_build", r.BuildRequest(model=ref, target=bed.target.id))
        artifact = good(outcome).artifact
    assert artifact is not None, "seatrial_load is offered, but nothing gives an artefact"
    return case, bed.runner.adopt(outcome, artifact), artifact


def _load_request(
    bed: Bed,
    built: r.Ref,
    artifact: r.Artifact,
    *,
    precision: str = "fp32",
    taps: tuple[str, ...] = (),
) -> r.LoadRequest:
    return r.LoadRequest(
        artifact=built,
        format=artifact.format,
        target=bed.target.id,
        precision=precision,
        taps=taps,
        inputs=artifact.inputs,
        outputs=artifact.outputs,
    )


@contextmanager
def _open(
    bed: Bed, built: r.Ref, artifact: r.Artifact, *, precision: str = "fp32"
) -> Iterator[SessionHandle]:
    """A live session on what was built."""
    request = _load_request(bed, built, artifact, precision=precision)
    outcome = bed.runner.open(bed.plugin, "seatrial_load", request, limits=bed.limits, env=bed.env)
    with good(outcome) as session:
        yield session


def _run(
    bed: Bed,
    case: Case,
    outcome: Outcome[Any],
    artifact: r.Artifact,
    *,
    precision: str = "fp32",
) -> dict[str, Any]:
    """Outputs by name of one run of what a hook built."""
    built = bed.runner.adopt(outcome, artifact)
    with _open(bed, built, artifact, precision=precision) as session:
        return _outputs(bed, case, session)


def _outputs(bed: Bed, case: Case, session: SessionHandle) -> dict[str, Any]:
    """Outputs by name of one run on the case's inputs."""
    outcome = session.run(_samples(bed, case), keep=True)
    reply = good(outcome)
    stored = Samples(outcome.out)
    assert reply.outputs is not None and len(reply.latencies_ns) == 1
    return {name: stored.one(name, 0) for name in stored.names}


def _truth(case: Case) -> dict[str, Any]:
    """Every array of a case by tensor name."""
    import numpy as np

    path = cases.shelf("zoo").root / case.folder / "data.npz"
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[str(k)] for k, name in enumerate(case.tensors)}


def _samples(bed: Bed, case: Case) -> r.Ref:
    """A store with the case's inputs as its only sample, batch axis included."""
    truth = _truth(case)
    return _store(bed, {name: truth[name] for name in case.inputs})


def _store(bed: Bed, arrays: dict[str, Any]) -> r.Ref:
    return _stored(bed, [arrays], batch_axis=False)


def _calibration(bed: Bed) -> r.Ref:
    """Calibration data of the small CNN."""
    import numpy as np

    rng = np.random.default_rng(5)
    values = rng.normal(0, 1, (_CALIBRATION, 3, 16, 16)).astype(np.float32)
    return _stored(bed, [{"x": v} for v in values], batch_axis=True)


def _stored(bed: Bed, rows: list[dict[str, Any]], *, batch_axis: bool) -> r.Ref:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        writer = StoreWriter(Path(folder), len(rows), batch_axis=batch_axis)
        for row in rows:
            writer.add(row)
        facts = [{"id": str(k), "sha256": "0" * 64} for k in range(len(rows))]
        files = writer.close(facts)
        return bed.workspace.add({name: Path(folder) / name for name in files}, "")


def _differs(bed: Bed, case: Case, given: dict[str, Any]) -> str:
    """How outputs differ from the truth, or ``""``."""
    truth = _truth(case)
    for name in case.outputs:
        if name not in given:
            return f"output {name!r} is missing"
    for name, value in given.items():
        if name in truth:
            text = difference(value, truth[name], case, bed.tolerance)
            if text:
                return f"{name}: {text}"
    return ""


def _cosine(case: Case, given: dict[str, Any]) -> float:
    """Cosine between an output and its truth, both flattened; the least over all outputs."""
    import numpy as np

    truth = _truth(case)
    found = []
    for name in case.outputs:
        a, b = (np.asarray(v, np.float64).ravel() for v in (given[name], truth[name]))
        size = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
        found.append(float(a @ b) / max(size, 1e-30))
    return min(found)
