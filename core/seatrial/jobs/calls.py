"""Loading one plugin and calling one hook or core task, with every check of the contract.

Runs in the child (or, for a vendor's debugger, in the parent). Standard library and pluggy only,
Python 3.10 and newer.
"""

from __future__ import annotations

import importlib
import inspect
import json
import traceback
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from seatrial import hookspecs
from seatrial.codec import CodecError, decode, encode, record
from seatrial.errors import UserError, one_line
from seatrial.models import RefusedError
from seatrial.results import CONTRACT, Description, FaultKind, Finding, LoadRequest

from .files import JobFiles

if typing.TYPE_CHECKING:
    import pluggy

_OUT_OF_MEMORY = ("bad_alloc", "bad allocation", "failed to allocate", "cannot allocate memory")


@record
class Described:
    """A backend as its child told it.

    Attributes:
        description: what ``seatrial_describe`` gave.
        hooks: the hooks it offers.
        contract: the contract version it was built for.
        problems: misspelt, unmarked or missing hooks, one sentence each.
    """

    description: Description
    hooks: tuple[str, ...]
    contract: str
    problems: tuple[str, ...] = ()


class CallFault(Exception):
    """A call gave no result; the child tells its parent the kind and one line.

    ``user_error`` holds the parts of a :class:`UserError` that a core task raised, ``refusal`` the
    findings, as JSON, of a :class:`RefusedError` that a plugin raised.
    """

    def __init__(
        self,
        kind: FaultKind,
        reason: str,
        user_error: Mapping[str, str] | None = None,
        refusal: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.kind = kind
        self.reason = reason
        self.user_error = user_error
        self.refusal = tuple(refusal)
        super().__init__(reason)


def looks_like_memory(text: str) -> bool:
    """Whether a message is an allocator's."""
    lowered = text.lower()
    return any(sign in lowered for sign in _OUT_OF_MEMORY)


def guarded(work: Callable[[], Any]) -> Any:
    """Call plugin code; whatever exception it raises becomes a :class:`CallFault`.

    The traceback goes to standard error, which is the job's log.
    """
    try:
        return work()
    except CallFault:
        raise
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything
        traceback.print_exc()
        memory = isinstance(error, MemoryError) or looks_like_memory(str(error))
        kind = FaultKind.OUT_OF_MEMORY if memory else FaultKind.RAISED
        refusal = [checked(f, Finding, "RefusedError") for f in _findings(error)]
        raise CallFault(kind, one_line(error), refusal=refusal) from None


def _findings(error: Exception) -> tuple[Finding, ...]:
    return error.findings if isinstance(error, RefusedError) else ()


class Plugin:
    """One backend, loaded alone into a plugin manager of its own.

    Args:
        name: its id, the name of its entry point.
        value: the entry point's value: ``module`` or ``module:object``.

    Raises:
        CallFault: the module cannot be imported (unavailable), or breaks the contract.
    """

    def __init__(self, name: str, value: str) -> None:
        import pluggy

        self.name = name
        self.object = self._import(value)
        stated = str(getattr(self.object, "SEATRIAL_CONTRACT", CONTRACT))
        self.contract = stated
        if stated.split(".", maxsplit=1)[0] != CONTRACT.split(".")[0]:
            ours, theirs = CONTRACT.split(".")[0], stated.split(".", maxsplit=1)[0]
            reason = f"{name} was built for contract {theirs}, this is {ours}"
            raise CallFault(FaultKind.BROKE_CONTRACT, reason)
        self.manager: pluggy.PluginManager = hookspecs.plugin_manager()
        try:
            self.manager.register(self.object, name=name)
        except pluggy.PluginValidationError as error:
            traceback.print_exc()
            raise CallFault(FaultKind.BROKE_CONTRACT, one_line(error)) from None
        self.hooks = tuple(h for h in hookspecs.HOOKS if self._implemented(h))
        self.misspelt = tuple(self._misspelt())

    @staticmethod
    def _import(value: str) -> Any:
        module, _, attribute = value.partition(":")
        try:
            found: Any = importlib.import_module(module.strip())
            for part in filter(None, attribute.strip().split(".")):
                found = getattr(found, part)
        except Exception as error:  # noqa: BLE001 - a module may raise anything at import
            traceback.print_exc()
            reason = f"cannot import {value}: {one_line(error)}"
            kind = FaultKind.OUT_OF_MEMORY if isinstance(error, MemoryError) else None
            raise CallFault(kind or FaultKind.UNAVAILABLE, reason) from None
        return found() if inspect.isclass(found) else found

    def _implemented(self, hook: str) -> bool:
        return bool(getattr(self.manager.hook, hook).get_hookimpls())

    def _misspelt(self) -> list[str]:
        """Hooks that pluggy would leave out in silence: unknown names, and unmarked functions."""
        said = []
        for name in sorted(n for n in dir(self.object) if n.startswith("seatrial_")):
            marked = self.manager.parse_hookimpl_opts(self.object, name) is not None
            if name not in hookspecs.HOOKS and marked:
                import difflib  # late: children need it seldom

                near = difflib.get_close_matches(name, hookspecs.HOOKS, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                said.append(f"{name} is not a hook of contract {CONTRACT}{hint}")
            elif name in hookspecs.HOOKS and not marked:
                said.append(f"{name} is not marked with @hookimpl")
        return said

    def call(self, hook: str, **arguments: Any) -> Any:
        """Call one hook.

        Raises:
            CallFault: it is not offered, raised, or gave nothing.
        """
        if hook not in self.hooks:
            if self.misspelt:
                raise CallFault(FaultKind.BROKE_CONTRACT, "; ".join(self.misspelt))
            raise CallFault(FaultKind.NOT_OFFERED, f"{self.name} does not offer {hook}")
        result = guarded(lambda: getattr(self.manager.hook, hook)(**arguments))
        if result is None:
            raise CallFault(FaultKind.BROKE_CONTRACT, f"{hook} gave nothing")
        return result

    def describe(self) -> Described:
        """Call ``seatrial_describe`` and list what else is there or missing."""
        result = self.call("seatrial_describe")
        checked(result, Description, "seatrial_describe")
        lacking = [h for h in hookspecs.MANDATORY if h not in self.hooks]
        problems = (*self.misspelt, *(f"{h} is mandatory and missing" for h in lacking))
        return Described(
            description=result, hooks=self.hooks, contract=self.contract, problems=problems
        )


def checked(result: Any, kind: Any, what: str) -> Any:
    """JSON of a result, after the strict decoder has accepted it.

    Args:
        result: what a hook or task returned.
        kind: the type it must have.
        what: the hook or task, for the error.

    Raises:
        CallFault: broke contract, naming the first place that does not fit.
    """
    try:
        if isinstance(kind, type) and not isinstance(result, kind):
            raise CodecError(f"gave a {type(result).__name__}, not a {kind.__name__}")
        data = json.loads(json.dumps(encode(result), allow_nan=False))
        decode(kind, data)
    except (CodecError, TypeError, ValueError, RecursionError) as error:
        raise CallFault(FaultKind.BROKE_CONTRACT, f"{what}: {error}") from None
    return data


def decoded(kind: Any, data: Any, what: str) -> Any:
    """Decode a request; CallFault (broke contract) when it does not fit."""
    try:
        return decode(kind, data)
    except CodecError as error:
        raise CallFault(FaultKind.BROKE_CONTRACT, f"request of {what}: {error}") from None


def task_function(name: str) -> Callable[..., Any]:
    """Import the function of a core task ``"seatrial.module:function"``.

    Raises:
        CallFault: broke contract when the name is not one of ours; unavailable when the import
            fails for want of a package.
    """
    module, _, attribute = name.partition(":")
    if not module.startswith("seatrial.") or not attribute.isidentifier():
        raise CallFault(FaultKind.BROKE_CONTRACT, f"{name} is not a core task")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # noqa: BLE001 - heavy packages raise anything at import
        traceback.print_exc()
        raise CallFault(FaultKind.UNAVAILABLE, f"{name}: {one_line(error)}") from None
    return typing.cast(Callable[..., Any], function)


def run_task(name: str, request: Any, job: JobFiles) -> dict[str, Any]:
    """Run a core task.

    Args:
        name: ``"seatrial.module:function"``, a function of a request and the job.
        request: the request as JSON, decoded by the annotation of the first parameter.
        job: passed on.

    Returns:
        ``value``: the result as JSON; ``type_name``: module and name of its record type, or ``""``.
    """
    function = task_function(name)
    hints = typing.get_type_hints(function)
    parameters = list(inspect.signature(function).parameters)
    argument = decoded(hints[parameters[0]], request, name)
    result = guarded(lambda: _task(function, argument, job))
    kind = hints["return"]
    value = checked(result, kind, name)
    module = getattr(kind, "__module__", "")
    named = isinstance(kind, type) and module.startswith("seatrial.")
    return {"value": value, "type_name": f"{module}:{kind.__qualname__}" if named else ""}


def _task(function: Callable[..., Any], argument: Any, job: JobFiles) -> Any:
    try:
        return function(argument, job)
    except UserError as error:
        parts = {k: getattr(error, k) for k in ("subject", "reason", "place", "advice")}
        raise CallFault(FaultKind.RAISED, error.line(), parts) from None


def run_hook(plugin: Mapping[str, str], hook: str, request: Any, job: JobFiles) -> dict[str, Any]:
    """Load a plugin and call a one-shot hook; the result as JSON under ``value``."""
    loaded = Plugin(plugin["id"], plugin["value"])
    if hook == "seatrial_describe":
        return {"value": checked(loaded.describe(), Described, hook)}
    request_type, result_type = hookspecs.HOOKS[hook]
    argument = decoded(request_type, request, hook)
    result = loaded.call(hook, request=argument, job=job)
    return {"value": checked(result, result_type, hook)}


def open_session(plugin: Mapping[str, str] | None, name: str, request: Any, job: JobFiles) -> Any:
    """Load an artefact through a hook, or through a core task when there is no plugin.

    Returns:
        The live session.

    Raises:
        CallFault: as for a hook; broke contract when what came back is no Session.
    """
    argument = decoded(LoadRequest, request, name)
    if plugin is None:
        function = task_function(name)
        session = guarded(lambda: function(argument, job))
    else:
        loaded = Plugin(plugin["id"], plugin["value"])
        session = loaded.call(name, request=argument, job=job)
    if not isinstance(session, hookspecs.Session):
        reason = f"{name} gave a {type(session).__name__}, not a Session with run, ran and close"
        raise CallFault(FaultKind.BROKE_CONTRACT, reason)
    return session
