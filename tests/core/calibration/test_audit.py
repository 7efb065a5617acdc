"""Findings of the calibration audit."""

from seatrial.calibration.audit import audit
from seatrial.calibration.types import NonFinite, RangeTable, TensorRange


def codes(*arguments: object, **more: object) -> dict[str, str]:
    return {f.code: f.level for f in audit(*arguments, **more)}  # type: ignore[arg-type]


def spread(hi: float, hi_mean: float, count: int = 10, lo: float = 0.0) -> TensorRange:
    return TensorRange(lo=lo, hi=hi, count=count, lo_mean=lo, hi_mean=hi_mean, lo_sample="s0",
                       hi_sample="s1")  # fmt: skip


def test_the_number_of_samples_is_judged() -> None:
    assert codes(1024) == {}
    assert codes(300) == {"few": "info"}
    assert codes(255) == {"too-few": "warning"}
    assert codes(300, 512) == {"fewer-than-asked": "warning", "few": "info"}
    text = next(f.text for f in audit(300, 512) if f.code == "fewer-than-asked")
    assert text == "512 samples were asked for, 300 were got"


def test_random_data_and_nan_come_first() -> None:
    broken = [NonFinite(sample="s7", tensor="act", elements=3)]
    found = audit(10, 20, None, broken, synthetic=True)
    assert [f.level for f in found[:2]] == ["refuse", "refuse"]
    named = next(f for f in found if f.code == "non-finite")
    assert (named.samples, named.tensors) == (("s7",), ("act",))
    assert "s7" in named.text


def test_dead_and_never_finite_tensors_are_named() -> None:
    table = RangeTable(method="minmax", count=2000, tensors={
        "dead": TensorRange(lo=0, hi=0, count=10),
        "broken": TensorRange(lo=0, hi=0, count=0, nonfinite=10),
        "fine": spread(2.0, 1.5),
    })  # fmt: skip
    found = {f.code: f.tensors for f in audit(2000, 0, table)}
    assert found == {"zero-range": ("dead",), "no-range": ("broken",)}


def test_one_sample_that_sets_the_range_is_named() -> None:
    fine = RangeTable(method="minmax", count=2000, tensors={"a": spread(2.0, 1.0)})
    assert audit(2000, 0, fine) == ()
    # nine samples of 1 and one of 100
    odd = RangeTable(method="minmax", count=2000, tensors={"a": spread(100.0, 10.9)})
    (finding,) = audit(2000, 0, odd)
    assert (finding.code, finding.samples, finding.tensors) == ("outlier-sample", ("s1",), ("a",))
