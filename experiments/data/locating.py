"""Find the face of a photograph: whose 68 landmarks belong to it, or why there are none."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from anonymizer.alignment import CANONICAL68, apply_similarity, fit_similarity, five_points
from anonymizer.checkpoints import hash_file
from anonymizer.detection import Mtcnn, nearest_to_centre
from anonymizer.teachers import LandmarkTeacher

TURNED = "turned away"  # kind of trouble: a sound picture of a profile
_BOX = 1.15  # side of the teacher's first box in face widths, as the detector draws it
_TEMPLATE = 0.15  # face widths; three-quarter views reach 0.14 from ArcFace's template
_BEYOND = 0.08  # of the distance between the cheeks; three-quarter views stay within 0.02


@dataclass(frozen=True)
class Located:
    """Landmarks of the face that is meant, or the reason why there are none.

    Attributes
    ----------
    landmarks : ndarray of float32, shape (68, 2), or None
        As (x, y) in the picture [px].
    kind : str
        Short name of the trouble, to count by; "" if there is none.
    reason : str
        The trouble in one sentence.
    others : int
        Number of other faces of at least half the size.
    """

    landmarks: NDArray[np.float32] | None
    kind: str = ""
    reason: str = ""
    others: int = 0


class Locator(Protocol):
    """Finds the face that is meant in a picture."""

    @property
    def identity(self) -> dict[str, str]:
        """What the result depends on, as plain JSON."""
        ...

    def __call__(
        self, image: NDArray[np.uint8], five: NDArray[np.float32] | None = None
    ) -> Located:
        """Return the face of `image` (H, W, 3), near `five` (5, 2) if known [px]."""
        ...


class TeacherLocator:
    """Detector and landmark teacher, one checking the other.

    The detector places five points of its own. Where the teacher's disagree, one of them is
    wrong (covered, cut or no face at all), and the picture is refused. So is a profile, half of
    whose landmarks are hidden: its nose tip lies beyond the cheeks.

    Parameters
    ----------
    detector : Mtcnn
        With weights.
    teacher : LandmarkTeacher
        With weights.
    max_disagreement : float, default 0.06
        Largest mean distance between the two sets of five points, in face widths. Points that
        come with a data set may be those of a template: they are held to 0.15.
    """

    def __init__(
        self, detector: Mtcnn, teacher: LandmarkTeacher, *, max_disagreement: float = 0.06
    ) -> None:
        if not 0 < max_disagreement <= 1:
            raise ValueError(
                f"max_disagreement = {max_disagreement:g} face widths, expected above 0, at most 1"
            )
        self.detector, self.teacher = detector, teacher
        self.max_disagreement = max_disagreement

    @property
    def identity(self) -> dict[str, str]:
        """Names, settings and hashes of the two networks."""
        return {
            "detector": f"{type(self.detector).__name__} {_network_hash(self.detector)}",
            "teacher": f"{type(self.teacher).__name__} {_network_hash(self.teacher)}",
            "max_disagreement": f"{self.max_disagreement:g}",
        }

    def __call__(
        self, image: NDArray[np.uint8], five: NDArray[np.float32] | None = None
    ) -> Located:
        """Return the landmarks of the large face nearest to the centre."""
        others, allowed = 0, max(self.max_disagreement, _TEMPLATE)
        if five is None:
            allowed = self.max_disagreement
            faces = self.detector.detect([image])[0]
            if not faces:
                return Located(None, "no face", "no face was found")
            face = faces[nearest_to_centre(faces, image.shape[:2])]
            others = sum(other.side >= face.side / 2 for other in faces) - 1
            box, five = face.box, face.points
        else:
            box = _box_around(five)
        points = self.teacher.landmarks([image], box[None])[0]
        if not np.isfinite(points).all():
            return Located(None, "no landmarks", "no landmarks were found on the face")
        if not -_BEYOND <= _nose_between_cheeks(points) <= 1 + _BEYOND:
            return Located(None, TURNED, "the head is turned so far that half the face is hidden")
        width = float(np.linalg.norm(np.ptp(points, axis=0))) / 2**0.5
        own = five_points(torch.from_numpy(points)).numpy()
        distance = float(np.linalg.norm(own - five, axis=1).mean()) / max(width, 1e-6)
        if distance > allowed:
            return Located(
                None,
                "doubtful landmarks",
                f"detector and teacher place eyes, nose and mouth {distance:.2f} face widths "
                f"apart, at most {allowed:g} is trusted (covered or cut face?)",
            )
        return Located(points, others=others)


def _nose_between_cheeks(points: NDArray[np.float32]) -> float:
    """Return where the nose tip lies from one cheek (0) to the other (1)."""
    left, right = points[:3].mean(axis=0), points[14:17].mean(axis=0)
    across = right - left
    return float((points[30] - left) @ across / max(float(across @ across), 1e-6))


def _box_around(five: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the box (4,) of the face whose eyes, nose and mouth corners are given."""
    template = five_points(CANONICAL68)
    fit = fit_similarity(template, torch.from_numpy(np.asarray(five, np.float32)))
    centre = apply_similarity(fit, torch.zeros(1, 2))[0].numpy()
    half = float(torch.linalg.vector_norm(fit[:, 0])) * _BOX / 2
    return np.concatenate((centre - half, centre + half)).astype(np.float32)


def _network_hash(network: nn.Module) -> str:
    """Return 16 digits that stand for the weights and settings of a network."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    own = sorted(vars(network).items())
    for path in (value for _, value in own if isinstance(value, Path)):  # weights outside torch
        digest.update(hash_file(path).encode())
    settings = [(k, v) for k, v in own if isinstance(v, int | float | tuple | str)]
    digest.update(repr(settings).encode())
    return digest.hexdigest()[:16]
