"""Takes the secrets out of sentences, and the values out of command lines."""

from __future__ import annotations

import contextlib
import getpass
import re
import shlex
import socket

from .names import SHORTEST, Names

#: What stands where something was taken out.
GONE = "[removed]"

#: Words of a sentence; brackets, quotes and commas end one.
_WORD = re.compile(r"[^\s'\"`,;()\[\]{}<>=]+")
#: Punctuation around a word.
_EDGE = ".,:;!?"
#: Where the words inside a derived name (``features.0.conv_quantized``) may begin and end.
_JOINT = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z])(?=[A-Z])")
#: How :func:`seatrial.text.clean` ends a name that it cut, and how others do.
_CUT = re.compile(r"(?:~[0-9a-f]{8}|\.\.\.|…)$")

#: ``node zebra`` reads ``node 12``, not ``node node 12``.
_TWICE = re.compile(r"\b(node|tensor|file|sample|module|operator|class) (?=\1 \d)")

#: What tools append to the name of a node or tensor.
_SUFFIX = re.compile(
    r"[_:.](?:q|quantized|scale|zero_point|output|dq|fused|\d+)(?:_\d+)?$", re.IGNORECASE
)

_ENDING = (
    r"onnx|pt2?|pth|ckpt|safetensors|npz|npy|jpe?g|png|bmp|webp|tiff?|csv|tsv|jsonl?|toml|ya?ml|py|"
    r"log|txt|md|xml|bin|so|hef|har|plan|engine|blob|tar|gz|zip|whl|h5|pb|data|wav|mp4"
)
#: Absolute and home paths, Windows paths, addresses with a login, mail, hosts of closed networks,
#: numeric addresses, and anything with the ending of a file.
_PATTERNS = tuple(
    re.compile(p)
    for p in (
        r"(?:file|s3|gs|az|smb|sftp|ssh)://\S+",
        r"\b[a-z][a-z0-9+.-]*://[^\s/@]+@\S+",
        r"(?<![\w.])(?:~[\w.-]*)?/[^\s'\"`,;()\[\]{}<>=:]+(?:/[^\s'\"`,;()\[\]{}<>=:]*)+",
        r"\b[A-Za-z]:[\\/][^\s'\"`,;()\[\]{}<>]+|\\\\[^\s'\"`,;()\[\]{}<>]+",
        r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
        r"\b[\w-]+(?:\.[\w-]+)*\.(?:local|lan|internal|intranet|corp|home|localdomain)\b(?::\d+)?",
        r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?(?![\d.])",
        rf"(?<![\w/])[^\s'\"`,;()\[\]{{}}<>=:]+\.(?:{_ENDING})\b",
    )
)
#: Files that this program itself names.
_OURS = frozenset((
    "report.json", "report.md", "report.html", "seatrial.toml", "labels.csv", "ai.onnx",
))  # fmt: skip

#: Words of a command line that are nobody's: verbs, levels, numbers, slices, units, targets.
_HARMLESS = re.compile(
    r"-{1,2}[a-z][a-z-]*|[-+]?\d+(?:\.\d+)?(?:%|ms|s|MB|GB)?|p\d+=\d+(?:\.\d+)?ms"
)


class Scrubber:
    """Takes secrets out of texts.

    Attributes:
        taken: how many places of texts were changed.
    """

    def __init__(self, names: Names, targets: frozenset[str]) -> None:
        self._names = names
        self._targets = targets
        self._phrases = names.phrases
        self._here = _this_machine()
        self.taken = 0

    def text(self, value: str) -> str:
        """A sentence without secrets."""
        for phrase in self._phrases:
            if phrase in value:
                value = value.replace(phrase, self._names.inside(phrase) or GONE)
                self.taken += 1
        for pattern in _PATTERNS:
            value = pattern.sub(self._path, value)
        return _TWICE.sub("", _WORD.sub(self._word, value))

    def _path(self, match: re.Match[str]) -> str:
        found = match.group()
        whole = found.rstrip(_EDGE)
        if whole in _OURS or self._names.kept(whole):
            return found
        self.taken += 1
        known = self._names.inside(whole) or self._suffixed(whole) or GONE
        return known + found[len(whole) :]

    def _suffixed(self, word: str) -> str | None:
        """A node that is named like a path (``/block/conv``) with a tool's suffix behind it."""
        end = _SUFFIX.search(word)
        name = self._names.inside(word[: end.start()]) if end else None
        named = name is not None and name.startswith(("node", "tensor"))
        return f"{name}{end.group()}" if end and named else None

    def _word(self, match: re.Match[str]) -> str:
        found = match.group()
        known = self._known(found)
        if known is not None:
            self.taken += 1
            return known
        return found

    def _known(self, found: str) -> str | None:
        bare = found.strip(_EDGE)
        before, after = found[: found.find(bare)], found[found.find(bare) + len(bare) :]
        cut = _CUT.search(found)
        if cut and len(found[: cut.start()]) > SHORTEST:
            begun = self._names.begins(found[: cut.start()])
            if begun:
                return begun
        whole = self._names.inside(bare) or self._names.inside(found)
        if whole:
            return f"{before}{whole}{after}"
        if bare.lower() in self._here:
            return f"{before}{GONE}{after}"
        if self._names.kept(bare) or len(bare) <= SHORTEST:
            return None
        return self._derived(found)

    def _derived(self, word: str) -> str | None:
        """A name that a tool made out of a secret one: the secret part is replaced."""
        joints = [0, *(i for m in _JOINT.finditer(word) for i in (m.start(), m.end())), len(word)]
        ends = sorted(set(joints))
        for length in range(len(ends) - 1, 0, -1):
            for first in range(len(ends) - length):
                low, high = ends[first], ends[first + length]
                part = word[low:high]
                stand_in = self._names.inside(part) if high - low >= SHORTEST else None
                if stand_in or part.lower() in self._here:
                    rest = self._derived(word[high:]) or word[high:]
                    return f"{word[:low]}{stand_in or GONE}{rest}"
        return None

    def argument(self, value: str) -> str:
        """One word of a command line: options, numbers and targets stay."""
        option, equals, given = value.partition("=")
        if equals and option.startswith("-"):
            return f"{option}={self.argument(given)}"
        if _HARMLESS.fullmatch(value) or value in self._targets or value in _VERBS:
            return value
        self.taken += 1
        return self._names.inside(value) or GONE

    def command(self, value: str) -> str:
        """A command line in one text."""
        try:
            words = shlex.split(value)
        except ValueError:
            return GONE
        return shlex.join(self.argument(word) for word in words)


_VERBS = frozenset((
    "seatrial", "run", "check", "export", "init", "audit", "quantize", "qat", "bench", "compare",
    "backends", "new-backend", "demo", "report", "explain", "pip", "install",
))  # fmt: skip


def _this_machine() -> frozenset[str]:
    """Names of the machine and of the user who shares, in lower case."""
    found = [socket.gethostname()]
    with contextlib.suppress(KeyError, OSError, ImportError):
        found.append(getpass.getuser())
    common = {"root", "user", "ubuntu", "admin", "runner", "localhost", "host"}
    names = {part.lower() for name in found for part in (name, name.partition(".")[0])}
    return frozenset(n for n in names if len(n) >= SHORTEST and n not in common)
