"""The one place where sessions are created, and what the runtime's own errors mean."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seatrial.errors import UserError
from seatrial.results import Option

from ._targets import CPU, Provider

#: Session settings a user may pass through as options of a target. Settings that name files are
#: not among them.
PASSED_THROUGH = (
    "session.intra_op.",
    "session.inter_op.",
    "session.set_denormal_as_zero",
    "session.disable_prepacking",
    "session.disable_quant_qdq",
    "session.disable_double_qdq_remover",
    "session.enable_quant_qdq_cleanup",
    "session.force_spinning_stop",
    "session.qdqisint8allowed",
    "session.x64quantprecision",
    "optimization.",
    "mlas.",
)

#: Prefix of options that go to the execution provider itself.
PROVIDER_OPTION = "provider."

#: Options that other hooks of this backend read.
OWN_OPTIONS = ("reduce_range",)

#: Words by which the runtime reports that memory ran out: no verdict on the model.
_MEMORY = re.compile(r"bad_alloc|[Ff]ailed to allocate|out of memory|OUT_OF_MEMORY")

#: Parts of the runtime's messages that tell a reader nothing: status codes, and the places in
#: its own source code.
_NOISE = re.compile(
    r"\[ONNXRuntimeError\] : -?\d+ : [A-Z_]+ : |Load model from .*? failed:|"
    r"Exception during initialization: |/onnxruntime_src/\S+:\d+ .*?\) (?=[A-Z'\[])|"
    r"\w+\.cc:\d+ \w+ |Fatal error: |This is an invalid model\. (Error: )?|"
    r"\n*==> Context: .*",
    re.S,
)
_UNRELEASED = re.compile(
    r"Opset (\d+) is under development.*official support for domain (\S+) is till opset (\d+)",
    re.S,
)


@dataclass(frozen=True)
class Setup:
    """How a session is to be created.

    Attributes:
        provider: the execution provider; the CPU always stands behind it.
        pin_fp32: keep the provider from computing below float32.
        threads: threads inside one operator, 0: the runtime's choice.
        options: the user's options of the target.
        optimised: where to write the optimised graph.
        profile: prefix of the profile file.
        level: how far the graph is optimised, ``""``: all the way.
        config: further session settings.
    """

    provider: Provider
    pin_fp32: bool = False
    threads: int = 0
    options: Mapping[str, Option] = field(default_factory=dict)
    optimised: Path | None = None
    profile: Path | None = None
    level: str = ""
    config: Mapping[str, str] = field(default_factory=dict)


def errors(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """Every exception by which session creation says no, and those given."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [
        kind
        for kind in vars(state).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    ]
    return (*own, RuntimeError, ValueError, *more)


def open_session(model: Path | bytes, setup: Setup, folder: Path | None = None) -> Any:
    """Create a session on the provider with the CPU behind it, and with nothing hidden.

    The Python wrapper's own retry on the CPU alone is switched off, so that a provider's failure
    is seen.

    Args:
        model: a file, or a serialised model.
        setup: see :class:`Setup`.
        folder: where the external data of a serialised model lie.

    Raises:
        MemoryError: the runtime ran out of memory: that says nothing about the model.
        Exception: one of :func:`errors`: the runtime refused.
    """
    import onnxruntime as ort

    options = _session_options(setup)
    if folder is not None:
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(folder)
        )
    names: list[Any] = [(setup.provider.name, _provider_options(setup))]
    if setup.provider.name != CPU:
        names.append(CPU)
    source = model if isinstance(model, bytes) else os.fspath(model)
    try:
        return ort.InferenceSession(source, options, providers=names, enable_fallback=0)
    except errors() as error:
        if _MEMORY.search(str(error)):
            raise MemoryError(plain(error)) from None
        raise


def _session_options(setup: Setup) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = setup.threads
    levels = {
        "": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
        "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    }
    options.graph_optimization_level = levels[setup.level]
    if setup.optimised is not None:
        options.optimized_model_filepath = os.fspath(setup.optimised)
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name",
            setup.optimised.with_suffix(".weights").name,
        )
    if setup.profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = os.fspath(setup.profile)
    entries = {"session.record_ep_graph_assignment_info": "1", **setup.config}
    for key, value in (entries | _passed_through(setup.options)).items():
        options.add_session_config_entry(key, value)
    return options


def _passed_through(options: Mapping[str, Option]) -> dict[str, str]:
    entries = {}
    for key, value in options.items():
        if key.startswith(PASSED_THROUGH):
            entries[key] = str(int(value)) if isinstance(value, bool) else str(value)
        elif not key.startswith(PROVIDER_OPTION) and key not in OWN_OPTIONS:
            known = ", ".join((*PASSED_THROUGH, PROVIDER_OPTION + "*", *OWN_OPTIONS))
            raise UserError(f"option {key}", "not known to this backend", advice=f"known: {known}")
    return entries


def _provider_options(setup: Setup) -> dict[str, str]:
    pinned = dict(setup.provider.fp32) if setup.pin_fp32 else {}
    own = {
        key.removeprefix(PROVIDER_OPTION): str(value)
        for key, value in setup.options.items()
        if key.startswith(PROVIDER_OPTION)
    }
    return own | pinned


def missing(provider: Provider, session: Any | None = None) -> str:
    """Why a provider is not there, ``""`` when it is.

    A provider whose libraries fail to load is dropped by the runtime with no more than a line in
    its log, so a session is asked which providers it kept.
    """
    import onnxruntime as ort

    if provider.name not in ort.get_available_providers():
        return f"the installed onnxruntime {ort.__version__} carries no {provider.name}"
    if session is not None and provider.name not in session.get_providers():
        return f"{provider.name} is in the wheel, but its libraries or its device did not answer"
    return ""


def plain(error: BaseException) -> str:
    """The runtime's reason in one line, without its source paths."""
    text = str(error).strip()
    unreleased = _UNRELEASED.search(text)
    if unreleased:
        version, domain, newest = unreleased.groups()
        return f"opset {version} of {domain} is not released; this runtime knows up to {newest}"
    before = ""
    while before != text:
        before, text = text, _NOISE.sub("", text).strip() or text
    text = " ".join(text.split())
    return text if len(text) <= 400 else text[:397] + "..."
