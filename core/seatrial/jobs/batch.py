"""Many questions to one backend in one child: each is answered by a line of a file.

The file is what counts: when the child dies, the lines before are still good, and the question
that was begun and not ended is the one to blame. The parent starts another child for the rest.
numpy is imported late. Standard library otherwise, Python 3.10 and newer: carried to foreign
interpreters.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import Any

from seatrial.codec import record
from seatrial.hookspecs import Job
from seatrial.results import (
    Artifact,
    BuildRequest,
    CheckRequest,
    CompileReport,
    Int8Request,
    LoadRequest,
    Ref,
    StaticReport,
)

from . import calls
from .files import JobFiles
from .tensors import TensorMap, checked_outputs

#: The file of answers, in the job's ``out``: one JSON document per line.
ANSWERS = "answers.jsonl"


@record
class Question:
    """One model: compile it and, if that works and there are inputs, run it once.

    Attributes:
        id: comes back with the answer.
        check: the request of the compile-check; the static table is asked the same.
        tensors: names of the arrays ``0``, ``1``, ... in ``feeds``. More than the model's inputs
            may be there: an artefact that begins at an inner tensor takes that one.
        inputs: the model's own inputs.
        feeds: an ``.npz`` file in the model's folder; ``""``: only compile.
        static: ask the static table as well, where there is one.
        compile: ask the compiler; without it only the table is asked.
    """

    id: str
    check: CheckRequest
    tensors: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    feeds: str = ""
    static: bool = True
    compile: bool = True


@record
class Batch:
    """Questions to one backend, asked in this order."""

    plugin: str
    value: str
    questions: tuple[Question, ...]


def ask(request: Batch, job: Job) -> int:
    """Ask every question; how many were answered.

    Raises:
        CallFault: the plugin cannot be loaded at all.
    """
    plugin = calls.Plugin(request.plugin, request.value)
    with (job.out / ANSWERS).open("a", encoding="utf-8") as answers:
        for k, question in enumerate(request.questions):
            _put(answers, {"id": question.id, "event": "begin"})
            job.progress(question.id, k / len(request.questions))
            began = time.monotonic()
            answer = _Answer(plugin, question, _files(job, question, k)).fields()
            answer["seconds"] = time.monotonic() - began
            _put(answers, {"id": question.id, "event": "end", "folder": str(k), **answer})
    return len(request.questions)


def _put(answers: Any, line: Mapping[str, Any]) -> None:
    answers.write(json.dumps(line, allow_nan=False) + "\n")
    answers.flush()


def _files(job: Job, question: Question, k: int) -> JobFiles:
    """Files of one question, below those of the job."""
    ref = question.check.model
    folder = job.out / str(k)
    root = job.path(Ref(sha256=ref.sha256, entry=""))
    return JobFiles(folder, {ref.sha256: os.path.relpath(root, folder)}, job.progress)


class _Answer:
    """Asks one question, hook by hook."""

    def __init__(self, plugin: calls.Plugin, question: Question, files: JobFiles) -> None:
        self._plugin = plugin
        self._question = question
        self._files = files
        self._found: dict[str, Any] = {"static": None, "report": None, "outputs": None}

    def fields(self) -> dict[str, Any]:
        """What is known, and the fault that ended the asking, if one did."""
        stage = "seatrial_check_static"
        try:
            if self._question.static and stage in self._plugin.hooks:
                self._found["static"] = self._call(stage, self._question.check, StaticReport)
            if not self._question.compile:
                return {**self._found, "fault": None}
            stage = "seatrial_compile_check"
            said = self._call(stage, self._question.check, CompileReport)
            self._found["report"] = said
            if self._question.feeds and said["verdict"] in ("supported", "partial"):
                stage = "seatrial_load"
                self._run(calls.decoded(CompileReport, said, stage).artifact)
        except calls.CallFault as fault:
            said = {"kind": fault.kind.value, "reason": fault.reason, "stage": stage}
            return {**self._found, "fault": said}
        return {**self._found, "fault": None}

    def _call(self, hook: str, request: Any, kind: type[Any]) -> Any:
        result = self._plugin.call(hook, request=request, job=self._files)
        return calls.checked(result, kind, hook)

    def _run(self, artifact: Artifact | None) -> None:
        """Load what was built, run it once, and write its outputs beside the answers."""
        import numpy as np

        if "seatrial_load" not in self._plugin.hooks:
            return
        artifact = artifact or self._built()
        if artifact is None:
            return
        check = self._question.check
        key = f"built:{check.model.sha256}"
        self._files.add({key: "out"})
        request = LoadRequest(
            artifact=Ref(sha256=key, entry=artifact.entry),
            format=artifact.format,
            target=check.target,
            precision=check.precision,
            inputs=artifact.inputs,
            outputs=artifact.outputs,
            options=check.options,
        )
        session = self._plugin.call("seatrial_load", request=request, job=self._files)
        tensors = TensorMap(request.inputs, request.outputs)
        given = self._feeds(every=bool(artifact.inputs))
        outputs = calls.guarded(lambda: session.run(tensors.feeds(given)))
        mapped = tensors.results(checked_outputs(outputs))
        path = self._files.out.parent / "outputs.npz"
        np.savez(path, **{str(k): v for k, v in enumerate(mapped.values())})
        self._found["outputs"] = {"names": list(mapped), "file": path.name}
        calls.guarded(session.close)

    def _feeds(self, *, every: bool) -> dict[str, Any]:
        """The arrays by name; ``every``: not only those of the model's inputs."""
        import numpy as np

        folder = self._files.path(self._question.check.model).parent
        with np.load(folder / self._question.feeds, allow_pickle=False) as stored:
            asked = self._question
            wanted = asked.tensors if every else asked.inputs
            return {n: stored[str(asked.tensors.index(n))] for n in wanted}

    def _built(self) -> Artifact | None:
        """The artefact of a build hook, where the compile-check keeps none."""
        check = self._question.check
        if check.precision == "int8" and "seatrial_build_int8" in self._plugin.hooks:
            wanted = Int8Request(
                model=check.model, target=check.target, form="qdq", shapes=check.shapes
            )
            built = self._plugin.call("seatrial_build_int8", request=wanted, job=self._files)
            return _artifact(built)
        if "seatrial_build" in self._plugin.hooks:
            request = BuildRequest(model=check.model, target=check.target, shapes=check.shapes)
            return _artifact(self._plugin.call("seatrial_build", request=request, job=self._files))
        return None


def _artifact(built: Any) -> Artifact:
    """The artefact of a build's result, after the strict decoder has seen it."""
    data = calls.checked(built.artifact, Artifact, "artifact")
    found: Artifact = calls.decoded(Artifact, data, "artifact")
    return found
