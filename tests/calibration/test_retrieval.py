"""Phase retrieval: a pupil comes back from its focal stack, simulated and measured."""

import json

import numpy as np
import pytest
import tifffile

from calibration.errors import CalibrationError
from calibration.retrieval import FocalStack, expected_images, retrieve_pupil
from optics.zernike import noll_to_nm
from tests.shared_data import shared

TRUE = {5: 0.3, 6: -0.2, 7: 0.15, 8: -0.1, 11: 0.25}


def stack_of(images, positions=None, **changes):
    planes = len(images)
    positions = (np.arange(planes) - (planes - 1) / 2) * 400e-9 if positions is None else positions
    settings = {
        "pixel_pitch": 130e-9,
        "wavelength": 520e-9,
        "numerical_aperture": 0.85,
    }
    return FocalStack(images, np.maximum(images, 0) + 4.0, positions, **(settings | changes))


def simulated(seed=0, planes=5, side=24, photons=2e4):
    """Images of a pupil with known aberrations, and photon noise."""
    scale = np.zeros((planes, side, side + 4))
    scale[0, 0, 0] = photons
    values = {f"noll_{j}": TRUE.get(j, 0.0) for j in range(2, 12)}
    values |= {"blur": 0.3, "height": 0.0, "background": 1e-3}
    clean = expected_images(stack_of(scale), values)
    rng = np.random.default_rng(seed)
    return stack_of(rng.poisson(clean) + 2 * rng.normal(size=clean.shape))


def test_aberrations_come_back_within_their_uncertainty():
    fit = retrieve_pupil(simulated(), modes=11, apodisation=0)
    pulls = [(e.value - TRUE.get(j, 0.0)) / e.uncertainty for j, e in fit.phase.items()]
    assert len(pulls) == 10
    # ten standard normal numbers exceed 4 once in 1600 seeds; this one is fixed
    assert max(map(abs, pulls)) < 4
    # 3000 pixels: the mean square scatters by 2.5 %; variances come from noisy images
    assert fit.chi_square == pytest.approx(1, abs=0.1)
    assert fit.correlation > 0.99 > fit.nominal_correlation
    # 0.235 rad^2 were put in
    assert fit.strehl == pytest.approx(np.exp(-sum(v**2 for v in TRUE.values())), rel=0.02)


def test_a_reversed_stage_negates_the_even_modes_and_nothing_tells():
    one = simulated()
    other = stack_of(one.images, -one.positions)
    fits = [retrieve_pupil(s, modes=11, apodisation=0) for s in (one, other)]
    assert fits[0].chi_square == pytest.approx(fits[1].chi_square, rel=1e-3)
    for mode in TRUE:
        sign = 1 if noll_to_nm(mode)[0] % 2 else -1
        pair = [fit.phase[mode].value for fit in fits]
        assert pair[1] == pytest.approx(sign * pair[0], abs=3 * fits[0].phase[mode].uncertainty)


def test_a_positive_tilt_moves_the_image_to_larger_columns():
    scale = np.zeros((3, 25, 25))
    scale[0, 0, 0] = 1.0
    values = dict.fromkeys((f"noll_{j}" for j in range(2, 5)), 0.0)
    values |= {"noll_2": 1.5, "blur": 0.0, "height": 0.0, "background": 0.0}
    row, column = np.unravel_index(expected_images(stack_of(scale), values)[1].argmax(), (25, 25))
    # Noll 2 is 2 rho cos: the image moves by 2 c wavelength / (2 pi NA) = 0.29 um, two pixels
    assert (row, column) == (12, 14)


def test_noise_has_no_pupil():
    images = np.random.default_rng(1).normal(100, 5, (3, 16, 16))
    with pytest.raises(CalibrationError, match="the best pupil explains the stack"):
        retrieve_pupil(stack_of(images), modes=4, apodisation=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: stack_of(np.ones((3, 8, 8)), numerical_aperture=1.1), "numerical_aperture = 1.1"),
        (lambda: stack_of(np.ones((3, 8, 8)), pixel_pitch=400e-9), "does not sample the field"),
        (lambda: stack_of(np.full((3, 8, 8), np.nan)), "images must be finite"),
        (lambda: stack_of(np.ones((3, 8, 8)), np.zeros(2)), "expected"),
        (lambda: stack_of(np.ones((3, 8, 8))).centred(9), "side = 9"),
        (lambda: retrieve_pupil(stack_of(np.ones((2, 8, 8)))), "2 planes"),
    ],
)
def test_what_no_stack_can_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.slow
def test_a_measured_stack_agrees_with_an_independent_retrieval():
    folder = shared("data/hardware/pyotf")
    images = tifffile.imread(folder / "psf_wl520nm_z300nm_x130nm_na0.85_n1.0.tif").astype(float)
    reference = json.loads((folder / "pyotf_reference_retrieval.json").read_text())
    positions = (np.arange(len(images)) - 12) * 300e-9
    floor = np.median(images[:, :20, :20])
    # photon noise up to the unknown gain, and the scatter of the corners, 17 counts
    variance = np.maximum(images - floor, 0) + 20.0**2
    stack = FocalStack(images, variance, positions, 130e-9, 520e-9, 0.85).centred(96)
    fit = retrieve_pupil(stack)
    assert fit.correlation > 0.994
    assert np.median(fit.plane_correlations) > 0.99
    assert fit.nominal_correlation < 0.98
    for mode in range(5, 11):
        # the reference's pupil is ours seen from the other side: odd modes change their sign
        sign = -1 if noll_to_nm(mode)[0] % 2 else 1
        expected = sign * reference["phase_coefs_noll_rad"][mode - 1]
        assert fit.phase[mode].value == pytest.approx(expected, abs=0.05), mode


@pytest.mark.slow
def test_a_second_measured_stack_is_near_the_diffraction_limit():
    """Pixels and steps are those its file notes; its optics is not noted.

    An aperture of 1.1 in water at 605 nm is assumed, whose cut-off is where the spectrum of the
    stack falls to its noise (3.6 cycles/um). The planes far before the focus keep a core that no
    such pupil explains, so that the correlation stays below the 0.99 that noise would allow.
    """
    folder = shared("data/hardware/pyotf")
    images = tifffile.imread(folder / "BIL113_zstack_z300nm_current.tif").astype(float)
    positions = (np.arange(len(images)) - 10) * 300e-9
    floor = np.median(images[:, :16, :16])
    # counts are 2.45 per photon if the corners' scatter of 4 and the photons are to tell all
    variance = 2.45 * (np.maximum(images - floor, 0) + 4.0**2)
    stack = FocalStack(images, variance, positions, 11.092828e-6 / 127, 605e-9, 1.1, 1.33)
    fit = retrieve_pupil(stack.centred(48), modes=11)
    assert fit.correlation == pytest.approx(0.9586, abs=0.002)
    assert max(fit.plane_correlations) > 0.985
    assert fit.strehl == pytest.approx(0.98, abs=0.01)
    for mode in range(5, 11):
        assert abs(fit.phase[mode].value) < 0.06, mode
    assert fit.phase[11].value == pytest.approx(-0.13, abs=0.02)
