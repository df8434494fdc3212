"""Other faces in pictures and clips: in their place alone, from the measurement alone."""

from dataclasses import replace

import av
import numpy as np
import pytest
import torch

from anonymizer.alignment import ARCFACE112, CANONICAL68
from anonymizer.regressors import Heatmaps
from experiments.anonymizer_crops import crop_square, usual_landmarks
from experiments.data.cropping import cut_crop
from experiments.data.pictures import BadPicture, PictureLimits
from experiments.disguising import Disguise, NoFace
from experiments.face_tracks import Tracks
from experiments.faces_in_pictures import Square, cut_squares, to_light
from experiments.lent_styles import DrawnStyles, LentStyles, TooNear
from experiments.observer import Observer, Seen
from experiments.picture_sources import ClipReader, Mp4Writer, read_picture
from tests.experiments.protecting_doubles import Fixed, picture
from tests.experiments.tiny_anonymizer import finished

LIMITS = PictureLimits()


def square(x=30.0, y=26.0, side=30.0):
    return Square(torch.tensor([[side, 0, x - side / 2], [0, side, y - side / 2]]).double())


def disguise(*squares, styles=None, made=None, **changes):
    made = made or finished()
    return Disguise(
        finished=made,
        finder=Fixed(*(squares or ([square()],))),
        styles=styles or DrawnStyles(made.anonymizer, 3),
        distance=1.5,
        seed=0,
        **({"hold": 2, "pace": 0.5} | changes),
    )


def test_a_detected_face_is_cut_as_the_data_were():
    """The square of five exact points equals the crop of the data around all landmarks."""
    pixels = picture(shape=(120, 140))
    pixels = np.asarray(pixels[::10, ::10].repeat(10, 0).repeat(10, 1))
    points = CANONICAL68.numpy() * 40 + [70, 62]
    five = torch.from_numpy(points)
    from anonymizer.alignment import five_points

    found = crop_square(five_points(five), 1.7)
    assert found.side == pytest.approx(1.7 * 40, rel=1e-5)
    cut = cut_squares(pixels, [found], 34)
    crop = cut_crop(pixels, points, size=34, context=1.7)
    wanted = to_light(crop.image)[None]
    assert (cut - wanted).abs().mean() < 0.02
    usual = usual_landmarks(1, 34, 1.7)[0]
    torch.testing.assert_close(usual, torch.from_numpy(crop.landmarks), atol=1e-3, rtol=0)
    assert len(ARCFACE112) == len(five_points(five))


def test_only_the_square_changes(tmp_path):
    pixels = picture()
    assert disguise().picture(pixels, "a", 1, tmp_path / "a") == 1
    made = read_picture(tmp_path / "a.png", LIMITS)
    changed = (made != pixels).any(-1)
    inside = np.zeros_like(changed)
    inside[11:42, 15:46] = True
    assert changed[20:32, 24:36].mean() > 0.9
    assert not changed[~inside].any()


def test_the_networks_see_the_measurement_alone(tmp_path, monkeypatch):
    """With the same measurement, two sources give the same face."""

    def look(self, batch, distance, size):
        count = len(batch.scenes.light)
        logits = torch.zeros(count, 68, 16, 16)
        return Seen(torch.full((count, 3, size, size), 0.4), Heatmaps(logits, logits[:, :1], size),
                    None)  # fmt: skip

    monkeypatch.setattr(Observer, "look", look)
    shown = []
    for seed in (0, 1):
        disguise().picture(picture(seed), "a", 1, tmp_path / str(seed))
        shown.append(read_picture(tmp_path / f"{seed}.png", LIMITS))
    middle = (slice(18, 34), slice(22, 38))  # within the rim
    assert np.array_equal(shown[0][middle], shown[1][middle])
    assert not np.array_equal(shown[0], shown[1])


def test_without_a_face_nothing_is_written(tmp_path):
    with pytest.raises(NoFace, match=r"photo: no face was found; nothing is written"):
        disguise([]).picture(picture(), "photo", 1, tmp_path / "a")
    assert not list(tmp_path.iterdir())


def clip(path, frames=4, shape=(51, 64)):
    with path.open("wb") as file:
        writer = Mp4Writer(file, shape)
        for number in range(frames):
            writer.add(number / 25, np.full((*shape, 3), 40 * number + 40, np.uint8))
        writer.close()
    return path


def test_a_clip_keeps_its_frames_and_its_time(tmp_path):
    source = clip(tmp_path / "in.mp4")
    assert disguise().clip(source, 1, tmp_path / "out", LIMITS) == 4
    with ClipReader(tmp_path / "out.mp4", LIMITS) as frames:
        times, shown = zip(*frames, strict=True)
    assert shown[0].shape == (52, 64, 3)  # an odd last row is shown twice
    assert times == pytest.approx([0, 0.04, 0.08, 0.12])
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert not container.streams.audio


