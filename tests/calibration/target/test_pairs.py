"""Coded PSFs from simultaneous clear pictures: simulated scenes, and one real lensless pair."""

import math

import numpy as np
import pytest
from scipy import fft, ndimage, signal

from calibration.errors import CalibrationError
from calibration.target.pairs import Pair, psf_of_pairs
from tests.calibration.target_captures import captured, relative_error
from tests.shared_data import shared

SHAPE, REACH = (150, 180), 9


def scene(seed, shape=(260, 300)):
    """Edges and texture at all scales, amplitude about 1 / frequency."""
    rng = np.random.default_rng(seed)
    fy, fx = fft.fftfreq(shape[0])[:, None], fft.fftfreq(shape[1])
    spectrum = fft.fft2(rng.normal(size=shape)) / np.maximum(np.hypot(fy, fx), 0.01) ** 0.8
    out = fft.ifft2(spectrum).real
    out = out / out.std() + 2 * (ndimage.gaussian_filter(rng.normal(size=shape), 12) > 0)
    out = ndimage.gaussian_filter(out, 0.7)
    return (out - out.min()) / np.ptp(out)


def coded_psf():
    axis = np.arange(-REACH, REACH + 1)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    spots = [(-3.0, -2.0, 1.0), (4.0, 1.0, 0.8), (0.0, 5.0, 0.5), (-4.0, 4.0, 0.4)]
    out = sum(a * np.exp(-((y - v) ** 2 + (x - u) ** 2) / 2 / 1.5**2) for v, u, a in spots)
    return out / out.sum()


def pairs(count, *, frames=8, turn=0.0, transform=None):
    """Coded pictures of SHAPE and clear ones that show more, turned by an angle, then changed."""
    out = []
    c, s = math.cos(turn), math.sin(turn)
    for seed in range(count):
        whole = scene(seed)
        coded = signal.fftconvolve(whole, coded_psf(), mode="same")
        top, left = ((n - m) // 2 for n, m in zip(whole.shape, SHAPE, strict=True))
        coded = coded[top : top + SHAPE[0], left : left + SHAPE[1]]
        picture, variance = captured(coded, frames=frames, seed=seed)
        margin = 25
        clear = whole[
            top - margin : top + SHAPE[0] + margin, left - margin : left + SHAPE[1] + margin
        ]
        if turn:
            middle = (np.array(clear.shape) - 1) / 2
            matrix = np.array([[c, s], [-s, c]])
            clear = ndimage.affine_transform(clear, matrix, middle - matrix @ middle, order=3)
        out.append(Pair(transform(clear) if transform else clear, picture, variance))
    return out


def laid(margin=25):
    return np.array([[1.0, 0, margin], [0, 1.0, margin], [0, 0, 1.0]])


def test_psf_comes_back_within_what_is_expected():
    found = psf_of_pairs(pairs(4), REACH, guess=laid(), refine=False).kernel
    error = relative_error(found.psf, coded_psf())
    assert error < 0.05
    assert 0.5 * found.relative_error < error < 1.5 * found.relative_error
    assert found.chi_square == pytest.approx(1, abs=0.06)


def test_more_pairs_make_it_surer():
    few, many = (
        psf_of_pairs(pairs(n, frames=1), REACH, guess=laid(), refine=False).kernel for n in (1, 6)
    )
    assert many.relative_error < 0.75 * few.relative_error
    assert relative_error(many.psf, coded_psf()) < relative_error(few.psf, coded_psf())


def test_turn_between_the_cameras_is_found():
    found = psf_of_pairs(pairs(2, turn=0.008), REACH, guess=laid())
    turn = math.atan2(found.matrix[0, 1], found.matrix[1, 1])
    assert abs(turn) == pytest.approx(0.008, abs=2e-4)  # 0.02 pixels at the corners
    assert relative_error(found.kernel.psf, coded_psf()) < 0.08


@pytest.mark.parametrize(
    ("transform", "mirrored", "turns"),
    [(np.fliplr, True, 0), (lambda a: a[::-1, ::-1], False, 2), (np.flipud, True, 2)],
)
def test_mirror_and_turn_are_found(transform, mirrored, turns):
    found = psf_of_pairs(
        pairs(1, transform=transform), REACH, guess=laid(), orientations="all", refine=False
    )
    assert (found.mirrored, found.quarter_turns) == (mirrored, turns)
    assert relative_error(found.kernel.psf, coded_psf()) < 0.15


def test_a_blurred_reference_gives_the_psf_relative_to_it():
    blurred = [Pair(ndimage.gaussian_filter(p.clear, 0.8), p.coded, p.variance) for p in pairs(4)]
    found = psf_of_pairs(blurred, REACH, guess=laid(), refine=False).kernel.psf
    again = ndimage.gaussian_filter(found, 0.8, mode="constant")
    assert relative_error(again, coded_psf()) < 0.05
    assert relative_error(found, coded_psf()) > 0.1


def test_an_unknown_noise_is_found():
    given = pairs(1)
    even = [Pair(p.clear, p.coded) for p in given]
    found = psf_of_pairs(even, REACH, guess=laid(), refine=False).kernel
    assert relative_error(found.psf, coded_psf()) < 0.1
    left = np.std((given[0].coded - found.models[0])[20:-20, 20:-20])
    assert left == pytest.approx(math.sqrt(given[0].variance.mean()), rel=0.05)


def test_pictures_of_different_scenes_are_refused():
    mixed = [Pair(scene(9)[:200, :230], pairs(1)[0].coded, pairs(1)[0].variance)]
    with pytest.raises(CalibrationError, match="explain"):
        psf_of_pairs(mixed, REACH, guess=laid(), refine=False)


def test_unknown_light_from_beyond_is_refused_where_nothing_else_is_seen():
    same = [Pair(np.ones(SHAPE), np.ones(SHAPE))]
    with pytest.raises(CalibrationError, match="surround='dark'"):
        psf_of_pairs(same, 80, guess=np.eye(3))


@pytest.mark.slow
def test_real_lensless_pair_predicts_the_part_that_was_held_out():
    """One scene and a PSF as large as the frame: the prediction is the claim, not the PSF."""
    folder = shared("data/hardware/lenslesslearning")
    clear, coded = (
        np.load(folder / f"im65_{name}.npy")[..., 1]
        .astype(float)[:264]
        .reshape(33, 8, 60, 8)
        .mean((1, 3))
        for name in ("lensed", "diffuser")
    )
    held = (slice(10, 22), slice(20, 40))
    noise = np.full(coded.shape, 1e-3 * float(np.var(coded)))
    noise[held] *= 1e12  # a variance that takes the part out
    fit = psf_of_pairs([Pair(clear, coded, noise)], 16, surround="dark", refine=False).kernel
    left = np.std((coded - fit.models[0])[held]) / np.std(coded[held])
    assert left < 0.45
