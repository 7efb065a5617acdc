"""The feed loop and the clock of a live session; runs inside the child, core code only.

Every backend is timed by these lines: feeds are prepared before the clock starts, outputs are
checked after it stopped. numpy is imported late. Python 3.10 and newer.
"""

from __future__ import annotations

import hashlib
import time
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .codec import record
from .jobs.calls import CallFault, checked, guarded
from .jobs.shared import Shared, resident_mb
from .jobs.tensors import TensorMap, checked_outputs, unseen
from .results import Artifact, FaultKind, LoadRequest, Ran
from .samples import Samples, StoreWriter

#: Feeds of one round up to this many bytes are all prepared before its first call.
PREPARED_BYTES = 256 * 1024 * 1024


@record
class RunRequest:
    """One round over samples.

    Attributes:
        path: the sample store, relative to the job's folder.
        indices: which samples, in this order; ``None``: all.
        keep: write the outputs of the first pass to a store. A store of sequences that is kept
            whole is run step by step: states are what the step before gave.
        warmup: untimed calls before the first timed one, cycling through the batches.
        repeat: timed passes over the samples.
        batch: samples per call; the last group is filled up by repeating its last sample.
        out: folder for kept outputs, relative to the job's ``out``.
        streams: calls in flight, each from a thread of its own; above 1 nothing can be kept.
        beside: after each group time a copy of it that is new to the session in its lowest bits;
            no latencies at all where the inputs cannot be altered so.
    """

    path: str
    indices: tuple[int, ...] | None = None
    keep: bool = False
    warmup: int = 0
    repeat: int = 1
    batch: int = 1
    out: str = ""
    streams: int = 1
    beside: bool = False


@record
class RunReply:
    """What one round gave.

    Attributes:
        latencies_ns: one per timed call of ``Session.run``, in order.
        outputs: the store of the outputs (sample axis first), when they were kept.
        load_ns: time that loading the artefact took.
        first_run_ns: time of the session's very first call, warm-up included.
        cpu_ns: CPU time of the child's process during the timed calls.
        wall_ns: time in which the timed calls were made: their sum, or with several streams from
            the first one's start to the last one's end.
        prepare_ns: putting feeds into the artefact's own form (axes, element types, scales), of
            all timed calls of the first pass; outside the latencies.
        finish_ns: likewise, bringing outputs back into the ONNX model's form.
        copied_ns: inside the latencies, copies between host and device; -1: not told.
        rss_mb: resident memory of the child's process after the round, MiB; 0: not told.
    """

    latencies_ns: tuple[int, ...]
    outputs: Artifact | None = None
    load_ns: int = 0
    first_run_ns: int = 0
    cpu_ns: int = 0
    wall_ns: int = 0
    prepare_ns: int = 0
    finish_ns: int = 0
    copied_ns: int = -1
    rss_mb: float = 0.0


class OutputStore:
    """Outputs of a round as a sample store, one entry per sample.

    An output whose first dimension equals the batch loses that axis. With batch 1 an output that
    breaks the rule in any call (a detector's ``[boxes, 7]``) keeps its shape in all of them; with
    a larger batch it cannot be told apart by sample, and the round is refused.
    A store without batch axis (the model has none) keeps every output as it is.
    """

    def __init__(self, root: Path, samples: Samples, indices: Sequence[int], batch: int) -> None:
        root.mkdir(parents=True)
        self.root = root
        self.split = bool(samples.index.get("batch_axis", True))
        self.batch = batch
        self._writer = StoreWriter(root, len(indices), batch_axis=self.split)
        self._facts: list[dict[str, Any]] = []
        self._whole: set[str] = set()
        self._rows = [samples.index["samples"][i] for i in indices]

    def add(self, outputs: Mapping[str, Any], used: int) -> None:
        """Append one call's outputs, of which the first ``used`` samples count."""
        if self.split:
            self._note_whole(outputs)
        for i in range(used):
            tensors = {n: self._pick(n, v, i) for n, v in outputs.items()}
            row = self._rows[len(self._facts)]
            kept = {k: row[k] for k in ("id", "group", "sequence", "step") if k in row}
            self._facts.append({**kept, "sha256": _hash(tensors)})
            self._writer.add(tensors)

    def _pick(self, name: str, value: Any, i: int) -> Any:
        return value[i] if self.split and name not in self._whole else value

    def _note_whole(self, outputs: Mapping[str, Any]) -> None:
        for name, value in outputs.items():
            if name in self._whole or (value.ndim and value.shape[0] == self.batch):
                continue
            if self.batch > 1:
                raise CallFault(
                    FaultKind.RAISED,
                    f"output {name!r} has shape {value.shape} for a batch of {self.batch}: "
                    "it cannot be split by sample; use batch 1",
                )
            self._whole.add(name)
            if self._facts:
                self._writer.restore_axis(name)

    def close(self) -> Artifact:
        """Write the index; the artefact's files are relative to the store's folder."""
        files = self._writer.close(self._facts, kind="outputs")
        return Artifact(format="seatrial-samples", entry="", files=files)


