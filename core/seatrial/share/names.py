"""The secrets of one report, and what each is called once it is shared.

The same name gets the same stand-in everywhere, so that a shared report can still be read: ``node
12`` of a finding is ``node 12`` of the layer table. Stand-ins count in order of appearance.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from . import rules
from .places import walk

#: Names of tensors, axes and data that say nothing about anybody.
_COMMON = frozenset((
    "batch", "batch_size", "n", "c", "h", "w", "height", "width", "channels", "length", "sequence",
    "time", "x", "y", "input", "inputs", "image", "images", "output", "outputs", "logits", "label",
    "labels", "data", "test", "train", "calib", "calibration", "model", "models", "file",
))  # fmt: skip
#: ONNX's own domains, and those of no interest to anybody.
_DOMAINS = frozenset(("", "ai.onnx", "ai.onnx.ml", "com.microsoft", "ai.onnx.preview.training"))
#: An operator of the standard or one like it: camel case, as no customer's secret is. What the
#: standard does not have carries its domain in the report, and that is what is renamed.
_PLAIN = re.compile(r"[A-Z][A-Za-z0-9]{1,39}")
#: What ends a path in ``SRC[0:256]``, ``nets.py:factory`` and ``photos::thing``.
_TAIL = re.compile(r"(?:\[[-\d:]*\]|:[A-Za-z_][\w.]*)+$")

_WORDS = {
    rules.PATH: "file", rules.SAMPLE: "sample", rules.NODE: "node", rules.TENSOR: "tensor",
    rules.MODULE: "module", rules.OPERATOR: "operator", rules.LABEL: "class",
}  # fmt: skip
#: A part of a name this short is found everywhere: only whole fields of it are renamed.
SHORTEST = 4


class Names:
    """Secrets and their stand-ins.

    Attributes:
        renamed: kind -> how many different names of it were met.
    """

    def __init__(self, document: Mapping[str, Any], level: str) -> None:
        self._taken = frozenset(rules.TAKEN[level])
        self._stand_in: dict[tuple[str, str], str] = {}
        self._inside: dict[str, str] = {}
        self._kept: set[str] = set()
        self.renamed: dict[str, int] = {}
        walk(document, self._meet)
        self._sorted = sorted(self._inside)

    def _meet(self, place: str, text: str) -> str:
        kind = rules.kind(place)
        if kind in self._taken and kind in _WORDS:
            self.of(kind, text)
        elif kind in (rules.NODE, rules.TENSOR):
            self._kept.add(text)
        return text

    def of(self, kind: str, text: str) -> str:
        """The stand-in of a whole field."""
        if not text or self._public(kind, text):
            return text
        known = self._stand_in.get((kind, text))
        if known is None:
            self.renamed[kind] = self.renamed.get(kind, 0) + 1
            known = f"{_WORDS[kind]} {self.renamed[kind]}{_ending(kind, text)}"
            self._stand_in[kind, text] = known
            for part in _parts(kind, text):
                self._inside.setdefault(part, known)
        return known

    def _public(self, kind: str, text: str) -> bool:
        if kind == rules.OPERATOR:
            return text in _DOMAINS or bool(_PLAIN.fullmatch(text))
        return kind == rules.TENSOR and text.lower() in _COMMON

    @property
    def phrases(self) -> list[str]:
        """Secrets that hold white space, the longest first: they are no single word of a text."""
        return sorted((s for s in self._inside if re.search(r"\s", s)), key=len, reverse=True)

    def kept(self, word: str) -> bool:
        """Whether this is a name of the model that this level leaves as it is."""
        return word in self._kept

    def inside(self, word: str) -> str | None:
        """The stand-in of a secret that is this word."""
        return self._inside.get(word)

    def begins(self, word: str) -> str | None:
        """The stand-in of a secret that begins with this word, as texts that were cut have it."""
        at = bisect_left(self._sorted, word)
        if at < len(self._sorted) and self._sorted[at].startswith(word):
            return self._inside[self._sorted[at]]
        return None


def _ending(kind: str, text: str) -> str:
    """A file keeps its ending: that it is an ONNX file or a picture is no secret."""
    if kind != rules.PATH:
        return ""
    suffix = PurePosixPath(_TAIL.sub("", text)).suffix
    return f" ({suffix})" if re.fullmatch(r"\.[A-Za-z0-9]{1,11}", suffix) else ""


def _parts(kind: str, text: str) -> list[str]:
    """What of a name could stand in a text: the whole, and of a path its folders and its stem."""
    found = [text]
    if kind in (rules.PATH, rules.SAMPLE):
        bare = _TAIL.sub("", text)
        for path in (PurePosixPath(bare), PureWindowsPath(bare)):
            found += [bare, path.name, path.stem, *path.parts]
        found += _TAIL.findall(text)
        found += [tail.strip(":[]") for tail in _TAIL.findall(text)]
    return [p for p in found if len(p) >= SHORTEST and p.lower() not in _COMMON and not p.isdigit()]
