"""The cameras of a run: one class, one description, and what sets the compared ones apart."""

import pytest
import torch

from experiments.cameras import Baseline, build_baseline, build_camera
from experiments.composing import compose
from experiments.scene import FACE_WIDTH
from experiments.settings import SettingsError, to_si
from optics import FlatMask, WrappedRelief
from tests.experiments.tiny_codesign import quick


@pytest.fixture(scope="module")
def settings():
    return to_si(compose("codesign", quick()))


def baseline(settings, **options):
    options.setdefault("window", 15)
    return build_baseline(Baseline(**options), settings, context=1.7, reference=1.5)


def test_the_camera_is_as_described(settings):
    camera = build_camera(settings)
    assert camera.aperture_diameter == 0.5e-3
    assert camera.mask.cell == 8e-6
    assert camera.window == 21
    assert camera.sensor.pitch == pytest.approx(32 * 1.55e-6)
    assert camera.lens.focal_length == 16e-3
    assert camera.focus_distance == 1.5


def test_building_twice_gives_equal_masks_of_their_own(settings):
    first, second = build_camera(settings), build_camera(settings)
    first.mask.turns.data += 1
    assert torch.equal(second.mask.turns, build_camera(settings).mask.turns)


def test_a_bare_lens_in_focus_is_sharp(settings):
    camera = baseline(settings)
    assert isinstance(camera.mask, FlatMask)
    with torch.no_grad():
        psf = camera.psf([1.5])[0]
    # Airy disc of 0.5 mm at 16 mm: first zero 21 um from the middle of a pixel of 50 um
    assert torch.all(psf[:, 7, 7] > 0.8)


def test_the_defocused_lens_blurs_by_its_geometric_disc():
    settings = to_si(compose("codesign", ["camera.nodes=3"]))  # 5 mm stop, 12.4 um pixels
    camera = baseline(settings, focus_distance=0.25, window=63)
    with torch.no_grad():
        psf = camera.spot(1.5, torch.tensor([540e-9]))[0]
    image = 1 / (1 / 16e-3 - 1 / 0.25)
    radius = 5e-3 / 2 * image * (1 / 0.25 - 1 / 1.5) / camera.sensor.pitch
    grid = torch.arange(63.0) - 31
    second = (psf.sum(-1) * grid**2).sum() / psf.sum()
    # a uniform disc has radius^2 / 4 along each axis and a pixel 1/12; the tails of the edge's
    # diffraction reach over the window
    assert second.item() == pytest.approx(radius**2 / 4 + 1 / 12, rel=0.05)


@pytest.mark.parametrize("pixels", [8, 16])
def test_the_coarse_camera_has_so_many_pixels_across_a_crop(settings, pixels):
    camera = baseline(settings, crop_pixels=pixels, window=5)
    assert camera.image_size(1.7 * FACE_WIDTH, 1.5) == pytest.approx(pixels, abs=0.5)


def test_more_pixels_than_the_camera_has_are_refused(settings):
    with pytest.raises(SettingsError, match=r"baselines: 400 pixels .* more than the camera has"):
        baseline(settings, crop_pixels=400)


def test_the_random_mask_has_the_process_of_the_learned_one(settings):
    random, learned = baseline(settings, mask="random").mask, build_camera(settings).mask
    assert isinstance(random, WrappedRelief)
    for name in ("cell", "max_height", "orders", "samples", "design_wavelength"):
        assert getattr(random, name) == getattr(learned, name)
    assert random.material.name == learned.material.name
    height = random.height() / random.turn_height
    # uniform over the wrap: mean and deviation to 1 / sqrt(4096) of the range
    assert height.mean().item() == pytest.approx(random.orders / 2, rel=0.05)
    assert height.std().item() == pytest.approx(random.orders / 12**0.5, rel=0.05)


@pytest.mark.parametrize("name", ["in_focus", "defocused", "low_resolution", "random_mask"])
def test_compared_cameras_share_lens_aperture_and_light(settings, name):
    from experiments.settings import build

    camera = build_baseline(
        build(settings["baselines"][name]), settings, context=1.7, reference=1.5
    )
    learned = build_camera(settings)
    assert camera.aperture_diameter == learned.aperture_diameter
    assert camera.lens.focal_length == learned.lens.focal_length
    assert camera.sensor.white_electrons == learned.sensor.white_electrons


@pytest.mark.parametrize(
    ("options", "message"),
    [({"mask": "coded"}, "mask = 'coded', expected"), ({"crop_pixels": 3}, "crop_pixels = 3")],
)
def test_a_comparison_that_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Baseline(**options)
