"""A camera, pictures and networks so small that a step of the co-design takes milliseconds."""

import os
import threading
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from anonymizer.alignment import CANONICAL68
from anonymizer.recognition import Recognizer
from anonymizer.regressors import CompactRegressor
from experiments import codesign, tolerance
from experiments.data.crops import FaceCrops
from experiments.distributed import Processes
from experiments.launch import run_job
from experiments.scene import Framing
from experiments.stages import Setting
from optics import Camera, Sensor, ThinLens, WrappedRelief

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
SIZE = 32
REFERENCE = 1.5

#: The real job on a mask of 64 x 64 cells, pictures of 64 px and a handful of steps.
OVERRIDES = [
    "size=64",
    "camera.aperture_diameter=0.5 mm",
    "camera.window=21",
    "camera.nodes=3",
    "mask.cell=8 um",
    "mask.spread=10 mrad",
    "sensor.binning=32",
    "regressor.widths=[8,8,8]",
    "data.people=8",
    "data.images_per_person=3",
    "data.workers=1",
    "clear.steps=4",
    "clear.batch=4",
    "shaping.steps=4",
    "shaping.nodes=1",
    "shaping.every=2",
    "joint.steps=6",
    "joint.batch=4",
    "baseline.steps=2",
    "baseline.batch=4",
    "attack.steps=2",
    "attack.batch=4",
    "baselines.in_focus.window=15",
    "baselines.defocused.window=15",
    "evaluation.distances=[1.5 m]",
    "evaluation.frames=[1,100]",
    "evaluation.exposures=[1000.0]",
    "evaluation.regularisation=[1.0]",
    "evaluation.nodes=3",
    "evaluation.batch=8",
    "progress=false",
    "checkpoint_every=1",
    "log_every=1",
    "device=cpu",
    f"weights_path=[{ROOT / 'anonymizer/weights'}]",
]


def quick(*changes: str) -> list[str]:
    """Overrides of the tiny job, later ones replacing earlier ones of the same key."""
    others = tuple(f"{c.partition('=')[0]}." for c in changes)  # another option, other keys
    kept = {line.partition("=")[0]: line for line in OVERRIDES if not line.startswith(others)}
    kept |= {line.partition("=")[0]: line for line in changes}
    return [_quoted(line) for line in kept.values()]


def _quoted(line: str) -> str:
    key, _, value = line.partition("=")
    return line if value[:1] in "['\"" or " " not in value else f"{key}='{value}'"


def run(folder: Path, arguments: list[str]) -> None:
    """Run the co-design job in a process that may be killed.

    The disk need not be waited for, and the report, which takes longer than all the rest, has
    tests of its own.
    """
    codesign.write_report = lambda folder: None
    run_with_report(folder, arguments)


def run_with_report(folder: Path, arguments: list[str]) -> None:
    """Run the co-design job, with the figures and the page of its report."""
    os.fsync = lambda handle: None
    torch.set_num_threads(1)
    tqdm.set_lock(threading.RLock())  # its own lock would be left behind
    os.chdir(folder)
    run_job("codesign", codesign.main, check=codesign.check, arguments=arguments)


def run_tolerance(folder: Path, arguments: list[str]) -> None:
    """Run the tolerance job."""
    os.fsync = lambda handle: None
    torch.set_num_threads(1)
    tqdm.set_lock(threading.RLock())
    os.chdir(folder)
    run_job("tolerance", tolerance.main, check=tolerance.check, arguments=arguments)


def tiny_camera(*, double: bool = False, **changes) -> Camera:
    """f = 16 mm, 0.4 mm stop, 50 x 50 cells, 30 pixels of 50 um across a face at 1.5 m."""
    mask = changes.pop("mask", None) or WrappedRelief(
        aperture_diameter=0.4e-3, cell=8e-6, spread=10e-3, cut=2.7
    )
    settings = {
        "aperture_diameter": 0.4e-3,
        "lens": ThinLens(focal_length=16e-3),
        "mask": mask,
        "sensor": Sensor(binning=32),
        "focus_distance": REFERENCE,
        "window": 21,
        "nodes": 3,
        "double": double,
    }
    return Camera(**(settings | changes))


def rough(camera: Camera, turns: float = 0.1) -> Camera:
    """Give the free heights of the mask some disorder, so that every term sees some of it."""
    draw = torch.randn(camera.mask.turns.shape, generator=torch.Generator().manual_seed(0))
    camera.mask.turns.data += turns * draw
    return camera


def tiny_crops(people: int = 4, each: int = 3, size: int = SIZE) -> FaceCrops:
    """Smooth pictures, each person of a colour of its own, around the mean shape."""
    draw = np.random.default_rng(0)
    count = people * each
    coarse = draw.uniform(0.1, 0.9, (count, 4, 4, 3))
    tint = draw.uniform(0.4, 1.0, (people, 1, 1, 3)).repeat(each, 0)
    images = (255 * tint * coarse).repeat(size // 4, 1).repeat(size // 4, 2).astype(np.uint8)
    shape = CANONICAL68.numpy() if isinstance(CANONICAL68, torch.Tensor) else CANONICAL68
    points = shape * (size / 1.7) + (size - 1) / 2 + draw.normal(0, 0.3, (count, 68, 2))
    return FaceCrops(
        images=images,
        landmarks=points.astype(np.float32),
        person=np.arange(people).repeat(each).astype(np.int64),
        names=tuple(f"person {i}" for i in range(people)),
        files=tuple(f"{i}.png" for i in range(count)),
        context=1.7,
    )


def tiny_regressor(seed: int = 0) -> CompactRegressor:
    torch.manual_seed(seed)
    return CompactRegressor(widths=(8, 8))


def tiny_setting(processes: Processes | None = None, **changes) -> Setting:
    return Setting(
        **{
            "framing": Framing(),
            "nearest": 0.75,
            "farthest": 3.0,
            "field": 0.0,
            "reference": REFERENCE,
            "seed": 0,
            "processes": processes or Processes(0, 1, CPU),
        }
        | changes
    )


class TinyRecognizer(Recognizer):
    """Mean colours of a 4 x 4 raster, mixed linearly."""

    def __init__(self, dimension: int = 8) -> None:
        super().__init__()
        self.dimension = dimension
        generator = torch.Generator().manual_seed(3)
        self.mix = nn.Linear(48, dimension, bias=False)
        self.mix.weight.data = torch.randn(dimension, 48, generator=generator) / 7

    def embed(self, faces):
        small = nn.functional.adaptive_avg_pool2d(faces, 4)
        return self.mix(small.flatten(1) - 0.5)
