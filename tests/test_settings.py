import math

import pytest

from monch_monai.errors import InputError
from monch_monai.settings import factor_range, flag, fraction, whole_number


@pytest.mark.parametrize(
    ("value", "truth"), [(True, True), ("true", True), ("True", True), (False, False), ("false", False)]
)
def test_a_flag_is_what_it_says(value, truth):
    assert flag("amp", value) is truth


@pytest.mark.parametrize("value", ["no", 1, None, ""])
def test_anything_else_is_no_flag(value):
    with pytest.raises(InputError, match=r"amp is .*; give true or false"):
        flag("amp", value)


def test_whole_numbers_pass():
    assert whole_number("epochs", 1, least=1) == 1


@pytest.mark.parametrize("value", [0, -3, 1.5, "2", True, None])
def test_other_values_are_no_whole_numbers(value):
    with pytest.raises(InputError, match=r"epochs is .*; give a whole number of at least 1"):
        whole_number("epochs", value, least=1)


@pytest.mark.parametrize("value", [0, 0.5, 1, 1.0])
def test_a_fraction_is_a_number_from_0_to_1(value):
    assert fraction("stain_jitter", value) == value


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, "0.5", True, None])
def test_what_is_no_fraction_is_refused(value):
    with pytest.raises(InputError, match=r"stain_jitter is .*; give a number from 0 to 1"):
        fraction("stain_jitter", value)


@pytest.mark.parametrize("value", [[0.7, 2.5], (1, 1)])
def test_a_range_of_factors_is_two_numbers_above_0(value):
    assert factor_range("density_range", value) == tuple(value)


@pytest.mark.parametrize(
    "value",
    [[0, 1], [2, 1], [1], [1, 2, 3], ["1", "2"], [True, 2], "12", 1, None, [1, math.inf], [1, math.nan], [-1, 1]],
)
def test_what_is_no_range_of_factors_is_refused(value):
    with pytest.raises(InputError, match=r"density_range is .*; give two numbers above 0, the smaller first"):
        factor_range("density_range", value)
