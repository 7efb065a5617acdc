"""What people see: complete, at most 100 columns, and deaf to what names say."""

from __future__ import annotations

import copy
import html.parser
import importlib.util
import io
import json
import re
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from seatrial.init.records import InitResult
from seatrial.report import (
    Report,
    backends_view,
    bench_view,
    draw,
    facts,
    finish,
    init_view,
    measured,
    safe,
    sheets,
    speed_rows,
    speed_view,
    target_rows,
    terminal,
)
from seatrial.report import numbers as nr
from seatrial.results import Fault, FaultKind, TargetKind
from seatrial.trial.setup import BackendRow, BackendsResult, TargetRow

_spec = importlib.util.spec_from_file_location(
    "seatrial_report_examples", Path(__file__).parent / "examples.py"
)
examples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(examples)
_spec = importlib.util.spec_from_file_location(
    "seatrial_report_hostile", Path(__file__).parent / "hostile.py"
)
hostile = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(hostile)
FORGED, HOSTILE, names = hostile.FORGED, hostile.HOSTILE, hostile.names
poison, assert_harmless = hostile.poison, hostile.assert_harmless


class Stream(io.StringIO):
    """A stream with an encoding, a terminal or not."""

    def __init__(self, *, tty=False, encoding="utf-8"):
        super().__init__()
        self._tty = tty
        self._encoding = encoding

    @property
    def encoding(self):
        return self._encoding

    def isatty(self):
        return self._tty


def shown(report, **how):
    stream = Stream(**how)
    terminal.show(report, stream)
    return stream.getvalue()


def plain_width(output):
    return max(len(line) for line in output.splitlines())