def _hash(tensors: Mapping[str, Any]) -> str:
    """sha256 of names, types, shapes and bytes of one sample's tensors."""
    import numpy as np

    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = np.ascontiguousarray(tensors[name])
        digest.update(f"{name}|{value.dtype.str}|{value.shape}|".encode())
        digest.update(value.data if value.size else b"")
    return digest.hexdigest()


class Loop:
    """Runs rounds on one live session.

    Args:
        session: what the backend's ``seatrial_load`` gave.
        request: how it was loaded; its inputs and outputs map the tensors.
        folder: the job's folder.
        load_ns: time that loading took.
    """

    def __init__(self, session: Any, request: LoadRequest, folder: Path, load_ns: int) -> None:
        self.session = session
        self.map = TensorMap(request.inputs, request.outputs)
        self.folder = folder
        self.load_ns = load_ns
        self.first_run_ns = 0
        self._stores: dict[str, Samples] = {}

    def run(self, request: RunRequest) -> RunReply:
        """One round.

        Raises:
            CallFault: the session raised, or gave something that is not named arrays of numbers.
        """
        samples = self._store(request.path)
        indices = tuple(range(samples.count)) if request.indices is None else request.indices
        groups = list(_groups(indices, request.batch))
        carried = request.keep and request.indices is None and bool(samples.state)
        if carried and request.batch > 1:
            reason = f"sequences are run one by one, not {request.batch} at a time"
            raise CallFault(FaultKind.RAISED, reason)
        feeds = _Feeds(samples, self.map, groups, prepare=not carried)
        for i in range(request.warmup if groups else 0):
            self._call(feeds[i % len(groups)])
        if request.streams > 1:
            return self._parallel(feeds, request.repeat * len(groups), request.streams)
        if request.beside:
            return self._beside(feeds)
        store = None
        if request.keep:
            store = OutputStore(self.folder / "out" / request.out, samples, indices, request.batch)
        latencies: list[int] = []
        cpu = finish = 0
        copied = -1
        for turn in range(request.repeat):
            mapped: dict[str, Any] = {}
            for i, group in enumerate(groups):
                state = _state(samples, i, mapped) if carried else {}
                outputs, wall, used = self._call(feeds.fed(i, state))
                latencies.append(wall)
                cpu += used
                copied = _sum(copied, getattr(self.session, "copied_ns", -1))
                checked = checked_outputs(outputs)
                begun = time.perf_counter_ns()
                mapped = self.map.results(checked)
                finish += time.perf_counter_ns() - begun
                if store is not None and turn == 0:
                    store.add(mapped, group.used)
        return RunReply(
            latencies_ns=tuple(latencies),
            outputs=store.close() if store is not None else None,
            load_ns=self.load_ns,
            first_run_ns=self.first_run_ns,
            cpu_ns=cpu,
            wall_ns=sum(latencies),
            prepare_ns=feeds.spent_ns,
            finish_ns=finish // max(1, request.repeat),
            copied_ns=copied,
            rss_mb=resident_mb(),
        )

    def _parallel(self, feeds: _Feeds, calls: int, streams: int) -> RunReply:
        """So many calls, from as many threads as there are streams.

        Raises:
            CallFault: not offered: the session takes one call at a time.
        """
        able = getattr(self.session, "streams", 1)
        if able < streams:
            raise CallFault(
                FaultKind.NOT_OFFERED, f"the session takes {able} call at a time, not {streams}"
            )
        work = Shared(self.session.run, feeds, calls)
        wall, cpu = work.by(streams)
        if work.failure is not None:
            failure = work.failure
            guarded(lambda: _raise(failure))
        self.map.results(checked_outputs(work.last))
        return RunReply(
            latencies_ns=tuple(work.latencies),
            load_ns=self.load_ns,
            first_run_ns=self.first_run_ns,
            cpu_ns=cpu,
            wall_ns=wall,
            prepare_ns=feeds.spent_ns,
            rss_mb=resident_mb(),
        )

    def _beside(self, feeds: _Feeds) -> RunReply:
        """Latencies of every group and, next to it, of a copy that was never fed before."""
        pairs = [(fed, unseen(fed)) for fed in (feeds[i] for i in range(len(feeds)))]
        latencies = []
        for fed, copy in pairs if all(copy is not None for _, copy in pairs) else ():
            for one in (fed, copy):
                outputs, wall, _ = self._call(one or {})
                checked_outputs(outputs)
                latencies.append(wall)
        return RunReply(latencies_ns=tuple(latencies), load_ns=self.load_ns, rss_mb=resident_mb())

    def _store(self, path: str) -> Samples:
        if path not in self._stores:
            self._stores[path] = Samples((self.folder / path).resolve())
        return self._stores[path]

    def _call(self, feeds: Mapping[str, Any]) -> tuple[Any, int, int]:
        """Outputs, wall time and CPU time of one call, both in nanoseconds."""
        run = self.session.run
        try:
            cpu = time.process_time_ns()
            start = time.perf_counter_ns()
            outputs = run(feeds)
            wall = time.perf_counter_ns() - start
            cpu = time.process_time_ns() - cpu
        except Exception as error:  # noqa: BLE001 - handed on as a fault
            failure = error
        else:
            self.first_run_ns = self.first_run_ns or wall
            return outputs, wall, cpu
        return typing.cast("tuple[Any, int, int]", guarded(lambda: _raise(failure)))

    def ran(self) -> Any:
        """JSON of what the session says it ran."""
        return checked(guarded(self.session.ran), Ran, "ran")

    def close(self) -> None:
        """Close the session and let go of the sample stores."""
        self._stores.clear()
        guarded(self.session.close)


