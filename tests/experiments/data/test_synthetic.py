"""Synthetic faces: what a picture depends on, and where its landmarks are."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.data.synthetic import RENDERER, SyntheticFaces, contact_sheet
from experiments.data.synthetic.head import landmarks_on, shape_head
from experiments.data.synthetic.identity import draw_identity
from experiments.data.synthetic.layout import lay_out
from experiments.data.synthetic.lighting import dot
from experiments.data.synthetic.raster import rasterise
from experiments.data.synthetic.render import View, frame_face, render_image
from experiments.data.synthetic.shot import Expression, Pose, draw_shot

FACES = SyntheticFaces(people=6, images_per_person=4, size=64, seed=3)
STILL = {"max_yaw": 0.0, "max_pitch": 0.0, "max_roll": 0.0, "jitter": 0.0}


def shot_of(person=0, number=0, **changes):
    shot = draw_shot(3, person, number, **STILL)
    return replace(shot, **{"expression": Expression(), "jitter": (0.0, 0.0), **changes})


def landmarks_of(pose, *, person=0, size=96, **changes):
    identity, shot = draw_identity(3, person), shot_of(person, pose=pose, **changes)
    layout = lay_out(identity, shot.expression)
    points = landmarks_on(shape_head(identity, layout, shot.expression.smile), layout)
    return frame_face(points, shot, size, 1.7).project(points)[:, :2]


def test_a_picture_depends_on_its_own_numbers_alone():
    together = FACES.render(np.array([0, 1, 2]), np.array([1, 0, 3]))
    alone = replace(FACES, people=900, workers=1).render(np.array([2]), np.array([3]))
    np.testing.assert_array_equal(alone.images[0], together.images[2])
    np.testing.assert_array_equal(alone.landmarks[0], together.landmarks[2])


def test_seed_person_and_shot_all_change_the_picture():
    base = FACES.render(np.array([0]), np.array([0])).images[0].astype(int)
    others = [
        FACES.render(np.array([1]), np.array([0])),
        FACES.render(np.array([0]), np.array([1])),
        replace(FACES, seed=4).render(np.array([0]), np.array([0])),
    ]
    for other in others:
        # another face, light and background: far more than camera noise (a few levels)
        assert np.abs(other.images[0] - base).mean() > 10


def test_a_person_is_the_same_in_all_pictures():
    one, two = draw_identity(3, 5), draw_identity(3, 5)
    assert one.shape == two.shape
    assert one.hair_style == two.hair_style
    np.testing.assert_array_equal(one.moles, two.moles)


def test_people_differ_in_at_least_forty_independent_numbers():
    table = np.array([list(draw_identity(3, p).shape.values()) for p in range(300)])
    spectrum = np.linalg.eigvalsh(np.corrcoef(table.T))
    # a direction that carries a tenth of the mean variance is not a function of the others
    assert (spectrum > 0.1).sum() >= 40


def test_picture_and_first_shot_draw_from_different_numbers():
    """A trailing zero leaves a SeedSequence unchanged, so shots must not start from it."""
    identity = np.random.default_rng(np.random.SeedSequence([3, 2])).uniform()
    shot = draw_shot(3, 2, 0, max_yaw=1, max_pitch=1, max_roll=1, jitter=0)
    assert shot.pose.yaw != pytest.approx(identity)
    again = np.random.default_rng(np.random.SeedSequence([3, 2])).bit_generator.state
    assert shot.rng.bit_generator.state["state"]["inc"] != again["state"]["inc"]


@pytest.mark.parametrize("size", [64, 96, 113, 256])
def test_every_size_gives_pictures_and_landmarks_inside(size):
    faces = replace(FACES, size=size).render(np.array([0]), np.array([0]))
    assert faces.images.shape == (1, size, size, 3)
    assert faces.images.dtype == np.uint8
    assert faces.landmarks.shape == (1, 68, 2)
    assert faces.landmarks.min() > 0
    assert faces.landmarks.max() < size - 1


def test_landmarks_scale_with_the_size():
    """Pixel centres are whole numbers, so (x + 1/2) / size is what stays."""
    small = replace(FACES, size=64).render(np.array([1]), np.array([2])).landmarks
    large = replace(FACES, size=160).render(np.array([1]), np.array([2])).landmarks
    np.testing.assert_allclose((small + 0.5) / 64, (large + 0.5) / 160, atol=1e-5)


def test_positive_yaw_turns_the_nose_to_the_right():
    def nose(pose):
        p = landmarks_of(pose)
        return p[30, 0] - (p[36, 0] + p[45, 0]) / 2

    assert nose(Pose(yaw=0.4)) > 5 > -5 > nose(Pose(yaw=-0.4))


def test_positive_pitch_turns_the_nose_up():
    def nose(pose):
        p = landmarks_of(pose)
        return p[30, 1] - (p[36, 1] + p[45, 1]) / 2

    assert nose(Pose(pitch=0.3)) < nose(Pose()) - 2 < nose(Pose(pitch=-0.3)) - 4


def test_positive_roll_turns_the_head_clockwise():
    p = landmarks_of(Pose(roll=0.25))
    slope = np.arctan2(*(p[45] - p[36])[::-1])
    # the two eyes of one person differ in height by less than 0.03 of their distance
    assert slope == pytest.approx(0.25, abs=0.03)


def test_crop_is_context_face_widths_wide():
    """Frontal points 0 and 16 are one face width apart, up to the person's own proportions."""
    widths = [np.ptp(landmarks_of(Pose(), person=p)[[0, 16], 0]) for p in range(12)]
    assert np.mean(widths) == pytest.approx(96 / 1.7, rel=0.06)


