"""What makes numbers incomparable, and what to suspect first: versions, machine, limits, inputs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from seatrial.text import clean

from .records import CHANGED, Change, Samples, Trial, change

#: Longest value of a contract that is shown.
_VALUE = 60


def changes(old: Trial, new: Trial) -> Iterator[Change]:
    """Everything around the numbers that differs."""
    yield from _versions(old, new)
    yield from _mapped("limits", "limit", old.limits, new.limits)
    yield from _inputs(old, new)


def _versions(old: Trial, new: Trial) -> Iterator[Change]:
    yield from _mapped("versions", "", old.versions, new.versions)
    before = {t.target: t for t in old.targets}
    for target in new.targets:
        if target.target in before:
            first = before[target.target].versions
            known = {k for k in first if old.versions.get(k) == first[k]} & {
                k for k in target.versions if new.versions.get(k) == target.versions[k]
            }
            yield from _mapped(
                "versions",
                "",
                {k: v for k, v in first.items() if k not in known},
                {k: v for k, v in target.versions.items() if k not in known},
                target.target,
            )
    yield from _mapped("versions", "machine:", old.machine, new.machine)


def _mapped(
    area: str,
    word: str,
    old: Mapping[str, str],
    new: Mapping[str, str],
    target: str | None = None,
) -> Iterator[Change]:
    for key in dict.fromkeys((*old, *new)):
        before, after = old.get(key, ""), new.get(key, "")
        if before != after:
            subject = f"{word} {key}".strip()
            text = f"{before or 'absent'} became {after or 'absent'}"
            yield change(
                area, CHANGED, subject, text, target, values=(before or None, after or None)
            )


def _inputs(old: Trial, new: Trial) -> Iterator[Change]:
    if old.command != new.command:
        yield _changed("command", old.command, new.command, "they answer different questions")
    if old.model_sha256 != new.model_sha256:
        yield _changed("model", old.model_sha256[:12], new.model_sha256[:12], "another model")
    if old.seed != new.seed:
        yield _changed("seed", str(old.seed), str(new.seed), "splits and choices may differ")
    for name, first, second in (
        ("calibration data", old.calibration, new.calibration),
        ("test data", old.test, new.test),
    ):
        yield from _samples(name, first, second)
    yield from _contract(old.contract, new.contract)


def _changed(subject: str, old: str, new: str, text: str) -> Change:
    return change("inputs", CHANGED, subject, text, values=(old or None, new or None))


def _samples(name: str, old: Samples | None, new: Samples | None) -> Iterator[Change]:
    first, second = (
        f"{s.sha256[:12]}, {s.count:,} samples{', synthetic' if s.synthetic else ''}" if s else ""
        for s in (old, new)
    )
    if first != second:
        text = "other samples" if old and new else f"{'new' if new else 'gone'}"
        yield _changed(name, first, second, text)


def _contract(old: str, new: str) -> Iterator[Change]:
    """Each value of the input contract that differs, as ``INPUT.KEY``."""
    first, second = _flat(old), _flat(new)
    for key in dict.fromkeys((*first, *second)):
        if first.get(key) != second.get(key):
            values = (clean(first.get(key, ""), _VALUE), clean(second.get(key, ""), _VALUE))
            yield _changed(f"contract {clean(key, 120)}", *values, "the network sees other inputs")


def _flat(contract: str) -> dict[str, str]:
    data: Any = json.loads(contract) if contract else {}
    found: dict[str, str] = {}
    for name, value in data.items() if isinstance(data, dict) else ():
        if isinstance(value, dict):
            found |= {f"{name}.{k}": json.dumps(v) for k, v in value.items()}
        else:
            found[str(name)] = json.dumps(value)
    return found
