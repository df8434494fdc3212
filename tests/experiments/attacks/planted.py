"""Defences whose worth is known, people who are easily told apart, and recognisers for them."""

import numpy as np
import torch
from torch import nn

from anonymizer.alignment import CANONICAL68, align_faces
from anonymizer.recognition import Recognizer
from experiments.attacks import Clear, FromScratch, Trial
from experiments.data.crops import FaceCrops
from experiments.scene import Framing
from experiments.stages import Schedule
from tests.experiments.tiny_codesign import TinyRecognizer

SIZE = 32
STILL = Framing(0, 0, 0, False)
SHORT = Schedule(steps=24, batch=16, learning_rate=1e-2)


def people(first: int, count: int, each: int = 3, size: int = SIZE) -> FaceCrops:
    """Pictures of coarse patterns, one for each person, a little different each time."""
    rows = []
    for person in range(first, first + count):
        draw = np.random.default_rng(person)
        own = draw.uniform(0.2, 0.8, (1, 4, 4, 3))
        rows.append(own + draw.normal(0, 0.08, (each, 4, 4, 3)))
    pattern = np.concatenate(rows).clip(0, 1)
    images = (255 * pattern).repeat(size // 4, 1).repeat(size // 4, 2).astype(np.uint8)
    points = np.asarray(CANONICAL68) * (size / 1.7) + (size - 1) / 2
    return FaceCrops(
        images=images,
        landmarks=np.broadcast_to(points, (len(images), 68, 2)).astype(np.float32),
        person=np.arange(count).repeat(each).astype(np.int64),
        names=tuple(f"person {first + i}" for i in range(count)),
        files=tuple(f"{first}-{i}.png" for i in range(len(images))),
        context=1.7,
    )


def trial(defence, folder, *, shuffle: bool = False, **changes) -> Trial:
    """60 / 20 / 20 of forty people; with `shuffle`, who is shown in a picture is dealt anew."""
    parts = {
        "learn": people(0, 24),
        "tune": people(30, 8),
        "test": people(40, 8),
    }
    if shuffle:
        for number, crops in enumerate(parts.values()):
            np.random.default_rng(number).shuffle(crops.person)
    options = {
        "pool": {"one": TinyRecognizer(8).requires_grad_(False)},
        "framing": STILL,
        "checkpoint_every": 1000,
        "log_every": 1000,
    }
    return Trial(defence=defence, folder=folder, **(parts | options | changes))


class Constant:
    """Shows the same grey to everybody."""

    noisy = False

    def show(self, faces, *, frames=1):
        return torch.full_like(faces.scenes.light, 0.5)


class OneRow:
    """Grey noise, but one row of pixels says who it is."""

    noisy = False

    def __init__(self, recognizer: Recognizer) -> None:
        self.recognizer = recognizer

    def show(self, faces, *, frames=1):
        light = faces.scenes.light
        code = self.recognizer(align_faces(light, faces.scenes.landmarks))
        grey = [torch.rand(light.shape[1:], generator=g) for g in faces.noise]
        out = 0.5 + 0.02 * torch.stack(grey)
        first = (SIZE - 2 * code.shape[1]) // 2
        out[:, :, SIZE // 2, first : first + 2 * code.shape[1]] = (
            0.5 + 0.45 * code.repeat_interleave(2, 1)[:, None]
        )
        return out


class Averaged:
    """The face under noise so strong that only the mean of many shots shows it."""

    noisy = True

    def show(self, faces, *, frames=1):
        light = faces.scenes.light
        noise = torch.stack([torch.randn(light.shape[1:], generator=g) for g in faces.noise])
        return (light + 6 * noise / frames**0.5).clamp(-20, 20)


class RowReader(Recognizer):
    """Linear in the pixels of the aligned face, those of a band across its middle."""

    def __init__(self, dimension: int = 8) -> None:
        super().__init__()
        self.dimension = dimension
        self.mix = nn.Linear(3 * 8 * 28, dimension, bias=False)

    def embed(self, faces):
        band = nn.functional.adaptive_avg_pool2d(faces, 28)[:, :, 16:24]
        return self.mix((band - band.mean((1, 2, 3), keepdim=True)).flatten(1))


class QuickFromScratch(FromScratch):
    """With a network of one layer."""

    def network(self, dimension):
        return RowReader(dimension)


CLEAR = Clear()
