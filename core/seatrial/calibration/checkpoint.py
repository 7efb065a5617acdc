"""Statistics on disk on the way, so that a pass that was ended early goes on where it was.

All statistics are sums, extremes and counts, so a pass in parts gives what one pass gives, bit for
bit. Runs in a child only.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from seatrial import __version__
from seatrial.codec import CodecError, decode, digest, encode
from seatrial.reference import runtime_version

from .collect import Collector
from .histogram import Dyadic
from .running import NUMBERS
from .survey import Flags
from .types import NonFinite, RangesRequest, SampleFlags

#: Seconds between two checkpoints: what is lost at most.
EVERY_S = 10.0

#: Version of the file's form.
FORM = 1


class Checkpoints:
    """The statistics of one pass, on disk.

    Args:
        request: a pass is the same when model, samples, statistics and seed are.
        statistics: one of :data:`seatrial.calibration.types.STATISTICS`.
        indices: of the samples.
    """

    def __init__(self, request: RangesRequest, statistics: str, indices: Sequence[int]) -> None:
        self.key = digest(
            [
                FORM,
                __version__,
                runtime_version(),
                request.model.sha256,
                request.samples.sha256,
                list(indices),
                statistics,
                request.seed,
            ]
        )
        self.path = Path(request.checkpoints) / f"{self.key}.part" if request.checkpoints else None
        self.last = time.monotonic()

    def due(self) -> bool:
        """Whether it is time for another one."""
        return self.path is not None and time.monotonic() - self.last >= EVERY_S

    def save(self, collector: Collector) -> None:
        """Write the statistics aside, then in place; a folder that refuses them is no fault."""
        self.last = time.monotonic()
        if self.path is None:
            return
        aside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("wb") as file:
                _write(file, self.key, collector)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self.path)
        except OSError:
            aside.unlink(missing_ok=True)

    def load(self, collector: Collector) -> int:
        """Fill a fresh collector.

        Returns:
            How many samples it has seen by then; 0 when there is no checkpoint of this pass.
        """
        if self.path is None:
            return 0
        try:
            with self.path.open("rb") as file:
                _read(file, self.key, collector)
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, EOFError, KeyError, TypeError, CodecError):
            self.remove()  # not one of ours, or of a form that is gone: begin anew
            return 0
        return collector.done

    def remove(self) -> None:
        """The pass is complete."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _write(file: BinaryIO, key: str, collector: Collector) -> None:
    """One line of JSON, then arrays: no copy of the counts is made for it."""
    import numpy as np

    head = {
        "key": key,
        "done": collector.done,
        "tensors": list(collector.running.tensors),
        "exponents": [h.exponent for h in collector.histograms],
        "nonfinite": encode(collector.nonfinite),
        "flags": encode(collector.flags.found()),
    }
    file.write(json.dumps(head).encode() + b"\n")
    for name in NUMBERS:
        np.save(file, collector.running.values[name], allow_pickle=False)
    for histogram in collector.histograms:
        np.save(file, histogram.counts, allow_pickle=False)


def _read(file: BinaryIO, key: str, collector: Collector) -> None:
    head: dict[str, Any] = json.loads(file.readline())
    wanted = (key, list(collector.running.tensors), len(collector.histograms))
    if (head["key"], head["tensors"], len(head["exponents"])) != wanted:
        raise ValueError("a checkpoint of another pass")
    values = {name: _array(file, collector.running.values[name]) for name in NUMBERS}
    histograms = [
        Dyadic(exponent, _array(file, old.counts))
        for exponent, old in zip(head["exponents"], collector.histograms, strict=True)
    ]
    nonfinite = [decode(NonFinite, n) for n in head["nonfinite"]]
    flags = Flags(decode(SampleFlags, head["flags"]))
    done = int(head["done"])
    collector.running.values, collector.histograms = values, histograms
    collector.nonfinite, collector.flags, collector.done = nonfinite, flags, done


def _array(file: BinaryIO, like: Any) -> Any:
    import numpy as np

    array = np.load(file, allow_pickle=False)
    if array.shape != like.shape or array.dtype != like.dtype:
        raise ValueError("a checkpoint of another form")
    return array