@pytest.mark.parametrize("name", examples.ALL)
@pytest.mark.parametrize("width", [60, 80, 100, 250])
def test_no_line_is_wider_than_100_columns(name, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    output = shown(Report(examples.ALL[name]()))
    limit = max(min(width, 100), max(map(len, examples.ALL[name]()["next"] or [""])) + 2)
    assert plain_width(output) <= limit
    assert_harmless(output)


def test_piped_output_has_100_columns_and_no_colour(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    output = shown(Report(examples.do_not_ship()))
    assert 90 < plain_width(output) <= 100
    assert "\x1b" not in output


def test_no_color_is_obeyed_on_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    report = Report(examples.do_not_ship())
    assert re.search(r"\x1b\[[0-9;]*4[0-9]", shown(report, tty=True))
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[(?:[0-9;]*;)?[34][0-7]", shown(report, tty=True))


def test_the_overview_says_what_matters(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    output = shown(Report(examples.do_not_ship()))
    lines = output.splitlines()
    assert lines[0].split() == ["DO", "NOT", "SHIP", "mobilenet_v2.onnx"]
    assert "holds for" in lines[1]
    assert examples.CPU_CLASS in lines[1]
    for words in (
        "the drop is 4.5 points, at least 3.6 (95 %), and 1.0 is allowed",
        "device drop at most 0.5 points (default)",
        "p99 at most 12 ms",
        "1.02x (noise)",
        "partial, 12/412",
        "HardSwish x12",
        "and 9 more",
        "3 calibration images are also in the test set",
        "seatrial quantize mobilenet_v2.onnx --calibration images/more -o int8.onnx",
    ):
        assert words in " ".join(output.split()), words


def test_what_is_missing_and_what_is_interrupted_is_said():
    output = shown(Report(examples.not_proven()))
    assert "about 1,450 labelled test samples" in output
    assert shown(Report(examples.interrupted())).lstrip().startswith("INTERRUPTED")


def test_synthetic_data_are_named_in_every_view():
    report = Report(examples.refused())
    assert "SYNTHETIC calibration data" in shown(report)
    assert "SYNTHETIC calibration data" in report.to_markdown()
    assert facts.synthetic(examples.ship()) == ""


def test_faults_have_their_log_and_do_not_look_like_a_refusal():
    output = shown(Report(examples.faults()))
    assert ".seatrial/logs/openvino-compile_check-1f2e.log" in output
    assert "SIGSEGV" in output
    assert "unsupported" not in output


def test_check_shows_each_finding_with_its_advice():
    words = " ".join(shown(Report(examples.check())).split())
    assert "openvino:NPU fp32 com.acme.Nms: no conversion rule for this operator" in words
    assert "→ cut the model before it and run it on the host" in words
    assert "structure only" in words
    assert "no compiler was asked" in words


def test_long_lists_are_cut_and_say_so():
    data = examples.check()
    base = data["targets"][2]["built"]["findings"][0]
    data["targets"][2]["built"]["findings"] = [base | {"op_type": f"Op{i}"} for i in range(40)]
    assert "29 more findings in the report that -o DIR writes" in shown(Report(data))
    assert "29 more findings in report.json" in shown(Report.read(Report(data).data))
    data = examples.ship()
    data["reasons"] = [{**data["reasons"][0], "text": f"reason {i % 40}"} for i in range(80)]
    assert "32 more reasons in report.json" in shown(Report(data))


def test_a_page_sends_nobody_to_a_file_that_was_not_written(tmp_path):
    report = Report(examples.bench())
    sheet = sheets.Sheet("S", sheets.columns("a"), [("1",)], sheets.more(9, 2, "rows"))
    texts = []
    for rest in (sheets.REST, "in the report that -o DIR writes"):
        stream = Stream()
        page = draw.Page(stream, rest)
        page.sheet(sheet)
        page.end()
        texts.append(stream.getvalue())
    assert "7 more rows in report.json" in texts[0]
    assert "7 more rows in the report that -o DIR writes" in texts[1]
    report.data["reasons"] = [
        {**examples.ship()["reasons"][0], "text": f"reason {i}"} for i in range(20)
    ]
    assert "more reasons in the report that -o DIR writes" in shown(report)
    report.write(tmp_path)
    assert "more reasons in report.json" in shown(report)


def test_claims_that_say_the_same_are_one_line():
    data = examples.check()
    (row,) = [t for t in data["targets"] if t["claimed"] and not t["built"]["depth"]]
    (claim,) = row["claimed"]["claims"]
    alike = [claim | {"node": f"crop_{i}", "op_type": "Crop"} for i in range(6)]
    others = [claim | {"op_type": f"Op{i}"} for i in range(9)]
    row["claimed"]["claims"] = [claim, *alike, *others]
    words = " ".join(shown(Report(data)).split())
    assert "unsupported Softmax /classifier/Softmax: axis 1 of a 2-D tensor" in words
    assert "unsupported Crop x6: axis 1 of a 2-D tensor [operator table 2.19]" in words
    assert "at crop_0, crop_1, crop_2 and 3 more" in words
    assert "3 more claims in the report that -o DIR writes" in words, "groups, not nodes"


def test_figures_without_a_gate_give_way_to_those_with_one():
    data = examples.not_proven()
    extra = [row | {"metric": "cosine", "gate": "not applicable"} for row in data["ladder"]]
    data["ladder"] = [*data["ladder"], *data["ladder"], *extra]
    sheet = measured.ladder(data)
    assert len(sheet.rows) == 5
    assert sheet.notes[-1] == "3 ungated figures in report.json"
    data["ladder"] = extra
    told = {row[0].partition(" ")[0] for row in measured.ladder(data).rows}
    assert told == {row["rung"] for row in extra}


def test_a_reason_that_was_told_is_not_told_again_below_the_ladder():
    data = examples.not_proven()
    told = "device-int8 qdq:3f9a6c openvino:CPU: 1,450 samples would decide"
    assert told in measured.ladder(data).notes
    data["reasons"][0]["text"] = "device-int8: 1,450 samples would decide"
    assert measured.ladder(data).notes == []


def test_layout_variants_are_shown_with_their_price():
    data = examples.ship()
    data["targets"][0]["layout"] = target_rows.layout(
        "NCHW",
        "NHWC",
        "NHWC is 30 % faster",
        [
            target_rows.layout_variant("NCHW", "original", equivalent=True, p50_ms=9.4, ratio=1.0),
            target_rows.layout_variant(
                "NHWC",
                "rewritten",
                equivalent=False,
                ratio=0.7,
                ci95=[0.6, 0.8],
                penalty_percent=-30.0,
                penalty_ci95=[-40.0, -20.0],
                distinguishable=True,
                runtime="acdb",
            ),
        ],
    )
    words = " ".join(shown(Report(data)).split())
    assert "openvino:CPU NHWC * no - -30.0 [-40.0, -20.0] - acdb" in words
    assert "openvino:CPU: NHWC is 30 % faster" in words


def test_the_machine_is_named_also_without_a_class():
    data = examples.ship()
    data["targets"][0]["machine_class"] = ""
    own = "Intel(R) Xeon(R) Platinum 8481C, 8 cores, avx512_vnni avx512f avx2"
    assert facts.machines(data) == own
    data["targets"][0]["kind"] = "simulator"
    assert facts.machines(data) == ""


def test_a_target_that_is_not_here_and_decides_nothing_has_no_verdict():
    data = examples.ship()
    data["targets"][1] |= {"verdict": "NOT PROVEN", "answers": examples.rows.answers("NOT PROVEN")}
    (last,) = [row for row in sheets.verdicts(data).rows if row[0].startswith("hailo")]
    assert last == ("hailo@dfc:hailo8l", "unavailable", "-", "-", "-")
    data["targets"][1]["decides"] = True
    (last,) = [row for row in sheets.verdicts(data).rows if row[0].startswith("hailo")]
    assert last[1:3] == ("NOT PROVEN", "NOT PROVEN")


def test_wide_columns_go_before_anything_is_squeezed():
    sheet = sheets.Sheet(
        "t", sheets.columns("name|?why| >n| ?>size"), [("a" * 20, "long words " * 9, "1", "2 MB")]
    )
    assert draw.fitting(sheet, 100) == [0, 1, 2, 3]
    assert draw.fitting(sheet, 50) == [0, 1, 2]
    assert draw.fitting(sheet, 40) == [0, 2]
    assert draw.fitting(sheet, 5) == [0, 2]


#: None begins with two colons: what is written escapes them, they command some CI systems.
WORDS = st.text("abc:/-_@ ", max_size=40).map(lambda text: f"a{text}".strip())
NUMBERS = st.from_regex(r"[1-9][0-9]{0,3}\.[0-9]{1,3}|\[-[0-9]{1,3}, [0-9]{1,4}\]", fullmatch=True)


def _drawn(sheet, width):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        page = draw.Page(stream)
        page.sheet(sheet)
        page.end()
    stream.seek(0)
    return stream.read().splitlines()


@hypothesis.given(
    rows=st.lists(st.tuples(WORDS, NUMBERS, WORDS, NUMBERS, NUMBERS), min_size=1, max_size=4),
    width=st.integers(40, 100),
)
def test_numbers_are_never_cut(rows, width):
    """Half a number is another number: words give way, then the table becomes a list."""
    sheet = sheets.Sheet("t", sheets.columns("rung| >value|against| >95 % of drop| >limit"), rows)
    lines = _drawn(sheet, width)
    assert max(map(len, lines)) <= width
    output, at = " ".join(" ".join(lines).split()), 0
    for _, *cells in rows:
        row = [cells[0], cells[2], cells[3]]
        ends = [output.index(number, at) for number in row]
        at = min(ends)


def test_nothing_is_negative_zero():
    assert nr.significant(-0.0) == "0.00" and nr.points(-0.001) == "0.00"
    assert nr.points(-0.001, sign=True) == "+0.00" and nr.points(-0.01, sign=True) == "-0.01"
    assert nr.interval((-0.001, 0.2)) == "[0.00, 0.20]"
    assert nr.interval((-0.0, 2e-9), None) == "[0.00, 2e-09]"


def test_names_are_broken_between_their_parts():
    assert draw.broken("device-int8 qdq:29c5e1", 10) == "device-\nint8 qdq:\n29c5e1"
    assert draw.broken("device-int8 qdq:29c5e1", 12) == "device-int8\nqdq:29c5e1"
    assert draw.broken("onnxruntime:cpu", 12) == "onnxruntime:\ncpu"
    assert draw.broken("not proven", 6) == "not\nproven"
    assert draw.broken("", 6) == ""


@pytest.mark.parametrize("width", [100, 80, 60, 40])
def test_every_figure_of_the_ladder_stands_whole(width):
    sheet = measured.ladder(examples.ship())
    output = "\n".join(_drawn(sheet, width))
    numbers = [i for i, column in enumerate(sheet.columns) if column.right and not column.wide]
    assert len(numbers) == 4
    assert all(row[i] in output for row in sheet.rows for i in numbers)


def test_the_ranking_refuses_what_it_cannot_tell_apart():
    data = examples.bench()
    assert bench_view.ranking(data).startswith("fastest: openvino:CPU int8")
    data["targets"][1]["benchmark"] = examples.bench_pair(9.4, 3.8)
    assert bench_view.ranking(data) == (
        "cannot be told apart: openvino:CPU int8, onnxruntime:cpu int8"
        if data["targets"][0]["benchmark"][1]["p50_ms"] <= 3.8
        else "cannot be told apart: onnxruntime:cpu int8, openvino:CPU int8"
    )


@pytest.mark.parametrize(
    "change", [{"threads": 1}, {"streams": 2}, {"emulated": True}, {"timed_by": "vendor"}]
)
def test_the_ranking_compares_only_like_with_like(change):
    data = examples.bench()
    data["targets"][0]["benchmark"][1].update(change)
    ranked = bench_view.ranking(data)
    assert "openvino:CPU int8" not in ranked


def test_two_models_are_named_in_the_speed_table():
    data = examples.bench()
    other = "b" * 64
    data["models"] = [data["model"] | {"path": "other.onnx", "sha256": other}]
    for row in data["targets"][1]["benchmark"]:
        row["model"] = other
    output = shown(Report(data))
    assert "other.onnx onnxruntime:cpu" in " ".join(output.split())
    # Each model has a ranking of its own, and none compares the two.
    assert not re.search(r"fastest: openvino\S* int8, p50 \S+ ms, \S+ ahead of onnxruntime", output)


@hypothesis.given(name=names, which=st.sampled_from(sorted(examples.ALL)))
@hypothesis.settings(max_examples=60, deadline=None)
def test_hostile_names_do_nothing(name, which):
    report = Report(poison(examples.ALL[which](), name))
    assert_harmless(shown(report))
    assert_harmless(shown(report, tty=True), colour=True)
    assert_harmless(report.to_markdown())
    text = report.to_json()
    assert text.isascii()
    again = json.loads(text)
    json.dumps(again, ensure_ascii=False).encode("utf-8")
    assert terminal.one_line(report).count("\n") == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_each_known_attack_does_nothing(name):
    for example in (examples.do_not_ship, examples.check):
        report = Report(poison(example(), name))
        assert_harmless(shown(report))
        assert_harmless(report.to_markdown())


class Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_from_names_is_never_live(name):
    output = Report(poison(examples.do_not_ship(), name)).to_markdown()
    tags = Tags()
    tags.feed(output)
    assert tags.found == []
    outside = re.sub(r"`[^`\n]*`", "", output)
    outside = "\n".join(x for x in outside.splitlines() if not x.startswith("    "))
    assert not re.search(r"(?<!\\)\]\(|@everyone|www\.|https?://|(?<![&\w])#1|:smile:", outside)
    for line in output.splitlines():
        if line.startswith("|") and "---" not in line:
            cells = len(re.sub(r"`[^`]*`|\\\|", "", line).split("|"))
            assert cells in (7, 8, 9, 10, 11, 12), line


def test_markdown_tables_have_one_shape():
    output = Report(poison(examples.do_not_ship(), "a|b `|` c")).to_markdown()
    block = []
    for line in [*output.splitlines(), ""]:
        if line.startswith("|"):
            block.append(len(re.sub(r"\\\|", "", line).split("|")))
        elif block:
            assert len(set(block)) == 1, block
            block = []


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "utf-16", "nonsense"])
def test_any_encoding_can_carry_the_view(encoding):
    data = poison(examples.do_not_ship(), "naïve 模型 ‑ 🚢")
    output = shown(Report(data), encoding=encoding)
    if encoding != "nonsense":
        output.encode(encoding)
    assert "DO NOT SHIP" in output


def test_the_guard_catches_what_a_view_lets_through():
    assert safe.guard("a\n  ::error::x\n##[x]\n\x1b[1m::b\x1b[0m\n") == (
        "a\n  \\x3a:error::x\n\\x23#[x]\n\x1b[1m\\x3a:b\x1b[0m\n"
    )
    assert safe.guard("\x1b]0;t\x07\u202e") == "\\x1b]0;t\\x07\\u202e"
    assert safe.guard("## heading   \nkept") == "## heading\nkept"


def test_commands_stay_ready_to_paste():
    import shlex

    command = f"seatrial run 'my model.onnx' --calibration {'d' * 50} --test {'e' * 40} -o out"
    lines = draw.command_lines(command, 80)
    assert max(map(len, lines)) <= 82
    assert shlex.split("\n".join(lines).replace("\\\n", "")) == shlex.split(command)
    assert draw.command_lines("it's " + "x" * 100, 80) == ["it's " + "x" * 100]


@hypothesis.given(st.floats(allow_nan=False, allow_infinity=False, min_value=0, max_value=1e9))
def test_numbers_keep_three_digits_and_no_more_width_than_needed(value):
    text = nr.significant(value)
    assert abs(float(text.replace(",", "")) - value) <= max(0.0051 * value, 1e-12)
    assert len(text) <= 13


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (nr.size(14_178_301), "14.2 MB"),
        (nr.size(999), "999 B"),
        (nr.size(None), "-"),
        (nr.size(2_500_000_000), "2.50 GB"),
        (nr.seconds(125), "2 min 05 s"),
        (nr.interval([1.0, None]), "-"),
        (nr.interval([-0.14, 0.74]), "[-0.14, 0.74]"),
        (nr.points(0.3, sign=True), "+0.30"),
        (nr.plural(1, "node"), "1 node"),
        (nr.plural(2048, "node"), "2,048 nodes"),
        (nr.count(None), "-"),
    ],
)
def test_numbers(made, text):
    assert made == text


