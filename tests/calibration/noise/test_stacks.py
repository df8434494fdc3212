"""Streaming statistics: what a held stack gives, and kinds of noise told apart."""

import numpy as np
import pytest

from calibration.noise.stacks import FrameStatistics


def collected(frames, cfa="RGGB"):
    stack = FrameStatistics(cfa)
    for frame in frames:
        stack.add(frame)
    return stack


@pytest.mark.parametrize("cfa", ["RGGB", ""])
def test_maps_are_those_of_the_held_stack(cfa):
    frames = np.random.default_rng(0).integers(0, 65536, (7, 130, 66)).astype(np.uint16)
    stack = collected(frames, cfa)
    held = frames.astype(np.float64)
    assert stack.count == 7
    np.testing.assert_allclose(stack.mean(), held.mean(0), rtol=1e-14)
    np.testing.assert_allclose(stack.variance(), held.var(0, ddof=1), rtol=1e-12)


def test_a_tiny_variance_on_the_largest_value_is_exact():
    """The one-pass formula in float32 would return noise of thousands here."""
    frames = np.full((1000, 2, 2), 65535, np.uint16)
    frames[::2] = 65534
    np.testing.assert_allclose(collected(frames).variance(), 0.25 * 1000 / 999, rtol=1e-14)


def test_the_order_of_the_frames_does_not_matter():
    frames = np.random.default_rng(1).integers(0, 4096, (9, 4, 6)).astype(np.uint16)
    one, other = collected(frames), collected(frames[::-1])
    np.testing.assert_array_equal(one.variance(), other.variance())


@pytest.mark.parametrize("cfa", ["GRBG", ""])
def test_kinds_of_noise_are_told_apart_in_every_plane(cfa):
    rng = np.random.default_rng(2)
    pixel, row, frame = 4.0, 1.0, 2.0
    stack = FrameStatistics(cfa)
    for _ in range(200):
        value = 1000 + pixel * rng.normal(size=(90, 96)) + row * rng.normal(size=(90, 1))
        stack.add(np.rint(value + frame * rng.normal()).astype(np.uint16))
    found = stack.temporal()
    assert set(found) == ({"Gr", "R", "B", "Gb"} if cfa else {"mono"})
    for noise in found.values():
        # 45 rows and 200 frames: rows to 1.5 %, the frames to 10 % of their variance
        assert noise.pixel == pytest.approx(pixel**2 + 1 / 12, rel=0.01)
        assert noise.row == pytest.approx(row**2, rel=0.1)
        assert noise.frame == pytest.approx(frame**2, rel=0.4)
        assert abs(noise.pixel - pixel**2 - 1 / 12) < 4 * noise.pixel_uncertainty


def test_pixels_that_do_not_count_leave_the_noise_alone():
    rng = np.random.default_rng(3)
    keep = np.ones((40, 40), bool)
    keep[::5, ::7] = False
    frames = [
        np.rint(500 + np.where(keep, 2.0, 90.0) * rng.normal(size=(40, 40))).astype(np.uint16)
        for _ in range(60)
    ]
    noise = collected(frames, "").temporal(keep)["mono"]
    # the loud pixels still stir the rows
    assert noise.pixel + noise.row + noise.frame == pytest.approx(4 + 1 / 12, rel=0.02)


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda s: s.add(np.zeros((4, 4))), TypeError, "uint16"),
        (lambda s: s.add(np.zeros((5, 4), np.uint16)), ValueError, "even number"),
        (lambda s: s.mean(), ValueError, "0 frames; 1"),
        (lambda s: (s.add(np.zeros((4, 4), np.uint16)), s.variance()), ValueError, "1 frames; 2"),
        (
            lambda s: [s.add(np.zeros(shape, np.uint16)) for shape in ((4, 4), (6, 4))],
            ValueError,
            "each mode by itself",
        ),
    ],
)
def test_what_is_no_stack_is_refused(act, error, message):
    with pytest.raises(error, match=message):
        act(FrameStatistics("RGGB"))
    with pytest.raises(ValueError, match="cfa"):
        FrameStatistics("XYZW")
