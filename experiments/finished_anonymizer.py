"""A finished run of the anonymizer: its networks, and the camera they were trained behind."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from anonymizer.stargan import Anonymizer
from experiments.distributed import distributed, is_first
from experiments.launch import find_run
from experiments.observer import Observer, open_observer
from experiments.runs import config_of, shipped_runs
from experiments.settings import Settings, to_si
from experiments.store import ArtifactError, read_json, save_json

WEIGHTS = "anonymizer.safetensors"
CAMERA_RUN = "camera_run.json"
PEOPLE = "people.json"

_USED = "anonymizer_run.json"


@dataclass(frozen=True)
class FinishedAnonymizer:
    """What applying and judging need of a run.

    Attributes
    ----------
    folder : Path
        Of the run.
    settings : Settings
        Those it was trained with, in SI units.
    anonymizer : Anonymizer
        Frozen.
    observer : Observer
        Camera, landmark networks and the recognisers that guarded the training.
    device : torch.device
        Where it computes.
    """

    folder: Path
    settings: Settings
    anonymizer: Anonymizer
    observer: Observer
    device: torch.device


def open_anonymizer(source: Path, now: Mapping[str, Any]) -> FinishedAnonymizer:
    """Open the run in the folder `source`, with the surroundings of the settings `now`.

    Raises
    ------
    ArtifactError, WeightsError
        The run is not finished, or a file of it is missing or damaged.
    """
    stored = to_si(OmegaConf.create(config_of(source)))
    camera = camera_folder(source)
    if not camera.is_dir():
        raise ArtifactError(
            f"{source / CAMERA_RUN} names {camera}, which is not there; the anonymizer sees "
            f"through the camera of that co-design run: bring the folder back"
        )
    device = distributed(now["device"]).device
    return FinishedAnonymizer(
        folder=source,
        settings=stored,
        anonymizer=Anonymizer.load(source / WEIGHTS).to(device),
        observer=open_observer(camera, now, camera=stored["seen_by"]),
        device=device,
    )


def camera_folder(source: Path) -> Path:
    """Return the folder of the co-design run whose camera the run in `source` sees through."""
    which = read_json(source / CAMERA_RUN)["folder"]
    return shipped_runs("codesign").get(which, Path(which))


def chosen_run(settings: Mapping[str, Any], run: Path) -> Path:
    """Return the folder of the finished anonymizer, the same one when the job is continued."""
    path = run / _USED
    if path.exists():
        return Path(read_json(path)["folder"])
    source = find_run("anonymize", str(settings["run"]))
    if not (source / WEIGHTS).is_file():
        raise ArtifactError(
            f"run = {settings['run']}: {source} holds no {WEIGHTS}; name a run of ./lab anonymize "
            f"that finished its training"
        )
    if is_first():
        save_json(path, {"folder": str(source)})
    return source
