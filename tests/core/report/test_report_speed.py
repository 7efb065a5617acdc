"""The sheets on speed, the rankings, and the rows that they are drawn from."""

from __future__ import annotations

import importlib.util
import json
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.report import Report, markdown, speed_rows, speed_view, target_rows
from seatrial.report.rankings import rankings

_spec = importlib.util.spec_from_file_location(
    "seatrial_report_examples", Path(__file__).with_name("examples.py")
)
examples: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(examples)

ENDS = [1.1, 1.3]


@pytest.fixture
def data() -> dict[str, Any]:
    """A report in which this room found everything that it can find."""
    data = examples.ship()
    target = data["targets"][0]
    target["benchmark"] += [
        speed_rows.benchmark("fp32", form="dynamic", p50_ms=11.0, layout="NCHW", throughput=90.0),
        speed_rows.benchmark(
            "fp32", streams=2, p50_ms=15.0, throughput=140.0, throughput_ci95=[130.0, 150.0]
        ),
    ]
    target["generality"] = [
        speed_rows.generality("FP32", static_ms=10.0, dynamic_ms=11.0, ratio=1.1, ci95=[1.05, 1.2],
                              distinguishable=True, text="free shapes cost 10.0 %"),
        speed_rows.generality("INT8", text="this target takes static shapes only"),
    ]  # fmt: skip
    target["optimisation"] = speed_rows.optimisation(
        nodes=100, layers=60, told=True, off="the target itself", n=8, equal=False,
        fused=[{"kinds": "Conv+Relu", "count": 17, "example": ["a", "b"]}], folded=["s"],
        inserted=[{"op_type": "Reorder", "count": 2, "ms": 0.1}], layouts={"acdb": 50},
        max_abs_error=0.1, max_rel_error=0.2, tolerance=1e-4, reason="y differs by 0.2",
    )  # fmt: skip
    target["pace"] = speed_rows.pace(
        faster=False, ratio=0.67, ci95=[0.6, 0.7], recommend="INT8 with lone layers in float",
        text="INT8 takes 1.5 times as long as FP32 here",
        causes=[speed_rows.pace_cause("islands", "11 islands of float", share=0.4, layers=["a"])],
        tried=[speed_rows.pace_try("lone layers in float", against="islands", nodes=["a"],
                                   p50_ms=5.0, ci95_ms=[4.9, 5.1], of_fp32=1.2, of_fp32_ci95=ENDS,
                                   of_int8=1.2, of_int8_ci95=ENDS, agreement=97.0,
                                   outcome="helps")],
    )  # fmt: skip
    data["conditions"] = speed_rows.conditions(
        cpus="0-1", cores=2, threads=2, load_before=0.4, load_after=2.0, stolen_percent=0.5,
        energy_reason="this machine exposes no energy counters", disturbances=["the load was high"],
    )  # fmt: skip
    data["ranking"] = rankings(data["targets"])
    return data


def test_everything_of_it_is_valid_by_the_published_schema(data) -> None:
    text = (resources.files("seatrial.report") / "schema" / "report-1.json").read_text("utf-8")
    jsonschema.Draft202012Validator(json.loads(text)).validate(Report(data).data)


@pytest.mark.parametrize(
    "words",
    [
        "free shapes",
        "+10.0",
        "11 islands of float",
        "INT8 takes 1.5 times as long as FP32 here",
        "lone layers in float",
        "1.20x",
        "17 x Conv+Relu",
        "2 Reorder",
        "y differs by 0.2",
        "[130, 150]",
        "Convolution_112",
        "no energy counters",
        "the load was high",
    ],
)
def test_terminal_and_markdown_show_it(data, words) -> None:
    sheets = [*speed_view.answers(data), *speed_view.evidence(data)]
    shown = " ".join(
        " ".join((sheet.note, *sheet.notes, *(cell for row in sheet.rows for cell in row)))
        for sheet in sheets
    )
    assert words in shown
    assert words.split("[")[-1].rstrip("]") in markdown.render(data).replace("\\", "")


def test_what_was_not_measured_is_a_dash_or_not_there() -> None:
    plain = examples.ship()
    for sheet in (*speed_view.answers(plain), *speed_view.evidence(plain)):
        assert all(len(row) == len(sheet.columns) for row in sheet.rows)
    assert [s.title for s in speed_view.answers(plain) if s.rows] == []


def timed(target: str, low: float, high: float, **known: Any) -> dict[str, Any]:
    row = speed_rows.benchmark("fp32", p50_ms=(low + high) / 2, ci95_ms=[low, high], **known)
    return target_rows.target(target, benchmark=[row])


def test_overlapping_intervals_share_a_place_and_nobody_is_called_fastest() -> None:
    (row,) = rankings([timed("a:x", 1, 2), timed("b:x", 1.9, 3), timed("c:x", 2.9, 4)])
    assert row["places"] == [["a:x fp32", "b:x fp32", "c:x fp32"]]
    assert (row["told"], row["text"].split(":")[0]) == (False, "cannot be told apart")
    (row,) = rankings([timed("a:x", 4, 5), timed("b:x", 1, 2)])
    assert row["places"] == [["b:x fp32"], ["a:x fp32"]]
    assert (row["told"], row["text"]) == (
        True,
        "fastest: b:x fp32, p50 1.50 ms, 3.00x ahead of a:x fp32",
    )


def test_only_what_was_timed_alike_is_ranked() -> None:
    alike = timed("a:x", 1, 2)
    for other in (
        timed("b:x", 3, 4, streams=2),
        timed("b:x", 3, 4, threads=1),
        timed("b:x", 3, 4, form="dynamic"),
        timed("b:x", 3, 4, emulated=True),
        timed("b:x", 3, 4, timed_by="vendor"),
        timed("b:x", 3, 4, shape=[2]),
    ):
        assert rankings([alike, other]) == []
    turned = timed("b:x", 3, 4, layout="NHWC")
    turned["layout"] = target_rows.layout("NCHW", "NCHW", "", [])
    assert rankings([alike, turned]) == []


def test_several_calls_in_flight_are_ranked_by_throughput() -> None:
    slow = timed("a:x", 1, 2, streams=2, throughput=100.0, throughput_ci95=[90.0, 110.0])
    fast = timed("b:x", 3, 4, streams=2, throughput=200.0, throughput_ci95=[190.0, 210.0])
    (row,) = rankings([slow, fast])
    assert row["places"] == [["b:x fp32"], ["a:x fp32"]]
    assert row["text"] == "most per second: b:x fp32, 200/s, 2.00x ahead of a:x fp32"


@given(st.lists(st.tuples(st.floats(0.1, 50), st.floats(0.001, 5)), min_size=2, max_size=6))
def test_places_hold_everybody_once_and_never_part_what_overlaps(pairs) -> None:
    targets = [timed(f"t{i}:x", low, low + width) for i, (low, width) in enumerate(pairs)]
    (row,) = rankings(targets)
    placed = [name for place in row["places"] for name in place]
    assert sorted(placed) == sorted(f"t{i}:x fp32" for i in range(len(pairs)))
    rank = {name: k for k, place in enumerate(row["places"]) for name in place}
    for i, (a, wa) in enumerate(pairs):
        for j, (b, wb) in enumerate(pairs):
            if a <= b + wb and b <= a + wa:
                assert rank[f"t{i}:x fp32"] == rank[f"t{j}:x fp32"]
