"""The bench as a rig of the jobs: which design stands on it, and what strays.

Needs torch, unlike other rigs, so it is imported only where `rig=bench` is chosen.
"""

from collections.abc import Callable
from pathlib import Path

from omegaconf import OmegaConf

from calibration.bench import Bench, BenchErrors, Source, open_bench
from experiments.cameras import build_camera
from experiments.mask_file import load_mask
from experiments.rigs import clock_of
from experiments.runs import config_of, find_run
from experiments.settings import to_si
from experiments.store import file_sha256
from optics import Camera, Lens, Mask, Sensor

#: File of the learned mask in a run.
MASK = "mask.safetensors"


def open_bench_rig(
    *,
    design: str,
    seed: int,
    clock: str,
    camera: Callable[..., Camera],
    lens: Lens,
    sensor: Sensor,
    mask: Mask,
    errors: BenchErrors,
    source: Source,
    shape: tuple[int, int],
) -> Bench:
    """Open the bench with a design on it.

    Parameters
    ----------
    design : str
        "default" for the described camera, "latest" for the newest co-design run, or the folder
        of one.
    seed : int
        Which of the cameras that might have been made of it.
    clock : {"simulated", "system"}
        Whether exposures and moves take their time.
    camera, lens, sensor, mask
        The default design; `camera` still takes the others.
    errors : BenchErrors
        How far the true camera strays.
    source : Source
        What shines.
    shape : tuple of int
        Pixels of the sensor (H, W).
    """
    if design == "default":
        chosen, record = camera(lens=lens, sensor=sensor, mask=mask), {"name": design}
    else:
        run = run_of_design(design)
        chosen = design_of_run(run)
        mask_file = file_sha256(run / MASK)
        record = {"name": design, "run": str(run), "mask_sha256": mask_file}
    bench = open_bench(
        chosen, seed=seed, errors=errors, source=source, shape=shape, clock=clock_of(clock)
    )
    bench.design = record
    return bench


def run_of_design(design: str) -> Path:
    """Return the folder of a design's run: "latest", or the folder itself."""
    return find_run("codesign", design)


def design_of_run(run: Path) -> Camera:
    """Return the learned camera of a run."""
    settings = to_si(OmegaConf.create(config_of(run)))
    camera = build_camera(settings)
    load_mask(run / MASK, camera)
    return camera.eval()
