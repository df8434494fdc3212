"""Image formation: linear convolution, surround, scale."""

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d

from optics import blur, resize


def rand(*shape, dtype=torch.float64):
    return torch.rand(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("extent", ["same", "full"])
@pytest.mark.parametrize("kernel", [(5, 9), (21, 3), (31, 41)])
def test_it_is_the_linear_convolution(extent, kernel):
    scene, psf = rand(2, 3, 19, 24), rand(3, *kernel)
    ours = blur(scene, psf, extent=extent)
    full = np.array(
        [[convolve2d(x, h) for x, h in zip(b, psf.numpy(), strict=True)] for b in scene.numpy()]
    )
    top, left = kernel[0] // 2, kernel[1] // 2
    theirs = full if extent == "full" else full[..., top : top + 19, left : left + 24]
    # FFT in float64
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=1e-12 * theirs.max())


def test_float32_is_accurate_to_its_rounding():
    scene, psf = rand(1, 3, 40, 50), rand(3, 15, 11)
    psf = psf / psf.sum((-2, -1), keepdim=True)
    single = blur(scene.float(), psf.float())
    torch.testing.assert_close(single.double(), blur(scene, psf), rtol=0, atol=1e-6)


def test_light_that_leaves_at_a_corner_does_not_come_back():
    scene = torch.zeros(1, 1, 16, 20, dtype=torch.float64)
    scene[..., 0, 0] = 1
    out = blur(scene, rand(1, 9, 7))
    assert float(out[0, 0, :5, :4].sum()) > 0
    rest = out.clone()
    rest[..., :5, :4] = 0
    assert float(rest.abs().max()) < 1e-14


def test_a_psf_off_centre_to_the_right_moves_the_picture_to_the_right():
    scene = torch.zeros(1, 1, 9, 12, dtype=torch.float64)
    scene[..., 4, 5] = 1
    psf = torch.zeros(1, 5, 5, dtype=torch.float64)
    psf[0, 3, 4] = 1  # one down, two right of the centre
    out = blur(scene, psf)
    assert divmod(int(out[0, 0].argmax()), 12) == (5, 7)


def test_a_uniform_scene_in_its_own_surround_stays_uniform():
    level = torch.tensor([[0.2, 0.5, 0.7], [0.1, 0.9, 0.4]], dtype=torch.float64)
    scene = level[:, :, None, None].expand(2, 3, 17, 22)
    psf = rand(3, 9, 5)
    out = blur(scene, psf, surround=level)
    expected = (level * psf.sum((-2, -1)))[:, :, None, None].expand_as(out)
    torch.testing.assert_close(out, expected, rtol=1e-15, atol=0)


def test_surround_lights_the_edge_as_a_wider_scene_would():
    wide = torch.full((1, 1, 30, 34), 0.3, dtype=torch.float64)
    wide[..., 10:20, 10:24] = rand(1, 1, 10, 14)
    psf = rand(1, 7, 9)
    direct = blur(wide, psf, surround=torch.tensor([[0.3]], dtype=torch.float64))
    cropped = blur(
        wide[..., 10:20, 10:24], psf, surround=torch.tensor([[0.3]], dtype=torch.float64)
    )
    torch.testing.assert_close(cropped, direct[..., 10:20, 10:24], rtol=0, atol=1e-12)


def test_full_extent_holds_all_light_and_same_is_its_middle():
    scene, psf = rand(2, 3, 13, 18), rand(3, 7, 5)
    full, same = blur(scene, psf, extent="full"), blur(scene, psf)
    torch.testing.assert_close(full[..., 3:16, 2:20], same, rtol=0, atol=1e-12)
    light = scene.sum((-2, -1)) * psf.sum((-2, -1))
    torch.testing.assert_close(full.sum((-2, -1)), light)


def test_backward_is_the_adjoint():
    scene, psf = rand(2, 3, 13, 18).requires_grad_(), rand(3, 7, 5)
    out = blur(scene, psf, extent="full")
    y = rand(*out.shape) - 0.5
    (adjoint,) = torch.autograd.grad(out, scene, y)
    torch.testing.assert_close((out * y).sum(), (scene * adjoint).sum(), rtol=1e-12, atol=1e-12)
    # which is the correlation with the PSF
    flipped = blur(y, psf.flip(-1, -2), extent="full")[..., 6:19, 4:22]
    torch.testing.assert_close(adjoint, flipped, rtol=0, atol=1e-11)


def test_gradcheck_in_scene_psf_and_surround():
    inputs = [rand(1, 2, 4, 5), rand(2, 3, 3), rand(1, 2)]
    inputs = [t.requires_grad_() for t in inputs]
    assert torch.autograd.gradcheck(lambda x, h, s: blur(x, h, surround=s), inputs)


@pytest.mark.parametrize(
    ("scene", "psf", "message"),
    [
        (
            (3, 8, 8),
            (3, 3, 3),
            r"scene is \(3, 8, 8\) and psf \(3, 3, 3\), expected \(B, C, H, W\)",
        ),
        ((1, 3, 8, 8), (2, 3, 3), "expected"),
        ((1, 3, 8, 8), (3, 4, 3), "extent='same' needs odd sides"),
    ],
)
def test_wrong_shapes_are_named(scene, psf, message):
    with pytest.raises(ValueError, match=message):
        blur(torch.zeros(scene), torch.zeros(psf))


@pytest.mark.parametrize(
    ("old", "new"), [((40, 60), (20, 30)), ((20, 30), (50, 70)), ((48, 36), (32, 27))]
)
def test_resized_pixels_cover_the_same_square(old, new):
    """A linear ramp keeps its values at (n + 0.5) M / N - 0.5, away from the border."""
    rows, columns = (torch.arange(n, dtype=torch.float64) for n in old)
    ramp = (rows[:, None] + 0 * columns).expand(old), (0 * rows[:, None] + columns).expand(old)
    for axis, image in enumerate(ramp):
        out = resize(image[None, None], new)[0, 0].movedim(axis, 0)[:, new[1 - axis] // 2]
        where = (torch.arange(new[axis]) + 0.5) * old[axis] / new[axis] - 0.5
        inner = slice(3, -3)
        # at ratios that are not whole the sampled triangle's centroid wanders by 0.03 pixels
        torch.testing.assert_close(out[inner], where[inner].double(), rtol=0, atol=0.05)


def test_shrinking_keeps_the_mean_and_averages_over_what_it_covers():
    image = rand(1, 3, 60, 90)
    out = resize(image, (20, 30))
    # the triangle's weights differ only along the border
    assert float(out.mean()) == pytest.approx(float(image.mean()), rel=5e-3)
    assert float(out.var()) < 0.3 * float(image.var())  # white noise is averaged, not picked
    flat = resize(torch.full((1, 1, 60, 90), 0.7, dtype=torch.float64), (17, 31))
    torch.testing.assert_close(flat, torch.full_like(flat, 0.7))


def test_resize_to_its_own_size_returns_the_picture():
    image = rand(1, 3, 6, 9)
    assert resize(image, (6, 9)) is image


def test_resize_gradcheck():
    image = rand(1, 1, 6, 8).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: resize(x, (3, 5)), image)
