"""Colour mosaics: places of the colours, interpolation."""

import math

import pytest
import torch

from optics.sensor import (
    CFA_ORDERS,
    colour_filters,
    demosaic_bilinear,
    demosaic_malvar,
    sample_mosaic,
)

BOTH = pytest.mark.parametrize("demosaic", [demosaic_bilinear, demosaic_malvar])
EVERY = pytest.mark.parametrize("cfa", CFA_ORDERS)


def planes(height=10, width=13):
    """Three different inclined planes, (3, H, W)."""
    y = torch.arange(height, dtype=torch.float64)[:, None]
    x = torch.arange(width, dtype=torch.float64)[None, :]
    return torch.stack([2 * x - y, 3 + 0.5 * y + x, 7 - x - 2 * y])


@EVERY
def test_the_order_names_the_top_left_block_row_by_row(cfa):
    masks = colour_filters(cfa, (5, 8))
    names = ["RGB"[int(masks[:, y, x].int().argmax())] for y in (0, 1) for x in (0, 1)]
    assert "".join(names) == cfa
    assert bool((masks.sum(0) == 1).all())
    assert torch.equal(masks[:, :3, :6], masks[:, 2:, 2:])


def test_a_cut_at_an_odd_pixel_has_another_order():
    whole = colour_filters("RGGB", (6, 7))
    assert torch.equal(whole[:, :, 1:], colour_filters("GRBG", (6, 6)))
    assert torch.equal(whole[:, 1:, :], colour_filters("GBRG", (5, 7)))
    assert torch.equal(whole[:, 1:, 1:], colour_filters("BGGR", (5, 6)))


@BOTH
@EVERY
def test_seen_colours_are_kept(demosaic, cfa):
    image = torch.rand(2, 3, 9, 12, generator=torch.Generator().manual_seed(0)).double()
    mosaic = sample_mosaic(image, cfa)
    torch.testing.assert_close(sample_mosaic(demosaic(mosaic, cfa), cfa), mosaic)


@EVERY
def test_bilinear_interpolates_planes_exactly_inside(cfa):
    out = demosaic_bilinear(sample_mosaic(planes(), cfa), cfa)
    torch.testing.assert_close(out[:, 1:-1, 1:-1], planes()[:, 1:-1, 1:-1])


@EVERY
def test_malvar_interpolates_planes_exactly_inside(cfa):
    """Every filter sums to one and has no slope; the corrections vanish on planes."""
    out = demosaic_malvar(sample_mosaic(planes(), cfa), cfa)
    torch.testing.assert_close(out[:, 2:-2, 2:-2], planes()[:, 2:-2, 2:-2])


@pytest.mark.parametrize(
    ("place", "colour", "weights"),
    [  # RGGB: red at (even, even). Eighths of fig. 2 of the paper, rows of the picture.
        ((4, 4), 1, {(0, 0): 4, (0, 1): 2, (1, 0): 2, (0, 2): -1, (2, 0): -1, (1, 1): 0}),
        ((4, 4), 2, {(0, 0): 6, (1, 1): 2, (1, -1): 2, (0, 2): -1.5, (2, 0): -1.5, (0, 1): 0}),
        ((4, 5), 0, {(0, 0): 5, (0, 1): 4, (1, 1): -1, (0, 2): -1, (2, 0): 0.5, (1, 0): 0}),
        ((4, 5), 2, {(0, 0): 5, (1, 0): 4, (1, 1): -1, (2, 0): -1, (0, 2): 0.5, (0, 1): 0}),
        ((5, 4), 0, {(0, 0): 5, (1, 0): 4, (1, 1): -1, (2, 0): -1, (0, 2): 0.5, (0, 1): 0}),
        ((5, 4), 2, {(0, 0): 5, (0, 1): 4, (1, 1): -1, (0, 2): -1, (2, 0): 0.5, (1, 0): 0}),
        ((5, 5), 0, {(0, 0): 6, (1, 1): 2, (-1, 1): 2, (0, 2): -1.5, (2, 0): -1.5, (1, 0): 0}),
    ],
)
def test_malvar_weights_are_those_of_the_paper(place, colour, weights):
    for (dy, dx), eighths in weights.items():
        for sign in (1, -1):
            mosaic = torch.zeros(10, 11, dtype=torch.float64)
            mosaic[place[0] + sign * dy, place[1] + sign * dx] = 8.0
            assert float(demosaic_malvar(mosaic, "RGGB")[colour][place]) == eighths


def test_malvar_is_sharper_than_bilinear_on_grey_detail():
    y = torch.arange(40, dtype=torch.float64)[:, None]
    x = torch.arange(50, dtype=torch.float64)[None, :]
    grey = (torch.cos(2 * math.pi * (0.15 * x + 0.08 * y))).expand(3, 40, 50)
    mosaic = sample_mosaic(grey, "GRBG")
    error = [
        float((demosaic(mosaic, "GRBG") - grey)[:, 4:-4, 4:-4].square().mean())
        for demosaic in (demosaic_bilinear, demosaic_malvar)
    ]
    assert error[1] < error[0] / 3  # 5 dB, as the paper finds on photographs


@BOTH
def test_a_constant_survives_up_to_the_border(demosaic):
    level = torch.full((2, 7, 5), 0.4, dtype=torch.float64)
    torch.testing.assert_close(demosaic(level, "GBRG"), torch.full((2, 3, 7, 5), 0.4).double(),
                               rtol=0, atol=1e-7)  # fmt: skip


@BOTH
def test_interpolation_is_linear_so_its_gradient_is_the_adjoint(demosaic):
    mosaic = torch.rand(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(lambda m: demosaic(m, "BGGR"), mosaic.requires_grad_())


@BOTH
def test_batches_of_any_shape(demosaic):
    mosaic = torch.rand(2, 4, 6, 8)
    out = demosaic(mosaic, "RGGB")
    assert out.shape == (2, 4, 3, 6, 8)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out[1, 2], demosaic(mosaic[1, 2], "RGGB"))


def test_bad_mosaics_are_refused():
    with pytest.raises(ValueError, match=r"cfa = 'RGBG': .* RGGB, BGGR, GRBG, GBRG"):
        colour_filters("RGBG", (4, 4))
    with pytest.raises(ValueError, match=r"image is \(4, 5, 6\), expected \(\.\.\., 3, H, W\)"):
        sample_mosaic(torch.zeros(4, 5, 6), "RGGB")
    with pytest.raises(ValueError, match=r"mosaic is \(1, 5\)"):
        demosaic_bilinear(torch.zeros(1, 5), "RGGB")
    with pytest.raises(ValueError, match="at least 3 x 3"):
        demosaic_malvar(torch.zeros(2, 5), "RGGB")