def _state(samples: Samples, i: int, before: Mapping[str, Any]) -> dict[str, Any]:
    """What a step is fed of the outputs of the one before it; empty at the start of a sequence.

    Raises:
        CallFault: such an output is missing, or has another shape than the input.
    """
    if not samples.follows(i):
        return {}
    found = {}
    for output, name in samples.state.items():
        value, wanted = before.get(output), samples.one(name, i)
        if value is None or value.shape != wanted.shape:
            have = "missing" if value is None else f"of shape {value.shape}"
            reason = f"state output {output!r} is {have}, input {name!r} takes {wanted.shape}"
            raise CallFault(FaultKind.RAISED, reason)
        found[name] = value.astype(wanted.dtype)
    return found


def _raise(error: Exception) -> None:
    raise error


def _sum(so_far: int, more: int) -> int:
    """What was told so far and once more; -1 where nobody tells."""
    return so_far if more < 0 else max(so_far, 0) + more


class _Group(typing.NamedTuple):
    indices: tuple[int, ...]
    used: int


def _groups(indices: Sequence[int], size: int) -> Iterator[_Group]:
    """Groups of exactly ``size`` samples; the last one is filled with its last sample."""
    for start in range(0, len(indices), size):
        group = tuple(indices[start : start + size])
        yield _Group(group + group[-1:] * (size - len(group)), len(group))


class _Feeds:
    """Feeds by group: all prepared at once when they are small, else made when asked for."""

    def __init__(
        self,
        samples: Samples,
        tensors: TensorMap,
        groups: Sequence[_Group],
        *,
        prepare: bool = True,
    ) -> None:
        self._samples = samples
        self._map = tensors
        self._groups = groups
        self._ready: dict[tuple[int, ...], dict[str, Any]] = {}
        self.spent_ns = 0
        if groups and prepare:
            first = self._make(groups[0].indices)
            # A group that comes again is fed from the same memory: one input, run over and over.
            others = {group.indices for group in groups} - {groups[0].indices}
            if sum(v.nbytes for v in first.values()) * (1 + len(others)) <= PREPARED_BYTES:
                self._ready = {groups[0].indices: first, **{g: self._make(g) for g in others}}
                # What preparing costs is told of every call, those included that it was saved.
                self.spent_ns = self.spent_ns * len(groups) // len(self._ready)

    def _make(
        self, indices: tuple[int, ...], state: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        read = {**self._samples.feeds(indices), **(state or {})}
        begun = time.perf_counter_ns()
        made = self._map.feeds(read)
        self.spent_ns += time.perf_counter_ns() - begun
        return made

    def __len__(self) -> int:
        return len(self._groups)

    def fed(self, i: int, state: Mapping[str, Any]) -> dict[str, Any]:
        """Feeds of a group, some inputs replaced by ``state``."""
        return self._make(self._groups[i].indices, state) if state else self[i]

    def __getitem__(self, i: int) -> dict[str, Any]:
        indices = self._groups[i].indices
        return self._ready[indices] if self._ready else self._make(indices)
