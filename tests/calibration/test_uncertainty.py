"""Lines and roots with uncertainties that mean what they say."""

import math

import numpy as np
import pytest

from calibration.uncertainty import Uncertain, square_root, weighted_line


def test_a_line_through_exact_points_is_that_line():
    x = np.array([1.0, 2.0, 5.0])
    line = weighted_line(x, 3 - 0.5 * x, np.array([1.0, 4.0, 2.0]))
    assert line.offset.value == pytest.approx(3)
    assert line.slope.value == pytest.approx(-0.5)
    assert line.chi_square == pytest.approx(0, abs=1e-20)
    assert line.degrees == 1


def test_the_uncertainties_of_a_line_are_its_scatter():
    rng = np.random.default_rng(0)
    x, error = np.linspace(0, 3, 12), np.linspace(0.1, 0.6, 12)
    lines = [
        weighted_line(x, 1 + 2 * x + error * rng.normal(size=12), error**2) for _ in range(900)
    ]
    slopes = np.array([line.slope.value for line in lines])
    offsets = np.array([line.offset.value for line in lines])
    exact = weighted_line(x, 1 + 2 * x, error**2)
    # 900 lines: a deviation is known to 1 / sqrt(1800) = 2.4 %
    assert slopes.std() == pytest.approx(exact.slope.uncertainty, rel=0.08)
    assert offsets.std() == pytest.approx(exact.offset.uncertainty, rel=0.08)


def test_scatter_beyond_the_errors_widens_the_uncertainty():
    x, y = np.arange(4.0), np.array([0.0, 2.0, 1.0, 3.0])
    tight = weighted_line(x, y, np.full(4, 1e-6))
    assert tight.slope.uncertainty == pytest.approx(
        1e-3 / math.sqrt(5) * math.sqrt(tight.chi_square / 2)
    )


def test_the_uncertainty_of_a_root_is_half_of_the_relative_one():
    assert square_root(9.0, 0.6).uncertainty == pytest.approx(0.1)


def test_the_root_of_a_variance_that_came_out_negative_is_zero_and_unsure():
    root = square_root(-0.1, 0.04)
    assert root.value == 0
    assert root.uncertainty == pytest.approx(0.2)


def test_errors_of_a_quotient_add_in_squares():
    quotient = Uncertain(6.0, 0.3).divided_by(Uncertain(-2.0, 0.2))
    assert quotient.value == -3
    assert quotient.uncertainty == pytest.approx(3 * math.hypot(0.05, 0.1))


@pytest.mark.parametrize("pair", [(math.nan, 1.0), (1.0, -1.0), (1.0, math.inf)])
def test_what_is_no_uncertainty_is_refused(pair):
    with pytest.raises(ValueError, match="finite number"):
        Uncertain(*pair)


def test_a_line_needs_two_places():
    with pytest.raises(ValueError, match="different values"):
        weighted_line(np.ones(3), np.ones(3), np.ones(3))
