"""Synthetic faces seen by a detector that was trained on photographs."""

import numpy as np

from anonymizer.checkpoints import fill, read_state
from anonymizer.detection import Mtcnn
from experiments.data.synthetic import SyntheticFaces
from tests.shared_data import shared

COUNT, SIZE = 100, 128


def test_a_photographic_detector_finds_the_faces():
    detector = Mtcnn()
    for name in ("pnet", "rnet", "onet"):
        path = shared(f"data/landmarks/mtcnn_{name}.pt")
        fill(getattr(detector, name), read_state(path), path)
    faces = SyntheticFaces(people=COUNT, images_per_person=1, size=SIZE, seed=2024)
    shown = faces.render(np.arange(COUNT), np.zeros(COUNT, np.int64))
    found = 0
    errors = []
    for detections, points in zip(
        detector.eval().detect(shown.images), shown.landmarks, strict=True
    ):
        near = [d for d in detections if np.abs(d.centre - points.mean(0)).max() < 0.25 * SIZE]
        found += bool(near)
        if near:
            eyes = np.stack([points[36:42].mean(0), points[42:48].mean(0)])
            errors.append(np.hypot(*(near[0].points[:2] - eyes).T).mean() * 1.7 / SIZE)
    # 98 of 100 on average: the binomial deviation is 1.4, so 93 is three and a half below
    assert found >= 93
    # the detector's own error on photographs is about 0.03 face widths
    assert np.median(errors) < 0.05
