"""Stand-ins for the networks, and small pictures on disk."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from anonymizer.alignment import CANONICAL68
from experiments.data.locating import Located


def landmarks_at(x, y, width):
    """Return a frontal face: landmarks (68, 2) with its centre at (x, y) [px]."""
    return (CANONICAL68.numpy() * width + np.array([x, y])).astype(np.float32)


class CentredFace:
    """Locator that takes a face of 0.6 of the picture's shorter side to be in its middle."""

    identity = {"detector": "none", "teacher": "centred"}  # noqa: RUF012

    def __init__(self):
        self.calls = 0

    def __call__(self, image, five=None):
        self.calls += 1
        if not image.any():
            return Located(None, "no face", "no face was found")
        height, width = image.shape[:2]
        return Located(landmarks_at((width - 1) / 2, (height - 1) / 2, min(height, width) * 0.6))


def ramp(height=48, width=64, seed=0):
    """Return a smooth picture (height, width, 3) that no turn or mirror image equals."""
    y, x = np.mgrid[:height, :width]
    planes = (x * 255 // width, y * 255 // height, (x + 2 * y + 37 * seed) % 200 + 30)
    return np.stack(planes, axis=-1).astype(np.uint8)


def encoded(image, kind="PNG", **options):
    """Return the bytes of a picture file."""
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(
        buffer, kind, **options
    )
    return buffer.getvalue()


def save(path: Path, data):
    """Write bytes or a picture to a file, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else encoded(data))
    return path


def people(root: Path, count=6, each=2):
    """Make a folder of people with distinct pictures."""
    for i in range(count):
        for j in range(each):
            save(root / f"person{i}" / f"{j}.png", ramp(seed=i * each + j))
    return root
