"""Strehl ratio and defocus transfer function against closed forms."""

import math

import pytest
import torch

from experiments.benchmarks.anchors_quality import ANCHORS
from optics.grids import disc_coverage, squared_radius
from optics.propagation import cis
from optics.quality import pupil_strehl, strehl_ratio


def defocused(samples, waves):
    """Round pupil with `waves` of defocus at its rim."""
    stop = disc_coverage((samples, samples), 1.0, float(samples - 8))
    rho2 = squared_radius((samples, samples), 1.0) / ((samples - 8) / 2) ** 2
    return stop * cis(2 * math.pi * waves * rho2)


@pytest.mark.parametrize("double", [True, False], ids=["float64", "float32"])
@pytest.mark.parametrize("anchor", sorted(ANCHORS))
def test_anchor(anchor, double):
    error, bar = ANCHORS[anchor](double)
    assert error <= bar


@pytest.mark.parametrize("waves", [0.0, 0.25, 0.6, 1.0])
def test_pupil_strehl_of_defocus(waves):
    # the grey rim of 500 samples: below 1e-5 of the area
    expected = (math.sin(math.pi * waves) / (math.pi * waves)) ** 2 if waves else 1.0
    assert float(pupil_strehl(defocused(508, waves))) == pytest.approx(expected, abs=1e-4)


def test_pupil_strehl_counts_amplitude_for_both_peaks():
    pupil = torch.tensor([[1.0, 0.5], [0.0, 0.5]], dtype=torch.complex128)
    assert float(pupil_strehl(pupil)) == pytest.approx(1.0, rel=1e-14)
    pupil = pupil * torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    assert float(pupil_strehl(3 * pupil)) == pytest.approx(0.25, rel=1e-14)


def test_pupil_strehl_gradient_is_that_of_the_closed_form():
    waves = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(pupil_strehl(defocused(256, waves)), waves)
    w = math.pi * 0.3
    expected = 2 * math.sin(w) / w * (math.cos(w) / w - math.sin(w) / w**2) * math.pi
    assert float(slope) == pytest.approx(expected, rel=5e-4)


def test_strehl_ratio_finds_the_peak_wherever_it_is():
    sharp = torch.zeros(5, 7, dtype=torch.float64)
    sharp[2, 3] = 0.9
    moved = torch.zeros(2, 9, 8, dtype=torch.float64)
    moved[0, 6, 1], moved[1, 0, 7] = 0.6, 0.3
    torch.testing.assert_close(
        strehl_ratio(moved, sharp), torch.tensor([2 / 3, 1 / 3], dtype=torch.float64)
    )


def test_strehl_ratio_gradcheck():
    psf = torch.rand(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    other = torch.rand(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.autograd.gradcheck(strehl_ratio, (psf.requires_grad_(), other.requires_grad_()))
