"""Backends for the tests of the conformance kit: one that is good, and many that are not.

Each class is the value of an entry point. The runtime of all of them is ONNX's own evaluator.
"""

from __future__ import annotations

import dataclasses
import os
import time

from seatrial import hookimpl
from seatrial import results as r

SEATRIAL_CONTRACT = "1.0"


def _graph(request, job):
    import onnx

    return onnx.load(job.path(request.model)).graph


def _ops(request, job):
    return {node.op_type for node in _graph(request, job).node}


def _labels(request, job):
    return [
        (r.node_label(n.name, n.op_type, k), n.op_type)
        for k, n in enumerate(_graph(request, job).node)
    ]


class Session:
    def __init__(self, path, wanted=(), change=lambda name, value: value):
        from onnx.reference import ReferenceEvaluator

        self.evaluator = ReferenceEvaluator(str(path))
        self.wanted = wanted or self.evaluator.output_names
        self.change = change

    def run(self, feeds):
        import numpy as np

        found = self.evaluator.run(None, dict(feeds), intermediate=True)
        return {n: self.change(n, np.asarray(found[n])) for n in self.wanted}

    def ran(self):
        return r.Ran(where=r.TargetKind.SIMULATOR, device="the evaluator of ONNX")

    def close(self):
        pass


class Good:
    SEATRIAL_CONTRACT = "1.0"
    kind = r.TargetKind.SIMULATOR

    @hookimpl
    def seatrial_describe(self):
        target = r.Target(id="sim", title="a simulator", device="sim", default=True, kind=self.kind)
        return r.Description(title="Sly", vendor="nobody", targets=(target,), install_hint="ask")

    @hookimpl
    def seatrial_probe(self, request):
        if request.target != "sim":
            return r.Availability(usable=False, reason="no such target")
        return r.Availability(usable=True, versions={"sly": "1"})

    @hookimpl
    def seatrial_compile_check(self, request, job):
        import onnx

        path = job.path(request.model)
        try:
            onnx.checker.check_model(path, full_check=True)
        except onnx.checker.ValidationError as error:
            finding = r.Finding(reason=str(error)[:100])
            return r.CompileReport(
                verdict=r.Verdict.UNSUPPORTED, depth=r.Depth.PARSE, findings=(finding,)
            )
        return self.accept(request, job)

    def accept(self, request, job):
        (job.out / "model.onnx").write_bytes(job.path(request.model).read_bytes())
        artifact = r.Artifact(format="sly", entry="model.onnx", files=("model.onnx",))
        return r.CompileReport(
            verdict=r.Verdict.SUPPORTED, depth=r.Depth.ARTEFACT, artifact=artifact
        )

    @hookimpl
    def seatrial_load(self, request, job):
        return Session(job.path(request.artifact))


class Wrong(Good):
    """Computes something else."""

    @hookimpl
    def seatrial_load(self, request, job):
        return Session(job.path(request.artifact), change=lambda n, v: v + v.dtype.type(1))


class Typed(Good):
    """Gives float64 for float32."""

    @hookimpl
    def seatrial_load(self, request, job):
        return Session(job.path(request.artifact), change=lambda n, v: v.astype("float64"))


class Yes(Good):
    """Takes everything."""

    @hookimpl
    def seatrial_compile_check(self, request, job):
        return self.accept(request, job)


class Crash(Good):
    """Dies of one operator, and of one invalid model."""

    @hookimpl
    def seatrial_compile_check(self, request, job):
        if b"Tanh" in (content := job.path(request.model).read_bytes()) or not content:
            os.abort()
        return Good.seatrial_compile_check(self, request, job)


class Hang(Good):
    @hookimpl
    def seatrial_compile_check(self, request, job):
        if "Tanh" in _ops(request, job):
            time.sleep(1000)
        return Good.seatrial_compile_check(self, request, job)


class Slow(Good):
    """Takes longer than a case may, and says how far it is."""

    @hookimpl
    def seatrial_compile_check(self, request, job):
        for step in range(12):
            job.progress("compiling", step / 12)
            time.sleep(0.25)
        return Good.seatrial_compile_check(self, request, job)


class Silent(Good):
    """Refuses without a word."""

    @hookimpl
    def seatrial_compile_check(self, request, job):
        return r.CompileReport(verdict=r.Verdict.UNSUPPORTED, depth=r.Depth.MAP)


