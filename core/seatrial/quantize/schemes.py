"""Names of the core's own candidates. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable

from seatrial.results import QdqDialect


def scheme(dialect: QdqDialect) -> str:
    """Short name of a dialect: ``u8-perchannel``, ``s8sym-perchannel-floatbias``."""
    words = {"uint8": "u8", "int8": "s8"}
    parts = [words[dialect.activations] + ("sym" if dialect.symmetric else "")]
    parts.append("perchannel" if dialect.per_channel else "pertensor")
    if dialect.weights != "int8":
        parts.append("u8weights")
    if dialect.reduce_range:
        parts.append("7bit")
    if dialect.bias != "int32":
        parts.append("floatbias")
    return "-".join(parts)


def candidate_name(method: str, dialect: QdqDialect) -> str:
    """Name of a core candidate in the bake-off: ``core:minmax-u8-perchannel``."""
    return f"core:{method}-{scheme(dialect)}"


def core_candidates(
    dialects: Iterable[QdqDialect], methods: Iterable[str] = ("minmax",)
) -> dict[str, tuple[str, QdqDialect]]:
    """One candidate per method and distinct dialect, in the order of the targets.

    Args:
        dialects: what the chosen targets want (``InputRules.qdq`` where it is not ``None``).
        methods: how ranges are chosen.

    Returns:
        name -> (method, dialect)
    """
    distinct = list(dict.fromkeys(dialects))
    return {candidate_name(m, d): (m, d) for d in distinct for m in methods}
