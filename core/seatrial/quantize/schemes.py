"""Names of the core's own candidates. Standard library only."""

from __future__ import annotations

from seatrial.results import QdqDialect

#: Methods of the core's plain candidates, in order of preference: of two that are equal within
#: noise the earlier one wins. Divergence and moving averages are offered but not entered: on
#: held-out calibration data of four real nets (two mobile ones, a transformer, fire modules)
#: neither was ever the best; moving averages were behind all of these on every one.
PLAIN = ("minmax", "percentile-99.99", "mse")


def scheme(dialect: QdqDialect) -> str:
    """Short name of a dialect: ``u8-perchannel``, ``s8sym-perchannel-floatbias``."""
    words = {"uint8": "u8", "int8": "s8", "uint16": "u16", "int16": "s16"}
    parts = [words[dialect.activations] + ("sym" if dialect.symmetric else "")]
    parts.append("perchannel" if dialect.per_channel else "pertensor")
    if dialect.weights != "int8":
        parts.append("u8weights")
    if dialect.reduce_range:
        parts.append("7bit")
    if dialect.bias != "int32":
        parts.append("floatbias")
    return "-".join(parts)


def candidate_name(method: str, dialect: QdqDialect, recipe: str = "") -> str:
    """Name of a core candidate: ``core:minmax-u8-perchannel``, with ``+recipe`` behind it."""
    return f"core:{method}-{scheme(dialect)}" + (f"+{recipe}" if recipe else "")
