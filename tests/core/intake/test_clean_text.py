from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.text import clean


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("conv_1/größe", "conv_1/größe"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\x9bb\x7f", "a\\x9bb\\x7f"),
        ("one\ntwo\r\u2028", "one\\x0atwo\\x0d\\u2028"),
        ("pay\u202eexe", "pay\\u202eexe"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("half\ud800", "half\\ud800"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("::error::x", "\\x3a:error::x"),
        ("  ::set-output name=a::b", "  \\x3a:set-output name=a::b"),
        ("x##[error]y", "x\\x23#[error]y"),
        ("a::b", "a::b"),
    ],
)
def test_each_danger_becomes_visible(raw: str, shown: str) -> None:
    assert clean(raw) == shown


@given(st.text(st.characters(exclude_categories=()), max_size=300), st.integers(16, 200))
def test_any_text_becomes_one_printable_line(raw: str, limit: int) -> None:
    shown = clean(raw, limit)
    assert len(shown) <= limit
    assert len(shown.splitlines()) <= 1
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in shown)
    assert not any(unicodedata.bidirectional(c) in _OVERRIDES for c in shown)
    assert not shown.lstrip().startswith("::")
    assert shown.encode("utf-8").decode("utf-8") == shown


_OVERRIDES = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def test_long_texts_with_one_beginning_stay_different() -> None:
    one, two = clean("n" * 20_000 + "1"), clean("n" * 20_000 + "2")
    assert one != two
    assert len(one) == len(two) == 120
    assert one.startswith("nnnn")


def test_a_cut_never_leaves_half_an_escape() -> None:
    for limit in range(16, 40):
        head = clean("\x1b" * 100, limit).rpartition("~")[0]
        assert head.count("\\x1b") * 4 == len(head)
