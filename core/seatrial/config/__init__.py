"""``seatrial.toml``: one schema for everything that flags can say, and more."""

from __future__ import annotations

from seatrial.config.load import FILE, find, load
from seatrial.config.records import (
    Config,
    EnvConfig,
    ModelConfig,
    RunConfig,
    SetConfig,
    TargetConfig,
    TaskConfig,
)
from seatrial.config.values import latency, memory_mb, points

__all__ = [
    "FILE",
    "Config",
    "EnvConfig",
    "ModelConfig",
    "RunConfig",
    "SetConfig",
    "TargetConfig",
    "TaskConfig",
    "find",
    "latency",
    "load",
    "memory_mb",
    "points",
]
