"""Scenes at true scale: size on the sensor, framing, and what the camera makes of them."""

import math

import pytest
import torch

from anonymizer.alignment import FLIP68
from experiments.scene import (
    FACE_WIDTH,
    Framing,
    Scenes,
    crop_pixels,
    generator_for,
    load_scenes,
    network_view,
    observe,
    reframe,
)
from optics import Sensor
from optics.imaging import resize
from tests.experiments.tiny_codesign import tiny_camera, tiny_crops

CONTEXT = 1.7


def dots(size=64, batch=8, landmark=30):
    """A small Gaussian spot of light at one landmark of each picture."""
    generator = torch.Generator().manual_seed(4)
    place = size * (0.35 + 0.3 * torch.rand(batch, 68, 2, generator=generator))
    grid = torch.arange(size, dtype=torch.float32)
    x, y = place[:, landmark].unbind(-1)
    light = (
        torch.exp(-((grid - x[:, None]) ** 2) / 8)[:, None, :]
        * torch.exp(-((grid - y[:, None]) ** 2) / 8)[:, :, None]
    )
    light = light[:, None].expand(batch, 3, size, size)
    return Scenes(light, place, torch.zeros(batch, 3), CONTEXT)


def centroid(light):
    plane = light[:, 0]
    grid = torch.arange(plane.shape[-1], dtype=torch.float32)
    total = plane.sum((-2, -1))
    return torch.stack(
        ((plane.sum(-2) * grid).sum(-1) / total, (plane.sum(-1) * grid).sum(-1) / total), -1
    )


def sources(count, key="test"):
    return [generator_for(0, key, i) for i in range(count)]


def delta(size=5):
    psf = torch.zeros(3, size, size)
    psf[:, size // 2, size // 2] = 1
    return psf


# scale


@pytest.mark.parametrize("distance", [0.75, 1.5, 3.0])
def test_a_face_covers_what_the_lens_equation_says(distance):
    camera = tiny_camera()
    behind = 1 / (1 / 16e-3 - 1 / 1.5)  # sharp at 1.5 m
    expected = FACE_WIDTH * behind / distance / (32 * 1.55e-6)
    assert camera.image_size(FACE_WIDTH, distance) == pytest.approx(expected, rel=1e-12)
    assert crop_pixels(camera, distance, CONTEXT) == round(CONTEXT * expected)


def test_a_far_crop_keeps_four_pixels():
    assert crop_pixels(tiny_camera(), 100.0, CONTEXT) == 4


# framing


@pytest.mark.parametrize(
    "framing",
    [
        Framing(shift=0.1, zoom=0.0, roll=0.0, flip=False),
        Framing(shift=0.0, zoom=0.3, roll=0.0, flip=False),
        Framing(shift=0.0, zoom=0.0, roll=0.5, flip=False),
        Framing(shift=0.0, zoom=0.0, roll=0.0, flip=True),
        Framing(shift=0.1, zoom=0.2, roll=0.4, flip=True),
    ],
    ids=["shift", "zoom", "roll", "flip", "all"],
)
def test_landmarks_move_with_their_pixels(framing):
    before = dots()
    after = reframe(before, framing, sources(8))
    kept = after.landmarks[:, 30]  # the tip of the nose is its own mirror image
    assert (kept - before.landmarks[:, 30]).norm(dim=-1).max() > 1.5  # something happened
    # bilinear sampling of a spot of 2 px moves its centroid by hundredths of a pixel
    torch.testing.assert_close(centroid(after.light), kept, rtol=0, atol=0.1)


def test_mirroring_swaps_the_sides_of_the_face():
    before = dots()
    after = reframe(before, Framing(0.0, 0.0, 0.0, True), sources(8))
    mirrored = before.landmarks[:, FLIP68].clone()
    mirrored[..., 0] = 63 - mirrored[..., 0]
    same = torch.isclose(after.landmarks, before.landmarks, atol=1e-4).all(-1).all(-1)
    swapped = torch.isclose(after.landmarks, mirrored, atol=1e-4).all(-1).all(-1)
    assert torch.all(same ^ swapped)
    assert 0 < swapped.sum() < 8  # half of them, by chance


def test_no_framing_changes_nothing():
    before = dots()
    after = reframe(before, Framing(0.0, 0.0, 0.0, False), sources(8))
    torch.testing.assert_close(after.light, before.light, rtol=0, atol=1e-5)  # float32 positions
    torch.testing.assert_close(after.landmarks, before.landmarks)


def test_draws_stay_within_the_limits():
    framing = Framing(shift=0.1, zoom=0.2, roll=0.3, flip=False)
    before = Scenes(
        torch.zeros(200, 3, 8, 8), torch.zeros(200, 68, 2), torch.zeros(200, 3), CONTEXT
    )
    before.landmarks[:, 1, 0] = 1.0  # a unit vector along x
    after = reframe(before, framing, sources(200)).landmarks
    unit = after[:, 1] - after[:, 0]
    size, angle = unit.norm(dim=-1), torch.atan2(unit[:, 1], unit[:, 0])
    assert 1.15 < size.max() <= 1.2 * (1 + 1e-5)
    assert 1 / 1.2 * (1 - 1e-5) <= size.min() < 1 / 1.15
    assert 0.25 < angle.abs().max() <= 0.3 + 1e-5
    assert angle.min() < 0 < angle.max()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shift": 0.6}, r"shift = 0.6 is outside \[0, 0.5\]"),
        ({"zoom": -0.1}, r"zoom = -0.1 is outside"),
        ({"roll": math.nan}, r"roll = nan is outside"),
    ],
)
def test_framing_beyond_reason_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Framing(**change)


