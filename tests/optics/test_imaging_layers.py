"""Layered scenes: occlusion, no halos, conservation; slices of a depth map."""

import pytest
import torch

from optics.imaging import blur, blur_layers, layer_coverage, layer_distances
from optics.imaging.layers import extend


def rand(*shape, dtype=torch.float64):
    return torch.rand(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


def disc(radius, side, colours=1):
    """Flat disc PSF, sum 1, float64 (colours, side, side)."""
    x = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    inside = (x.square() + x[:, None].square() <= radius**2).double()
    return (inside / inside.sum()).expand(colours, side, side)


def square(height, width, top, bottom, left, right):
    """Coverage of a rectangle, float64 (1, 1, H, W)."""
    coverage = torch.zeros(1, 1, height, width, dtype=torch.float64)
    coverage[..., top:bottom, left:right] = 1
    return coverage


def test_one_layer_is_the_uniform_blur():
    scene, psf, level = rand(2, 3, 17, 22), rand(1, 3, 5, 7), rand(2, 3)
    ones = torch.ones(1, 2, 1, 17, 22, dtype=torch.float64)
    out = blur_layers(scene, ones, psf, surround=level)
    torch.testing.assert_close(out, blur(scene, psf[0], surround=level), rtol=1e-12, atol=0)


def test_one_psf_for_all_layers_is_the_uniform_blur_and_keeps_all_light():
    """Ikoma's normaliser makes it exact; the extension weighs 1 % where layers are hidden."""
    scene, psf = rand(1, 2, 24, 30), disc(3, 9, 2)
    depth = 1 + 2 * rand(1, 1, 24, 30)
    coverage = layer_coverage(depth, [3.0, 1.5, 1.0])
    out = blur_layers(scene, coverage, psf.expand(3, 2, 9, 9))
    expected = blur(scene, psf)
    torch.testing.assert_close(out, expected, rtol=0, atol=0.01)
    assert float(out.sum() / expected.sum()) == pytest.approx(1, abs=1e-3)


def test_an_opaque_foreground_in_focus_hides_what_is_behind():
    """Nothing from behind comes through, whatever the background looks like there."""
    front = square(21, 26, 6, 15, 8, 19)
    coverage = torch.stack([1 - front, front])
    psfs = torch.stack([disc(4, 9), disc(0, 9)])
    light = torch.stack([50 * rand(1, 1, 21, 26), 0.2 + 0 * front])
    out = blur_layers(light, coverage, psfs)
    # FFT in float64 of light up to 50
    torch.testing.assert_close(out[..., 6:15, 8:19], light[1][..., 6:15, 8:19], rtol=0, atol=1e-11)


def test_a_known_background_shows_through_the_soft_edge():
    """Ray optics: a sharp background B behind a defocused F gives F a + B (1 - a)."""
    front = square(25, 31, 8, 17, 9, 22)
    coverage = torch.stack([torch.ones_like(front), front])
    psfs = torch.stack([disc(0, 9), disc(4, 9)])
    back = rand(1, 1, 25, 31)
    out = blur_layers(torch.stack([back, 0.7 + 0 * back]), coverage, psfs)
    soft = blur(front, disc(4, 9))
    torch.testing.assert_close(out, 0.7 * soft + back * (1 - soft), rtol=0, atol=1e-12)


@pytest.mark.parametrize("radii", [(0, 4), (4, 0), (4, 4), (2, 4)])
def test_layers_of_equal_light_show_no_halo(radii):
    """Everything shines alike, so nothing may be seen, also where what is behind is unknown."""
    front = square(33, 40, 8, 25, 10, 30)
    middle = square(33, 40, 2, 20, 4, 18) * (1 - front)
    coverage = torch.stack([1 - front - middle, middle, front])
    psfs = torch.stack([disc(radii[0], 9, 2), disc(3, 9, 2), disc(radii[1], 9, 2)])
    colour = torch.tensor([[0.8, 0.3]], dtype=torch.float64)
    light = colour[:, :, None, None].expand(1, 2, 33, 40)
    out = blur_layers(light, coverage, psfs, surround=colour)
    # FFT in float64, divided by a normaliser of at least 0.01
    torch.testing.assert_close(out, light, rtol=0, atol=1e-12)


def test_single_precision_shows_no_halo_either():
    front = square(64, 50, 16, 50, 10, 40).float()
    coverage = torch.stack([1 - front, front])
    psfs = torch.stack([disc(0, 21), disc(10, 21)]).float()
    light = torch.full((1, 1, 64, 50), 0.5)
    out = blur_layers(light, coverage, psfs, surround=torch.tensor([[0.5]]))
    # rounding 1e-7, divided by a normaliser of at least 0.01
    torch.testing.assert_close(out, light, rtol=0, atol=2e-5)


def test_the_background_goes_on_behind_a_defocused_foreground():
    """Half way down the soft edge the mean of both is seen, not half of one beside black."""
    front = square(40, 41, 0, 40, 20, 41)
    light = torch.stack([1.0 + 0 * front, 0 * front])  # bright behind, black in front
    psfs = torch.stack([disc(0, 13), disc(6, 13)])
    coverage = torch.stack([1 - front, front])
    row = blur_layers(light, coverage, psfs, surround=torch.ones(1, 1, dtype=torch.float64))
    row = row[0, 0, 20]
    soft = blur(front, disc(6, 13))[0, 0, 20]
    torch.testing.assert_close(row[:34], 1 - soft[:34], rtol=0, atol=1e-12)


def test_the_transmitted_energy_is_kept():
    scene, front = rand(1, 1, 20, 24), square(20, 24, 5, 15, 6, 18)
    coverage, psfs = torch.stack([1 - front, front]), torch.stack([disc(1, 7), disc(3, 7)])
    full, half = blur_layers(scene, coverage, psfs), blur_layers(scene, coverage, 0.5 * psfs)
    torch.testing.assert_close(half, 0.5 * full, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dark", [0, 1, 2])
def test_an_empty_layer_changes_nothing(dark):
    scene, front = rand(2, 1, 18, 15), square(18, 15, 5, 15, 4, 12).expand(2, 1, 18, 15)
    two = torch.stack([1 - front, front])
    three = torch.cat([two[:dark], torch.zeros_like(two[:1]), two[dark:]])
    psfs = torch.stack([disc(1, 7), disc(3, 7)])
    more = torch.cat([psfs[:dark], rand(1, 1, 7, 7), psfs[dark:]])
    inner = (..., slice(3, -3), slice(3, -3))  # an empty back layer also owns the surround
    torch.testing.assert_close(
        blur_layers(scene, three, more)[inner],
        blur_layers(scene, two, psfs)[inner],
        rtol=0,
        # the empty layer and its surround weigh up to 1 % where nothing else is seen
        atol=1e-12 if dark else 0.02,
    )


def test_extension_keeps_what_is_seen_and_continues_a_constant():
    weight = (rand(2, 1, 13, 22) > 0.8).double()
    values = rand(2, 3, 13, 22)
    out = extend(values * weight, weight)
    torch.testing.assert_close(out * weight, values * weight, rtol=0, atol=1e-14)
    assert float(out.min()) >= float(values.min())
    assert float(out.max()) <= float(values.max())
    flat = extend(0.4 * weight, weight)
    torch.testing.assert_close(flat, torch.full_like(flat, 0.4), rtol=1e-12, atol=0)
    assert float(extend(0 * values, 0 * weight).abs().max()) == 0


def test_layers_lie_at_equal_steps_in_dioptres():
    distances = layer_distances(0.75, 3.0, 5)
    steps = torch.tensor(distances, dtype=torch.float64).reciprocal().diff()
    torch.testing.assert_close(steps, torch.full_like(steps, (1 / 0.75 - 1 / 3) / 4))
    assert (distances[0], distances[-1]) == (3.0, 0.75)


def test_slices_share_a_pixel_by_its_vergence():
    layers = [4.0, 2.0, 1.0]
    depth = torch.tensor([[9.0, 4.0, 8 / 3, 2.0, 1.6, 1.0, 0.5]], dtype=torch.float64)[None, None]
    coverage = layer_coverage(depth, layers)[:, 0, 0, 0]
    expected = [  # 1 / 8 * 3 lies in the middle of 1 / 4 and 1 / 2, 1 / 1.6 a quarter beyond 1 / 2
        [1, 1, 0.5, 0, 0, 0, 0],
        [0, 0, 0.5, 1, 0.75, 0, 0],
        [0, 0, 0, 0, 0.25, 1, 1],
    ]
    torch.testing.assert_close(coverage, torch.tensor(expected, dtype=torch.float64))
    every = layer_coverage(0.3 + 5 * rand(2, 1, 9, 7), layers)
    torch.testing.assert_close(every.sum(0), torch.ones(2, 1, 9, 7, dtype=torch.float64))


def test_gradcheck_in_light_coverage_psfs_and_surround():
    # shares away from 0 and 1, where the clamps have corners
    coverage = (0.1 + 0.3 * rand(2, 1, 1, 3, 4)).requires_grad_()
    inputs = [rand(2, 1, 1, 3, 4), 0.1 + rand(2, 1, 3, 1), rand(1, 1)]
    light, psfs, level = (t.requires_grad_() for t in inputs)
    assert torch.autograd.gradcheck(
        lambda x, a, h, s: blur_layers(x, a, h, surround=s), [light, coverage, psfs, level]
    )


def test_gradcheck_in_the_depth_map():
    depth = (1.1 + 1.7 * rand(1, 1, 3, 4)).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: layer_coverage(d, [3.0, 1.5, 1.0]), depth)


def test_bad_layers_are_named():
    light, coverage = torch.ones(2, 1, 3, 8, 9), torch.ones(2, 1, 1, 8, 9)
    psfs = torch.ones(2, 3, 3, 5)
    with pytest.raises(ValueError, match=r"psfs \(3, 3, 3, 5\), expected \(L, B, C, H, W\)"):
        blur_layers(light, coverage, torch.ones(3, 3, 3, 5))
    with pytest.raises(ValueError, match="needs odd sides"):
        blur_layers(light, coverage, torch.ones(2, 3, 3, 4))
    with pytest.raises(ValueError, match=r"coverage is within \[255, 255\]: shares from 0 to 1"):
        blur_layers(light, 255 * coverage, psfs)
    with pytest.raises(ValueError, match=r"depth is \(8, 9\), expected \(B, 1, H, W\)"):
        layer_coverage(torch.ones(8, 9), [2.0, 1.0])
    with pytest.raises(ValueError, match="strictly decreasing from back to front"):
        layer_coverage(torch.ones(1, 1, 8, 9), [1.0, 2.0])
    with pytest.raises(ValueError, match="depth = 0 m at its nearest"):
        layer_coverage(torch.zeros(1, 1, 8, 9), [2.0, 1.0])
    with pytest.raises(ValueError, match="nearest = 3 m, farthest = 1 m"):
        layer_distances(3.0, 1.0, 4)