def test_drawn_eyes_are_where_the_landmarks_say_for_a_turned_head():
    """Pupils are the darkest things between the lids of a light eye looking straight ahead."""
    identity = replace(
        draw_identity(3, 0), glasses_style="none", iris=np.array([0.3, 0.4, 0.5]), lashes=0.1
    )
    shot = shot_of(pose=Pose(yaw=0.35, roll=0.1), blur=0.0, electrons=1e6)
    image, points = render_image(identity, shot, 256, 1.7)
    grey = image.astype(float).mean(-1)
    for eye in (points[36:42], points[42:48]):
        centre = eye.mean(0)
        x, y = np.round(centre).astype(int)
        patch = grey[y - 3 : y + 4, x - 6 : x + 7]
        row, column = np.unravel_index(patch.argmin(), patch.shape)
        found = np.array([x - 6 + column, y - 3 + row])
        # pupil radius is 0.4 x 0.043 face widths = 2.5 px, plus as much for the lids' asymmetry
        assert np.hypot(*(found - centre)) < 5


def test_landmarks_agree_with_the_rasterised_surface():
    """The pixel that shows a model point of a turned head is the one the landmark names."""
    identity, shot = draw_identity(3, 1), shot_of(1, pose=Pose(0.3, 0.1, -0.2))
    layout = lay_out(identity, shot.expression)
    head = shape_head(identity, layout, 0.0)
    points = landmarks_on(head, layout)
    view = frame_face(points, shot, 128, 1.7).zoomed(4)
    hits = rasterise(view.project(head.points).astype(np.float32), head.triangles, 512)
    where = hits.interpolate(np.ascontiguousarray(head.points.T)).T
    for k in (30, 33, 39, 42, 51, 57):  # points in sight
        nearest = hits.pixel[np.argmin(((where - points[k]) ** 2).sum(1))]
        found = np.array([nearest % 512, nearest // 512])
        # a pixel centre is at most half a diagonal away, 0.71 of these quarter pixels; the
        # nearest surface point seen may lie one pixel further on slopes
        assert np.abs(found - view.project(points)[k, :2]).max() < 1.5


def test_front_points_lie_where_the_layout_puts_them():
    identity = draw_identity(3, 2)
    layout = lay_out(identity, Expression(smile=0.7, open=0.05))
    points = landmarks_on(shape_head(identity, layout, 0.7), layout)
    # Newton steps on the grid end below 1e-5 face widths, 1/500 px
    np.testing.assert_allclose(points[17:, :2], layout.front_points(), atol=1e-4)


def test_lighting_follows_the_normal():
    normal = np.array([[0.0, 0.6], [0.0, 0.0], [1.0, 0.8]], np.float32)
    np.testing.assert_allclose(dot(normal, np.array([1.0, 0.0, 1.0])), [1.0, 1.4], rtol=1e-6)


def test_opening_the_mouth_parts_the_lips_and_lowers_the_chin():
    closed = landmarks_of(Pose())
    parted = landmarks_of(Pose(), expression=Expression(open=0.1))
    assert closed[66, 1] - closed[62, 1] < 0.5
    assert parted[66, 1] - parted[62, 1] > 4
    assert np.ptp(parted[[27, 8], 1]) > np.ptp(closed[[27, 8], 1]) + 2


def test_closing_the_eyes_brings_the_lids_together():
    shut = landmarks_of(Pose(), expression=Expression(closed=1.0))
    # the upper lid comes down to four fifths of the lower one: 0.005 face widths, 0.3 px, remain
    assert np.abs(shut[[37, 38], 1] - shut[[41, 40], 1]).max() < 1


def test_nearer_triangle_wins_and_backs_are_culled():
    points = np.array(
        [[0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 1], [9, 0, 1], [0, 9, 1]], np.float32
    )
    hits = rasterise(points, np.array([[0, 1, 2], [3, 4, 5]]), 6)
    assert set(hits.corners.ravel().tolist()) == {3, 4, 5}
    assert rasterise(points, np.array([[0, 2, 1]]), 6).pixel.size == 0


def test_weights_reproduce_the_pixel_position():
    points = np.array([[0.3, 0.2, 0], [7.6, 1.4, 0], [2.2, 8.7, 0]], np.float32)
    hits = rasterise(points, np.array([[0, 1, 2]]), 9)
    where = hits.interpolate(np.ascontiguousarray(points[:, :2].T))
    np.testing.assert_allclose(where, [hits.pixel % 9, hits.pixel // 9], atol=1e-5)


def test_zooming_keeps_the_edges_of_the_image():
    view = View(np.eye(3), 10.0, 5.0, np.array([3.0, 4.0]))
    point = np.array([[0.1, 0.7, 0.3]])
    small, large = view.project(point)[0], view.zoomed(3).project(point)[0]
    np.testing.assert_allclose((small[:2] + 0.5) * 3, large[:2] + 0.5)


def test_cache_is_made_once_and_then_mapped(tmp_path):
    faces = replace(FACES, people=2, images_per_person=2)
    first = faces.prepare(tmp_path, progress=False)
    stamp = [p.stat().st_mtime_ns for p in sorted(tmp_path.rglob("*")) if p.is_file()]
    second = replace(faces, workers=1).prepare(tmp_path, progress=False)
    assert stamp == [p.stat().st_mtime_ns for p in sorted(tmp_path.rglob("*")) if p.is_file()]
    assert isinstance(second.images, np.memmap)
    assert second.names == ("synthetic-000000", "synthetic-000001")
    assert second.source["renderer"] == RENDERER
    direct = faces.render(np.array([1]), np.array([0]))
    np.testing.assert_array_equal(first.images[2], direct.images[0])
    np.testing.assert_array_equal(first.attributes["yaw"][2], direct.yaw[0])


def test_other_settings_get_another_folder(tmp_path):
    replace(FACES, people=1, images_per_person=1).prepare(tmp_path, progress=False)
    replace(FACES, people=1, images_per_person=1, seed=9).prepare(tmp_path, progress=False)
    assert len(list(tmp_path.glob("synthetic-*"))) == 2


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("size", 48, "size = 48 px, expected 64 to 256 px"),
        ("people", 0, "people = 0"),
        ("seed", -1, "seed = -1"),
        ("max_yaw", 40.0, "max_yaw = 40 rad"),
        ("context", 0.5, "context = 0.5 face widths"),
        ("jitter", 2.0, "jitter = 2 face widths"),
    ],
)
def test_settings_out_of_range_are_refused(name, value, message):
    with pytest.raises(ValueError, match=message):
        replace(FACES, **{name: value})


def test_uneven_requests_are_refused():
    with pytest.raises(ValueError, match=r"person is \(2,\) and shot is \(1,\)"):
        FACES.render(np.array([0, 1]), np.array([0]))


def test_contact_sheet_fills_rows_first():
    faces = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 5, 3), np.uint8)
    sheet = contact_sheet(faces, 2)
    assert sheet.shape == (8, 10, 3)
    assert sheet[0, 9, 0] == 1
    assert sheet[7, 0, 0] == 2
    assert sheet[7, 9, 0] == 255


@pytest.mark.slow
def test_worker_processes_render_what_one_process_renders():
    faces = replace(FACES, people=64, images_per_person=4, workers=2)
    person, shot = np.divmod(np.arange(256), 4)
    pooled, alone = faces.render(person, shot), replace(faces, workers=1).render(person, shot)
    np.testing.assert_array_equal(pooled.images, alone.images)
    np.testing.assert_array_equal(pooled.landmarks, alone.landmarks)
