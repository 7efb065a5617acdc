"""A live session: what the core runs and times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.results import LoadRequest, Ran, TargetKind

from . import _model, _ort, _profile
from ._build import accepted
from ._placement import placed
from ._probe import cpu_name
from ._targets import CPU, provider


def load(request: LoadRequest, job: Job) -> OrtSession:
    """Answer ``seatrial_load``.

    Threads spin within a run, as in production, and stop when it returns: the sessions of other
    backends that are measured in turns are not disturbed.

    Raises:
        UserError: the artefact is no ONNX model, or a tap is no tensor of the main graph.
        RuntimeError: the provider is missing, or the runtime refuses the model.
    """
    if request.format != "onnx":
        raise UserError("artifact", f"this backend loads ONNX models, not {request.format!r}")
    path = job.path(request.artifact)
    setup = _ort.Setup(
        provider=provider(request.target),
        pin_fp32=request.precision == "fp32",
        threads=request.threads,
        options=request.options,
        level="" if request.optimise else "none",
        config={"session.force_spinning_stop": "1"},
    )
    if not request.taps and not request.profile:
        return OrtSession(accepted(path, setup), setup, request, path, None)
    model = _model.read(path)
    places: list[_model.Place] = []
    if request.profile:
        model, places = _model.marked(model)
        dump = None if setup.provider.compiles else job.scratch / "profiled.onnx"
        setup = replace(setup, profile=job.scratch / "profile", optimised=dump)
    _tap(model, request.taps)
    session = accepted(model.SerializeToString(), setup, path.parent)
    return OrtSession(session, setup, request, path, places if request.profile else None)


def _tap(model: Any, taps: tuple[str, ...]) -> None:
    """Add inner tensors to the outputs; the runtime fills in their types."""
    made = {name for node in model.graph.node for name in node.output}
    made |= {v.name for v in model.graph.input} | {t.name for t in model.graph.initializer}
    present = {v.name for v in model.graph.output}
    for name in taps:
        if name not in made:
            raise UserError("taps", "no tensor of the model's main graph", place=name)
        if name not in present:
            present.add(name)
            model.graph.output.add().name = name


class OrtSession:
    """The session of the contract over the runtime's.

    Args:
        session: the runtime's session.
        setup: how it was created.
        request: what was asked for.
        path: the artefact.
        places: the artefact's nodes, when they carry marks in the session.
    """

    def __init__(
        self,
        session: Any,
        setup: _ort.Setup,
        request: LoadRequest,
        path: Path,
        places: list[_model.Place] | None,
    ) -> None:
        self._session: Any = session
        self._setup = setup
        self._request = request
        self._path = path
        self._places = places
        self._names: list[str] = [o.name for o in session.get_outputs()]
        self._plain = all(o.type in _model.NUMPY_TYPES for o in session.get_outputs())
        self._plain &= all(o.type != "tensor(string)" for o in session.get_outputs())
        self._ran: Ran | None = None
        #: calls at once: the runtime's sessions may be shared by threads
        self.streams = request.streams

    def run(self, feeds: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run once; sequences and maps come back as arrays where they are rectangular."""
        values = self._session.run(self._names, dict(feeds))
        if not self._plain:
            values = [as_array(n, v) for n, v in zip(self._names, values, strict=True)]
        return dict(zip(self._names, values, strict=True))

    def ran(self) -> Ran:
        """Where each node runs; with ``profile`` also each layer's precision, layout and time."""
        if self._ran is None:
            self._ran = self._look()
        return self._ran

    def _look(self) -> Ran:
        chosen = self._setup.provider
        notes: tuple[str, ...] = ()
        layers: tuple[Any, ...] = ()
        session, places = self._session, self._places
        if places is not None:
            layers = _profile.layers(session, places, self._path, self._setup.optimised)
        else:
            notes = ("layers are told by a session with profile only",)
            session, places = self._twin()
        result = placed(session, places, chosen, by_mark=True)
        if self._request.taps:
            notes += ("tapped tensors keep their producers from being fused with what follows",)
        if self._request.streams > 1:
            notes += ("streams are concurrent calls of one session",)
        return Ran(
            where=TargetKind.DEVICE,
            device=cpu_name() if chosen.name == CPU else chosen.name,
            layers=layers,
            placements=result.placements,
            notes=(*notes, *(f.reason for f in result.findings[:1])),
        )

    def _twin(self) -> tuple[Any, list[_model.Place]]:
        """The same model once more with marked nodes, for placements."""
        marked, places = _model.marked(_model.read(self._path))
        _tap(marked, self._request.taps)
        twin = _ort.open_session(marked.SerializeToString(), self._setup, self._path.parent)
        return twin, places

    def close(self) -> None:
        """Free the session."""
        self._session = None


def as_array(name: str, value: Any) -> Any:
    """One output as a numpy array.

    A sequence of maps (class probabilities) becomes one row per map, columns in the order of the
    sorted keys; a sequence of equally shaped arrays is stacked.

    Raises:
        ValueError: the value has no rectangular form.
    """
    import numpy as np

    if isinstance(value, np.ndarray):
        return value.astype(np.str_) if value.dtype.hasobject else value
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not value:
        raise ValueError(f"output {name} is {type(value).__name__}, which is no array")
    if all(isinstance(v, dict) for v in value):
        keys = sorted(value[0])
        if any(sorted(v) != keys for v in value):
            raise ValueError(f"output {name}: the maps have different keys")
        return np.array([[v[k] for k in keys] for v in value])
    arrays = [np.asarray(v) for v in value]
    if len({a.shape for a in arrays}) != 1:
        raise ValueError(f"output {name}: a sequence of arrays of different shapes")
    return as_array(name, np.stack(arrays))
