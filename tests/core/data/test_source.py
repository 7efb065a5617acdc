"""Sources as typed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.data import Source, parse, split
from seatrial.data.listing import Listing, select
from seatrial.errors import UserError

bound = st.none() | st.integers(-30, 30)


@given(a=bound, b=bound, c=st.none() | st.integers(1, 7), n=st.integers(0, 25))
def test_a_slice_means_what_it_means_in_python(tmp_path_factory, a, b, c, n):
    place = tmp_path_factory.getbasetemp()
    text = f"{place}[{'' if a is None else a}:{'' if b is None else b}"
    text += "]" if c is None else f":{c}]"
    source = parse(text)
    assert (source.start, source.stop, source.step) == (a, b, c or 1)
    assert source.kind == "folder" and source.location == str(place) and source.text == text
    expected = list(range(n))[a:b:c]
    listing = Listing(ids=[str(i) for i in range(n)])
    if expected:
        assert select(source, listing, "x")[0] == expected
    else:
        with pytest.raises(UserError, match="has no samples"):
            select(source, listing, "x")


@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=30),
    seed=st.integers(0, 99),
    most=st.integers(1, 60),
)
def test_a_split_is_a_partition_that_cuts_no_group(sizes, seed, most):
    groups = [f"g{k}" for k, size in enumerate(sizes) for _ in range(size)]
    listing = Listing(ids=[str(i) for i in range(len(groups))], groups=groups)
    whole = Source(kind="folder", location="/d", text="d", split_count=most)
    parts = []
    for part in split(whole, seed=seed)[:2]:
        try:
            parts.append(select(part, listing, "d")[0])
        except UserError:
            parts.append([])
    assert sorted(parts[0] + parts[1]) == list(range(len(groups)))
    assert not {groups[i] for i in parts[0]} & {groups[i] for i in parts[1]}
    assert len(parts[0]) <= min(most, len(groups) // 2)


@given(n=st.integers(1, 200), limit=st.integers(1, 200), seed=st.none() | st.integers(0, 9))
def test_a_limit_keeps_order_and_takes_so_many(n, limit, seed):
    source = Source(kind="folder", location="/d", limit=limit, sample_seed=seed)
    chosen = select(source, Listing(ids=[str(i) for i in range(n)]), "d")[0]
    assert len(chosen) == min(n, limit) and chosen == sorted(set(chosen))


@given(st.text(max_size=40))
def test_any_text_is_a_source_or_one_line_of_refusal(text):
    try:
        source = parse(text)
    except UserError as error:
        assert error.reason
    else:
        assert source.kind in ("folder", "array", "callable")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("nowhere", "no such folder or file"),
        ("nowhere[0:3]", "no such folder or file"),
        ("~nobody-of-this-name", "no such folder or file"),
        (".[::0]", "step is 0"),
        (".[::-1]", "step is -1"),
        (".[-:]", "a slice is written"),
        ("a.txt", "not a .txt file"),
        ("pipe.npz", "neither a folder nor a regular file"),
        ("none.py:f", "no such file"),
    ],
)
def test_refusals(tmp_path, monkeypatch, text, said):
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("x")
    os.mkfifo("pipe.npz")
    with pytest.raises(UserError, match=said):
        parse(text)


def test_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.npz", "b.NPY", "own.py", "odd[0:2].npz"):
        Path(name).write_bytes(b"")
    Path("shots[0:2]").mkdir()
    assert parse("a.npz[1:]").kind == parse("b.NPY").kind == "array"
    assert parse("pkg.mod:Data.make[:5]").location == "pkg.mod:Data.make"
    assert parse("own.py:make").location == f"{tmp_path}/own.py:make"
    assert parse("shots[0:2]").stop is None, "a folder of that very name comes first"
    assert parse("odd[0:2].npz").kind == "array"
    (tmp_path / "sub").mkdir()
    assert parse("../a.npz", base=tmp_path / "sub").location.endswith("a.npz")


def test_the_parents_side_imports_nothing_heavy():
    code = (
        "import sys, seatrial.data, seatrial.config, seatrial.init.command\n"
        "heavy = {'numpy', 'PIL', 'onnx', 'onnxruntime', 'torch'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
