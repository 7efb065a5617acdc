"""Why INT8 is not faster: only what was measured is said."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.benchmark.machine import machine
from seatrial.report import rows
from seatrial.trial import causes


@pytest.fixture
def cpu(monkeypatch):
    """Sets the machine: architecture and flags."""

    def give(arch="x86_64", flags=("avx512_vnni",)):
        here = dataclasses.replace(machine(), arch=arch, flags=tuple(flags))
        monkeypatch.setattr(causes, "machine", lambda: here)

    give()
    return give


def layer(op="Conv", precision="INT8", ms=1.0):
    return {"op_type": op, "precision": precision, "ms": ms}


def ran(*layers):
    return rows.execution(layers=list(layers))


def test_nothing_is_said_when_nothing_is_known(cpu):
    assert causes.why_not_faster(None, None, emulated=False) == ""
    assert causes.why_not_faster(10.0, ran(), emulated=False) == ""
    assert causes.why_not_faster(10.0, ran(layer(), layer()), emulated=False) == ""


@pytest.mark.parametrize(
    ("arch", "flags", "emulated", "told"),
    [
        ("x86_64", ("avx2",), False, True),
        ("x86_64", ("avx2", "avx_vnni"), False, False),
        ("x86_64", ("avx2",), True, False),
        ("aarch64", (), False, False),
    ],
)
def test_a_cpu_without_int8_products_is_told_where_it_counts(cpu, arch, flags, emulated, told):
    cpu(arch, flags)
    text = causes.why_not_faster(10.0, None, emulated=emulated)
    assert text == ("this CPU has no INT8 dot-product instructions" if told else "")


@pytest.mark.parametrize("op", ["QuantizeLinear", "Reorder", "convert_f32", "Transpose", "Cast"])
def test_conversions_are_told_with_their_share(cpu, op):
    found = ran(layer(op, ms=1.0), layer(ms=3.0))
    assert causes.why_not_faster(9.0, found, emulated=False) == (
        "1 conversions take 25% of the layers' time"
    )


def test_conversions_that_cost_nothing_are_not_a_cause(cpu):
    found = ran(layer("Reorder", ms=0.04), layer(ms=0.96))
    assert causes.why_not_faster(9.0, found, emulated=False) == ""


def test_conversions_without_times_are_not_a_cause(cpu):
    found = ran(layer("Reorder", ms=None), layer(ms=None))
    assert causes.why_not_faster(9.0, found, emulated=False) == ""


def test_layers_in_float_are_told_with_their_share_if_it_is_known(cpu):
    found = ran(layer(precision="FP32", ms=3.0), layer(ms=1.0))
    text = causes.why_not_faster(9.0, found, emulated=False)
    assert text == "1 of 2 layers ran in float (75% of the layers' time)"
    untimed = ran(layer(precision="FP32", ms=None), layer(ms=None))
    assert causes.why_not_faster(9.0, untimed, emulated=False) == "1 of 2 layers ran in float"


def test_a_layer_whose_precision_is_not_told_is_not_called_float(cpu):
    found = ran(layer(precision=""), layer())
    assert causes.why_not_faster(9.0, found, emulated=False) == ""


def test_an_artefact_that_runs_all_in_float_is_the_verdicts_business(cpu):
    found = ran(layer(precision="FP32"), layer(precision="FP32"))
    assert causes.why_not_faster(9.0, found, emulated=False) == ""


@given(st.floats(min_value=1e-6, max_value=1e3, allow_nan=False))
def test_only_a_tiny_model_is_called_tiny(ms):
    text = causes.why_not_faster(ms, None, emulated=True)
    assert ("dispatch costs as much as arithmetic" in text) == (ms < causes.TINY_MS)


def test_all_causes_stand_together(cpu):
    cpu(flags=())
    found = ran(layer("Reorder", ms=2.0), layer(precision="FP32", ms=1.0), layer(ms=1.0))
    parts = causes.why_not_faster(0.1, found, emulated=False).split("; ")
    assert [p.split()[0] for p in parts] == ["this", "1", "1", "FP32"]
