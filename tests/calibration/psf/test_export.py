"""Export: what LenslessPiCam reads is what was measured."""

import json

import numpy as np
import pytest

from calibration.psf.export import export_lensless, reduced
from calibration.psf.stack import PsfStack

SHAPE = (3, 64, 72)


def stack(cfa="RGGB", **changes):
    rng = np.random.default_rng(0)
    rate = rng.normal(size=SHAPE)
    rate[:, 54:60, 56:64] += 1000 * np.arange(1, 4)[:, None, None]
    valid = np.ones(SHAPE, bool)
    settings = {
        "rate": rate, "variance": np.ones(SHAPE), "valid": valid,
        "readings": np.array([0.5, 0.7, 1.0]), "cfa": cfa, "origin": (10, 20),
        "frame": (200, 200), "pixel_pitch": 1.55e-6,
    }  # fmt: skip
    return PsfStack(**(settings | changes))


def read_like_them(path):
    """Their reader's steps, up to the point where the numbers are light again."""
    image = np.load(path)
    if path.suffix == ".npz":
        (name,) = image.files
        image = image[name]
    assert image.dtype == np.uint16  # floating point is refused there
    assert image.max() > 4095  # or it is taken for fewer bits
    psf = image.astype(np.float32)
    for channel in range(psf.shape[3]):
        psf[..., channel] -= np.mean(psf[:, 5:25, 5:25, channel])
    return psf


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("cfa", ["RGGB", "GBRG", ""])
def test_rates_come_back_to_a_step_with_their_negative_noise(tmp_path, suffix, cfa):
    path = tmp_path / f"psf{suffix}"
    what = export_lensless(stack(cfa), path)
    expected = reduced(stack(cfa))
    psf = read_like_them(path) * what.step
    assert psf.shape == what.shape == expected.shape
    corner = expected[:, 5:25, 5:25].mean((0, 1, 2))
    # rounding, and that of their mean in single precision
    np.testing.assert_allclose(psf, expected - corner, atol=0.55 * what.step)
    assert (psf < -1).any()
    about = json.loads((tmp_path / f"psf{suffix}.json").read_text())
    assert (about["step"], about["pedestal"]) == (what.step, what.pedestal)
    assert about["spacing_m"] == pytest.approx(1.55e-6 * (2 if cfa else 1))


def test_channels_are_the_pixels_of_each_block():
    one = stack()
    channels = reduced(one)
    assert channels.shape == (3, 32, 36, 3)
    np.testing.assert_array_equal(channels[..., 0], one.rate[:, 0::2, 0::2])
    greens = (one.rate[:, 0::2, 1::2] + one.rate[:, 1::2, 0::2]) / 2
    np.testing.assert_array_equal(channels[..., 1], greens)
    np.testing.assert_array_equal(channels[..., 2], one.rate[:, 1::2, 1::2])


def test_pixels_that_are_not_valid_are_filled_from_their_own_colour():
    valid = np.ones(SHAPE, bool)
    valid[1, 10, 10] = False
    rate = stack().rate.copy()
    rate[1, 10, 10] = np.nan
    red = rate[1, 0::2, 0::2]
    around = np.delete(red[4:7, 4:7].ravel(), 4)
    assert reduced(stack(rate=rate, valid=valid))[1, 5, 5, 0] == pytest.approx(around.mean())


def test_what_cannot_be_read_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"psf\.tif"):
        export_lensless(stack(), tmp_path / "psf.tif")
    with pytest.raises(ValueError, match="larger region"):
        export_lensless(stack().crop(0, 0, 48, 72), tmp_path / "psf.npy")
    with pytest.raises(ValueError, match="no light"):
        export_lensless(stack(rate=np.full(SHAPE, -1.0)), tmp_path / "psf.npy")
    assert not list(tmp_path.iterdir())
