"""Which targets a command runs, and what is known of each."""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from seatrial import results as r
from seatrial.errors import UserError

if TYPE_CHECKING:
    from seatrial.isolation import Outcome, Runner
    from seatrial.registry import Plugin


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A target as typed: ``BACKEND[@ENV][:TARGET[/VARIANT]]``."""

    text: str
    backend: str
    env: str
    target: str

    @classmethod
    def parse(cls, text: str) -> Wanted:
        """Split a target; UserError when a part that was begun is empty."""
        head, colon, target = text.partition(":")
        backend, at, env = head.partition("@")
        if not backend or (colon and not target) or (at and not env):
            raise UserError(
                text, "not a target", advice="write BACKEND[@ENV][:TARGET], as in onnxruntime:cpu"
            )
        return cls(text, backend, env, target)


@dataclasses.dataclass
class TargetState:
    """One target through one command: filled stage by stage, turned into a report row at the end.

    Attributes:
        id: ``backend[@env]:target``, or only the backend when it could not even be described.
        asked: named by ``-b``, so that being unavailable counts.
        expected: one of those that ``-b BACKEND`` without a target stands for: being unavailable
            counts only if none of them is usable.
        problems: misspelt, unmarked or missing hooks of its backend.
        fault: the first fault that ended work on this target.
    """

    id: str
    plugin: Plugin
    env: str = ""
    asked: bool = False
    expected: bool = False
    hooks: tuple[str, ...] = ()
    contract: str = ""
    problems: tuple[str, ...] = ()
    description: r.Description | None = None
    target: r.Target | None = None
    availability: r.Availability | None = None
    fault: r.Fault | None = None
    #: everything later stages learn, by stage name
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def usable(self) -> bool:
        """A compile may be tried."""
        return (
            self.availability is not None and self.availability.usable and self.target is not None
        )

    @property
    def decides(self) -> bool:
        """Whether this target's verdict counts for the run's."""
        return self.usable or self.asked

    def offers(self, hook: str) -> bool:
        """Whether the backend implements a hook."""
        return hook in self.hooks

    def variables(self) -> Mapping[str, str]:
        """What the backend wants in its children's environment."""
        return self.description.environment if self.description else {}

    def blame(self, fault: r.Fault | None) -> None:
        """Keep the first fault."""
        if self.fault is None and fault is not None:
            self.fault = fault


def survey(
    runner: Runner, plugins: Sequence[Plugin], wanted: Iterable[str] = (), *, every: bool = False
) -> list[TargetState]:
    """Describe all backends and pick the targets to run.

    Args:
        runner: runs the children.
        plugins: what is installed, broken entry points included.
        wanted: targets as typed after ``-b``; empty: the default ones.
        every: all targets of all backends.

    Returns:
        The chosen targets in the order asked for (else by backend), not probed yet. A backend that
        cannot be described is one row with its fault.

    Raises:
        UserError: a wanted backend or target does not exist.
    """
    asked = [Wanted.parse(text) for text in wanted]
    known = {p.id for p in plugins}
    for item in asked:
        if item.backend not in known:
            raise _unknown(item.text, item.backend, known, "backend", "installed")
    states: list[TargetState] = []
    for plugin in _once(plugins):
        mine = [w for w in asked if w.backend == plugin.id]
        if asked and not mine:
            continue
        states += _states(runner, plugin, mine, every=every)
    order = {w.backend: i for i, w in reversed(list(enumerate(asked)))}
    return sorted(states, key=lambda s: order.get(s.plugin.id, 0))


def probe(runner: Runner, states: Sequence[TargetState]) -> None:
    """Ask each target whether it can be used here."""

    def ask(state: TargetState, target: r.Target) -> Outcome[r.Availability]:
        return runner.hook(
            state.plugin,
            "seatrial_probe",
            r.ProbeRequest(target=target.id),
            refs=(),
            env=state.env,
            variables=state.variables(),
        )

    known = [(state, state.target) for state in states if state.target is not None]
    outcomes = runner.together([functools.partial(ask, *one) for one in known])
    for (state, _), outcome in zip(known, outcomes, strict=True):
        state.availability = outcome.result
        state.blame(outcome.fault)
    _hold_to_account(states)


def _hold_to_account(states: Sequence[TargetState]) -> None:
    """A backend that was asked for and has no usable target decides with all of them."""
    for state in states:
        mine = [s for s in states if s.expected and (s.plugin, s.env) == (state.plugin, state.env)]
        if state.expected and not any(s.usable for s in mine):
            state.asked = True


def _once(plugins: Sequence[Plugin]) -> list[Plugin]:
    """One entry per id: duplicates share their problem text and cannot be used anyway."""
    return list({p.id: p for p in plugins}.values())


def _states(
    runner: Runner, plugin: Plugin, mine: Sequence[Wanted], *, every: bool
) -> list[TargetState]:
    bare = TargetState(id=plugin.id, plugin=plugin, asked=bool(mine))
    if plugin.problem:
        bare.fault = r.Fault(kind=r.FaultKind.UNAVAILABLE, stage="registry", reason=plugin.problem)
        return [bare]
    envs = list(dict.fromkeys(w.env for w in mine)) or [""]
    states: list[TargetState] = []
    for env in envs:
        outcome = runner.describe(plugin, env=env)
        if outcome.result is None:
            states.append(dataclasses.replace(bare, env=env, fault=outcome.fault))
            continue
        described = outcome.result
        here = [w for w in mine if w.env == env]
        named = {w.target for w in here}
        picks = _picks(described.description, here, every=every)
        states += [
            TargetState(
                id=f"{plugin.id}@{env}:{target.id}" if env else f"{plugin.id}:{target.id}",
                plugin=plugin,
                env=env,
                asked=target.id in named,
                expected="" in named and target.default,
                hooks=described.hooks,
                contract=described.contract,
                problems=described.problems,
                description=described.description,
                target=target,
            )
            for target in picks
        ]
    return states


def _picks(description: r.Description, mine: Sequence[Wanted], *, every: bool) -> list[r.Target]:
    if every:
        return list(description.targets)
    by_id = {t.id: t for t in description.targets}
    named = [w for w in mine if w.target]
    for item in named:
        if item.target not in by_id:
            raise _unknown(item.text, item.target, by_id, "target", "offered")
    picks = [by_id[w.target] for w in named]
    if not mine or len(named) < len(mine):
        seen: set[str] = set()
        for target in description.targets:
            if target.default and target.device not in seen:
                seen.add(target.device)
                picks.append(target)
    if mine and not picks:
        first, *_ = (t.id for t in description.targets)
        raise UserError(
            mine[0].text, "no target of it is default", advice=f"name one: {mine[0].text}:{first}"
        )
    return list({t.id: t for t in picks}.values())


def _unknown(
    subject: str, name: str, known: Iterable[str], kind: str, participle: str
) -> UserError:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"{participle}: {', '.join(names) or 'none'}"
    return UserError(subject, f"no {kind} called {name!r}", advice=hint)