def test_a_clip_without_faces_leaves_no_file(tmp_path):
    source = clip(tmp_path / "in.mp4")
    with pytest.raises(BadPicture, match="no face"):
        disguise([]).clip(source, 1, tmp_path / "out", LIMITS)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


class Counting(DrawnStyles):
    """Counts the faces that get a style."""

    asked = 0

    def of(self, faces, *key):
        self.asked += len(faces)
        return super().of(faces, *key)


def test_a_face_keeps_its_style_over_a_clip(tmp_path):
    made = finished()
    styles = Counting(made.anonymizer, 0)
    moving = [[square(30 + i)] for i in range(4)]
    disguise(*moving, styles=styles, made=made).clip(
        clip(tmp_path / "in.mp4"), 1, tmp_path / "out", LIMITS
    )
    assert styles.asked == 1
    apart = [[square(12, side=12)], [square(50, side=12)], [square(12, side=12)]]
    disguise(*apart, styles=styles, made=made).clip(
        clip(tmp_path / "in.mp4", 2), 1, tmp_path / "out", LIMITS
    )
    assert styles.asked == 3


def test_a_lost_face_stays_hidden_for_a_while():
    tracks = Tracks(hold=2, pace=1.0)
    first = tracks.follow([square()])[0]
    assert [len(tracks.follow([])) for _ in range(4)] == [1, 1, 0, 0]
    again = tracks.follow([square()])[0]
    assert again is not first


def test_two_faces_are_not_confused_when_the_order_changes():
    tracks = Tracks(hold=2, pace=0.5)
    a, b = tracks.follow([square(20), square(80)])
    swapped = tracks.follow([square(82), square(22)])
    assert [track is one for track, one in zip(swapped, (b, a), strict=True)] == [True, True]
    assert a.square.matrix[0, 2] == pytest.approx(21 - 15)  # half way
    with pytest.raises(ValueError, match=r"pace = 0: .* a share in \(0, 1\]"):
        Tracks(hold=2, pace=0)


def test_heatmaps_of_a_track_are_averaged_over_time():
    tracks = Tracks(hold=2, pace=0.25)
    one = tracks.follow([square()])
    for value, wanted in ((0.0, 0.0), (4.0, 1.0)):
        maps = torch.full((1, 68, 4, 4), value)
        steady = tracks.steady(one, Heatmaps(maps, maps[:, :1], 64))
        assert torch.equal(steady.logits, torch.full_like(maps, wanted))
        assert torch.equal(steady.boundary, torch.full_like(maps[:, :1], wanted))


def test_references_near_the_source_are_refused_and_others_lend_one_style():
    made = finished()
    faces = to_light(np.stack([picture(seed, (51, 51)) for seed in (0, 1, 2)]))
    limited = {"context": 1.7, "pool": made.observer.pool}
    styles = LentStyles(made.anonymizer, faces[:2], **limited, limit=0.999)
    with pytest.raises(TooNear, match=r"reference 1 \(cosine 1.00\) resembles the source"):
        styles.of(faces[1:2])
    lent = styles.of(faces[[2, 2]])
    assert torch.equal(lent[0], lent[1])
    other = LentStyles(made.anonymizer, faces[1:2], **limited, limit=0.999).of(faces[2:])
    assert not torch.allclose(other, lent[:1])


def test_styles_of_nobody_follow_the_number_alone():
    network = finished().anonymizer
    faces = torch.rand(2, 3, 8, 8)
    one, again = (DrawnStyles(network, 5).of(faces, 1) for _ in range(2))
    assert torch.equal(one, again)
    assert not torch.allclose(one[0], one[1])
    assert not torch.allclose(one, DrawnStyles(network, 6).of(faces, 1))
    assert not torch.allclose(one, DrawnStyles(network, 5).of(faces, 2))


def test_noise_of_the_camera_differs_between_pictures(tmp_path):
    made = disguise(styles=None)
    fixed = replace(made, styles=LentStyles(
        made.finished.anonymizer, torch.rand(1, 3, 51, 51), context=1.7, pool={"none": Never()},
        limit=2.0,
    ))  # fmt: skip
    for number in (1, 2):
        fixed.picture(picture(), "a", number, tmp_path / str(number))
    first, second = (read_picture(tmp_path / f"{n}.png", LIMITS) for n in (1, 2))
    assert not np.array_equal(first, second)


class Never(torch.nn.Module):
    def forward(self, faces):
        return torch.zeros(len(faces), 2)