def backends_result(name="x"):
    fault = Fault(kind=FaultKind.TIMED_OUT, stage="seatrial_probe", reason=f"30 s {name}")
    row = TargetRow(
        target="ort:cpu",
        title=f"CPU {name}",
        kind=TargetKind.DEVICE,
        default=True,
        usable=True,
        versions={"ort": "1.31", "odd": name},
    )
    gone = TargetRow(
        target="ort:gpu",
        title="GPU",
        kind=TargetKind.DEVICE,
        usable=False,
        reason="no device",
        install_hint=f"plug it in {name}",
    )
    slow = TargetRow(target="ort:npu", title="NPU", kind=TargetKind.DEVICE, fault=fault)
    return BackendsResult(
        rows=(
            BackendRow(
                backend="ort",
                dist="seatrial",
                version="0.1.0",
                contract="1.0",
                hooks=("seatrial_probe",),
                targets=(row, gone, slow),
            ),
            BackendRow(backend="bad", dist="d", version="1", problem=f"two of that name {name}"),
        ),
        lock={"ort": "1.31", name: name},
    )


def test_backends_lists_what_is_missing_and_how_to_get_it():
    stream = Stream()
    backends_view.show(backends_result(), stream)
    words = " ".join(stream.getvalue().split())
    for said in ("ort:gpu no device → plug it in x", "timed out: 30 s x", "two of that name x"):
        assert said in words
    assert "seatrial check MODEL.onnx -b ort:cpu" in words
    assert "1 more cannot be used here" in words
    assert "Environments" not in words and " env " not in words


