"""Faces found where they are, by a public detector."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from anonymizer.checkpoints import WeightsError
from anonymizer.detection import Mtcnn
from anonymizer.metrics import box_overlap
from anonymizer.recognition import proportion
from experiments.anonymizer_identity import Numbers, estimate, missing
from experiments.attacks import Trial
from experiments.faces_in_pictures import to_pixels
from experiments.scene import network_view
from experiments.utility.utility import Utility, clear_scenes

SIDE = 256
"""Of the pictures that detectors see [px]."""

log = logging.getLogger(__name__)


class Detection(Utility):
    """Share of all faces that a detector finds in their places.

    A face is found if a box overlaps the box of its true landmarks by enough; a detection
    elsewhere is none of it.

    Parameters
    ----------
    detector : callable
        Returns the detector; its weights may be missing.
    label : str
        Of the detector; numbers are "detection_<label>" and "detection_<label>_clear".
    overlap : float
        Smallest intersection over union.
    """

    def __init__(
        self, detector: Callable[[], Mtcnn], label: str = "mtcnn", overlap: float = 0.3
    ) -> None:
        if not 0 < overlap < 1:
            raise ValueError(f"overlap = {overlap:g}, expected a share between 0 and 1")
        self.detector, self.label, self.overlap = detector, label, overlap

    def run(self, trial: Trial, name: str) -> Numbers:
        """Look for every face."""
        key = f"detection_{self.label}"
        try:
            detector = self.detector()
        except WeightsError as error:
            log.warning("%s: nothing is detected: %s", name, error)
            return missing(key, f"no detector: {error}") | missing(
                f"{key}_clear", f"no detector: {error}"
            )
        scenes = clear_scenes(trial)
        out: Numbers = {}
        for ending, pictures in (("", trial.seen), ("_clear", scenes.light)):
            found = sum(
                self._finds(detector, picture, points)
                for picture, points in zip(pictures, scenes.landmarks, strict=True)
            )
            out |= estimate(f"{key}{ending}", proportion(found, len(pictures)), len(pictures))
        return out

    def _finds(self, detector: Mtcnn, picture: Tensor, points: Tensor) -> bool:
        pixels = to_pixels(network_view(picture[None], SIDE).clamp(0, 1))[0]
        scale = SIDE / picture.shape[-1]
        true = (points.double() + 0.5) * scale - 0.5
        box = torch.cat((true.amin(0), true.amax(0))).numpy()
        found = detector.detect([pixels])[0]
        return any(box_overlap(box, one.box) >= self.overlap for one in found)
