"""Landmark geometry against closed forms and symmetries."""

import math

import pytest
import torch

from anonymizer.alignment import (
    ARCFACE112,
    CANONICAL68,
    FLIP68,
    GROUPS,
    align_faces,
    apply_similarity,
    face_frame,
    fit_similarity,
    five_points,
    flip_landmarks,
    invert_similarity,
    similarity_scale,
    warp_area,
)


def similarity(scale, angle, shift):
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    return torch.tensor([[c, -s, shift[0]], [s, c, shift[1]]], dtype=torch.float64)


CANONICAL = CANONICAL68.double()


def test_groups_cover_the_68_points_once():
    assert sorted(i for part in GROUPS.values() for i in part) == list(range(68))


def test_mirroring_twice_is_identity_and_keeps_groups():
    assert [FLIP68[i] for i in FLIP68] == list(range(68))
    for part in GROUPS.values():
        assert {FLIP68[i] for i in part} == set(part)


def test_canonical_shape_is_its_own_mirror_image_and_one_face_wide():
    mirrored = CANONICAL68[list(FLIP68)] * torch.tensor([-1.0, 1.0])
    assert torch.equal(mirrored, CANONICAL68)
    assert (CANONICAL68[16] - CANONICAL68[0]).tolist() == [1.0, 0.0]
    low, high = CANONICAL68.amin(dim=0), CANONICAL68.amax(dim=0)
    torch.testing.assert_close(low, -high)


def test_flipped_landmarks_follow_the_flipped_image():
    """A bright pixel at each point is at the flipped point of the flipped image."""
    points = (CANONICAL68 * 40 + torch.tensor([41.0, 30.0])).round()
    image = torch.zeros(60, 90)
    x, y = points[30].long().tolist()
    image[y, x] = 1
    fx, fy = flip_landmarks(points, 90)[FLIP68[30]].long().tolist()
    assert image.flip(-1)[fy, fx] == 1


def test_fit_recovers_a_known_similarity_in_each_of_a_batch():
    truth = torch.stack(
        [
            similarity(3.0, 0.4, (20, -7)),
            similarity(0.2, -2.5, (0, 3)),
            similarity(1, math.pi, (5, 5)),
        ]
    )
    fitted = fit_similarity(CANONICAL, apply_similarity(truth, CANONICAL.expand(3, -1, -1)))
    torch.testing.assert_close(fitted, truth)  # exact up to rounding in float64


def test_fit_is_the_least_squares_optimum():
    """No small change of any of the four parameters lowers the residual."""
    generator = torch.Generator().manual_seed(0)
    target = apply_similarity(similarity(2.0, 0.3, (1, 2)), CANONICAL)
    target = target + 0.3 * torch.randn(68, 2, generator=generator, dtype=torch.float64)
    fit = fit_similarity(CANONICAL, target)

    def residual(a, b, x, y):
        matrix = torch.stack((torch.stack((a, -b, x)), torch.stack((b, a, y))))
        return (apply_similarity(matrix, CANONICAL) - target).square().sum()

    parameters = [fit[0, 0], fit[1, 0], fit[0, 2], fit[1, 2]]
    parameters = [p.clone().requires_grad_() for p in parameters]
    gradient = torch.autograd.grad(residual(*parameters), parameters)
    assert max(abs(g.item()) for g in gradient) < 1e-10  # rounding of sums of order 100


def test_fit_never_mirrors():
    mirrored = CANONICAL * torch.tensor([-1.0, 1.0])
    linear = fit_similarity(CANONICAL + torch.tensor([0.1, 0.0]), mirrored)[:, :2]
    assert torch.linalg.det(linear) >= 0


def test_inverse_undoes_a_similarity():
    matrix = similarity(0.7, 1.1, (-3, 8))
    back = apply_similarity(invert_similarity(matrix), apply_similarity(matrix, CANONICAL))
    torch.testing.assert_close(back, CANONICAL)
    torch.testing.assert_close(similarity_scale(matrix), torch.tensor(0.7, dtype=torch.float64))


def test_face_frame_returns_centre_width_and_roll():
    centre, width, roll = face_frame(apply_similarity(similarity(140.0, 0.2, (31, 64)), CANONICAL))
    assert centre.tolist() == pytest.approx([31, 64])
    assert width.item() == pytest.approx(140)
    assert roll.item() == pytest.approx(0.2)


def test_face_width_of_a_turned_head_falls_less_than_the_distance_of_the_cheeks():
    """Turning by 40 degrees shrinks x by cos(40 deg); the fit averages with the unchanged y."""
    turned = CANONICAL * torch.tensor([math.cos(math.radians(40)), 1.0], dtype=torch.float64)
    width = face_frame(turned)[1].item()
    assert math.cos(math.radians(40)) + 0.05 < width < 1


