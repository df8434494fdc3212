"""Faces cut out of pictures and put back: geometry, seams, and nothing touched beside them."""

import numpy as np
import pytest
import torch

from anonymizer.alignment import ARCFACE112, align_faces, apply_similarity
from experiments.faces_in_pictures import (
    Place,
    Square,
    WholePicture,
    cut_squares,
    to_light,
    to_pixels,
)


def smooth(shape=(90, 120), seed=0):
    """A picture without detail finer than resampling carries, and not dark, where sRGB is steep."""
    coarse = 0.3 + 0.4 * torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(seed))
    light = torch.nn.functional.interpolate(coarse, shape, mode="bicubic").clamp(0, 1)
    return to_pixels(light[0])


def turned(scale=0.45, angle=0.3, shift=(55.0, 30.0)):
    """Five points of a face that is turned in the picture [px]."""
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    matrix = torch.tensor([[c, -s, shift[0]], [s, c, shift[1]]], dtype=torch.float64)
    return apply_similarity(matrix, ARCFACE112.double())


def test_a_frame_of_one_is_the_crop_that_recognisers_expect():
    pixels, points = smooth(), turned()
    own = cut_squares(pixels, [Square.around(points, frame=1.0)], 112)
    theirs = align_faces(to_light(pixels)[None], points[None].float(), 112)
    torch.testing.assert_close(own, theirs, atol=1e-4, rtol=0)


def test_a_wider_frame_has_the_same_middle():
    points = turned()
    near, far = (Square.around(points, frame=frame) for frame in (1.0, 1.35))
    middle = torch.tensor([0.5, 0.5, 1.0]).double()
    torch.testing.assert_close(near.matrix @ middle, far.matrix @ middle)
    assert far.side == pytest.approx(1.35 * near.side)


def test_squares_survive_being_stored():
    square = Square.around(turned(), frame=1.2)
    again = Square.of_pixels(square.from_pixels(37).flatten().tolist(), 37)
    torch.testing.assert_close(again.matrix, square.matrix)


def test_a_face_put_back_unchanged_changes_nothing_visible():
    pixels = smooth()
    square = Square.around(turned(), frame=1.0)
    place = Place.of(square, (90, 120))
    (face,) = cut_squares(pixels, [square], 160)
    shown = pixels.copy()
    place.blend(shown, face)
    # linear interpolation twice on a picture whose cells are 15 px wide: a level or two of 255
    assert np.abs(shown.astype(int) - pixels).max() <= 3


def test_nothing_outside_the_square_changes_and_all_inside_does():
    pixels = smooth()
    square = Square.around(turned(angle=-0.4), frame=1.0)
    place = Place.of(square, (90, 120))
    shown = pixels.copy()
    place.blend(shown, torch.full((3, 64, 64), 0.0))
    y, x = np.mgrid[:90, :120]
    inverse = np.linalg.inv(np.vstack((square.matrix.numpy(), [0, 0, 1])))
    u, v, _ = inverse @ np.stack((x.ravel(), y.ravel(), np.ones(x.size)))
    depth = np.minimum(np.minimum(u, 1 - u), np.minimum(v, 1 - v)).reshape(x.shape)
    np.testing.assert_array_equal(shown[depth < 0], pixels[depth < 0])
    assert shown[depth > 0.08].max() == 0
    left, top, width, height = place.box
    outside = np.ones((90, 120), bool)
    outside[top : top + height, left : left + width] = False
    np.testing.assert_array_equal(shown[outside], pixels[outside])


def test_the_rim_has_no_step():
    grey = np.full((90, 120, 3), 128, np.uint8)
    place = Place.of(Square.around(turned(angle=0.0), frame=1.0), (90, 120))
    shown = grey.copy()
    place.blend(shown, torch.ones(3, 64, 64))
    steps = np.abs(np.diff(to_light(shown).numpy(), axis=-1)).max()
    # a rim of 4 px from 0.2 to 1 by a smooth step: 1.5 * 0.8 / 4 at its steepest
    assert steps < 0.36


def test_faces_cut_by_the_border_are_placed_inside():
    pixels = smooth()
    square = Square.around(turned(shift=(-20.0, -15.0)), frame=1.0)
    place = Place.of(square, (90, 120))
    shown = pixels.copy()
    place.blend(shown, torch.zeros(3, 32, 32))
    assert place.box[:2] == (0, 0)
    assert shown[0, 0].max() == 0, "the border of the picture is no rim"
    far = Square.around(turned(shift=(500.0, 500.0)), frame=1.0)
    assert Place.of(far, (90, 120)) is None


def test_exchange_undoes_a_blend_also_in_the_rim():
    pixels = smooth()
    square = Square.around(turned(), frame=1.0)
    place = Place.of(square, (90, 120))
    (face,) = cut_squares(pixels, [square], 160)
    grey = torch.full_like(face, 0.3)
    shown = pixels.copy()
    place.blend(shown, grey)
    assert np.abs(shown.astype(int) - pixels).max() > 30
    place.exchange(shown, grey, face)
    # two roundings to 8 bits and two interpolations
    assert np.abs(shown.astype(int) - pixels).max() <= 4


def test_whole_pictures_are_covered_by_their_square():
    pixels = smooth((50, 81))
    (square,) = WholePicture()(pixels)
    shown = pixels.copy()
    Place.of(square, (50, 81), rim=0.0).blend(shown, torch.zeros(3, 16, 16))
    assert shown.max() == 0
    (face,) = cut_squares(smooth((64, 64)), WholePicture()(smooth((64, 64))), 64)
    np.testing.assert_array_equal(to_pixels(face), smooth((64, 64)))


def test_no_faces_are_no_crops():
    assert cut_squares(smooth(), [], 48).shape == (0, 3, 48, 48)


def test_degenerate_squares_are_refused():
    with pytest.raises(ValueError, match="finite"):
        Square(torch.full((2, 3), torch.nan))