def test_backends_tells_environments_apart():
    import dataclasses

    plain = backends_result()
    there = dataclasses.replace(plain.rows[0], env="sdk", targets=())
    known = {"sdk": "/opt/sdk/bin/python", "board": "ssh board"}
    both = dataclasses.replace(plain, rows=(*plain.rows, there), environments=known)
    stream = Stream()
    backends_view.show(both, stream)
    words = " ".join(stream.getvalue().split())
    assert "@sdk /opt/sdk/bin/python ort" in words
    assert "@board ssh board none yet: -b BACKEND@board" in words
    assert "ort seatrial 0.1.0 1.0 1 own" in words and "ort seatrial 0.1.0 1.0 1 @sdk" in words


@pytest.mark.parametrize("name", HOSTILE)
def test_backends_and_init_are_deaf_to_names_too(name):
    import tomllib

    stream = Stream()
    backends_view.show(backends_result(name), stream)
    init_view.show(InitResult(config=name, contact_sheet=name, lines=(name,), next=(name,)), stream)
    assert_harmless(stream.getvalue())
    assert tomllib.loads(backends_view.lock(backends_result(name)))["ort"] == "1.31"


def test_classes_of_few_cases_are_left_out_and_rungs_of_one_name_are_told_apart():
    data = copy.deepcopy(finish(examples.do_not_ship()))
    row = next(r for r in data["ladder"] if r["gate"] == "fail")
    few, many = ({"index": k, "n": n, "before": 1.0, "after": 0.0} for k, n in ((7, 1), (8, 5)))
    row.update(classes=[few, many], source="qdq:0123456789", reason="told nowhere else")
    notes = measured.ladder(data).notes
    (lost,) = [text for text in notes if "classes that lost most" in text]
    assert "8 100 -> 0 %" in lost and "7 100" not in lost
    assert all("qdq:012345" in text for text in notes if "told nowhere else" in text)
    assert any("told nowhere else" in text for text in notes)


def test_a_target_where_int8_is_faster_and_nothing_keeps_it_has_no_row():
    data = copy.deepcopy(finish(examples.ship()))
    for target in data["targets"]:
        target["pace"] = speed_rows.pace(faster=True, ratio=3.0, causes=[], text="INT8 is 3x FP32")
    assert not speed_view.paces(data).rows
    data["targets"][0]["pace"] = speed_rows.pace(faster=False, ratio=0.9, causes=[], text="slower")
    assert len(speed_view.paces(data).rows) == 1


def test_a_remark_of_one_timing_is_told_with_its_name():
    data = examples.ship()
    rows = [row for target in data["targets"] for row in target["benchmark"]]
    assert len(rows) > 1
    shared, own = "the governor is powersave", "latency depends on the input: from 1 to 9 ms"
    for row in rows:
        row["notes"] = [shared]
    rows[0]["notes"].append(own)
    told = measured.benchmark(data).notes
    assert told.count(shared) == 1
    assert [n.endswith(f": {own}") for n in told if own in n] == [True]
