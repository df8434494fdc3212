"""Face detection: suppression by hand-made boxes, real portraits, odd images."""

import numpy as np
import pytest
import torch
from PIL import Image

from anonymizer.checkpoints import WeightsError, hash_file
from anonymizer.detection import Detection, Mtcnn, load_mtcnn, nearest_to_centre, suppress
from tests.anonymizer.published import portraits, published


def detection(x, y, side, score=0.9):
    box = np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2], dtype=np.float32)
    return Detection(box, score, np.zeros((5, 2), np.float32))


@pytest.fixture(scope="module")
def mtcnn():
    return published("detector=mtcnn")


def test_suppression_keeps_the_best_of_overlapping_boxes():
    boxes = torch.tensor([[0.0, 0, 10, 20], [1, 0, 11, 20], [30, 30, 40, 40], [0, 15, 10, 35]])
    kept = suppress(boxes, torch.tensor([0.8, 0.9, 0.5, 0.7]), 0.5)
    assert kept.tolist() == [1, 3, 2]


def test_suppression_by_the_smaller_box_removes_what_lies_inside():
    boxes = torch.tensor([[0.0, 0, 100, 100], [10, 10, 20, 20]])
    score = torch.tensor([0.9, 0.8])
    assert suppress(boxes, score, 0.7).tolist() == [0, 1]
    assert suppress(boxes, score, 0.7, relative_to_smaller=True).tolist() == [0]


def test_large_central_face_is_the_one_that_is_meant():
    faces = [detection(20, 20, 30), detection(70, 60, 60), detection(110, 50, 12)]
    assert nearest_to_centre(faces, (100, 160)) == 1


def test_portraits_have_one_face_with_its_eyes_at_the_pupils(mtcnn):
    images, pupils = portraits(6)
    for faces, truth in zip(mtcnn.detect(images), pupils, strict=True):
        assert len(faces) == 1
        between = np.linalg.norm(truth[1] - truth[0])
        # the mean over 72 portraits is 0.021
        assert np.linalg.norm(faces[0].points[:2] - truth, axis=1).max() < 0.08 * between


def test_box_and_points_follow_a_shifted_and_reduced_image(mtcnn):
    """A portrait pasted at half size into a wide frame gives the same face there."""
    images, _ = portraits(1)
    small = np.asarray(Image.fromarray(images[0]).resize((256, 256), Image.Resampling.BOX))
    frame = np.full((300, 700, 3), 127, np.uint8)
    frame[30:286, 400:656] = small
    (alone,), (moved,) = mtcnn.detect([images[0]])[0], mtcnn.detect(frame[None])[0]
    # centres of pixels: x -> (x + 1/2) / 2 - 1/2; the cascade's windows quantise to a few per cent
    expected = (alone.points + 0.5) / 2 - 0.5 + np.array([400, 30])
    assert np.abs(moved.points - expected).max() < 0.04 * moved.side


def test_reducing_large_images_does_not_move_the_face(mtcnn):
    images, pupils = portraits(1)
    large = np.repeat(np.repeat(images[0], 3, axis=0), 3, axis=1)
    (face,) = mtcnn.detect([large])[0]
    expected = 3 * (pupils[0] + 0.5) - 0.5
    between = np.linalg.norm(expected[1] - expected[0])
    assert np.linalg.norm(face.points[:2] - expected, axis=1).max() < 0.08 * between


@pytest.mark.parametrize("shape", [(40, 70), (1, 1), (5, 300), (90, 64)])
@pytest.mark.parametrize("level", [0, 255, None])
def test_images_without_faces_give_none(mtcnn, shape, level):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    if level is not None:
        image[:] = level
    assert mtcnn.detect([image]) == [[]]


@pytest.mark.parametrize(
    "image", [np.zeros((9, 8), np.uint8), np.zeros((9, 8, 3)), np.zeros((9, 8, 4), np.uint8)]
)
def test_other_image_formats_are_refused(image):
    with pytest.raises(ValueError, match="expected uint8"):
        Mtcnn().detect([image])


def test_weights_survive_files_of_the_published_layout(tmp_path):
    torch.manual_seed(0)
    original, files = Mtcnn(), {}
    for name in ("pnet", "rnet", "onet"):
        path = tmp_path / f"{name}.pt"
        torch.save(getattr(original, name).state_dict(), path)
        files[name] = {"file": path.name, "sha256": hash_file(path)}
    again = load_mtcnn(Mtcnn(), files=files, search=[tmp_path]).state_dict()
    assert all(torch.equal(again[n], t) for n, t in original.state_dict().items())
    files["rnet"] = files["onet"]
    with pytest.raises(WeightsError, match="do not fit"):
        load_mtcnn(Mtcnn(), files=files, search=[tmp_path])
