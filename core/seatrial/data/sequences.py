"""Samples that are sequences of steps: every step becomes a row of the store, in order.

A sample's arrays have a first axis of steps. Constants and states have none: a constant is the
same in every step, and states are zero until the model was run (see ``trial.sequences``).
Sequences are fed one at a time, so rows hold whole feeds, with the model's batch axis of 1.
Runs in a child only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seatrial.codec import digest
from seatrial.data import tensors
from seatrial.data.child import Pass, hash_tensors
from seatrial.data.labels import LabelMap
from seatrial.data.records import INFO, DataFinding
from seatrial.errors import UserError
from seatrial.samples import StoreWriter


class SequencePass(Pass):
    """One pass over a source of sequences."""

    _lengths: Sequence[int] = ()

    def store(self, chosen: list[int]) -> StoreWriter:
        """Write all steps of all chosen sequences."""
        self._lengths = [self._steps(self.reader.read(i), self.name(i)) for i in chosen]
        writer = StoreWriter(self.job.out, sum(self._lengths), batch_axis=False)
        for k, (i, length) in enumerate(zip(chosen, self._lengths, strict=True)):
            self._sequence(writer, i, length)
            self.job.progress(f"reading {self.request.role} sequences", k / len(chosen))
        self.facts["state"] = self.request.state
        return writer

    def _steps(self, raw: Mapping[str, Any], name: str) -> int:
        """How many steps a sample has.

        Raises:
            UserError: its arrays disagree, or have no axis of steps.
        """
        lengths = {n: len(v) if getattr(v, "ndim", 0) else 0 for n, v in raw.items()}
        if len(set(lengths.values())) != 1 or not next(iter(lengths.values())):
            text = ", ".join(f"{n}: {v}" for n, v in lengths.items())
            reason = f"its arrays do not have one number of steps ({text})"
            raise UserError(name, reason, advice="the first axis of a sequence counts steps")
        return next(iter(lengths.values()))

    def _sequence(self, writer: StoreWriter, i: int, length: int) -> None:
        raw, name = self.reader.read(i), self.name(i)
        rows, hashes, facts = [], [], []
        for t in range(length):
            fed, planes, more = self.feeder.feed({n: v[t] for n, v in raw.items()}, name)
            for model_input in self.request.inputs:
                key = model_input.name
                if not self.made(key) and not tensors.fits(fed[key].shape, model_input.shape):
                    fed[key] = fed[key][None]
                tensors.check_shape(fed[key].shape, model_input, False, name)
            self.see(i, fed, planes)
            rows.append(fed)
            hashes.append(hash_tensors(fed))
            facts.append(more)
        # Steps of silence are alike everywhere: a step is known by the sequence that it is in.
        content, own = digest(hashes), self.reader.listing.ids[i]
        for t, (fed, more) in enumerate(zip(rows, facts, strict=True)):
            writer.add(fed)
            entry = self.entry(i, fed, more)
            entry |= {"id": f"{own}#{t}", "sha256": digest([content, t])}
            entry |= {"sequence": own, "step": t, "group": entry.get("group", own)}
            self.samples.append(entry)

    def labels(self, chosen: list[int], names: LabelMap) -> list[Any] | None:
        """One label per step: its own, or that of the sequence."""
        whole = self.raw_labels(chosen, names)
        if whole is None:
            return None
        # An array of one label was read as the label itself.
        whole = [
            [v] if n == 1 and not isinstance(v, (list, dict, str)) else v
            for v, n in zip(whole, self._lengths, strict=True)
        ]
        pairs = list(zip(whole, self._lengths, strict=True))
        own = [isinstance(label, list) and len(label) == n for label, n in pairs]
        self.facts["step_labels"] = all(own)
        if all(own):
            return [one for label in whole for one in label]
        return [label for label, n in pairs for _ in range(n)]

    def notes(self, names: LabelMap | None) -> list[DataFinding]:
        """What else is worth saying of the source."""
        text = f"{len(self._lengths)} sequences of {sum(self._lengths):,} steps"
        return [*super().notes(names), DataFinding(code="sequences", level=INFO, text=text)]
