"""Write the people whom a co-design run shows on its page as pictures, to try the other jobs on.

They are test people: none of the networks of the run has learned from them.

    ./lab faces run=latest
    ./lab faces run=<codesign run> people=2
"""

import io
import logging
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.launch import find_run, run_job
from experiments.settings import Settings, SettingsError
from experiments.store import ArtifactError, atomic_write, load_arrays, save_json

FOLDER = "faces"

log = logging.getLogger(__name__)


def main(settings: Settings, run: Path) -> None:
    """Write one PNG of each."""
    source = find_run("codesign", str(settings["run"]))
    scenes = load_arrays(source / "evidence.npz").get("scenes")
    if scenes is None or scenes.dtype != np.uint8 or scenes.ndim != 4 or not len(scenes):
        raise ArtifactError(f"{source / 'evidence.npz'} holds no pictures of people")
    for number, picture in enumerate(scenes[: settings["people"]], start=1):
        memory = io.BytesIO()
        Image.fromarray(picture).save(memory, "PNG")
        atomic_write(run / FOLDER / f"{number:02d}.png", memory.getvalue())
    metrics = {"pictures": min(len(scenes), settings["people"]), "size": scenes.shape[1]}
    save_json(run / "metrics.json", metrics)
    log.info("%d pictures of %d px", metrics["pictures"], metrics["size"])


def check(settings: Settings) -> None:
    """Refuse settings that cannot work, before anything is written."""
    if settings["people"] < 1:
        raise SettingsError(f"people = {settings['people']}, expected 1 or more")
    find_run("codesign", str(settings["run"]))


if __name__ == "__main__":
    run_job("faces", main, check=check)
