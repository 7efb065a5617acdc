"""The parent's side of every hook call: children, limits, faults as values.

Nothing of a plugin is ever imported here (but for ``in_process``, a vendor's debugger).
"""

from __future__ import annotations

import atexit
import dataclasses
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from .codec import digest
from .errors import UserError
from .hookspecs import HOOKS
from .jobs import describing
from .jobs.answers import Answer, collect
from .jobs.batch import Batch, Question
from .jobs.calls import Described
from .jobs.desk import Desk
from .jobs.memory import Memory
from .jobs.outcome import Environment, Limits, Outcome
from .jobs.prepare import Call
from .jobs.remote import Progress
from .jobs.sessions import SessionHandle
from .jobs.signals import Handlers, Terminated
from .jobs.together import together
from .registry import Plugin
from .results import Artifact, Availability, LoadRequest, Ref
from .session import RunReply
from .workspace import Workspace

__all__ = [
    "Answer",
    "Described",
    "Environment",
    "Limits",
    "Outcome",
    "Question",
    "RunReply",
    "Runner",
    "SessionHandle",
    "Terminated",
]

_DESCRIBE_LIMITS = Limits(timeout_s=60.0)
#: Whether a job's result may be used again; a function of the result where that depends on it.
Remember = bool | Callable[[Any], bool]
_open: weakref.WeakSet[Runner] = weakref.WeakSet()
T = TypeVar("T")


