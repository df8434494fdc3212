"""D_sys against its integral, and its null against the known bias of histograms."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from anonymizer.recognition import linkability


def draw(distance, n, seed=0, ratio=10):
    rng = np.random.default_rng(seed)
    return rng.normal(distance, 1, n), rng.normal(0, 1, ratio * n)


def truth(distance, omega=1.0):
    """Integrate the definition for unit Gaussians so far apart."""

    def density(s):
        p, q = omega * norm.pdf(s - distance), norm.pdf(s)
        return norm.pdf(s - distance) * max(0.0, (p - q) / (p + q))

    return quad(density, -10, 10 + distance, limit=200)[0]


@pytest.mark.parametrize(("distance", "rounded"), [(0.5, 0.13), (1, 0.29), (2, 0.62), (4, 0.94)])
def test_value_is_the_integral_of_the_definition(distance, rounded):
    found = linkability(*draw(distance, 40_000, ratio=2), shuffles=5)
    assert truth(distance) == pytest.approx(rounded, abs=0.006)
    assert found.histogram == pytest.approx(truth(distance), abs=0.01)
    # the smooth densities are wider than the true ones by a kernel of an eighth of their width
    assert found.smooth == pytest.approx(truth(distance), abs=0.015)
    assert found.linkable
    assert found.enough


@pytest.mark.parametrize("omega", [0.2, 5.0])
def test_prior_ratio_weighs_what_an_attacker_meets(omega):
    found = linkability(*draw(1, 40_000, ratio=2), prior_ratio=omega, shuffles=2)
    assert found.histogram == pytest.approx(truth(1, omega), abs=0.015)


@pytest.mark.parametrize(("n", "bias"), [(100, 0.245), (500, 0.092), (2000, 0.041)])
def test_null_is_the_bias_that_few_scores_have(n, bias):
    """A hundred bins find links between identical distributions; the shuffles find as much."""
    found = linkability(*draw(0, n), shuffles=100)
    assert found.null == pytest.approx(bias, abs=0.25 * bias)
    assert not found.enough


def test_identical_distributions_are_called_linkable_as_rarely_as_said():
    called = [linkability(*draw(0, 300, seed=s), shuffles=60).linkable for s in range(40)]
    # two looks at 5 % each, correlated: 4 at most in the mean, binomial deviation 2
    assert sum(called) <= 9


def test_shift_of_a_third_is_found_among_a_thousand():
    found = linkability(*draw(0.33, 2000), shuffles=60)
    assert found.linkable
    assert 0 < found.excess < found.histogram


def test_scores_that_never_overlap_are_fully_linkable():
    found = linkability(np.linspace(2, 3, 500), np.linspace(-3, -2, 500), shuffles=3)
    assert found.histogram == 1
    assert found.smooth == pytest.approx(1, abs=1e-3)


def test_scale_and_origin_of_the_scores_do_not_matter():
    m, n = draw(1, 1000)
    a, b = linkability(m, n, shuffles=3), linkability(40 * m - 7, 40 * n - 7, shuffles=3)
    assert (a.histogram, a.smooth) == pytest.approx((b.histogram, b.smooth), abs=0.01)


def test_constant_scores_say_nothing():
    found = linkability(np.zeros(50), np.zeros(80), shuffles=5)
    assert (found.histogram, found.linkable) == (0, False)


@pytest.mark.parametrize(
    ("m", "kwargs", "text"),
    [
        ([0.5], {}, "1 mated"),
        ([0.5, np.nan], {}, "finite"),
        ([0.5, 0.6], {"prior_ratio": 0}, "prior_ratio = 0"),
        ([0.5, 0.6], {"shuffles": 0}, "shuffles = 0"),
    ],
)
def test_wrong_input_is_refused(m, kwargs, text):
    with pytest.raises(ValueError, match=text):
        linkability(m, [0.1, 0.2, 0.3], **kwargs)