def test_five_points_of_the_canonical_shape_are_eyes_nose_and_mouth():
    left, right, nose, left_mouth, right_mouth = five_points(CANONICAL68).tolist()
    assert left[0] < 0 < right[0]
    assert left[1] < nose[1] < left_mouth[1]
    assert (left[0], left_mouth[0]) == pytest.approx((-right[0], -right_mouth[0]))


def test_aligned_face_has_its_five_points_on_the_template():
    """Gaussian spots drawn at the points of a rotated, scaled face come out at the template."""
    matrix = similarity(1.3, 0.5, (40, 10)).float()
    points = apply_similarity(matrix, ARCFACE112)
    y, x = torch.meshgrid(torch.arange(200.0), torch.arange(180.0), indexing="ij")
    for k in range(5):
        spot = torch.exp(-((x - points[k, 0]) ** 2 + (y - points[k, 1]) ** 2) / (2 * 3.0**2))
        out = align_faces(spot.expand(1, 3, -1, -1), points[None])[0, 0]
        row, column = torch.meshgrid(torch.arange(112.0), torch.arange(112.0), indexing="ij")
        found = torch.stack(((out * column).sum(), (out * row).sum())) / out.sum()
        # bilinear sampling of a 3 px spot moves its centroid by far less than 0.02 px
        torch.testing.assert_close(found, ARCFACE112[k], rtol=0, atol=0.02)


def test_template_scales_about_pixel_edges():
    """At half the size, a crop is the 2 x 2 mean of the full crop: both cover the same square."""
    points = apply_similarity(similarity(2.2, 0.0, (3, 4)).float(), ARCFACE112)[None]
    y, x = torch.meshgrid(torch.arange(260.0), torch.arange(270.0), indexing="ij")
    image = (0.5 + 0.3 * torch.sin(x / 20) * torch.cos(y / 30)).expand(1, 3, -1, -1)
    half = align_faces(image, points, size=56)
    full = torch.nn.functional.avg_pool2d(align_faces(image, points, size=112), 2)
    torch.testing.assert_close(half, full, rtol=0, atol=2e-3)  # second order in 4 px / 20 px


def test_shrinking_averages_over_area():
    """A checkerboard finer than the output becomes its mean instead of moire."""
    y, x = torch.meshgrid(torch.arange(96), torch.arange(120), indexing="ij")
    board = ((x + y) % 2).float().expand(1, 3, -1, -1)
    matrix = torch.tensor([[[6.0, 0.0, 2.0], [0.0, 6.0, 2.0]]])  # hits centres of pixels
    out = warp_area(board, matrix, (16, 20))[..., 1:, 1:]
    torch.testing.assert_close(out, torch.full_like(out, 0.5))


def test_each_image_is_warped_as_if_it_were_alone():
    images = torch.rand(3, 3, 50, 70, generator=torch.Generator().manual_seed(1))
    matrix = torch.stack([similarity(s, 0.1, (5, 5)).float() for s in (0.5, 3.0, 1.7)])
    together = warp_area(images, matrix, (12, 15))
    alone = [warp_area(images[i : i + 1], matrix[i : i + 1], (12, 15)) for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_gradient_of_alignment_is_its_adjoint():
    """Warping is linear in the image: <A x, y> = <x, A* y>, with A* from autograd."""
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(2, 3, 60, 75, dtype=torch.float64, generator=generator).requires_grad_()
    y = torch.rand(2, 3, 24, 24, dtype=torch.float64, generator=generator)
    points = torch.stack([ARCFACE112.double() * s for s in (0.2, 0.6)])
    product = (align_faces(x, points, size=24) * y).sum()
    (adjoint,) = torch.autograd.grad(product, x)
    torch.testing.assert_close((x * adjoint).sum(), product)


def test_coinciding_points_are_refused():
    with pytest.raises(ValueError, match="all its points at one place"):
        align_faces(torch.rand(1, 3, 40, 50), torch.full((1, 5, 2), 7.0))


@pytest.mark.parametrize(
    ("images", "landmarks", "text"),
    [
        ((1, 40, 50), (1, 68, 2), "expected .B, 3, H, W."),
        ((2, 3, 40, 50), (1, 68, 2), "one set for each image"),
        ((1, 3, 40, 50), (1, 67, 2), "expected .*68"),
    ],
)
def test_wrong_shapes_are_refused(images, landmarks, text):
    with pytest.raises(ValueError, match=text):
        align_faces(torch.rand(images), torch.rand(landmarks))
