"""The contract that a backend implements.

Each hook is a pluggy spec *and* a :class:`typing.Protocol`: pluggy checks argument names when the
plugin registers, a type checker checks the types (``_: CompileCheck = my_module``), and the strict
decoder checks what really came back. A hook that is left out means "not offered".
Every hook runs in a child process of its own; ``job`` (which an implementation may leave out of
its arguments) resolves references, names the folder for new files, and reports progress.
Standard library and pluggy only, Python 3.10 and newer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pluggy

from . import results as r

#: Name of the pluggy project and of the entry-point group.
PROJECT = "seatrial"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Job(Protocol):
    """What a hook implementation may use of the job it runs in."""

    @property
    def out(self) -> Path:
        """An empty folder: files that an :class:`~seatrial.results.Artifact` names go here."""

    @property
    def scratch(self) -> Path:
        """A folder for anything else; gone after the job."""

    def path(self, ref: r.Ref) -> Path:
        """Where the entry file (or folder) of a referenced object lies; it is read-only.

        Raises:
            KeyError: the object is not part of this job.
        """

    def progress(self, text: str, fraction: float | None = None) -> None:
        """Say how far the work is (fraction 0 to 1); each call extends the soft deadline."""


@runtime_checkable
class Session(Protocol):
    """A loaded artefact: the one live object of the contract. It never leaves its child.

    Two attributes are optional. ``streams`` (int): how many calls of ``run`` it takes at once,
    from as many threads; without it one, and throughput is not measured. ``copied_ns`` (int):
    nanoseconds that the last call spent on copies between host and device; without it they are
    part of the latency and nobody tells them apart.
    """

    def run(self, feeds: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run once.

        Args:
            feeds: numpy arrays by input name, batch axis included, C-contiguous.

        Returns:
            numpy arrays by output name (and by tap name), valid until the next call.
        """

    def ran(self) -> r.Ran:
        """What really ran so far: device, and per layer precision, layout and kernel."""

    def close(self) -> None:
        """Free everything; calling it twice does no harm."""


class Describe(Protocol):
    """Mandatory."""

    @hookspec(firstresult=True)
    def seatrial_describe(self) -> r.Description:
        """Say who this backend is, without importing its toolchain."""


class Probe(Protocol):
    """Mandatory."""

    @hookspec(firstresult=True)
    def seatrial_probe(self, request: r.ProbeRequest, job: Job) -> r.Availability:
        """Say whether one target can be used here, with versions, or why not."""


class CheckStatic(Protocol):
    """Buys an answer where the toolchain is missing, and the claimed column."""

    @hookspec(firstresult=True)
    def seatrial_check_static(self, request: r.CheckRequest, job: Job) -> r.StaticReport:
        """Say what tables know of each node. Never compiles, never says ``supported``."""


class CompileCheck(Protocol):
    """Mandatory."""

    @hookspec(firstresult=True)
    def seatrial_compile_check(self, request: r.CheckRequest, job: Job) -> r.CompileReport:
        """Ask the real compiler, and name every node that it refuses or places elsewhere."""


class TransformLayout(Protocol):
    """Buys the layout comparison; the core proves the equivalence and measures both."""

    @hookspec(firstresult=True)
    def seatrial_transform_layout(self, request: r.LayoutRequest, job: Job) -> r.LayoutResult:
        """Give the model with its image inputs in the wanted layout.

        Where the compiler does not take the form, raise :class:`seatrial.models.RefusedError`.
        """


class Quantize(Protocol):
    """Buys a candidate in the bake-off for backends that bring a quantizer."""

    @hookspec(firstresult=True)
    def seatrial_quantize(self, request: r.QuantizeRequest, job: Job) -> r.Quantized:
        """Give a portable ONNX model with Q/DQ pairs."""


class BuildFloat(Protocol):
    """Buys the ``device-float`` rung."""

    @hookspec(firstresult=True)
    def seatrial_build(self, request: r.BuildRequest, job: Job) -> r.Build:
        """Give the target's float artefact and state its precision.

        In a build hook raise :class:`seatrial.models.RefusedError` where the compiler does not
        take the model: forms that no compile-check was asked of (camera frames, another layout,
        free shapes) are built as well, and of these a refusal is an answer with its findings. Of
        the model that the compile-check took it is a fault: the two disagree.
        """


class BuildInt8(Protocol):
    """Buys the ``device-int8`` rung."""

    @hookspec(firstresult=True)
    def seatrial_build_int8(self, request: r.Int8Request, job: Job) -> r.Int8Build:
        """Give the target's own INT8 artefact, and say which nodes stayed float.

        Refusals as for ``seatrial_build``.
        """


class Load(Protocol):
    """Buys accuracy and latency: the core runs and times what is loaded."""

    @hookspec(firstresult=True)
    def seatrial_load(self, request: r.LoadRequest, job: Job) -> Session:
        """Give a live session."""


class Benchmark(Protocol):
    """Optional, for devices that the core's loop cannot reach."""

    @hookspec(firstresult=True)
    def seatrial_benchmark(self, request: r.BenchmarkRequest, job: Job) -> r.BenchmarkSamples:
        """Give raw latencies."""


#: Every spec class; ``add_all`` registers them.
SPECS = (
    Describe,
    Probe,
    CheckStatic,
    CompileCheck,
    TransformLayout,
    Quantize,
    BuildFloat,
    BuildInt8,
    Load,
    Benchmark,
)

#: hook name -> (request type or None, result type or None for a live session)
HOOKS: Mapping[str, tuple[type[Any] | None, type[Any] | None]] = {
    "seatrial_describe": (None, r.Description),
    "seatrial_probe": (r.ProbeRequest, r.Availability),
    "seatrial_check_static": (r.CheckRequest, r.StaticReport),
    "seatrial_compile_check": (r.CheckRequest, r.CompileReport),
    "seatrial_transform_layout": (r.LayoutRequest, r.LayoutResult),
    "seatrial_quantize": (r.QuantizeRequest, r.Quantized),
    "seatrial_build": (r.BuildRequest, r.Build),
    "seatrial_build_int8": (r.Int8Request, r.Int8Build),
    "seatrial_load": (r.LoadRequest, None),
    "seatrial_benchmark": (r.BenchmarkRequest, r.BenchmarkSamples),
}

#: Without these three a backend is not a backend.
MANDATORY = ("seatrial_describe", "seatrial_probe", "seatrial_compile_check")


def plugin_manager() -> pluggy.PluginManager:
    """A plugin manager that knows every hook and loads nothing."""
    manager = pluggy.PluginManager(PROJECT)
    for spec in SPECS:
        manager.add_hookspecs(spec)
    return manager
