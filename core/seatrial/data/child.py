"""Core task: read a source once, turn its samples into what the model is fed, and store them.

Memory does not grow with the number of samples: each is read, prepared, checked, written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from seatrial.codec import digest, encode
from seatrial.data import checks, pictures, tensors
from seatrial.data.annotations import finished, structured
from seatrial.data.feeder import Feeder
from seatrial.data.labels import LabelMap, complete_labels
from seatrial.data.listing import Reader, select
from seatrial.data.records import (
    INFO,
    WARNING,
    DataFinding,
    MaterialiseRequest,
    MaterialiseResult,
    SampleSet,
)
from seatrial.errors import UserError
from seatrial.hookspecs import Job
from seatrial.refusal import Refusal
from seatrial.results import Artifact
from seatrial.samples import StoreWriter

FORMAT = "seatrial-samples"


def materialise(request: MaterialiseRequest, job: Job) -> MaterialiseResult:
    """Read, prepare, check and store the samples of a source."""
    from seatrial.data.sequences import SequencePass

    kind = SequencePass if request.state else Pass
    try:
        return MaterialiseResult(set=kind(request, job).run())
    except UserError as error:
        return MaterialiseResult(refused=Refusal.of(error))


def open_source(request: MaterialiseRequest, job: Job, odd: pictures.Oddities) -> Reader:
    """The reader for a source's kind."""
    from seatrial.data.callables import CallableReader
    from seatrial.data.readers import ArrayReader, FolderReader

    source = request.source
    if source.kind == "folder":
        return FolderReader(source, request.read, request.contracts, odd)
    if source.kind == "array":
        return ArrayReader(source, request.read, job.scratch)
    return CallableReader(source, request.read, job)


