"""What all stages of one command share: workspace, runner, clock, targets."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatrial import results as r
from seatrial.errors import UserError
from seatrial.isolation import Limits, Outcome, Runner, SessionHandle
from seatrial.jobs.memory import Memory
from seatrial.trial.targets import TargetState
from seatrial.workspace import Workspace

if TYPE_CHECKING:
    from seatrial.calibration.types import RangesResult
    from seatrial.config import Config
    from seatrial.intake import Admitted
    from seatrial.options import JobOptions
    from seatrial.progress import Progress
    from seatrial.trial.build import Piece

#: Deadline of one hook call when nobody set one, seconds; a slow compiler extends it by progress.
CALL_TIMEOUT_S = 600.0
#: Memory ceiling of one hook call when nobody set one: this share of the machine's memory.
MEMORY_SHARE = 0.8
#: Verbs that use again what an earlier run in the same folder made.
REMEMBERING = ("run", "quantize")
#: Hooks whose answers are artefacts or choices, not measurements.
ARTEFACTS = frozenset(
    {
        "seatrial_check_static",
        "seatrial_compile_check",
        "seatrial_quantize",
        "seatrial_build",
        "seatrial_build_int8",
        "seatrial_transform_layout",
    }
)


class Clock:
    """The time that is left, when a command promised to end."""

    def __init__(self, budget_s: float | None = None) -> None:
        self.started = time.monotonic()
        self.budget_s = budget_s

    @property
    def reserve_s(self) -> float:
        """Seconds that are kept for judging and timing: optional work stops when fewer are left."""
        return 0.5 * self.budget_s if self.budget_s is not None else 0.0

    @property
    def left_s(self) -> float:
        """Seconds left, never below 0; infinite without a budget."""
        if self.budget_s is None:
            return float("inf")
        return max(0.0, self.budget_s - (time.monotonic() - self.started))

    def cap(self, wanted_s: float, *, least_s: float = 1.0) -> float:
        """At most what is left, but at least ``least_s`` so that a fault can still be told."""
        return max(least_s, min(wanted_s, self.left_s))


class Trial:
    """One command at work.

    Args:
        command: the verb, for the report.
        out: the output folder; ``.seatrial`` inside it holds objects, jobs and logs.
        jobs: how hook calls are run.
        config: the configuration.
        progress: where to say how far it is.
        budget_s: the command ends within this many seconds, or a little over.
    """

    def __init__(
        self,
        command: str,
        out: Path,
        *,
        jobs: JobOptions,
        config: Config,
        progress: Progress,
        budget_s: float | None = None,
    ) -> None:
        self.command = command
        self.out = out
        self.jobs = jobs
        self.config = config
        self.progress = progress
        self.clock = Clock(budget_s)
        self._fresh = not out.exists()
        self.workspace = Workspace(out / ".seatrial")
        self.remembers = command in REMEMBERING and not jobs.in_process
        self.memory = Memory(self.workspace, off=jobs.fresh)
        self.runner = Runner(
            self.workspace,
            environments=environments(config),
            in_process=jobs.in_process,
            progress=progress,
            allow_network=jobs.allow_network,
            memory=self.memory if self.remembers else None,
        )
        self.timings: list[dict[str, Any]] = []
        self.targets: list[TargetState] = []
        self.admitted: Admitted | None = None
        self.seed = 0
        #: of one inference where a target's own table does not say; 0: the runtime's choice
        self.threads = config.run.threads or 0
        #: named by a flag: they count for every target
        self.threads_flag = False
        #: what passes of calibration gave, in order
        self.calibrations: list[RangesResult] = []
        #: bytes per second that this machine copies; ``None``: not measured yet
        self.bandwidth: float | None = None
        #: samples per inference: the model's fixed batch, else 1
        self.batch = 1
        #: samples in the store that layout proof and benchmark are fed from
        self.samples_count = 0

    def __enter__(self) -> Trial:
        self.runner.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.runner.__exit__(kind, *rest)
        # What was refused leaves nothing of ours in a folder that was not there before.
        if kind is not None and issubclass(kind, UserError) and self._fresh:
            shutil.rmtree(self.out, ignore_errors=True)

    @property
    def model(self) -> Admitted:
        """The admitted model; only stages after intake may ask."""
        if self.admitted is None:
            raise RuntimeError("intake has not run")
        return self.admitted

    @property
    def usable(self) -> list[TargetState]:
        """Targets on which a compile may be tried."""
        return [t for t in self.targets if t.usable]

    @contextlib.contextmanager
    def stage(self, name: str, index: int, total: int) -> Iterator[None]:
        """Time a stage and show it."""
        started = time.monotonic()
        with self.progress.stage(name, index, total):
            try:
                yield
            finally:
                seconds = time.monotonic() - started
                self.timings.append({"stage": name, "seconds": round(seconds, 3)})

    def limits(self, state: TargetState | None = None, *, timeout_s: float = 0.0) -> Limits:
        """Deadline and memory ceiling of one call.

        Args:
            state: the target, whose own settings in the configuration win.
            timeout_s: what this kind of call is given; 0: the usual.
        """
        table = self.config.target(state.id) if state is not None else None
        wanted = (table.timeout_s if table else None) or self.jobs.timeout_s
        memory = (table.memory_mb if table else None) or self.jobs.memory_mb
        return Limits(
            timeout_s=self.clock.cap(wanted or timeout_s or CALL_TIMEOUT_S),
            memory_mb=memory or int(MEMORY_SHARE * total_memory_mb()),
        )

    def options(self, state: TargetState) -> Mapping[str, r.Option]:
        """The user's options for a target."""
        table = self.config.target(state.id)
        return table.options if table else {}

    def shapes_of(
        self, state: TargetState, typed: Mapping[str, tuple[int, ...]]
    ) -> dict[str, tuple[int, ...]]:
        """Shapes that the user fixed for a target: the flag's, then its own table's."""
        table = self.config.target(state.id)
        return {**(table.shapes if table else {}), **typed}

    def threads_of(self, state: TargetState) -> int:
        """CPU threads of one inference on a target: the flag, its own table, ``[run]``."""
        table = self.config.target(state.id)
        own = table.threads if table is not None and not self.threads_flag else None
        return own or self.threads

    def call(
        self,
        state: TargetState,
        hook: str,
        request: Any,
        refs: Sequence[r.Ref],
        *,
        timeout_s: float = 0.0,
    ) -> Outcome[Any]:
        """Call a hook of a target's backend with the target's limits and environment."""
        return self.runner.hook(
            state.plugin,
            hook,
            request,
            refs=refs,
            limits=self.limits(state, timeout_s=timeout_s),
            env=state.env,
            variables=state.variables(),
            remember=self.remembers and hook in ARTEFACTS,
        )

    def outputs(
        self,
        state: TargetState,
        piece: Piece,
        samples: r.Ref,
        indices: tuple[int, ...] | None = None,
        *,
        threads: int | None = None,
        taps: tuple[str, ...] = (),
        batch: int = 0,
        optimise: bool = True,
        remember: bool = False,
    ) -> Outcome[r.Ref]:
        """Run a target's artefact once over samples.

        Args:
            state: the target.
            piece: the artefact.
            samples: a sample store.
            indices: which samples; ``None``: all.
            threads: of one inference; ``None``: see :meth:`threads_of`.
            taps: inner ONNX tensors to give as well.
            batch: samples per inference; 0: the model's.
            optimise: as it ships; otherwise the graph as it is.
            remember: the outputs choose something, and may come from an earlier run.
        """
        load = piece.load(
            state,
            threads=self.threads_of(state) if threads is None else threads,
            optimise=optimise,
            options=self.options(state),
        )
        return self.runner.outputs(
            state.plugin,
            "seatrial_load",
            dataclasses.replace(load, taps=taps),
            samples,
            indices,
            batch=batch or self.batch,
            limits=self.limits(state),
            env=state.env,
            variables=state.variables(),
            remember=remember and self.remembers,
        )

    def open(
        self,
        state: TargetState,
        piece: Piece,
        *,
        threads: int | None = None,
        streams: int = 1,
        profile: bool = False,
        optimise: bool = True,
    ) -> Outcome[SessionHandle]:
        """Open a session on a target's artefact."""
        request = piece.load(
            state,
            threads=self.threads_of(state) if threads is None else threads,
            streams=streams,
            profile=profile,
            optimise=optimise,
            options=self.options(state),
        )
        return self.runner.open(
            state.plugin,
            "seatrial_load",
            request,
            refs=[piece.ref],
            limits=self.limits(state),
            env=state.env,
            variables=state.variables(),
        )

    def blame(self, state: TargetState, fault: r.Fault | None, *, decisive: bool = True) -> None:
        """Keep a fault with its target.

        Args:
            state: the target.
            fault: what happened; ``None`` does nothing.
            decisive: it ends work on the target; otherwise it only costs a part of the report.
        """
        if fault is None or self.runner.halted:
            return
        state.facts.setdefault("faults", []).append(fault)
        if decisive:
            state.blame(fault)


def configured(path: str, overrides: Mapping[str, Any]) -> Config:
    """The configuration a command uses: the file named, else the one beside, else none."""
    from seatrial.config import find, load

    return load(Path(path) if path else find(), overrides)


def environments(config: Config) -> dict[str, Any]:
    """The ``[env.NAME]`` tables as isolation wants them."""
    from seatrial.isolation import Environment

    return {
        name: Environment(
            name=name,
            python=table.python or None,
            launcher=tuple(table.launcher),
            variables=table.variables,
        )
        for name, table in config.environments.items()
    }


def total_memory_mb() -> int:
    """Physical memory of this machine, MiB."""
    import os

    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
