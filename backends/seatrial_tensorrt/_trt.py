"""TensorRT itself: import, logger, and what differs between its versions 10 and 11.

Members are asked for by name and tested for: enumeration numbers moved between the two, and 11
has no precision flags any more.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

from . import _plugins
from ._cuda import NO_DEVICE, CudaError, Driver, Gpu, kernel_module
from ._targets import INSTALL, core, options
from ._versions import distributions, parse, present

OLDEST = (10, 0)

#: Lines of the logger that are kept.
_KEPT = 200

_SEVERE = ("INTERNAL_ERROR", "ERROR")


class NotHereError(RuntimeError):
    """A target cannot be used here.

    Args:
        missing: what is: ``package``, ``library``, ``version``, ``driver``, ``device``,
            ``builder`` or ``dla``.
        reason: in one line.
        hint: what to do about it.
    """

    def __init__(self, missing: str, reason: str, hint: str) -> None:
        self.missing = missing
        self.hint = hint
        super().__init__(reason)


@dataclass
class Log:
    """What TensorRT said: severity and text, repeated lines once."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    #: Errors before this line belong to something that went on.
    begin: int = 0

    def add(self, severity: str, text: str) -> None:
        """Keep a line, and print it into the job's log."""
        print(f"[TensorRT {severity}] {text}", file=sys.stderr)  # noqa: T201 - the job's log
        if (severity, text) not in self.lines[self.begin :] and len(self.lines) < _KEPT:
            self.lines.append((severity, text))

    def errors(self) -> list[str]:
        """Errors since the last mark: the only reason there is for a build that gave nothing."""
        return [text for severity, text in self.lines[self.begin :] if severity in _SEVERE]

    def mark(self) -> None:
        """What was said so far explains nothing of what comes."""
        self.begin = len(self.lines)

    def warnings(self) -> list[str]:
        """The warnings, oldest first."""
        return [text for severity, text in self.lines if severity == "WARNING"]


def import_tensorrt() -> Any:
    """The module.

    Raises:
        NotHereError: there is none, its libraries cannot be loaded, or it is too old.
    """
    if not present():
        raise NotHereError("package", "the Python package tensorrt is not installed", INSTALL)
    try:
        import tensorrt as trt
    except (ImportError, OSError) as error:
        told = ", ".join(f"{k} {v}" for k, v in distributions().items()) or "of unknown version"
        raise NotHereError(
            "library",
            f"the package tensorrt ({told}) is here, but a library of it cannot be loaded: {error}",
            "install libraries of the same version: pip install tensorrt-cu13 (or tensorrt-cu12), "
            "or put the folder of libnvinfer on LD_LIBRARY_PATH",
        ) from None
    version = str(getattr(trt, "__version__", ""))
    if parse(version) < OLDEST:
        raise NotHereError(
            "version",
            f"TensorRT {version or 'of unknown version'} is too old: 10 and 11 are spoken here",
            INSTALL,
        )
    return trt


def find_driver() -> Driver:
    """The driver, with at least one device.

    Raises:
        NotHereError: there is no driver, it does not start, or it sees no device.
    """
    try:
        driver = Driver()
        count = driver.count()
    except CudaError as error:
        if error.code == NO_DEVICE:
            raise _no_device() from None
        reason = "there is no NVIDIA driver" if not error.code else "the NVIDIA driver fails"
        hint = "install NVIDIA's driver; in a container, start it with --gpus all"
        raise NotHereError("driver", f"{reason}: {error}", hint) from None
    if not count:
        raise _no_device()
    return driver


def _no_device() -> NotHereError:
    hint = "see that the GPU is visible: nvidia-smi, CUDA_VISIBLE_DEVICES, --gpus of a container"
    return NotHereError("device", "the NVIDIA driver sees no GPU", hint)


def make_logger(trt: Any, log: Log) -> Any:
    """A logger that keeps what is said."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            name = str(getattr(severity, "name", severity)).rpartition(".")[2]
            if name in (*_SEVERE, "WARNING"):
                log.add(name, " ".join(str(msg).split()))

    return Logger()


class Toolkit:
    """TensorRT on this machine, ready for one target.

    Args:
        target: target id.
        given: the user's options for it.
        builds: an engine is to be built; a session needs no builder, which takes seconds to make.

    Raises:
        NotHereError: it cannot be used here.
        UserError: no such target, a wrong option, or a plugin library that is none.
    """

    def __init__(self, target: str, given: Any = (), *, builds: bool = True) -> None:
        self.core = core(target)
        self.options = options(dict(given))
        self.trt = import_tensorrt()
        self.driver = find_driver()
        self.gpu: Gpu = self.driver.gpu()
        self.log = Log()
        self.logger = make_logger(self.trt, self.log)
        self.notes = _plugins.load(self.trt, self.logger, self.options.plugins)
        self.builder: Any = self._builder() if builds else None

    def _builder(self) -> Any:
        trt = self.trt
        try:
            builder = trt.Builder(self.logger)
        except (TypeError, RuntimeError) as error:
            said = "; ".join(self.log.errors()[-2:]) or str(error)
            if self.major >= 11 and parse(self.driver.version) < (13, 0):
                said += f"; it needs a driver for CUDA 13, this one serves {self.driver.version}"
            raise NotHereError(
                "builder",
                f"TensorRT {self.version} makes no builder on {self.gpu}: {said}",
                "see that this TensorRT serves the GPU and the driver its CUDA version: " + INSTALL,
            ) from None
        if self.core is not None and self.core >= builder.num_DLA_cores:
            raise NotHereError(
                "dla",
                f"{self.gpu.name} has {builder.num_DLA_cores or 'no'} DLA cores",
                "a DLA is part of Jetson Xavier and Orin and of DRIVE",
            )
        return builder

    @property
    def version(self) -> str:
        """As the module tells it."""
        return str(self.trt.__version__)

    @property
    def major(self) -> int:
        """10 or 11."""
        return parse(self.version)[0]

    def versions(self) -> dict[str, str]:
        """All that an engine depends on: TensorRT, driver, and kind of GPU."""
        return {"tensorrt": self.version, **machine(self.driver)}


def machine(driver: Driver) -> dict[str, str]:
    """Driver and kind of GPU, as versions."""
    gpu = driver.gpu()
    found = {
        "CUDA of the driver": driver.version,
        "GPU": gpu.name,
        "SM": f"{gpu.sm[0]}.{gpu.sm[1]}",
    }
    module = kernel_module()
    return found | ({"NVIDIA driver": module} if module else {})
