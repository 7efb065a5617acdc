"""What each verb takes.

The command line builds these records from flags and the Python functions of :mod:`seatrial.api`
take them, so both sides agree on one set of names. ``None`` (or an empty text or tuple) always
means "the user did not say": the configuration file may fill it, then the default does.
Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from .codec import record
from .sla import SLA as SLA  # noqa: PLC0414  # callers build options of it
from .sla import LatencyLimit as LatencyLimit  # noqa: PLC0414


@record
class JobOptions:
    """How hook calls are run; the same for every verb that makes any.

    Attributes:
        timeout_s: deadline of one hook call.
        memory_mb: ceiling of one hook call's resident memory.
        in_process: run plugins inside this process, for a vendor with a debugger.
        allow_network: targets whose children may use the network (a licence server).
        fresh: use nothing that an earlier run in the same folder made.
    """

    timeout_s: float | None = None
    memory_mb: int | None = None
    in_process: bool = False
    allow_network: tuple[str, ...] = ()
    fresh: bool = False


@record
class RunOptions:
    """Options of ``seatrial run``.

    Attributes:
        model: path of the model, or ``MODULE:FACTORY``.
        weights: a checkpoint to load into what the factory gives.
        trust_pickle: loading it may run the code that a pickle carries.
        calibration: data source for ranges, as typed.
        test: data source that judges, as typed.
        data: one source to be split in two instead.
        out: output folder.
        targets: as typed after ``-b``; these decide.
        all_targets: also run the targets that are not default.
        config: path of ``seatrial.toml``; ``""``: the one beside the working folder, if any.
        quick: end within two minutes.
        qdq: Q/DQ models of this float model that go forward instead of the bake-off's winner.
        threads: CPU threads for one inference.
        force_synthetic: go on without real data, without a verdict better than NOT PROVEN.
        shapes: static shape by input name.
        all_int8: leave no layer in float to recover accuracy or speed; diagnose only.
        command_line: as typed, for the report.
    """

    model: str
    calibration: str = ""
    test: str = ""
    data: str = ""
    out: str = ""
    targets: tuple[str, ...] = ()
    all_targets: bool = False
    sla: SLA = SLA()
    config: str = ""
    quick: bool = False
    qdq: tuple[str, ...] = ()
    seed: int | None = None
    threads: int | None = None
    force_synthetic: bool = False
    weights: str = ""
    trust_pickle: bool = False
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    jobs: JobOptions = JobOptions()
    all_int8: bool = False
    command_line: tuple[str, ...] = ()


@record
class CheckOptions:
    """Options of ``seatrial check``: one model; the command calls the verb once per model.

    Attributes:
        model: an ONNX file; ``""``: the configuration's.
        strict: a partial build of a required target is a failure.
        deep: no budget.
        budget_s: seconds per target before a deeper stage is not begun (default 30).
        out: folder for logs and artefacts; ``""``: a temporary one, kept if anything faulted.
    """

    model: str = ""
    targets: tuple[str, ...] = ()
    all_targets: bool = False
    strict: bool = False
    deep: bool = False
    budget_s: float | None = None
    out: str = ""
    config: str = ""
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    jobs: JobOptions = JobOptions()
    command_line: tuple[str, ...] = ()


@record
class ExportOptions:
    """Options of ``seatrial export``.

    Attributes:
        model: ``MODULE:FACTORY``, ``FILE.py:FACTORY``, a ``.pt2`` program, a TorchScript archive.
        out: the ONNX file to write.
        data: samples for the parity gate; ``""``: noise, and the gate proves nothing.
        weights: a checkpoint to load into what the factory gives.
        trust_pickle: loading may run the code that a pickle carries.
        shapes: shape of an input with its batch axis, where no sample tells it.
        dynamic: ``batch`` or ``INPUT:AXIS,AXIS``; empty: static, batch 1.
        opset: asked for; ``None``: from the targets' ranges.
        routes: exporters to try; empty: all.
        translations: ``MODULE:TABLE`` of custom operator translations.
        recipes: changes of the exported graph, in order, see :mod:`seatrial.export.recipes`.
        samples: how many at most.
    """

    model: str
    out: str
    data: str = ""
    weights: str = ""
    trust_pickle: bool = False
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    dynamic: tuple[str, ...] = ()
    opset: int | None = None
    routes: tuple[str, ...] = ()
    translations: str = ""
    recipes: tuple[str, ...] = ()
    samples: int | None = None
    targets: tuple[str, ...] = ()
    all_targets: bool = False
    config: str = ""
    seed: int | None = None
    jobs: JobOptions = JobOptions()
    command_line: tuple[str, ...] = ()


@record
class QuantizeOptions:
    """Options of ``seatrial quantize``.

    Attributes:
        out: the ONNX file to write, with Q/DQ pairs.
        targets: whose Q/DQ dialect and quantizers count.
        methods: what the core tries first, by name; empty: its own choice and the backends'
            quantizers.
        ranges: a calibration table that an earlier command wrote: its ranges are used, and the
            samples only judge. With neither samples nor ``methods``, one candidate is written
            unmeasured.
    """

    model: str
    out: str
    calibration: str = ""
    ranges: str = ""
    methods: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    all_targets: bool = False
    config: str = ""
    seed: int | None = None
    force_synthetic: bool = False
    jobs: JobOptions = JobOptions()
    all_int8: bool = False
    command_line: tuple[str, ...] = ()


@record
class QatOptions:
    """Options of ``seatrial qat``.

    Attributes:
        model: ``MODULE:FACTORY``, or a float ONNX model.
        train: ``MODULE:CALLABLE`` that gives a loader or a data set.
        loss: ``MODULE:CALLABLE``, called with outputs and targets.
        validation: a loader of the samples that choose the epoch; ``""``: ``share`` of the first.
        out: folder for models, checkpoints and report.
        weights: a checkpoint to load into what the factory gives.
        trust_pickle: loading it may run the code that a pickle carries.
        layers: ``all`` or ``weighted``, see :class:`seatrial.qat.records.Settings`.
        fixed_ranges: the ranges of activations stay as calibrated.
        fresh: do not go on from a checkpoint.
        targets: whose Q/DQ dialect is trained for; one that is only named counts too.
    """

    model: str
    train: str
    loss: str
    calibration: str = ""
    validation: str = ""
    out: str = ""
    weights: str = ""
    trust_pickle: bool = False
    epochs: int | None = None
    lr: float | None = None
    schedule: str = ""
    layers: str = ""
    fixed_ranges: bool = False
    share: float | None = None
    batch: int | None = None
    threads: int | None = None
    fresh: bool = False
    targets: tuple[str, ...] = ()
    all_targets: bool = False
    config: str = ""
    seed: int | None = None
    force_synthetic: bool = False
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    jobs: JobOptions = JobOptions()
    command_line: tuple[str, ...] = ()


@record
class AuditOptions:
    """Options of ``seatrial audit``.

    Attributes:
        calibration: the set that is reviewed, as typed.
        test: held-out samples to compare with; their labels are never opened.
        train: training data, for overlap.
        model: an ONNX file whose behaviour is looked at; ``""``: the samples alone.
        force_synthetic: go on with random data, and mark it.
    """

    calibration: str = ""
    test: str = ""
    train: str = ""
    model: str = ""
    config: str = ""
    seed: int | None = None
    force_synthetic: bool = False
    jobs: JobOptions = JobOptions()
    command_line: tuple[str, ...] = ()


@record
class BenchOptions:
    """Options of ``seatrial bench``.

    Attributes:
        models: one or more; all are timed in the same interleaved rounds.
        data: what is fed; ``""``: synthetic inputs, and the report says so.
        streams: calls in flight, timed beside one at a time; ``None``: one per CPU.
        seconds: how long to measure each artefact, about.
    """

    models: tuple[str, ...]
    data: str = ""
    targets: tuple[str, ...] = ()
    all_targets: bool = False
    sla: SLA = SLA()
    out: str = ""
    config: str = ""
    quick: bool = False
    threads: int | None = None
    streams: int | None = None
    seconds: float | None = None
    seed: int | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    jobs: JobOptions = JobOptions()
    command_line: tuple[str, ...] = ()


@record
class InitOptions:
    """Options of ``seatrial init``: write a commented configuration and a contact sheet.

    Attributes:
        out: the configuration file to write; ``""``: ``seatrial.toml``.
        force: write over a file that exists.
    """

    model: str
    data: str = ""
    out: str = ""
    force: bool = False
    jobs: JobOptions = JobOptions()


@record
class DemoOptions:
    """Options of ``seatrial demo``."""

    out: str = ""
    quick: bool = False
    targets: tuple[str, ...] = ()
    jobs: JobOptions = JobOptions()
    command_line: tuple[str, ...] = ()


@record
class BackendsOptions:
    """Options of ``seatrial backends``: ``probe=False`` only lists what is installed."""

    probe: bool = True
    config: str = ""
    jobs: JobOptions = JobOptions()


@record
class NewBackendOptions:
    """Options of ``seatrial new-backend``.

    Attributes:
        name: the backend's id.
        out: the package's folder; ``""``: ``seatrial-NAME`` in the working folder.
        title: the toolchain's own name; ``""``: made from the id.
        vendor: who makes it; ``""``: the title.
    """

    name: str
    out: str = ""
    title: str = ""
    vendor: str = ""


@record
class CompareOptions:
    """Options of ``seatrial compare``.

    Attributes:
        old: the baseline: a ``report.json``, a trial folder, or a folder of either.
        new: what is compared with it, likewise.
        latency_tolerance: percent that a median may grow although the intervals do not meet.
        memory_tolerance: percent that peak memory or an artefact's size may grow.
        accuracy_tolerance: the whole interval of a drop must lie above it, in the metric's unit.
        fail_on: areas that decide the exit code; empty: all that both reports hold.
    """

    old: str
    new: str
    latency_tolerance: float = 5.0
    memory_tolerance: float = 5.0
    accuracy_tolerance: float = 0.0
    fail_on: tuple[str, ...] = ()


@record
class ReportOptions:
    """Options of ``seatrial report``.

    Attributes:
        source: a trial's folder or a ``report.json``.
        forms: of :data:`seatrial.report.formats.FORMS`; ``("all",)``; empty: none, or html,
            markdown and json when it is shared.
        share: ``internal``, ``customer`` or ``public``.
        out: folder to write into; ``-``: write nothing.
    """

    source: str
    forms: tuple[str, ...] = ()
    share: str = "internal"
    out: str = ""


@record
class ReproOptions:
    """Options of ``seatrial repro``.

    Attributes:
        model: an ONNX file.
        target: ``BACKEND[@ENV][:TARGET]``.
        out: output folder; ``""``: beside the current folder's files, named after the model.
        budget_s: seconds for the search; 0: the usual.
        shapes: static shapes of the model's inputs.
    """

    model: str
    target: str
    out: str = ""
    budget_s: float = 0.0
    config: str = ""
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    jobs: JobOptions = field(default_factory=JobOptions)
