"""The verbs in Python: the same work as the commands, and the same objects.

Example:
    >>> import seatrial                                                     # doctest: +SKIP
    >>> from seatrial.options import RunOptions                             # doctest: +SKIP
    >>> report = seatrial.run(RunOptions(model="m.onnx", data="photos"))    # doctest: +SKIP
    >>> report.verdict, report.exit_code                                    # doctest: +SKIP
    ('NOT PROVEN', 3)

Every verb raises :class:`seatrial.errors.UserError` when its input is refused. Faults of backends
are rows of the report, never exceptions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from seatrial.options import (
    AuditOptions,
    BackendsOptions,
    BenchOptions,
    CheckOptions,
    CompareOptions,
    DemoOptions,
    ExportOptions,
    InitOptions,
    NewBackendOptions,
    QatOptions,
    QuantizeOptions,
    ReportOptions,
    ReproOptions,
    RunOptions,
)
from seatrial.progress import NoProgress, Progress

if TYPE_CHECKING:
    from seatrial.compare.command import Comparison
    from seatrial.init.records import InitResult
    from seatrial.report import Report
    from seatrial.report.again import Rendered
    from seatrial.repro.command import Repro
    from seatrial.scaffold import NewBackendResult
    from seatrial.trial.setup import BackendsResult


def run(options: RunOptions, progress: Progress | None = None) -> Report:
    """The whole trial: check, layout, INT8, ladder, benchmark, verdict, report.

    An interrupt ends all children and gives the report as far as it came, marked interrupted.
    """
    from seatrial.trial.run import run as verb

    return verb(options, progress or NoProgress())


def check(options: CheckOptions, progress: Progress | None = None) -> Report:
    """Can this model compile? The answer of every backend, node by node."""
    from seatrial.trial.check import check as verb

    return verb(options, progress or NoProgress())


def export(options: ExportOptions, progress: Progress | None = None) -> Report:
    """From a PyTorch module to an ONNX model that is proven to compute the same."""
    from seatrial.trial.export import export as verb

    return verb(options, progress or NoProgress())


def quantize(options: QuantizeOptions, progress: Progress | None = None) -> Report:
    """The best portable INT8 model that the calibration data supports."""
    from seatrial.trial.quantize import quantize as verb

    return verb(options, progress or NoProgress())


def qat(options: QatOptions, progress: Progress | None = None) -> Report:
    """Fine-tune with fake quantisers, and write the Q/DQ model that was trained."""
    from seatrial.trial.qat import qat as verb

    return verb(options, progress or NoProgress())


def audit(options: AuditOptions, progress: Progress | None = None) -> Report:
    """Is this calibration set fit to calibrate on? Findings by image and by tensor."""
    from seatrial.trial.audit import audit as verb

    return verb(options, progress or NoProgress())


def bench(options: BenchOptions, progress: Progress | None = None) -> Report:
    """Models and targets side by side, in the same interleaved rounds."""
    from seatrial.trial.bench import bench as verb

    return verb(options, progress or NoProgress())


def init(options: InitOptions, progress: Progress | None = None) -> InitResult:
    """Write a commented ``seatrial.toml`` and a contact sheet of 9 inputs."""
    from seatrial.trial.setup import init as verb

    return verb(options, progress or NoProgress())


def backends(options: BackendsOptions, progress: Progress | None = None) -> BackendsResult:
    """What is installed, what is missing, and how to get it."""
    from seatrial.trial.setup import backends as verb

    return verb(options, progress or NoProgress())


def demo(options: DemoOptions, progress: Progress | None = None) -> list[Report]:
    """Train a small net on real digits and try it twice: one SHIP, one DO NOT SHIP."""
    from seatrial.trial.demo import demo as verb

    return verb(options, progress or NoProgress())


def new_backend(options: NewBackendOptions) -> NewBackendResult:
    """Write a vendor package that passes the conformance kit, ready to edit."""
    from seatrial.scaffold import new_backend as verb

    return verb(options)


def compare(options: CompareOptions) -> Comparison:
    """What got better or worse between two reports, beyond noise."""
    from seatrial.compare.command import compare as verb

    return verb(options)


def report(options: ReportOptions) -> Rendered:
    """A finished report in other forms, or fit to be shared; nothing runs."""
    from seatrial.report.again import report as verb

    return verb(options)


def repro(options: ReproOptions, progress: Progress | None = None) -> Repro:
    """The smallest model that a target refuses, or dies of, in the same way."""
    from seatrial.repro.command import repro as verb

    return verb(options, progress or NoProgress())
