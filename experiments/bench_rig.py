"""The bench as a rig of the jobs: which design stands on it, and what strays.

Needs torch, unlike other rigs, so it is imported only where `rig=bench` is chosen.
"""

from collections.abc import Callable

from omegaconf import OmegaConf

from calibration.bench import Bench, BenchErrors, Source, open_bench
from experiments.cameras import build_camera
from experiments.mask_file import load_mask
from experiments.rigs import clock_of
from experiments.runs import find_run
from experiments.settings import to_si
from experiments.store import read_json
from optics import Camera, Lens, Mask, Sensor

_JOBS = {"latest": ("codesign", "latest"), "demo": ("demo", "latest")}


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
        "default" for the described camera, "latest" for the newest co-design run, "demo" for the
        newest demo, or the folder of a run.
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
    chosen = (
        camera(lens=lens, sensor=sensor, mask=mask)
        if design == "default"
        else design_of_run(design)
    )
    time = clock_of(clock)
    return open_bench(chosen, seed=seed, errors=errors, source=source, shape=shape, clock=time)


def design_of_run(design: str) -> Camera:
    """Return the learned camera of a run: "latest", "demo", or its folder."""
    job, which = _JOBS.get(design, ("codesign", design))
    run = find_run(job, which)
    settings = to_si(OmegaConf.create(read_json(run / "config.json")))
    camera = build_camera(settings)
    load_mask(run / "mask.safetensors", camera)
    return camera.eval()
