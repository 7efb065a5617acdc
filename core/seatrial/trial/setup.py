"""``backends`` and ``init``: what is here, and a configuration to begin with."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from seatrial import data, intake, registry
from seatrial.codec import record
from seatrial.init.records import InitResult
from seatrial.options import BackendsOptions, InitOptions
from seatrial.progress import Progress
from seatrial.registry import Plugin
from seatrial.results import Fault, TargetKind
from seatrial.trial.context import Trial, configured
from seatrial.trial.machine import packages
from seatrial.trial.targets import TargetState, Wanted, probe, survey

if TYPE_CHECKING:
    from seatrial.config import Config


@record
class TargetRow:
    """One target of one backend, as ``seatrial backends`` lists it."""

    target: str
    title: str
    kind: TargetKind
    default: bool = False
    machine_class: str = ""
    usable: bool | None = None
    reason: str = ""
    install_hint: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    instruction_sets: tuple[str, ...] = ()
    fault: Fault | None = None


@record
class BackendRow:
    """One entry point in one environment.

    Attributes:
        problem: why it can't be used at all (broken, duplicate name).
        problems: misspelt, unmarked or missing hooks, one sentence each.
        env: the environment its children run in, ``""``: our own interpreter.
    """

    backend: str
    dist: str
    version: str
    contract: str = ""
    title: str = ""
    vendor: str = ""
    docs: str = ""
    hardware_run: str = ""
    hooks: tuple[str, ...] = ()
    problem: str = ""
    problems: tuple[str, ...] = ()
    install_hint: str = ""
    fault: Fault | None = None
    targets: tuple[TargetRow, ...] = ()
    env: str = ""


@record
class BackendsResult:
    """What ``seatrial backends`` found.

    Attributes:
        lock: versions by name, for ``--freeze``.
        environments: interpreter or launcher of each configured environment, by name.
    """

    rows: tuple[BackendRow, ...]
    lock: Mapping[str, str] = field(default_factory=dict)
    environments: Mapping[str, str] = field(default_factory=dict)


def backends(options: BackendsOptions, progress: Progress) -> BackendsResult:
    """Describe, and unless told otherwise probe, every target of every backend."""
    config = configured(options.config, {})
    with (
        tempfile.TemporaryDirectory(prefix="seatrial-backends-") as folder,
        Trial(
            "backends", Path(folder), jobs=options.jobs, config=config, progress=progress
        ) as trial,
    ):
        plugins = registry.discover()
        trial.targets = survey(trial.runner, plugins, every=True)
        elsewhere = _elsewhere(config, plugins)
        if elsewhere:
            trial.targets += survey(trial.runner, plugins, elsewhere, every=True)
        if options.probe:
            probe(trial.runner, trial.targets)
        found = tuple(
            _backend(plugin, [t for t in trial.targets if (t.plugin, t.env) == (plugin, env)], env)
            for plugin in plugins
            for env in sorted({"", *(t.env for t in trial.targets if t.plugin == plugin)})
        )
    known = {
        name: shlex.join([*table.launcher, *filter(None, [table.python])])
        for name, table in config.environments.items()
    }
    return BackendsResult(rows=found, lock=_lock(found), environments=known)


def _elsewhere(config: Config, plugins: Sequence[Plugin]) -> list[str]:
    """``backend@env`` for every installed backend that the configuration puts somewhere else."""
    installed = {p.id for p in plugins if not p.problem}
    found: dict[str, None] = {}
    for name, table in config.targets.items():
        wanted = Wanted.parse(name)
        env = wanted.env or table.env
        if env in config.environments and wanted.backend in installed:
            found[f"{wanted.backend}@{env}"] = None
    return list(found)


def _backend(plugin: Plugin, states: list[TargetState], env: str) -> BackendRow:
    first = states[0] if states else None
    described = first.description if first else None
    broken = first is not None and first.target is None
    return BackendRow(
        backend=plugin.id,
        dist=plugin.dist,
        version=plugin.version,
        contract=first.contract if first else "",
        title=described.title if described else "",
        vendor=described.vendor if described else "",
        docs=described.docs if described else "",
        hardware_run=described.hardware_run if described else "",
        hooks=first.hooks if first else (),
        problem=plugin.problem,
        problems=first.problems if first else (),
        install_hint=described.install_hint if described else "",
        fault=first.fault if first and broken and not plugin.problem else None,
        targets=tuple(_target(s) for s in states if s.target is not None),
        env=env,
    )


def _target(state: TargetState) -> TargetRow:
    target, found = state.target, state.availability
    if target is None:
        raise ValueError(f"{state.id} was not described")
    return TargetRow(
        target=state.id,
        title=target.title,
        kind=target.kind,
        default=target.default,
        machine_class=target.machine_class,
        usable=found.usable if found else None,
        reason=found.reason if found else "",
        install_hint=(found.install_hint if found else "") or target.install_hint,
        versions=found.versions if found else {},
        devices=found.devices if found else (),
        instruction_sets=found.instruction_sets if found else (),
        fault=state.fault,
    )


def _lock(found: tuple[BackendRow, ...]) -> dict[str, str]:
    """Versions by name: packages, plugin distributions, and what the probes told."""
    lock = dict(packages())
    for row in found:
        if row.dist:
            lock[row.dist] = row.version
        for target in row.targets:
            lock.update(target.versions)
    return dict(sorted(lock.items()))


def init(options: InitOptions, progress: Progress) -> InitResult:
    """Guess the input contract from model and data, and write it down with every doubt.

    Raises:
        UserError: the model or the data is refused, or the file exists already.
    """
    from seatrial.init import run as begin

    out = Path(options.out or "seatrial.toml")
    source = data.parse(options.data, subject="--data") if options.data else None
    with (
        tempfile.TemporaryDirectory(prefix="seatrial-init-") as folder,
        Trial(
            "init", Path(folder), jobs=options.jobs, config=configured("", {}), progress=progress
        ) as trial,
    ):
        trial.admitted = intake.admit(Path(options.model), trial.workspace)
        return begin(
            trial.runner,
            Path(options.model),
            trial.model,
            source,
            out,
            options.force,
        )
