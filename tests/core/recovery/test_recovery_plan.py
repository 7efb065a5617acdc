"""The order of what is tried."""

import pytest

from seatrial.quantize.recipe import KL_FINE
from seatrial.quantize.schemes import PLAIN
from seatrial.recovery.plan import (
    BIAS,
    FINE_ROUNDING,
    KL_EXACT,
    NAMES,
    OTHER_FORMS,
    RANGES,
    ROUNDING,
    STAGES,
    STRUCTURE,
    WEIGHTED,
    WEIGHTED_RANGES,
    Recipe,
    Traits,
    named,
    recipes,
)
from seatrial.results import QdqDialect

RANKING = [Recipe("mse"), Recipe("minmax"), Recipe("percentile-99.99")]


def test_the_first_stage_is_always_tried_and_the_later_ones_ask_for_more() -> None:
    limits = [stage.kl for stage in STAGES]
    assert limits[0] < 0 < limits[1] == KL_EXACT < limits[2] == KL_FINE
    assert limits == sorted(limits)


def test_every_stage_builds_on_the_closest() -> None:
    assert [r.method for r in recipes(RANGES, [], Traits())] == list(PLAIN)
    assert recipes(RANGES, [], Traits(), [Recipe("entropy")]) == (Recipe("entropy"),)
    assert recipes(BIAS, RANKING, Traits()) == (
        Recipe("mse", corrected=True),
        Recipe("minmax", corrected=True),
    )
    assert recipes(WEIGHTED_RANGES, RANKING, Traits()) == (Recipe(WEIGHTED, corrected=True),)
    kept = recipes(STRUCTURE, RANKING, Traits(depthwise=True))
    assert [r.method for r in kept] == ["mse", "minmax"]
    assert all(r.kept and r.corrected for r in kept)


@pytest.mark.parametrize("stage", STAGES[1:])
def test_nothing_is_tried_on_nothing_or_twice(stage: object) -> None:
    assert isinstance(stage, type(STAGES[0]))
    traits = Traits(depthwise=True, products=True)
    assert recipes(stage, [], traits) == ()
    first = recipes(stage, RANKING, traits)
    assert not set(recipes(stage, [*RANKING, *first], traits)) & set(first)


def test_what_the_graph_does_not_have_is_not_tried() -> None:
    assert recipes(STRUCTURE, RANKING, Traits()) == ()


def test_weights_of_few_steps_are_rounded_anew_first_all_others_last() -> None:
    rounded = Recipe("mse", corrected=True, rounded=True)
    for wanted in (QdqDialect(reduce_range=True), QdqDialect(per_channel=False)):
        assert recipes(ROUNDING, RANKING, Traits(wanted=wanted)) == (rounded,)
        assert recipes(FINE_ROUNDING, RANKING, Traits(wanted=wanted)) == ()
    assert recipes(ROUNDING, RANKING, Traits()) == ()
    assert recipes(FINE_ROUNDING, RANKING, Traits()) == (rounded,)
    (one,) = recipes(ROUNDING, [named("7-bit")], Traits())
    assert one == Recipe("minmax", form="7-bit", corrected=True, rounded=True)
    (one,) = recipes(WEIGHTED_RANGES, [named("7-bit")], Traits())
    assert one == Recipe(WEIGHTED, form="7-bit", corrected=True)
    assert STAGES[4:] == (ROUNDING, STRUCTURE, FINE_ROUNDING, OTHER_FORMS)


def test_names_say_everything() -> None:
    recipe = Recipe(WEIGHTED, corrected=True, kept="depthwise-float")
    expected = "core:weighted-mse-u8-perchannel+bias+depthwise-float"
    assert recipe.name(QdqDialect()) == expected
    assert Recipe("minmax").name(QdqDialect()) == "core:minmax-u8-perchannel"


def test_every_name_that_can_be_typed_gives_a_recipe_of_its_own() -> None:
    names = {named(n).name(QdqDialect()) for n in NAMES}
    assert len(names) == len(NAMES)
    assert "core:minmax-u16-perchannel-floatbias" in names
    assert "core:dynamic-u8-perchannel" in names
    symmetric = QdqDialect(activations="int8", symmetric=True)
    assert named("16-bit").dialect(symmetric).activations == "int16"
    with pytest.raises(ValueError, match="magic"):
        named("magic")


def test_other_forms_are_for_products_and_are_not_corrected() -> None:
    products = Traits(products=True)
    assert [r.form for r in recipes(OTHER_FORMS, RANKING, products)] == ["dynamic", "weight-only"]
    assert recipes(OTHER_FORMS, RANKING, Traits()) == ()
    assert recipes(BIAS, [named("dynamic")], products) == ()
