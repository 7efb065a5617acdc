"""Which samples judge, and who wins."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.quantize.bakeoff import Entry, choose, held_out
from seatrial.quantize.schemes import candidate_name, scheme
from seatrial.quantize.types import Score
from seatrial.results import QdqDialect


def classifier(*losses: float, **more: object) -> Score:
    values = {"n": len(losses), "classification": True, "losses": losses, "errors": losses}
    return Score(**(values | more))


@pytest.mark.parametrize(
    ("count", "size"), [(0, 0), (1, 0), (10, 5), (40, 16), (100, 25), (256, 64), (1024, 64)]
)
def test_the_last_quarter_is_held_out_within_bounds(count: int, size: int) -> None:
    assert held_out(count) == tuple(range(count - size, count))


@given(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=200))
def test_no_group_is_on_both_sides(groups: list[str]) -> None:
    chosen = set(held_out(len(groups), groups))
    inside = {groups[i] for i in chosen}
    outside = {groups[i] for i in range(len(groups)) if i not in chosen}
    assert not inside & outside
    assert len(chosen) < len(groups)


def test_the_smallest_loss_wins() -> None:
    choice = choose([Entry("a", classifier(*[0.5] * 20)), Entry("b", classifier(*[0.1] * 20))])
    assert (choice.name, choice.rule) == ("b", "kl")
    assert "0.1" in choice.reason
    assert choice.reasons["a"] == "5 times the chosen one's KL"


def test_a_tie_within_noise_goes_to_the_first() -> None:
    first = [0.10, 0.20, 0.30, 0.40]
    second = [0.05, 0.22, 0.24, 0.47]
    choice = choose([Entry("a", classifier(*first)), Entry("b", classifier(*second))])
    assert choice.name == "a"
    assert "one standard error" in choice.reasons["b"]
    # The same difference without noise decides.
    clear = [x - 0.005 for x in first]
    assert choose([Entry("a", classifier(*first)), Entry("b", classifier(*clear))]).name == "b"


def test_nan_scores_and_broken_outputs_lose() -> None:
    entries = [
        Entry("nan", classifier(math.nan, math.nan)),
        Entry("broken", classifier(0.0, 0.0, nonfinite=1)),
        Entry("crashed", None, "crashed (SIGSEGV)"),
        Entry("good", classifier(9.0, 9.0)),
    ]
    choice = choose(entries)
    assert choice.name == "good"
    assert choice.reasons["nan"] == "its loss is not a number"
    assert "NaN or infinity" in choice.reasons["broken"]
    assert choice.reasons["crashed"] == "crashed (SIGSEGV)"


def test_nobody_wins_when_all_failed() -> None:
    choice = choose([Entry("a", None, "timed out")])
    assert choice.name == ""
    assert "a: timed out" in choice.reason
    assert choose([]).name == ""


def test_other_outputs_are_judged_by_their_error() -> None:
    a = Score(n=2, classification=False, losses=(0.5, 0.5), errors=(0.5, 0.5))
    b = Score(n=2, classification=False, losses=(0.1, 0.1), errors=(0.1, 0.1))
    assert choose([Entry("a", a), Entry("b", b)]).rule == "sqnr"
    # One candidate that does not look like a classifier: all are compared by error.
    c = Score(n=2, classification=True, losses=(0.0, 0.0), errors=(0.9, 0.9))
    assert choose([Entry("c", c), Entry("b", b)]).name == "b"


def test_names_tell_dialects_apart() -> None:
    symmetric = QdqDialect(activations="int8", symmetric=True, bias="float")
    assert candidate_name("minmax", QdqDialect()) == "core:minmax-u8-perchannel"
    assert candidate_name("mse", symmetric) == "core:mse-s8sym-perchannel-floatbias"
    kinds = [QdqDialect(**{k: v}) for k, v in [
        ("per_channel", False), ("reduce_range", True), ("weights", "uint8"), ("symmetric", True)
    ]]  # fmt: skip
    assert len({scheme(d) for d in kinds}) == 4
