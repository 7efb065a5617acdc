"""``seatrial.toml``: one schema, strict, and flags over it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.codec import decode, encode
from seatrial.config import Config, find, load
from seatrial.config import values as v
from seatrial.config.load import find_line
from seatrial.errors import UserError
from seatrial.sla import SLA, LatencyLimit

FULL = """
[model]
path = "m.onnx"
opset = 17
[input."data_0"]
size = [224, 224]
resize = "crop"
resize_to = 256
color = "BGR"
scale = "1/255"
mean = [104, 117, 123.0]
[input.mfcc]
mode = "tensor"
reshape = [1, 49, 10]
zero_point = 83
[data.calibration]
source = "d"
where = { split = "calib", day = 3 }
limit = 256
[data.test]
source = "d[0:2]"
arrays = { mfcc = "mfcc_int8" }
classes = ["a", "b"]
[task]
kind = "classify"
top_k = 5
label_offset = 1
[sla]
max_drop = "1.5%"
max_latency = "p99=12ms"
max_memory = "512MiB"
[target."onnxruntime:cpu"]
threads = 4
timeout_s = 30
shapes = { data_0 = [1, 3, 224, 224] }
options = { fast = true, level = 2 }
env = "old"
[target.other]
streams = 8
[env.old]
python = "venv/bin/python"
launcher = "taskset"
variables = { OMP = 1 }
[run]
seed = 3
"""


def config(tmp_path: Path, text: str, **overrides) -> Config:
    (tmp_path / "d").mkdir(exist_ok=True)
    path = tmp_path / "seatrial.toml"
    path.write_text(text)
    return load(path, {k.replace("__", "."): value for k, value in overrides.items()})


def test_everything_at_once(tmp_path):
    c = config(tmp_path, FULL)
    assert c.model.path == f"{tmp_path}/m.onnx" and c.model.opset == 17
    picture = c.inputs["data_0"]
    assert picture.scale == 1 / 255 and picture.mean == (104.0, 117.0, 123.0)
    assert c.inputs["mfcc"].reshape == (1, 49, 10) and c.inputs["mfcc"].zero_point == 83.0
    calibration, test = c.source("calibration"), c.source("test")
    assert calibration.where == {"split": "calib", "day": "3"} and calibration.limit == 256
    assert calibration.location == f"{tmp_path}/d" and test.stop == 2
    assert test.arrays == {"mfcc": "mfcc_int8"} and test.classes == ("a", "b") and c.split == ""
    assert c.sla.max_latency == LatencyLimit(quantile="p99", ms=12.0)
    assert c.sla.max_drop == 1.5 and c.sla.max_memory_mb == pytest.approx(536.870912)
    target = c.target("onnxruntime:cpu")
    assert target.threads == 4 and target.shapes == {"data_0": (1, 3, 224, 224)}
    assert target.options == {"fast": True, "level": 2} and target.timeout_s == 30.0
    assert c.target("other:x/y").streams == 8 and c.target("third:x") is None
    assert c.environments["old"].python == f"{tmp_path}/venv/bin/python"
    assert c.environments["old"].launcher == ("taskset",)
    assert c.environments["old"].variables == {"OMP": "1"}
    assert c.defaults_used == ("sla.device_drop=0.5",)
    spec = c.task.spec(labelled=True)
    assert spec.name == "classify" and spec.options == {"top": 5, "label_offset": 1}
    assert decode(Config, encode(c)) == c


def test_nothing_at_all():
    c = load(None)
    assert c == Config(defaults_used=("sla.max_drop=1", "sla.device_drop=0.5", "run.seed=0"))
    assert c.source("test") is None and c.split == ""
    assert c.task.spec(labelled=False).name == "none"
    assert c.task.spec(labelled=True).options == {"top": 1, "label_offset": 0}
    assert c.sla == SLA()


def test_the_tasks_own_class_accepts_what_spec_gives(tmp_path):
    from seatrial.tasks.base import load as load_task

    c = config(tmp_path, "[task]\ntop_k = 3\nlabel_offset = 1\n")
    assert load_task(c.task.spec(labelled=True)).label_offset == 1
    own = config(tmp_path, '[task]\ncallable = "m:C"\noptions = { k = 2 }\n').task.spec(
        labelled=True
    )
    assert own.name == "m:C" and own.options == {"k": 2} and own.own


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[sla]\n\nmax_dorp = 1\n",
            r"line 3, \[sla\] max_dorp: unknown key \(did you mean 'max_drop'",
        ),
        ("[slaa]\n", r"line 1, slaa: unknown key .*'sla'"),
        ("stray = 1\n", r"line 1, stray: unknown key"),
        ("sla = 3\n", r"line 1, sla: is a table: write \[sla\]"),
        ('[input."a b"]\nsize = [1]\n', r'line 2, \[input\."a b"\] size: write two numbers'),
        ('[input.x]\ncolor = "GBR"\n', r"line 2, \[input\.x\] color: 'GBR' is none of RGB"),
        ("[input.x]\nmean = [1, 2]\n", r"mean: write 1 number or 3"),
        ("[input]\nx = 3\n", r"line 2, \[input\] x: is a table"),
        ("[data.calibration]\nlimit = 3\n", r"line 1, .*lacks the key 'source'"),
        ("[data]\nlimit = 3\n", r"line 2, \[data\] limit: belongs to a source"),
        ('[data.test]\nsource = "d"\nlimit = 0\n', r"line 3, .*limit: is 0, the least is 1"),
        ('[data.test]\nsource = "d"\nwhere = 3\n', r"where: write a table"),
        ('[sla]\nmax_latency = "12ms"\n', r"say which latency: p50=12ms"),
        ("[sla]\nmax_drop = true\n", r"max_drop: write a number of points"),
        ("[sla]\nmax_drop = nan\n", r"not a finite number"),
        ('[sla]\nfail_on = "never-ever"\n', r"one of not-proven"),
        (
            '[target.x]\nenv = "old"\n',
            r"line 2, \[target\.x\] env: there is no \[env\.old\], only none",
        ),
        ("[target.x]\nthreads = 1.5\n", r"whole number"),
        ("[target.x]\noptions = { a = [1] }\n", r"options are texts"),
        ("[run]\nseed = -1\n", r"seed: is -1"),
        ("[sla]\nmax_drop = \n", r"line 2: is not valid TOML"),
        ("[sla]\n[sla]\n", r"is not valid TOML"),
        ("x = " + "[" * 5000, r"is not valid TOML"),
    ],
)
def test_mistakes_are_named_with_line_and_key(tmp_path, text, said):
    with pytest.raises(UserError, match=said) as caught:
        config(tmp_path, text)
    assert caught.value.subject == f"{tmp_path}/seatrial.toml"
    assert "\n" not in str(caught.value)


def test_files_that_are_no_configuration(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load(tmp_path / "none.toml")
    with pytest.raises(UserError, match="not a regular file"):
        load(tmp_path)
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="UTF-8"):
        load(tmp_path / "b.toml")
    (tmp_path / "c.toml").write_bytes(b"#" * (2 << 20))
    with pytest.raises(UserError, match="too large"):
        load(tmp_path / "c.toml")


def test_flags_win_and_start_from_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here/e").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    c = config(
        tmp_path, FULL, sla__max_drop="2", data__test="e[1:2]", run__seed=None, model__path="x.onnx"
    )
    assert c.sla.max_drop == 2.0 and c.run.seed == 3
    test = c.source("test")
    assert test.location == f"{tmp_path}/here/e" and test.start == 1
    assert test.arrays == {}, "array names of the file's source say nothing about another one"
    assert c.source("calibration").location == f"{tmp_path}/d"
    assert c.model.path == f"{tmp_path}/here/x.onnx"
    for key, said in (
        ("sla__max_drop", "--max-drop: a limit in points"),
        ("run__seed", "--seed: is -1"),
    ):
        with pytest.raises(UserError, match=said):
            config(tmp_path, FULL, **{key: -1})


def test_one_source_is_split_in_two(tmp_path):
    c = config(tmp_path, '[data]\nsource = "d"\nsplit_seed = 4\nsplit_count = 9\n')
    one, two = c.source("calibration"), c.source("test")
    assert (one.part, two.part, one.split_seed, one.split_count) == ("calibration", "test", 4, 9)
    assert "seed 4" in c.split
    c = config(tmp_path, FULL, data__source=str(tmp_path / "d"))
    assert c.source("test").part == "test" and c.source("test").arrays == {}


def test_sources_are_looked_for_only_when_asked_for(tmp_path):
    c = config(tmp_path, '[data]\ncalibration = "gone"\ntest = "d"\n')
    assert c.source("test").kind == "folder"
    with pytest.raises(UserError, match="gone: no such folder"):
        c.source("calibration")


def test_a_home_folder_of_nobody_is_a_name_like_any_other(tmp_path):
    c = config(tmp_path, '[model]\npath = "~nobody-of-this-name/m.onnx"\n')
    assert c.model.path == f"{tmp_path}/~nobody-of-this-name/m.onnx"


def test_find(tmp_path):
    assert find(tmp_path) is None
    (tmp_path / "seatrial.toml").write_text("")
    assert find(tmp_path) == tmp_path / "seatrial.toml"


def test_lines_of_nested_and_quoted_keys():
    text = '[a]\nx = 1\n[a."b.c"]  # why\n"d e" = 2\n[f]\ng.h = 3\n'
    assert find_line(text, ("a", "x")) == 2
    assert find_line(text, ("a", "b.c")) == 3
    assert find_line(text, ("a", "b.c", "d e")) == 4
    assert find_line(text, ("f", "g", "h")) == 6
    assert find_line(text, ("f", "g", "i")) == 5
    assert find_line(text, ("z",)) == 0


@given(
    quantile=st.sampled_from(v.QUANTILES),
    value=st.floats(1e-3, 1e6),
    unit=st.sampled_from([("us", 1e-3), ("ms", 1.0), ("s", 1e3)]),
    gap=st.sampled_from(["", " "]),
)
def test_latencies(quantile, value, unit, gap):
    found = v.latency(f"{quantile}{gap}={gap}{value:.6f}{gap}{unit[0]}")
    assert found.quantile == quantile
    assert found.ms == pytest.approx(float(f"{value:.6f}") * unit[1])


@pytest.mark.parametrize("bad", ["", "p99", "p99=", "p99=12", "p98=1ms", "p99=0ms", "p99=-1ms", 12])
def test_bad_latencies(bad):
    with pytest.raises(ValueError, match=r"\w"):
        v.latency(bad)


def test_memory_points_and_numbers():
    assert [v.memory_mb(x) for x in ("512MB", "1 GB", "512", 512, "1024kB")] == [
        512.0,
        1000.0,
        512.0,
        512.0,
        pytest.approx(1.024),
    ]
    assert v.points("1%") == v.points(1) == 1.0
    assert v.number("-1/4") == -0.25 and v.numbers([1, "1/2"]) == (1.0, 0.5)
    for parser, bad in (
        (v.memory_mb, "0MB"),
        (v.memory_mb, "lots"),
        (v.memory_mb, True),
        (v.points, 101),
        (v.points, -0.1),
        (v.number, "1/0"),
        (v.number, float("inf")),
        (v.number, 10**400),
        (v.numbers, []),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            parser(bad)


leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
tree = st.recursive(
    leaf, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x), max_leaves=8
)


@given(value=tree)
def test_no_value_of_any_type_gets_past_a_parser(value):
    """Every parser gives a value or a reason, never another error."""
    from seatrial.config import schema

    tables = [t.fields for t in (*schema.TABLES.values(), *schema.SETS.values())]
    for parser in {p for fields in tables for p in fields.values()}:
        try:
            parser(value)
        except ValueError as error:
            assert str(error)


@given(text=st.text(alphabet='[]"=.{}# \nasldmx_1', max_size=60))
def test_any_text_is_a_configuration_or_one_line_of_refusal(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(text)
    try:
        load(path)
    except UserError as error:
        assert error.subject == str(path)


@pytest.mark.parametrize("same", [True, False])
def test_a_flag_that_names_the_same_source_keeps_its_rows(same, tmp_path):
    flag = f"{tmp_path}/{'d' if same else 'other'}"
    (tmp_path / "other").mkdir()
    calibration = config(tmp_path, FULL, data__calibration__source=flag).source("calibration")
    assert calibration.where == ({"split": "calib", "day": "3"} if same else {})
    assert calibration.location == flag
