"""Landmark teachers: symmetries with any weights, accuracy with the published ones."""

import json
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image

from anonymizer.alignment import CANONICAL68, FLIP68, align_faces, face_frame
from anonymizer.checkpoints import WeightsError, hash_file
from anonymizer.colour import decode_srgb
from anonymizer.detection import Mtcnn
from anonymizer.faceapi import FaceApiTeacher, load_faceapi
from anonymizer.onnx_teacher import OnnxTeacher
from anonymizer.recognition import auc
from anonymizer.teachers import LocatedFace, locate_faces
from tests.anonymizer.published import portraits, published, read
from tests.shared_data import shared


@pytest.fixture(scope="module")
def teacher():
    return published("teacher=faceapi68")


@pytest.fixture(scope="module")
def detector():
    return published("detector=mtcnn")


def quantized_files(folder, teacher):
    """Write a teacher's weights as bytes and a manifest, in the published layout."""
    state, data, entries = teacher.state_dict(), b"", []
    published_order = {"pointwise.weight": (2, 3, 1, 0), "depthwise.weight": (2, 3, 0, 1)}
    for name, tensor in state.items():
        if name.startswith("fc"):
            label = "fc/weights" if name == "fc.weight" else "fc/bias"
            values = tensor.T if tensor.ndim == 2 else tensor
        else:
            _, block, _, layer, *rest = name.split(".")
            kind = ".".join(rest)
            plain = block == "0" == layer
            tf_name = {
                "pointwise.weight": "filters" if plain else "pointwise_filter",
                "depthwise.weight": "depthwise_filter",
                "pointwise.bias": "bias",
            }[kind]
            label = f"dense{block}/conv{layer}/{tf_name}"
            values = tensor.permute(published_order[kind]) if tensor.ndim == 4 else tensor
        low, high = float(values.min()), float(values.max())
        scale = (high - low) / 255
        data += ((values - low) / scale).round().to(torch.uint8).contiguous().numpy().tobytes()
        coding = {"dtype": "uint8", "scale": scale, "min": low}
        entries.append({"name": label, "shape": list(values.shape), "quantization": coding})
    (folder / "t.bin").write_bytes(data)
    (folder / "t.json").write_text(json.dumps([{"weights": entries}]))
    return {
        "file": "t.bin",
        "sha256": hash_file(folder / "t.bin"),
        "manifest": "t.json",
        "manifest_sha256": hash_file(folder / "t.json"),
        "search": [folder],
    }


@pytest.mark.parametrize("variant", ["full", "tiny"])
def test_weights_survive_quantised_files_up_to_half_a_step(tmp_path, variant):
    torch.manual_seed(0)
    original = FaceApiTeacher(variant=variant)
    files = quantized_files(tmp_path, original)
    again = load_faceapi(FaceApiTeacher(variant=variant), **files).state_dict()
    for name, tensor in original.state_dict().items():
        step = float(tensor.max() - tensor.min()) / 255
        assert (again[name] - tensor).abs().max() <= 0.501 * step


def test_files_of_the_other_size_are_refused(tmp_path):
    files = quantized_files(tmp_path, FaceApiTeacher(variant="tiny"))
    with pytest.raises(WeightsError, match="do not fit FaceApiTeacher"):
        load_faceapi(FaceApiTeacher(variant="full"), **files)


def test_mirrored_image_gives_mirrored_landmarks():
    """Holds for any weights, since each look averages with the mirror image."""
    torch.manual_seed(0)
    teacher = FaceApiTeacher(looks=1)
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    points = teacher.landmarks([image], [[20, 10, 90, 75]])[0]
    mirrored = teacher.landmarks([image[:, ::-1]], [[119 - 90, 10, 119 - 20, 75]])[0]
    expected = points[list(FLIP68)] * [-1, 1] + [119, 0]
    np.testing.assert_allclose(mirrored, expected, atol=1e-2)  # float32 warps of 112 px crops


def test_pupils_of_portraits_are_found(teacher, detector):
    """Mean over all 72 portraits: 0.021 of the distance between the pupils."""
    images, pupils = portraits(8)
    boxes = [faces[0].box for faces in detector.detect(images)]
    points = teacher.landmarks(images, np.stack(boxes))
    eyes = np.stack((points[:, 36:42].mean(axis=1), points[:, 42:48].mean(axis=1)), axis=1)
    between = np.linalg.norm(pupils[:, 1] - pupils[:, 0], axis=1)[:, None]
    error = np.linalg.norm(eyes - pupils, axis=2) / between
    assert error.mean() < 0.026
    assert error.max() < 0.08
    bias = ((eyes - pupils) / between[..., None]).mean(axis=(0, 1))
    assert np.abs(bias).max() < 0.01  # without the mirror image, x is off by 0.027


@pytest.mark.parametrize("angle", [-25, 25])
def test_tilted_head_is_followed(teacher, detector, angle):
    """Turning the image turns the points: what the second look is for."""
    images, _ = portraits(1)
    size = images[0].shape[0]
    turned = np.asarray(Image.fromarray(images[0]).rotate(angle, Image.Resampling.BICUBIC))
    (upright,) = locate_faces(images, detector, teacher)
    (tilted,) = locate_faces([turned], detector, teacher)
    a, middle = np.deg2rad(angle), (size - 1) / 2
    rotation = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    expected = (upright.landmarks - middle) @ rotation.T + middle
    width = float(face_frame(torch.from_numpy(upright.landmarks))[1])
    assert np.linalg.norm(tilted.landmarks - expected, axis=1).mean() < 0.025 * width


