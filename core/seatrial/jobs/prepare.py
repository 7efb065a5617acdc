"""The directory of a job, and the command line and environment that start its child."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seatrial.codec import encode
from seatrial.registry import Plugin
from seatrial.results import Ref
from seatrial.workspace import Workspace

from . import guard
from .carry import carried
from .children import Spawn
from .faults import machine_memory_kb
from .identity import job_id, refs_in
from .outcome import Environment, Limits

_PACKAGE_ROOT = str(Path(__file__).parent.parent.parent)
_MEMORY_SHARE = 0.9
#: Jobs in which numpy multiplies nothing. OpenBLAS starts a thread per core as soon as it is
#: loaded, which doubles what importing numpy costs on two cores, and more on others. Sessions of
#: backends are not among them: one whose kernels are OpenBLAS's is timed with its threads.
_WITHOUT_BLAS = frozenset(
    {
        "seatrial_describe",
        "seatrial_probe",
        "seatrial_check_static",
        "seatrial_compile_check",
        "seatrial_transform_layout",
        "seatrial.reference:load",
        "seatrial.quantize.child:insert",
        "seatrial.quantize.form_child:form",
        "seatrial.export.child:describe",
        "seatrial.export.recipes_child:change",
        "seatrial.ladder.child:ready",
        "seatrial.data.child:materialise",
        "seatrial.calibration.child:ranges",
        "seatrial.trial.child:subset",
        "seatrial.trial.child:synthetic",
    }
)


@dataclass(frozen=True, kw_only=True)
class Call:
    """What is to be done, before it has a directory.

    Attributes:
        kind: ``hook``, ``task`` or ``session``.
        name: hook or task.
        request: its record; ``None`` for ``seatrial_describe``.
        plugin: ``None`` for core tasks.
        refs: objects it may read, besides those its request names.
        variables: added to the environment, configuration and description merged.
        network: it may use the network.
        user: it is the user's own code.
        versions: toolchain and driver, as the probe told them.
        remember: whether its result may be used again; a function of the result says so where
            that depends on how the job ended (in time, for instance).
    """

    kind: str
    name: str
    request: Any
    plugin: Plugin | None = None
    refs: Sequence[Ref] = ()
    limits: Limits = field(default_factory=Limits)
    where: Environment = field(default_factory=Environment)
    variables: Mapping[str, str] = field(default_factory=dict)
    network: bool = False
    user: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)
    remember: bool | Callable[[Any], bool] = False

    @property
    def own(self) -> bool:
        """It runs in our own interpreter."""
        python = self.where.python
        return not self.where.launcher and (not python or _same(python, sys.executable))

    @property
    def interpreter(self) -> str:
        """For people and for the job's identity."""
        if self.own:
            return sys.executable
        return shlex.join([*self.where.launcher, self.where.python or "python3"])

    def digests(self) -> list[str]:
        """All objects that it may read."""
        return sorted({r.sha256 for r in self.refs} | refs_in(encode(self.request)))


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A job that has its directory.

    Attributes:
        folder: the job's directory.
        job: the content of ``job.json``.
        log: where what it prints goes.
        log_name: the log, relative to the output folder.
    """

    call: Call
    folder: Path
    job: dict[str, Any]
    log: Path
    log_name: str

    @property
    def id(self) -> str:
        """The job's identity."""
        return str(self.job["id"])

    def spawn(self) -> Spawn:
        """How to start its child.

        Raises:
            OSError: the folder to carry cannot be made.
        """
        call = self.call
        memory_mb = call.limits.memory_mb
        memory_kb = memory_mb * 1024 if memory_mb else int(machine_memory_kb() * _MEMORY_SHARE)
        return Spawn(
            command=self._command(),
            environment=self._environment(),
            folder=self.folder / "scratch" / "cwd",
            log=self.log,
            nonce=self.job["nonce"],
            memory_kb=memory_kb,
            launched=bool(call.where.launcher),
        )

    def _command(self) -> list[str]:
        call = self.call
        tail = [str(self.folder), "--channel"]
        if not call.where.launcher:
            tail += ["--parent", str(os.getpid())]
        if call.own:
            return [sys.executable, "-m", "seatrial.worker", *tail]
        program = str(carried(call.plugin.value if call.plugin else None))
        return [*call.where.launcher, call.where.python or "python3", program, *tail]

    def _environment(self) -> dict[str, str]:
        call = self.call
        if call.where.launcher:
            # The launcher is not a plugin; the worker behind it clears its own environment.
            return {**os.environ, guard.MARKER: self.job["nonce"]}
        variables = guard.job_environment(
            os.environ,
            self.job["environment"],
            self.folder / "scratch",
            network=call.network,
            own_home=not call.user,
        )
        paths = [variables.get("PYTHONPATH", "")]
        if call.own and _PACKAGE_ROOT not in _site_folders():
            paths.insert(0, _PACKAGE_ROOT)
        variables.pop("PYTHONPATH", None)
        if any(paths):
            variables["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        return variables | {guard.MARKER: self.job["nonce"]}


def identity_of(call: Call) -> str:
    """The id of the job that a call becomes, see :func:`seatrial.jobs.identity.job_id`."""
    kept = {k: v for k, v in guard.allowed(os.environ).items() if k != guard.MARKER}
    return job_id(
        plugin=call.plugin,
        name=call.name,
        request=call.request,
        refs=[Ref(sha256=d, entry="") for d in call.digests()],
        environment={**kept, **call.where.variables, **call.variables},
        interpreter=call.interpreter,
        versions=call.versions,
    )


def prepare(workspace: Workspace, call: Call) -> Prepared:
    """Make the job's directory and write ``job.json`` into it.

    Raises:
        CodecError: the request holds something that cannot cross a process boundary.
    """
    variables = {**call.where.variables, **call.variables}
    identity = identity_of(call)
    folder = _new_folder(workspace.jobs, call, identity)
    log = workspace.logs / f"{folder.name}.log"
    job = {
        "schema": "seatrial.job/1",
        "id": identity,
        "nonce": secrets.token_hex(16),
        "kind": call.kind,
        "name": call.name,
        "plugin": {"id": call.plugin.id, "value": call.plugin.value} if call.plugin else None,
        "request": encode(call.request),
        "refs": {d: f"../../objects/{d}" for d in call.digests()},
        "environment": {**_quiet(call), **variables},
        "path": _extra_path() if call.own else [],
        "network": call.network,
        "user": call.user,
        "cwd": str(Path.cwd()) if call.user else "",
        "limits": {
            "memory_mb": call.limits.memory_mb,
            "address_space": call.limits.address_space,
        },
    }
    text = json.dumps(job, allow_nan=False, indent=1)
    (folder / "job.json").write_text(text, "utf-8", "surrogatepass")
    log_name = log.relative_to(workspace.root.parent).as_posix()
    return Prepared(call=call, folder=folder, job=job, log=log, log_name=log_name)


def _quiet(call: Call) -> dict[str, str]:
    """OpenBLAS without threads, unless the description or the user says otherwise."""
    return {"OPENBLAS_NUM_THREADS": "1"} if call.name in _WITHOUT_BLAS else {}


def _new_folder(jobs: Path, call: Call, identity: str) -> Path:
    words = [call.plugin.id] if call.plugin else []
    words += [call.name.removeprefix("seatrial_").removeprefix("seatrial."), identity[:12]]
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(words))
    for turn in range(1, 1_000_000):
        folder = jobs / (stem if turn == 1 else f"{stem}-{turn}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        for part in ("out", "scratch/home", "scratch/tmp", "scratch/cwd"):
            (folder / part).mkdir(parents=True)
        return folder
    raise FileExistsError(stem)


def _extra_path() -> list[str]:
    """Our own search path, in its order: what is imported here must be the same in a child.

    The folder that we were started in comes last: a file there must not stand in for a package.
    """
    entries = [str(Path(entry).absolute()) for entry in sys.path]
    here = str(Path.cwd())
    return sorted(entries, key=lambda entry: entry == here)


def _site_folders() -> set[str]:
    paths = sysconfig.get_paths()
    return {paths["purelib"], paths["platlib"]}


def _same(one: str, other: str) -> bool:
    return Path(one).absolute() == Path(other).absolute()
