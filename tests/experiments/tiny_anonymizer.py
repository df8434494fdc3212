"""A finished anonymizer on the tiny camera, its people, and outputs that can be made to measure."""

from dataclasses import replace

import numpy as np
import torch

from anonymizer.stargan import Anonymizer
from experiments.anonymizer_outputs import Outputs
from experiments.finished_anonymizer import FinishedAnonymizer
from experiments.settings import Settings
from tests.experiments.tiny_anonymize import SIDE, observer
from tests.experiments.tiny_codesign import CPU, tiny_crops


def finished(folder=None) -> FinishedAnonymizer:
    torch.manual_seed(1)
    network = Anonymizer(size=SIDE, width=1 / 32, hidden=8).requires_grad_(False).eval()
    settings = Settings({"context": 1.7, "data": {"seed": 0}}, "")
    return FinishedAnonymizer(folder, settings, network, observer(), CPU)


def outputs(made=None, *, people=6, each=3) -> Outputs:
    """Outputs for tiny people; without `made` they are the clear pictures themselves."""
    crops = tiny_crops(people=people, each=each, size=SIDE)
    half = people // 2 * each
    hue = 2 * np.pi * (crops.person[:, None] / people + np.arange(3) / 3)
    colour = 255 * (0.5 + 0.4 * np.cos(hue))[:, None, None]
    images = (0.3 * np.asarray(crops.images) + 0.7 * colour).astype(np.uint8)
    crops = replace(crops, images=images)
    clear = torch.from_numpy(np.asarray(crops.images)).permute(0, 3, 1, 2) / 255
    clear = clear**2.2
    points = torch.from_numpy(crops.landmarks)
    made = clear if made is None else made(clear)
    lent = np.roll(np.arange(len(crops)), -half)  # pictures of whoever looks most different
    return Outputs(crops, clear, clear, points, points, made, made, lent[:, None])
