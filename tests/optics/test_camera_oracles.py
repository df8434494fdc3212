"""The camera against poppy and against an independent two-step Fresnel simulation."""

import math
import warnings

import numpy as np
import pytest
import torch

from optics import Camera, FlatMask, Sensor, ThinLens, ZernikeSurface
from optics.grids import squared_radius
from optics.quality import encircled_energy
from tests.optics.cameras import FreeHeight, line_bands, small_camera, smooth_height, wave

GREEN = 550e-9


def poppy_psf(camera, distance, wavelength, *, per_cell, per_pixel):
    """PSF of the same pupil by poppy's matrix transform, on binned pixels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # poppy and astropy deprecations
        import astropy.units as u
        import poppy

        spread = np.ones((per_cell, per_cell))
        amplitude = np.kron(camera.aperture.numpy(), spread)
        step = float(camera.mask.material.index(wavelength)) - 1
        curvature = float(camera.defocus(distance, wave(wavelength)))
        radius2 = squared_radius(camera.aperture.shape, camera.mask.cell)
        opd = step * camera.mask.height().detach() + curvature / 2 * radius2
        cell = camera.mask.cell / per_cell * u.m / u.pixel
        width = camera.mask.samples * camera.mask.cell * u.m
        system = poppy.OpticalSystem(npix=amplitude.shape[0], pupil_diameter=width)
        system.add_pupil(
            poppy.ArrayOpticalElement(
                transmission=amplitude, opd=np.kron(opd.numpy(), spread) * u.m, pixelscale=cell
            )
        )
        angle = camera.sensor.pitch / camera.sensor_distance * u.rad
        system.add_detector(
            pixelscale=angle.to(u.arcsec) / u.pixel, fov_pixels=camera.window, oversample=per_pixel
        )
        image = system.calc_psf(wavelength=wavelength * u.m, normalize="first")[0].data
    shape = (camera.window, per_pixel) * 2
    image = image.astype(np.float64).reshape(shape).sum((1, 3))
    # poppy's kernel has the other sign, a positive path difference being an advance: its image
    # is turned by 180 degrees. Ours bends light towards the thick end, as a prism does.
    return torch.as_tensor(image[::-1, ::-1].copy())


def relative_error(ours, theirs):
    return float((ours - theirs).norm() / theirs.norm())


def test_flat_mask_equals_poppy():
    camera = small_camera()
    ours = camera.spot(1.0, wave(GREEN))[0]
    theirs = poppy_psf(camera, 1.0, GREEN, per_cell=1, per_pixel=8)
    # what is left is poppy's midpoint rule: 6e-4, 1.4e-4, 3e-5 at 4, 8, 16 points per pixel
    assert relative_error(ours, theirs) < 1e-3


def test_defocused_zernike_surface_equals_poppy():
    mask = ZernikeSurface(
        aperture_diameter=1e-3, cell=1e-3 / 64, modes=15, start_rms=0.15e-6, seed=3
    )
    camera = small_camera(mask)
    ours = camera.spot(0.9, wave(GREEN))[0].detach()
    theirs = poppy_psf(camera, 0.9, GREEN, per_cell=1, per_pixel=8)
    assert float(ours.sum()) > 0.8
    # without its mirror images: a flip or a transposition must not pass
    assert relative_error(ours.flip(0), theirs) > 0.1
    assert relative_error(ours.flip(1), theirs) > 0.1
    assert relative_error(ours.T, theirs) > 0.1
    assert relative_error(ours, theirs) < 1e-3


def test_pixel_relief_with_defocus_equals_poppy_on_a_finer_pupil():
    """Cells of 8 x 8 samples for poppy, one sample and the sinc of a cell for us."""
    turns = torch.rand(40, 40, generator=torch.Generator().manual_seed(2)).double()
    mask = FreeHeight(turns * 0.8e-6, 10e-6, pixelated=True)
    bands = line_bands(6e-7, 5.5e-7, 5e-7)
    sensor = Sensor(pixel_pitch=25e-6, binning=1, bayer=False, bands=bands)
    camera = small_camera(mask, aperture_diameter=0.4e-3, window=61, sensor=sensor)
    ours = camera.spot(0.95, wave(GREEN))[0].detach()
    theirs = poppy_psf(camera, 0.95, GREEN, per_cell=8, per_pixel=8)
    # 8 samples per cell and 8 points per pixel leave 5e-4, 4 and 4 leave 3e-3
    assert relative_error(ours, theirs) < 1e-3


# --- an independent two-step Fresnel simulation -------------------------------------------------
# flat mask, diameter 4 mm, lens of fused silica, 1/f = 1/50 mm + 1/5 m at 550 nm, sensor at 50 mm,
# 256 x 256 points at 3.713103 um; encircled energy within radii in pixels, red, green, blue
RADII = (2, 8, 16, 32, 64)
ENCIRCLED = {
    0.64: ((0.003, 0.043, 0.155, 0.697, 0.989), (0.002, 0.050, 0.187, 0.821, 0.992),
           (0.005, 0.074, 0.315, 0.960, 0.994)),
    0.75: ((0.002, 0.059, 0.234, 0.882, 0.991), (0.003, 0.072, 0.282, 0.940, 0.993),
           (0.008, 0.119, 0.519, 0.981, 0.995)),
    1.0: ((0.004, 0.107, 0.428, 0.966, 0.992), (0.007, 0.149, 0.633, 0.979, 0.994),
          (0.019, 0.340, 0.940, 0.989, 0.995)),
    2.0: ((0.040, 0.579, 0.944, 0.984, 0.993), (0.043, 0.832, 0.968, 0.988, 0.994),
          (0.833, 0.962, 0.981, 0.991, 0.995)),
    5.0: ((0.450, 0.929, 0.971, 0.986, 0.994), (0.831, 0.953, 0.976, 0.988, 0.994),
          (0.058, 0.870, 0.975, 0.990, 0.994)),
}  # fmt: skip
COLOURS = (640e-9, 550e-9, 440e-9)


def silica_camera(mask=None, window=255):
    sensor = Sensor(pixel_pitch=3.713103e-6, binning=1, bayer=False, bands=line_bands(*COLOURS))
    return Camera(
        aperture_diameter=4e-3,
        lens=ThinLens(1 / (1 / 50e-3 + 1 / 5), "fused_silica", GREEN),
        mask=mask or FlatMask(aperture_diameter=4e-3, cell=4e-3 / 256),
        sensor=sensor,
        focus_distance=5.0,
        window=window,
        nodes=3,
        double=True,
    )


def test_chromatic_focal_lengths_of_the_singlet():
    camera = silica_camera(window=3)
    focal = 1 / camera.lens.power(wave(*COLOURS))
    torch.testing.assert_close(focal, wave(49.841e-3, 49.505e-3, 48.821e-3), rtol=0, atol=6e-7)
    assert camera.sensor_distance == pytest.approx(50e-3, rel=1e-12)


@pytest.mark.parametrize("distance", sorted(ENCIRCLED))
def test_encircled_energies_of_the_chromatic_singlet(distance):
    spots = silica_camera().spot(distance, wave(*COLOURS))
    ours = torch.stack([encircled_energy(spots, radius) for radius in RADII], -1)
    theirs = torch.tensor(ENCIRCLED[distance], dtype=torch.float64)
    # a pupil of 128 binary samples there; the largest difference is 0.006
    torch.testing.assert_close(ours[:, 1:], theirs[:, 1:], rtol=0, atol=0.01)
    # 13 pixels only: ours hold the light of a pixel, theirs that of a point in it
    torch.testing.assert_close(ours[:, 0], theirs[:, 0], rtol=0, atol=0.025)


def test_first_dark_ring_of_the_sharp_green_spot():
    camera = silica_camera(window=3)
    sensor = Sensor(
        pixel_pitch=3.713103e-6 / 16, binning=1, bayer=False, bands=line_bands(*COLOURS)
    )
    fine = Camera(
        aperture_diameter=4e-3, lens=camera.lens, mask=camera.mask, sensor=sensor,
        focus_distance=5.0, window=101, double=True,
    )  # fmt: skip
    row = fine.spot(5.0, wave(GREEN))[0, 50, 50:]
    dark = int(row[:45].argmin()) * sensor.pitch
    assert dark == pytest.approx(8.39e-6, abs=sensor.pitch)  # to the pixel it is read from


@pytest.mark.parametrize("seed", [0, 1])
def test_half_a_micron_of_smooth_path_stays_within_64_pixels(seed):
    cell = 4e-3 / 256
    step = 0.45991
    height = smooth_height(256, cell, 0.5e-6 / step, 1e-3, seed=seed)
    camera = silica_camera(FreeHeight(height, cell))
    spot = camera.spot(0.75, wave(GREEN)).detach()
    assert float(encircled_energy(spot, 64)[0]) >= 0.98
    assert math.isclose(float(spot.sum()), 1.0, abs_tol=0.02)