def test_framing_of_a_picture_is_independent_of_its_batch():
    scenes = load_scenes(tiny_crops(), range(6))
    together = reframe(scenes, Framing(), sources(6))
    alone = reframe(scenes.rows(slice(2, 3)), Framing(), [generator_for(0, "test", 2)])
    torch.testing.assert_close(together.light[2:3], alone.light)
    torch.testing.assert_close(together.landmarks[2:3], alone.landmarks)


def test_generators_depend_on_their_whole_key_alone():
    draws = [torch.rand(3, generator=generator_for(*key)) for key in ((0, "a"), (0, "a"), (1, "a"))]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


# measurement


def test_crops_are_read_as_linear_light():
    crops = tiny_crops()
    crops.images[0] = 188  # sRGB 188 is 50 % of the light
    scenes = load_scenes(crops, [0])
    value = ((188 / 255 + 0.055) / 1.055) ** 2.4  # IEC 61966-2-1
    torch.testing.assert_close(scenes.light, torch.full((1, 3, 32, 32), value))
    torch.testing.assert_close(scenes.surround, torch.full((1, 3), value))


def bright(camera, scenes, psf, **options):
    """Measure without noise to speak of: a deep well and a million frames' worth of light."""
    return observe(camera, psf, scenes, 1.5, sources(len(scenes.light)), **options)


def ideal_sensor():
    return Sensor(binning=32, full_well=1e12, read_noise=0.0, system_gain=1.0, bits=52)


def test_a_perfect_camera_returns_the_scene_on_its_pixels():
    camera = tiny_camera(sensor=ideal_sensor())
    scenes = load_scenes(tiny_crops(), range(3))
    seen = bright(camera, scenes, delta())
    n = crop_pixels(camera, 1.5, CONTEXT)
    assert seen.shape == (3, 3, n, n)
    # shot noise of 1e14 electrons is 1e-7; float32 rounds to 6e-8 and its sums to a few more
    torch.testing.assert_close(seen, resize(scenes.light, (n, n)), rtol=0, atol=5e-6)


@pytest.mark.parametrize("extent", ["same", "full"])
def test_a_uniform_scene_stays_uniform_through_any_psf(extent):
    camera = tiny_camera(sensor=ideal_sensor())
    light = torch.full((2, 3, 32, 32), 0.4)
    scenes = Scenes(light, torch.zeros(2, 68, 2), torch.full((2, 3), 0.4), CONTEXT)
    psf = torch.rand(3, 7, 7, generator=torch.Generator().manual_seed(0))
    psf = 0.9 * psf / psf.sum((-2, -1), keepdim=True)
    seen = bright(camera, scenes, psf, extent=extent)
    torch.testing.assert_close(seen, torch.full_like(seen, 0.36), rtol=0, atol=5e-6)


def test_noise_of_a_picture_is_independent_of_its_batch():
    camera, scenes = tiny_camera(), load_scenes(tiny_crops(), range(5))
    psf = camera.psf([1.5])[0].detach()
    together = observe(camera, psf, scenes, 1.5, sources(5))
    alone = observe(camera, psf, scenes.rows(slice(3, 4)), 1.5, [generator_for(0, "test", 3)])
    other = observe(camera, psf, scenes.rows(slice(3, 4)), 1.5, [generator_for(0, "other", 3)])
    # the transforms of a batch round differently; one electron of 5.9e6 is 2e-7
    torch.testing.assert_close(together[3:4], alone, rtol=0, atol=3e-6)
    assert (together[3:4] - other).abs().max() > 1e-4


def test_frames_average_the_noise_down():
    camera, scenes = tiny_camera(), load_scenes(tiny_crops(), range(4))
    ideal = observe(tiny_camera(sensor=ideal_sensor()), delta(), scenes, 1.5, sources(4))
    noise = [
        (observe(camera, delta(), scenes, 1.5, sources(4), frames=f) - ideal).std().item()
        for f in (1, 100)
    ]
    # 32448 samples know a deviation to 0.4 %
    assert noise[0] / noise[1] == pytest.approx(10, rel=0.03)


def test_networks_get_their_size():
    assert network_view(torch.zeros(2, 3, 51, 51), 32).shape == (2, 3, 32, 32)
