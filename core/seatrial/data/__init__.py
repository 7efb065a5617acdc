"""The data room: sources, input contracts, sample stores.

The parent parses sources and contracts and asks a child for the samples; nothing here imports
numpy or Pillow before a child does.
"""

from __future__ import annotations

from seatrial.data.api import (
    Loaded,
    Overlap,
    TaskRunner,
    complete_contracts,
    load,
    overlap,
    refusal_error,
)
from seatrial.data.contract import Geometry, InputContract, complete, guess_layout
from seatrial.data.records import (
    INFO,
    REFUSE,
    WARNING,
    DataFinding,
    MaterialiseRequest,
    MaterialiseResult,
    SampleSet,
)
from seatrial.data.source import Source, parse, split

__all__ = [
    "INFO",
    "REFUSE",
    "WARNING",
    "DataFinding",
    "Geometry",
    "InputContract",
    "Loaded",
    "MaterialiseRequest",
    "MaterialiseResult",
    "Overlap",
    "SampleSet",
    "Source",
    "TaskRunner",
    "complete",
    "complete_contracts",
    "guess_layout",
    "load",
    "overlap",
    "parse",
    "refusal_error",
    "split",
]