class Runner:
    """Runs hooks, core tasks and sessions in children; closing it kills all of them.

    Args:
        workspace: where objects, jobs and logs are.
        environments: interpreters and launchers by name, for ``env=``.
        in_process: call hooks in this process, for a debugger. No limits, no isolation.
        progress: called with stage, text and fraction, in the caller's thread.
        allow_network: ids of plugins (or names of tasks) that may use the network.
        memory: results of earlier jobs of the workspace; ``None``: every job is done.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        environments: Mapping[str, Environment] | None = None,
        in_process: bool = False,
        progress: Progress | None = None,
        allow_network: Collection[str] = (),
        memory: Memory | None = None,
    ) -> None:
        self.workspace = workspace
        self.memory = memory
        self._environments = dict(environments or {})
        self._allow_network = frozenset(allow_network)
        self._desk = Desk(workspace, progress or _silent, in_process=in_process, memory=memory)
        self._versions: dict[tuple[str, str, str], Mapping[str, str]] = {}
        self._described: dict[tuple[str, str, str], Outcome[Described]] = {}
        self._handlers = Handlers()
        _open.add(self)

    def __enter__(self) -> Runner:
        self._handlers.set()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill every child and everything they started."""
        self._desk.close()
        self._handlers.reset()

    def hook(
        self,
        plugin: Plugin,
        hook: str,
        request: Any,
        *,
        refs: Sequence[Ref] = (),
        limits: Limits | None = None,
        env: str = "",
        variables: Mapping[str, str] | None = None,
        remember: Remember = False,
    ) -> Outcome[Any]:
        """Call a one-shot hook of one backend.

        Args:
            plugin: from :func:`seatrial.registry.discover`.
            hook: its name, ``seatrial_probe`` ...
            request: the hook's request record.
            refs: objects it may read; those that the request names are added.
            limits: time and memory.
            env: name of an environment, ``""``: our own interpreter.
            variables: environment variables; they win over the description's.
            remember: the result may come from an earlier run in this workspace, and is kept for a
                later one: always, or where a function of the result says so. The backend must
                have been probed before, since its versions are part of what the result is of.

        Raises:
            UserError: ``env`` is not configured.
        """
        call = self._call(
            "hook", plugin, hook, request, refs=refs, limits=limits, env=env, variables=variables
        )
        call = dataclasses.replace(call, remember=remember)
        outcome: Outcome[Any] = self._desk.one_shot(call, HOOKS[hook][1])
        if isinstance(outcome.result, Availability):
            self._versions[plugin.id, env, request.target] = outcome.result.versions
        return outcome

    def describe(self, plugin: Plugin, *, env: str = "") -> Outcome[Described]:
        """Ask a backend who it is; the answer is cached on disk until the package changes.

        Raises:
            UserError: ``env`` is not configured.
        """
        memory = (plugin.id, plugin.value, env)
        if memory not in self._described:
            self._described[memory] = self._describe(plugin, env)
        return self._described[memory]

    def _describe(self, plugin: Plugin, env: str) -> Outcome[Described]:
        where = self._environment(env)
        call = Call(
            kind="hook",
            name="seatrial_describe",
            request=None,
            plugin=plugin,
            limits=_DESCRIBE_LIMITS,
            where=where,
        )
        key = describing.cache_key(plugin, call.interpreter, where.variables)
        known = None if plugin.problem or self._desk.in_process else describing.read(key)
        if known is not None:
            return Outcome(result=known)
        outcome: Outcome[Described] = self._desk.one_shot(call, Described)
        if outcome.result is not None:
            describing.write(key, outcome.result)
        return outcome

    def task(
        self,
        name: str,
        request: Any,
        *,
        refs: Sequence[Ref] = (),
        limits: Limits | None = None,
        user: bool = False,
        remember: Remember = False,
    ) -> Outcome[Any]:
        """Run a core task ``"seatrial.module:function"``.

        The result is decoded when the function's return type is a record of ours, and is plain
        JSON otherwise.

        Args:
            name: the function, which takes the request and the job.
            request: a record of the type that the function's first parameter is annotated with.
            refs: objects it may read; those that the request names are added.
            limits: time and memory.
            user: it will import the user's own code: their working folder (first on the search
                path), their home and variables, but no network.
            remember: see :meth:`hook`; never with ``user``, whose code nobody can hash.

        Raises:
            UserError: the task raised it: the input was refused, which is not a fault.
        """
        call = Call(
            kind="task",
            name=name,
            request=request,
            refs=refs,
            limits=limits or Limits(),
            network=name in self._allow_network,
            user=user,
            remember=remember,
        )
        return self._desk.one_shot(call, None)

    def batch(
        self,
        plugin: Plugin,
        questions: Sequence[Question],
        *,
        limits: Limits | None = None,
        env: str = "",
    ) -> Mapping[str, Answer]:
        """Ask one backend many questions, as many in one child as it survives.

        A child that dies or hangs costs one question, the one in flight: it is answered by the
        fault, and another child goes on with the next. Each question's begin starts the soft
        deadline again, so ``limits.soft_s`` is the time of one question.

        Args:
            plugin: the backend.
            questions: their models are objects of the workspace; ids are unique.
            limits: of each child.
            env: name of an environment.

        Returns:
            One answer per question, by id.

        Raises:
            UserError: ``env`` is not configured.
        """
        found: dict[str, Answer] = {}
        left = list(questions)
        while left:
            request = Batch(plugin=plugin.id, value=plugin.value, questions=tuple(left))
            call = self._call(
                "task",
                plugin,
                "seatrial.jobs.batch:ask",
                request,
                refs=(),
                limits=limits,
                env=env,
                variables=None,
            )
            outcome: Outcome[Any] = self._desk.one_shot(call, None)
            found |= collect(outcome, left)
            left = [q for q in left if q.id not in found]
        return found

    def open(
        self,
        plugin: Plugin | str,
        hook: str | None,
        request: LoadRequest,
        *,
        refs: Sequence[Ref] = (),
        limits: Limits | None = None,
        env: str = "",
        variables: Mapping[str, str] | None = None,
    ) -> Outcome[SessionHandle]:
        """Load an artefact in a child that stays alive.

        Args:
            plugin: a backend, or a core task such as ``"seatrial.reference:load"``.
            hook: ``seatrial_load`` for a backend, ``None`` for a task.
            request: what to load and how.
            refs: objects it may read; those that the request names are added.
            limits: for loading and, unless stated, for each run.
            env: name of an environment.
            variables: environment variables; they win over the description's.

        Raises:
            UserError: ``env`` is not configured.
        """
        owner, name = (None, plugin) if isinstance(plugin, str) else (plugin, hook or "")
        call = self._call(
            "session", owner, name, request, refs=refs, limits=limits, env=env, variables=variables
        )
        return self._desk.session(call)

    def outputs(
        self,
        plugin: Plugin | str,
        hook: str | None,
        request: LoadRequest,
        samples: Ref,
        indices: tuple[int, ...] | None = None,
        *,
        batch: int = 1,
        limits: Limits | None = None,
        env: str = "",
        variables: Mapping[str, str] | None = None,
        remember: bool = False,
    ) -> Outcome[Ref]:
        """Load an artefact, run it once over samples, close it: its outputs as an object.

        Arguments are those of :meth:`open` and of ``SessionHandle.run``; ``remember`` as for
        :meth:`hook`, for outputs that choose something. What a verdict rests on is run anew.

        Raises:
            UserError: ``env`` is not configured.
        """
        owner, name = (None, plugin) if isinstance(plugin, str) else (plugin, hook or "")
        call = self._call(
            "session",
            owner,
            name,
            request,
            refs=[request.artifact, samples],
            limits=limits,
            env=env,
            variables=variables,
        )
        call = dataclasses.replace(call, remember=remember)
        run = [samples.sha256, None if indices is None else list(indices), batch]
        return self._desk.outputs(call, samples, indices, batch=batch, facts=digest(run))

    def together(self, calls: Sequence[Callable[[], T]]) -> list[T]:
        """Make several calls of this runner's side by side, for children that mostly start up.

        Runs of sessions still take turns, so no inference is disturbed by another one.

        Args:
            calls: independent of one another; their results come in this order.

        Raises:
            UserError: the first that any of the calls raised, once all have ended.
            KeyboardInterrupt: after every child was killed.
        """
        if self._desk.in_process:
            return [call() for call in calls]
        return together(calls, self._desk.halt)

    @property
    def halted(self) -> bool:
        """It was interrupted: what calls still say is of their own killing."""
        return self._desk.halted

    def adopt(self, outcome: Outcome[Any], artifact: Artifact) -> Ref:
        """Move an artefact of an outcome into the store.

        Raises:
            ValueError: its files are not regular files under the job's ``out``; the outcome's own
                artefacts were checked before.
        """
        return self.workspace.adopt(outcome.out, artifact)

    def _call(
        self,
        kind: str,
        plugin: Plugin | None,
        name: str,
        request: Any,
        *,
        refs: Sequence[Ref],
        limits: Limits | None,
        env: str,
        variables: Mapping[str, str] | None,
    ) -> Call:
        told: Mapping[str, str] = {}
        versions: Mapping[str, str] = {}
        where = self._environment(env)
        if plugin is not None and not plugin.problem:
            described = self.describe(plugin, env=env).result
            told = described.description.environment if described else {}
            versions = self._versions.get((plugin.id, env, getattr(request, "target", "")), {})
        return Call(
            kind=kind,
            name=name,
            request=request,
            plugin=plugin,
            refs=refs,
            limits=limits or Limits(),
            where=where,
            variables={**told, **where.variables, **(variables or {})},
            network=(plugin.id if plugin else name) in self._allow_network,
            versions=versions,
        )

    def _environment(self, env: str) -> Environment:
        if not env:
            return Environment()
        try:
            return self._environments[env]
        except KeyError:
            known = ", ".join(sorted(self._environments)) or "none"
            raise UserError(f"@{env}", "no such environment", advice=f"known: {known}") from None


def _silent(stage: str, text: str, fraction: float | None) -> None:
    """No progress is shown."""


@atexit.register
def _close_all() -> None:
    for runner in list(_open):
        runner.close()
