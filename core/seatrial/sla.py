"""What a model must keep to ship: the limits that flags and the configuration file set.

Verdicts compare with them, and the report tells which of them nobody chose. Standard library only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from .codec import record

#: Values of ``--fail-on``: the mildest verdict that still ends with a failing exit code.
FAIL_ON = ("not-proven", "do-not-ship", "never")


@record
class LatencyLimit:
    """``p99=12ms``: the quantile (``p50`` ... ``p99``) and its highest allowed value."""

    quantile: str
    ms: float


@record
class SLA:
    """What a model must keep to ship.

    Attributes:
        max_drop: highest drop of the metric, in points (default 1.0).
        max_latency: highest latency.
        max_memory_mb: highest peak resident memory of the process that runs the model.
        min_metric: lowest metric, in points.
        device_drop: highest drop from ``onnx-int8`` to ``device-int8``, in points (default 0.5).
        class_drop: highest drop of any single class, in points (default: ``max_drop``).
        accept_agreement: lowest top-1 agreement, in percent, that stands in for labels.
        fail_on: one of :data:`FAIL_ON`.
        defaults: names of the fields above that nobody set; filled by :meth:`with_defaults`.
    """

    max_drop: float | None = None
    max_latency: LatencyLimit | None = None
    max_memory_mb: float | None = None
    min_metric: float | None = None
    device_drop: float | None = None
    class_drop: float | None = None
    accept_agreement: float | None = None
    fail_on: str | None = None
    defaults: tuple[str, ...] = ()

    def over(self, lower: SLA) -> SLA:
        """These values, and those of ``lower`` (the configuration file) where unset."""
        mine = {n: v for n in _SLA_FIELDS if (v := getattr(self, n)) is not None}
        return dataclasses.replace(lower, **mine)

    def with_defaults(self) -> SLA:
        """All defaults filled in; ``defaults`` names the fields that were."""
        unset = {n: v for n, v in _SLA_DEFAULTS.items() if getattr(self, n) is None}
        if self.class_drop is None:
            unset["class_drop"] = unset.get("max_drop", self.max_drop)
        return dataclasses.replace(self, defaults=tuple(unset), **unset)


_SLA_DEFAULTS: Mapping[str, Any] = {
    "max_drop": 1.0,
    "device_drop": 0.5,
    "fail_on": FAIL_ON[0],
}
_SLA_FIELDS = tuple(f.name for f in dataclasses.fields(SLA) if f.name != "defaults")
