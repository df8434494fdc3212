"""Range checks: a wrong unit is refused at the door, with the remedy in the message."""

import math

import pytest

from optics.units import check_count, check_fraction, check_length, check_positive


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("wavelength", 550.0),
        ("wavelength", 550e-3),
        ("pixel_pitch", 1.55),
        ("cell", 4.0),
        ("focal_length", 16.0),
        ("aperture_diameter", 5.0),
        ("object_distance", 0.0),
    ],
)
def test_a_length_in_another_unit_is_refused_with_the_remedy(name, value):
    with pytest.raises(ValueError, match=rf"{name} = {value:g} m is outside .*550 nm is 550e-9"):
        check_length(name, value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_no_length_is_nan_infinite_or_negative(value):
    with pytest.raises(ValueError, match="wavelength = "):
        check_length("wavelength", value)


def test_a_good_length_passes_unchanged():
    assert check_length("wavelength", 550e-9) == 550e-9


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_positive_refuses_zero_negative_and_not_finite(value):
    with pytest.raises(ValueError, match=r"full_well = .* e-: a positive number"):
        check_positive("full_well", value, "e-")


@pytest.mark.parametrize("value", [0.0, 1.0001, -0.5, math.nan])
def test_fraction_is_above_zero_and_at_most_one(value):
    with pytest.raises(ValueError, match=r"outside \(0, 1\]"):
        check_fraction("white_fraction", value)
    assert check_fraction("white_fraction", 1.0) == 1.0


@pytest.mark.parametrize("value", [0, 2.5, True, -3])
def test_a_count_is_a_whole_number(value):
    with pytest.raises(ValueError, match="a whole number of at least 1"):
        check_count("binning", value)
    assert check_count("binning", 4) == 4
