"""Shine light through a mask."""

import os
from pathlib import Path

from experiments import composing, settings
from experiments.launch import run_job
from experiments.settings import Settings, build
from experiments.store import ArtifactError, ResourceError, save_json

ERRORS = {
    "value": ValueError("distance = 0.3 m is too near"),
    "artifact": ArtifactError("mask.safetensors is damaged"),
    "resource": ResourceError("no room"),
    "bug": KeyError("oops"),
    "missing": FileNotFoundError(2, "No such file or directory", "faces.zip"),
    "interrupt": KeyboardInterrupt(),
}


def check(settings: Settings) -> None:
    build(settings["mask"])
    if settings["steps"] > 100:
        raise ValueError(f"steps = {settings['steps']}, expected 100 or fewer for this mask")


def main(settings: Settings, folder: Path) -> None:
    if settings["what"] in ERRORS:
        raise ERRORS[settings["what"]]
    save_json(folder / "metrics.json", {"steps": settings["steps"]})
    if settings["what"] == "late":
        raise ValueError("too late")


if __name__ == "__main__":
    for module in (settings, composing):  # the example's own classes stand for the packages'
        module.OWN_PACKAGES = (*settings.OWN_PACKAGES, "tests")
    os.chdir(os.environ.get("SHINE_FOLDER", "."))
    run_job("shine", main, check=check, config_module="tests.experiments.example")