class Pass:
    """One pass over a source: what is read, what is written, what was noticed."""

    def __init__(self, request: MaterialiseRequest, job: Job) -> None:
        self.request = request
        self.job = job
        self.odd = pictures.Oddities()
        self.seen = checks.Checks()
        self.feeder = Feeder(request, self.odd)
        self.reader = open_source(request, job, self.odd)
        self.samples: list[dict[str, Any]] = []
        #: further keys of the store's index
        self.facts: dict[str, Any] = {}

    def run(self) -> SampleSet:
        """Read, store and judge the chosen samples."""
        source, listing = self.request.source, self.reader.listing
        if not listing.ids:
            raise UserError(source.text, "has no samples", advice="an empty set proves nothing")
        chosen, selection = select(source, listing, source.text)
        if 0 < self.request.thin < len(chosen):
            some = self.request.thin
            chosen = [chosen[k * len(chosen) // some] for k in range(some)]
        writer = self.store(chosen)
        names = LabelMap(source, listing.labels, texts=self.request.texts)
        labels = self.labels(chosen, names)
        files = writer.close(
            self.samples,
            labels,
            origin={"source": encode(source), "selection": selection, "role": self.request.role},
            contracts=encode(self.request.contracts),
            classes=list(names.classes),
            **self.facts,
        )
        counts, balance = checks.balance(labels or [])
        hashes = [s["sha256"] for s in self.samples]
        ids = [s["id"] for s in self.samples]
        return SampleSet(
            artifact=Artifact(format=FORMAT, entry="", files=files),
            count=writer.count,
            total=len(listing.ids),
            labelled=labels is not None,
            classes=names.classes,
            class_counts=counts,
            groups=len({listing.groups[i] or listing.ids[i] for i in chosen}),
            grouped=any(listing.groups[i] for i in chosen),
            ids_sha256=digest(ids),
            content_sha256=digest(hashes),
            synthetic=self.seen.synthetic,
            selection=selection,
            contracts=self.request.contracts,
            findings=(
                *self.seen.findings(),
                *checks.repeats(ids, hashes),
                *balance,
                *checks.oddities(self.odd.seen),
                *self.notes(names if labels is not None else None),
            ),
        )

    def labels(self, chosen: list[int], names: LabelMap) -> list[Any] | None:
        """The labels to store, one per row; ``None``: there are none."""
        return self.raw_labels(chosen, names)

    def raw_labels(self, chosen: list[int], names: LabelMap) -> list[Any] | None:
        """One label per chosen sample."""
        listing, text = self.reader.listing, self.request.source.text
        raw = [listing.labels[i] for i in chosen]
        if not complete_labels(raw):
            return None
        labels = []
        for k, (i, value) in enumerate(zip(chosen, raw, strict=True)):
            where = f"{text}: {listing.ids[i]}"
            labels.append(names(finished(structured(value), where, _size(self.samples[k])), where))
        return labels

    def store(self, chosen: list[int]) -> StoreWriter:
        """Write the store, one sample after the other; its axes follow from the first one."""
        writer = StoreWriter(self.job.out, len(chosen))
        for k, i in enumerate(chosen):
            raw = self.reader.read(i)
            name = self.name(i)
            fed, planes, facts = self.feeder.feed(raw, name)
            if k == 0:
                shapes = {n: v.shape for n, v in fed.items()}
                request = self.request
                writer.batch_axis = tensors.batch_axis(
                    shapes, request.inputs, request.contracts, name
                )
            for model_input in self.request.inputs:
                shape = fed[model_input.name].shape
                stacked = writer.batch_axis and not self.made(model_input.name)
                tensors.check_shape(shape, model_input, stacked, name)
            self.see(i, fed, planes)
            writer.add(fed)
            self.samples.append(self.entry(i, fed, facts))
            if k % 50 == 0:
                self.job.progress(f"reading {self.request.role} samples", k / len(chosen))
        return writer

    def made(self, name: str) -> bool:
        """Whether an input is fed what the core makes."""
        contract = self.request.contracts.get(name)
        return contract is not None and contract.made

    def see(self, i: int, fed: Mapping[str, Any], planes: Sequence[Any]) -> None:
        """Look for what is wrong with the numbers that came from the source."""
        own = {name: value for name, value in fed.items() if not self.made(name)}
        self.seen.see(self.reader.listing.ids[i], own, planes)

    def name(self, i: int) -> str:
        """What a sample is called in messages."""
        name = self.reader.listing.ids[i]
        source = self.request.source
        return name if source.kind == "folder" else f"{source.text}: sample {name}"

    def entry(self, i: int, fed: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
        """A sample's entry in the index."""
        listing = self.reader.listing
        entry = {"id": listing.ids[i], "sha256": hash_tensors(fed), **facts}
        if listing.groups[i]:
            entry["group"] = listing.groups[i]
        if listing.meta[i]:
            entry["meta"] = dict(listing.meta[i])
        return entry

    def notes(self, names: LabelMap | None) -> list[DataFinding]:
        """What else is worth saying of the source."""
        listing = self.reader.listing
        found = [DataFinding(code="left-out", level=INFO, text=t) for t in listing.notes]
        if listing.unlisted:
            every = listing.unlisted + len(listing.ids)
            text = f"{listing.unlisted} of {every} pictures of the folder have no row in its "
            text += "labels.csv: a part that nobody chose was left out"
            found.append(
                DataFinding(code="unlisted", level=WARNING, text=text, count=listing.unlisted)
            )
        if listing.varies:
            text = f"{listing.varies}: augmentation is switched on"
            found.append(DataFinding(code="not-repeatable", level=WARNING, text=text))
        if names is not None and names.sorted_order:
            text = f"the {len(names.index)} class names were numbered in sorted order"
            found.append(DataFinding(code="class-order", level=INFO, text=text))
        return found


def _size(entry: Mapping[str, Any]) -> tuple[int, ...]:
    """(height, width) of a stored sample's first picture before it was resized."""
    first = next(iter(entry.get("geometry", {}).values()), None)
    return tuple(first["size"]) if first else ()


def hash_tensors(fed: Mapping[str, Any]) -> str:
    """sha256 over name, dtype, shape and bytes of each tensor, sorted by name."""
    import numpy as np

    total = hashlib.sha256()
    for name in sorted(fed):
        value = np.ascontiguousarray(fed[name])
        total.update(f"{name}\0{value.dtype.str}\0{value.shape}\0".encode("utf-8", "replace"))
        total.update(value.tobytes())
    return total.hexdigest()
