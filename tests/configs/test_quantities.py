"""Quantities in configs: every unit has its size, and nothing without a unit passes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.quantities import UNITS, parse_quantity


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("25 mm", "length", 25e-3),
        ("550nm", "length", 550e-9),  # exactly the float of the literal: no rounding of 550 * 1e-9
        ("1.55 um", "length", 1.55e-6),
        ("1.55 µm", "length", 1.55e-6),
        ("1.55 \u03bcm", "length", 1.55e-6),  # the Greek letter
        ("3 cm", "length", 0.03),
        ("  .5  m ", "length", 0.5),
        ("-2.e-3 m", "length", -2e-3),
        ("20 ms", "time", 0.02),
        ("7 us", "time", 7e-6),
        ("2 min", "time", 120.0),
        ("66.5 mrad", "angle", 0.0665),
        ("180 deg", "angle", math.pi),
        ("366 ke-", "charge", 366e3),
        ("12 e-", "charge", 12.0),
    ],
)
def test_a_number_with_a_unit_becomes_si(text, dimension, value):
    assert parse_quantity(text, dimension) == value


@pytest.mark.parametrize("bare", [25, 0.025, 0, -1, 1e300, math.inf, math.nan, "25", "1e-6", "nan"])
def test_a_bare_number_is_refused_whatever_its_value(bare):
    with pytest.raises(ValueError, match=r"focal_length = .* has no unit; .* as in '25 mm'"):
        parse_quantity(bare, "length", "focal_length")


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "mm", "inf mm", "nan mm", "1e400 m", "1e9999 m", "1 000 mm", "25 mm mm", "25 mm2",
        "25 Mm", "25 MM", "25 inch", "25 s", "25 deg", "1/2 m", "0x1 m", "1_0 mm", "25;mm",
        "\uff12\uff15 mm",
        "25 mm" * 1000, True, None, [25, "mm"], {"value": 25}, b"25 mm",
    ],
)  # fmt: skip
def test_what_is_no_length_is_refused(text):
    with pytest.raises(ValueError, match=r"^x = .*nm, um, mm, cm or m") as caught:
        parse_quantity(text, "length", "x")
    assert len(str(caught.value)) < 250


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6))
def test_every_number_survives_in_metres(number):
    assert parse_quantity(f"{number!r} m", "length") == number


@given(st.text(max_size=80))
def test_any_text_is_a_finite_number_or_a_value_error(text):
    for dimension in UNITS:
        try:
            assert math.isfinite(parse_quantity(text, dimension))
        except ValueError as error:
            assert "write a" in str(error)  # noqa: PT017 - both outcomes are allowed