def test_canonical_shape_is_the_mean_of_the_teachers_portraits(teacher, detector):
    located = locate_faces(portraits(8)[0], detector, teacher)
    points = torch.from_numpy(np.stack([face.landmarks for face in located]))
    centre, width, _ = face_frame(points)
    mean = ((points - centre[:, None]) / width[:, None, None]).mean(dim=0)
    assert (mean - CANONICAL68).norm(dim=1).mean() < 0.02  # 8 people against 72


def test_reasons_for_refusal(teacher, detector):
    images, _ = portraits(1)
    small = np.asarray(Image.fromarray(images[0]).resize((60, 60), Image.Resampling.BOX))
    empty = np.full((80, 90, 3), 90, np.uint8)
    nothing, tiny, good = locate_faces([empty, small, images[0]], detector, teacher)
    assert nothing == "no face found"
    assert "at least 40 px" in tiny
    assert isinstance(good, LocatedFace)
    assert good.others == 0


def test_other_faces_are_counted(teacher, detector):
    images, _ = portraits(2)
    (face,) = locate_faces([np.concatenate(images, axis=1)], detector, teacher)
    assert face.others == 1


def test_box_partly_outside_the_image_is_accepted():
    torch.manual_seed(0)
    image = np.zeros((30, 50, 3), np.uint8)
    for box in ([-40, -40, 20, 20], [45, 25, 90, 70], [60, 60, 80, 80]):
        assert np.isfinite(FaceApiTeacher(looks=1).landmarks([image], [box])).all()


@pytest.mark.parametrize(
    ("boxes", "text"), [([[5, 5, 5, 20]], "without area"), ([], "0 rows for 1 images")]
)
def test_wrong_boxes_are_refused(boxes, text):
    with pytest.raises(ValueError, match=text):
        FaceApiTeacher().landmarks([np.zeros((30, 50, 3), np.uint8)], boxes)


def test_no_images_give_no_landmarks():
    assert FaceApiTeacher().landmarks([], []).shape == (0, 68, 2)
    assert locate_faces([], Mtcnn(), FaceApiTeacher()) == []


def test_faces_aligned_by_the_teacher_are_recognised(teacher, detector):
    """The path of the experiments: detect, 68 points, five points, align, embed."""
    folder = shared("data/faces/dev/lfw")
    people = sorted(p for p in folder.iterdir() if p.is_dir())[::50]
    files = [f for p in people for f in sorted(p.glob("*.jpg"))]
    images = [read(f) for f in files]
    located = locate_faces(images, detector, teacher)
    assert all(isinstance(face, LocatedFace) for face in located)
    faces = [
        align_faces(
            decode_srgb(torch.tensor(image).permute(2, 0, 1)[None] / 255),
            torch.tensor(face.landmarks)[None],
        )
        for image, face in zip(images, located, strict=True)
    ]
    with torch.no_grad():
        e = published("recognizer=edgeface_xxs")(torch.cat(faces)).numpy()
    person = np.array([f.parent.name for f in files])
    row, column = np.triu_indices(len(files), 1)
    same, score = person[row] == person[column], (e @ e.T)[row, column]
    assert auc(score[same], score[~same]) > 0.995


def stub_runtime(monkeypatch, shape):
    """Stand in for onnxruntime: a graph that places all points at (mean of red, 0.25)."""

    class Session:
        def __init__(self, path, providers):
            pass

        def get_inputs(self):
            return [types.SimpleNamespace(name="input")]

        def run(self, outputs, feed):
            crop = feed["input"]
            assert crop.shape == (1, 3, 112, 112)
            points = np.full((68, 2), 0.25, np.float32)
            points[:, 0] = crop[0, 0].mean()
            return [points.reshape(1, -1)[:, : shape[1]]]

    monkeypatch.setitem(sys.modules, "onnxruntime", types.SimpleNamespace(InferenceSession=Session))


@pytest.fixture
def graph(tmp_path):
    (tmp_path / "g.onnx").write_bytes(b"graph")
    return {"file": "g.onnx", "sha256": hash_file(tmp_path / "g.onnx"), "search": [tmp_path]}


def test_onnx_graph_sees_rgb_from_0_to_1_and_returns_pixels(monkeypatch, graph):
    stub_runtime(monkeypatch, (1, 136))
    image = np.zeros((60, 80, 3), np.uint8)
    image[..., 0] = 255
    points = OnnxTeacher(**graph, looks=1, box_side=1.0).landmarks([image], [[10, 5, 50, 45]])
    # x: the mean of the crop (1) and of its mirror image (1 - 1) is the middle, whose edge is 30;
    # y: a quarter of 40 px below 5
    np.testing.assert_allclose(points[0], np.tile([30.0, 15.0], (68, 1)), atol=1e-4)


def test_onnx_graph_with_other_output_is_refused(monkeypatch, graph):
    stub_runtime(monkeypatch, (1, 10))
    with pytest.raises(WeightsError, match="expected 136 numbers"):
        OnnxTeacher(**graph).landmarks([np.zeros((9, 8, 3), np.uint8)], [[0, 0, 5, 5]])


def test_absent_onnxruntime_says_what_to_install(monkeypatch, graph):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(WeightsError, match=r"pip install veilens\[onnx\]"):
        OnnxTeacher(**graph)
