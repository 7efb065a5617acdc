"""One backend crashes, hangs or eats its time; the other still answers."""

from __future__ import annotations

import pytest

HANG = "time.sleep(1000)"


@pytest.mark.parametrize(
    ("sickness", "kind", "signal"),
    [
        ("ctypes.string_at(0)", "crashed", "SIGSEGV"),
        ("__import__('os')._exit(0)", "crashed", ""),
        (HANG, "timed out", ""),
    ],
    ids=["segfault", "silent", "hang"],
)
def test_a_fault_is_a_row_and_the_others_answer(
    sickness: str, kind: str, signal: str, check, relu
) -> None:
    check.install(compile=sickness)
    found = check(relu, "-b", "sick:cpu", "-b", "onnxruntime:cpu", "--budget", "8")
    assert found.code == 3
    sick = found.target("sick:cpu")["built"]
    assert sick["verdict"] == "unknown"
    assert (sick["fp32"]["fault"]["kind"], sick["fp32"]["fault"]["signal"]) == (kind, signal)
    assert found.target("onnxruntime:cpu")["built"]["fp32"]["verdict"] == "supported"


def test_the_budget_holds_for_all_that_is_asked_of_a_target(check, relu) -> None:
    """A table that hangs costs the target its time, not ten times that."""
    check.install(static=HANG, compile=HANG)
    found = check(relu, "-b", "sick:cpu", "--budget", "6")
    assert found.code == 3
    waited = {f["stage"]: f["reason"] for f in found.report["faults"]}
    assert waited == {
        "seatrial_compile_check": "no answer within 6 s",
        "seatrial_check_static": "no answer within 5 s",
    }


def test_nothing_is_begun_when_the_time_is_spent(check, relu) -> None:
    """The compiler has answered before the table hangs; INT8 would come after both."""
    check.install(static=HANG)
    found = check(relu, "-b", "sick:cpu", "--budget", "6")
    built = found.target("sick:cpu")["built"]
    assert (found.code, built["fp32"]["verdict"]) == (0, "supported")
    (note,) = built["int8"]["notes"]
    assert note == "not asked: the 6 s of this target are spent (--deep goes on)"


def test_a_target_that_nobody_can_say_anything_of_is_shown(check, relu) -> None:
    """Unavailable, and its table hangs or is not offered: a row of dashes, not the end."""
    check.install(probe="return r.Availability(usable=False, reason='no licence')", static="1 / 0")
    found = check(relu, "-b", "sick:cpu", "-b", "onnxruntime:cpu", as_text=True)
    assert found.code == 3
    assert "unavailable" in found.out and "no licence" in found.out
    assert "supported" in found.out
