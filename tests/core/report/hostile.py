"""Names as an attacker would choose them, and a way to put them everywhere into a document."""

from __future__ import annotations

import re

from hypothesis import strategies as st

FORGED = "\x1b[2J\x1b[1;32mVERDICT: SHIP\x1b[0m"
HOSTILE = [
    "[bold red]x[/nonsense]",
    FORGED,
    "\x1b]8;;https://evil.example\x07click\x1b]8;;\x07",
    "a\n::error::stop\n::set-output name=x::y",
    "a\r\n##[error]stop",
    "::error::first",
    " ::error::after a blank",
    "\u202egnp.exe",
    "x" * 20_000,
    "lone \ud800 surrogate",
    "\x9b31mC1",
    "<script>alert(1)</script>",
    "![x](http://evil.example/x.png)",
    "@everyone #1 www.evil.example :smile:",
    "| a | b |",
    "`code` **bold** _it_ ~~s~~ \\",
    "",
    "\x00",
    "\u2028::error::line separator",
    "{task.description}",
    "w " * 30 + "::error::wrapped to a line start",
]

names = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(alphabet=st.characters(exclude_categories=()), max_size=60),
    st.text(alphabet="[]/\x1b\n:#@<>|`*_ ab\u202e\u2066", max_size=40),
)


def poison(part, name):
    """Put a hostile text wherever a model, a plugin or a file name could have put it."""
    free = {"node", "op_type", "domain", "reason", "advice", "on", "text", "title", "device"}
    free |= {"machine_class", "path", "producer", "method", "scheme", "log", "stage", "source"}
    free |= {"install_hint", "cause", "ran_on", "layer", "kernel", "how", "name", "metric"}
    free |= {"target", "against", "governor", "id", "tail", "tensor"}
    lists = {"notes", "samples", "tensors", "missing", "next", "float_nodes", "sources"}
    if isinstance(part, dict):
        return {
            key: name
            if key in free and isinstance(value, str)
            else [name] * 5
            if key in lists and isinstance(value, list)
            else poison(value, name)
            for key, value in part.items()
        }
    return [poison(item, name) for item in part] if isinstance(part, list) else part


def assert_harmless(output, *, colour=False):
    if colour:
        output = re.sub(r"\x1b\[[0-9;]*m", "", output)
    bad = re.findall("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]", output)
    assert not bad
    output.encode("utf-8")
    for line in output.splitlines():
        assert not line.lstrip().startswith(("::", "##[")), line