class Vague(Good):
    """Refuses without saying which node, and without knowing."""

    @hookimpl
    def seatrial_compile_check(self, request, job):
        finding = r.Finding(reason="something is wrong")
        return r.CompileReport(
            verdict=r.Verdict.UNSUPPORTED, depth=r.Depth.MAP, findings=(finding,)
        )


class Unsure(Good):
    @hookimpl
    def seatrial_compile_check(self, request, job):
        return r.CompileReport(verdict=r.Verdict.UNKNOWN, depth=r.Depth.PARSE)


class Elsewhere(Good):
    """Says supported of what runs elsewhere, and names nodes in its own way."""

    def accept(self, request, job):
        placements = tuple(
            r.NodePlacement(node=label, op_type=op, on="host", placement=r.Placement.FALLBACK)
            for label, op in _labels(request, job)
        )
        return dataclasses.replace(Good.accept(self, request, job), placements=placements)


class Renamed(Good):
    def accept(self, request, job):
        placement = r.NodePlacement(
            node="node_0", op_type="Relu", on="sim", placement=r.Placement.TARGET
        )
        return dataclasses.replace(Good.accept(self, request, job), placements=(placement,))


class Unlicensed(Good):
    """Nothing can be compiled without a licence, and it says so."""

    verdict = r.Verdict.UNKNOWN

    @hookimpl
    def seatrial_probe(self, request):
        return r.Availability(usable=False, reason="no licence found", install_hint="buy one")

    @hookimpl
    def seatrial_compile_check(self, request, job):
        finding = r.Finding(reason="no licence")
        return r.CompileReport(verdict=self.verdict, depth=r.Depth.PARSE, findings=(finding,))


class Pretender(Unlicensed):
    """Judges without a licence."""

    verdict = r.Verdict.UNSUPPORTED


class Head(Good):
    """Covers the part up to the tensor ``act``, in steps of its own."""

    factor = 0.125

    def accept(self, request, job):
        report = Good.accept(self, request, job)
        io = r.TensorIO(name="out0", onnx="act", dtype="int32", scale=0.125)
        artifact = dataclasses.replace(report.artifact, outputs=(io,))
        findings = tuple(
            r.Finding(node=label, op_type=op, reason="on the host", placement=r.Placement.FALLBACK)
            for label, op in _labels(request, job)[1:]
        )
        return dataclasses.replace(
            report, verdict=r.Verdict.PARTIAL, artifact=artifact, findings=findings
        )

    @hookimpl
    def seatrial_load(self, request, job):
        import numpy as np

        def steps(name, value):
            return np.rint(value / self.factor).astype(np.int32)

        session = Session(job.path(request.artifact), ("act",), steps)
        run = session.run
        session.run = lambda feeds: {"out0": run(feeds)["act"]}
        return session


class WrongHead(Head):
    factor = 0.25


class Old(Good):
    SEATRIAL_CONTRACT = "0.9"


class Heavy(Good):
    @hookimpl
    def seatrial_describe(self):
        import numpy  # noqa: F401

        return Good.seatrial_describe(self)


class Denying(Good):
    """Its table denies what its compiler takes."""

    @hookimpl
    def seatrial_check_static(self, request, job):
        return r.StaticReport(
            claims=tuple(
                r.NodeClaim(node=label, op_type=op, claim=r.Claim.UNSUPPORTED, source="a guess")
                for label, op in _labels(request, job)
            )
        )


class Tabled(Unlicensed):
    """Without a licence its table still speaks; of Tanh it says that it is elsewhere."""

    @hookimpl
    def seatrial_check_static(self, request, job):
        if "Sin" in _ops(request, job):
            os.abort()
        return r.StaticReport(
            claims=tuple(
                r.NodeClaim(
                    node="nowhere" if op == "Tanh" else label,
                    op_type=op,
                    claim=r.Claim.UNKNOWN,
                    source="a guess",
                    reason="not looked up",
                )
                for label, op in _labels(request, job)
            )
        )


class Listing(Good):
    """Its table lists operators that nobody knows."""

    @hookimpl
    def seatrial_check_static(self, request, job):
        return r.StaticReport(
            claims=tuple(
                r.NodeClaim(node=label, op_type=op, claim=r.Claim.LISTED, source="a guess")
                for label, op in _labels(request, job)
            )
        )


class Fussy(Good):
    """Session and artefact hooks that break their promises."""

    @hookimpl
    def seatrial_load(self, request, job):
        session = Session(job.path(request.artifact))
        run = session.run
        noise = iter(range(1000))
        session.run = lambda feeds: {n: v + next(noise) for n, v in run(feeds).items()}
        return session
