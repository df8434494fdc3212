"""Least squares with knowledge beforehand, and what a fit says that it knows."""

import numpy as np
import pytest
import torch

from calibration.twin.parameters import Parameter
from calibration.twin.posterior import posterior
from calibration.twin.solve import Linear, Problem, minimise

X = torch.linspace(-1, 1, 400, dtype=torch.float64)


class Curve(Problem):
    """Measured values of a exp(b x), noise of one."""

    def __init__(self, free, measured):
        super().__init__(free)
        self.measured = measured
        self.slopes_computed = 0

    def residual(self, values):
        return [self.measured - values["a"] * torch.exp(values["b"] * X)]

    def linearise(self, values):
        self.slopes_computed += 1
        bent = torch.exp(values["b"] * X)
        rows = {"a": bent, "b": values["a"] * X * bent, "idle": torch.zeros_like(X)}
        slopes = torch.stack([p.scatter * rows[p.name] for p in self.free])
        return Linear(self.residual(values), [slopes.float()])


def curve(a=50.0, b=0.7, seed=0, noise=1.0):
    generator = torch.Generator().manual_seed(seed)
    return a * torch.exp(b * X) + noise * torch.randn(400, generator=generator).double()


WIDE = (Parameter("a", "", 100.0, expected=20.0), Parameter("b", "", 3.0))


def fitted(measured, free=WIDE):
    problem = Curve(free, measured)
    start = {p.name: p.expected for p in free}
    return minimise(problem, start), problem


def test_pulls_are_standard_normal():
    pulls = []
    for seed in range(60):
        solution, _ = fitted(curve(seed=seed))
        sigma = posterior(["a", "b"], solution.normal()).deviations * [100.0, 3.0]
        pulls.append((np.array([solution.values["a"], solution.values["b"]]) - [50.0, 0.7]) / sigma)
    pulls = np.concatenate(pulls)
    # 120 numbers, pairs correlated: the deviation of each scatters by 7 to 9 %
    assert pulls.std() == pytest.approx(1, abs=0.25)
    assert pulls.mean() == pytest.approx(0, abs=0.3)


def test_outliers_do_not_pull():
    measured = curve()
    measured[::80] += 500.0
    solution, _ = fitted(measured)
    assert solution.values["a"] == pytest.approx(50, abs=0.5)  # 6 off by least squares
    assert solution.values["b"] == pytest.approx(0.7, abs=0.02)


def test_what_is_known_beforehand_counts_as_a_measurement():
    known = (Parameter("a", "", 0.01, expected=49.0), WIDE[1])
    solution, _ = fitted(curve(), known)
    assert solution.values["a"] == pytest.approx(49.0, abs=0.03)


def test_limits_are_kept_and_the_others_go_on():
    limited = (WIDE[0], Parameter("b", "", 3.0, low=0.9, expected=1.0))
    solution, _ = fitted(curve(), limited)
    assert solution.values["b"] == 0.9
    bent = torch.exp(0.9 * X)
    alone = float((curve() * bent).sum() / bent.square().sum())
    assert solution.values["a"] == pytest.approx(alone, rel=2e-3)


def test_slopes_that_foretell_well_are_used_again():
    _, problem = fitted(curve(noise=0.1))
    assert problem.slopes_computed <= 6


def test_where_residuals_shrink_old_slopes_are_weighed_anew():
    measured = curve(a=500.0, b=0.0)  # straight in its only parameter: one look says all
    problem = Curve(WIDE[:1], measured)
    solution = minimise(problem, {"a": 400.0, "b": 0.0})
    assert problem.slopes_computed == 1
    assert solution.values["a"] == pytest.approx(float(measured.mean()), abs=1e-3)


def test_a_parameter_without_influence_gets_no_number():
    free = (*WIDE, Parameter("idle", "", 1.0))
    problem = Curve(free, curve())
    solution = minimise(problem, {"a": 20.0, "b": 0.0, "idle": 0.0})
    known = posterior(["a", "b", "idle"], solution.normal())
    assert known.unidentifiable == {"idle": "nothing that was measured depends on it"}
    assert known.deviations[2] == pytest.approx(1)


def test_two_that_do_the_same_get_no_numbers_but_their_sum_is_known():
    row = np.array([1.0, 1.0, 0.0])
    hessian = 1e6 * np.outer(row, row) + 1e6 * np.diag([0.0, 0.0, 1.0])
    known = posterior(["focus", "offset", "etch"], hessian)
    assert set(known.unidentifiable) == {"focus", "offset"}
    assert "offset above all" in known.unidentifiable["focus"]
    assert row @ known.covariance @ row == pytest.approx(1e-6, rel=1e-3)
    assert known.condition == pytest.approx(2e6, rel=1e-3)


def test_a_pair_that_is_found_but_tied_is_named():
    hessian = 1e6 * np.array([[1.0, -0.99], [-0.99, 1.0]])
    known = posterior(["tilt", "boresight"], hessian)
    assert not known.unidentifiable
    ((one, other, value),) = known.correlated
    assert (one, other) == ("tilt", "boresight")
    assert value == pytest.approx(0.99, abs=1e-4)


def test_data_that_say_less_than_was_known_give_no_number():
    known = posterior(["a", "b"], np.diag([0.9, 1.1]))
    assert list(known.unidentifiable) == ["a"]
    assert "0.73 of what was known is left" in known.unidentifiable["a"]
