"""The anonymizer: the measurement of a co-designed camera and a style become a new face.

The camera of a finished co-design run looks at faces, with noise; its regressor reads landmarks
off the measurement; a generator makes another face of the same structure, against a discriminator.

    ./lab anonymize run=latest                        the newest co-design run, our recipe
    ./lab anonymize run=latest size=small              64 px, half an hour on two cores
    ./lab anonymize run=latest recipe=lopez2024       the published recipe
    ./lab anonymize resume=true                       go on with the newest interrupted run
    ./lab anonymize apply run=latest source=holiday   other faces in pictures and clips
    ./lab anonymize apply run=latest source=me.jpg reference=faces   one mixed of those in faces
    ./lab anonymize run=latest source=synthetic evaluate=true        judged on people never seen
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anonymizer.stargan import Anonymizer, Discriminator
from anonymizer.stargan.recipe import Recipe
from anonymizer.stargan.terms import Judges
from experiments.anonymizer_evaluation import evaluate
from experiments.anonymizer_samples import FOLDER, Samples
from experiments.anonymizer_use import apply, check_use
from experiments.anonymizing import Trainee, anonymizer_stage, build_recipe, make_trainee
from experiments.cameras import LEARNED
from experiments.data.crops import FaceCrops
from experiments.data.errors import DataError
from experiments.described import build_setting
from experiments.distributed import distributed, is_first, wait_for_all
from experiments.finished_anonymizer import CAMERA_RUN, PEOPLE, WEIGHTS
from experiments.judging import join, open_crops
from experiments.launch import find_run, run_job
from experiments.observer import Observer, open_observer
from experiments.settings import Settings, SettingsError, build
from experiments.stages import Schedule
from experiments.store import atomic_write, read_json, save_json
from experiments.style_sources import People
from experiments.training import fit

log = logging.getLogger(__name__)


def main(settings: Settings, run: Path) -> None:
    """Train, apply or judge."""
    mode = _mode(settings)
    {"train": train, "apply": apply, "evaluate": evaluate}[mode](settings, run)


def train(settings: Settings, run: Path) -> None:
    """Train on three quarters and more of the people, and keep the averaged networks."""
    recipe = build_recipe(settings["recipe"])
    processes = distributed(settings["device"])
    setting = build_setting(settings, processes)
    observer = open_observer(camera_run(settings, run), settings, camera=settings["seen_by"])
    parts = open_crops(settings["data"], settings).split()
    learn, held = join(parts["train"], parts["attacker"]), parts["test"]
    people = People(learn, domains_of(learn, settings))
    log.info("%d pictures of %d people", len(learn), len(np.unique(learn.person)))

    torch.manual_seed(settings["seed"])
    anonymizer: Anonymizer = build(settings["networks"]).to(processes.device)
    discriminator = Discriminator(
        size=anonymizer.size, width=settings["width"], domains=anonymizer.domains
    ).to(processes.device)
    judges = make_judges(observer, settings)
    trainee = make_trainee(anonymizer, discriminator, judges, recipe)
    _announce(recipe, judges, run)

    plan: Schedule = build(settings["training"])
    shown = People(held, domains_of(held, settings))
    samples = Samples(
        observer, judges, shown, setting, _spread(len(held), settings["samples"]),
        references=settings["references"],
    )  # fmt: skip
    curve = _Curve(samples, trainee, run)
    fit(
        anonymizer_stage(trainee, recipe, observer, people, plan, setting),
        plan.steps,
        folder=run,
        seed=settings["seed"],
        checkpoint_every=settings["checkpoint_every"],
        log_every=settings["log_every"],
        validate=curve.validate,
        validate_every=settings["samples_every"],
        progress=settings["progress"],
    )
    if is_first():
        notes = {"camera": observer.name, "people": str(len(np.unique(learn.person)))}
        data = trainee.averaged.to_bytes(notes, half=settings["half"])
        atomic_write(run / WEIGHTS, data)
        save_json(run / "metrics.json", curve.last)
        names = sorted({learn.names[i] for i in learn.person})
        save_json(run / PEOPLE, {"learned_from": names})
        log.info("last samples: %s", ", ".join(f"{k} {v:.3f}" for k, v in curve.last.items()))
    wait_for_all()


def camera_run(settings: Mapping[str, Any], run: Path) -> Path:
    """Return the folder of the co-design run, the same one when the training is continued."""
    path = run / CAMERA_RUN
    if path.exists():
        return Path(read_json(path)["folder"])
    source = find_run("codesign", str(settings["run"]))
    if is_first():
        save_json(path, {"folder": str(source)})
    return source


class _Curve:
    """Numbers and sheets of the samples while the training goes on."""

    def __init__(self, samples: Samples, trainee: Trainee, run: Path) -> None:
        self.samples, self.trainee, self.run = samples, trainee, run
        self.last: dict[str, float] = {}

    def validate(self) -> Mapping[str, float]:
        """Measure the averaged networks, and write the next sheet."""
        taken = int(self.trainee.average.n_averaged)
        path = self.run / FOLDER / f"step_{taken:06d}.png" if is_first() else None
        self.last = self.samples.measure(self.trainee.averaged, path)
        return self.last


def make_judges(observer: Observer, settings: Mapping[str, Any]) -> Judges:
    """Frozen networks for the terms: those of the co-design run, and files where they are given."""
    pool = observer.pool
    files = {
        name: build(settings[name]).to(distributed(settings["device"]).device)
        for name in ("flow", "perceptual")
        if "_target_" in settings[name]
    }
    return Judges(next(iter(pool.values()), None), observer.clear, **files)


def domains_of(crops: FaceCrops, settings: Mapping[str, Any]) -> np.ndarray:
    """Domain of each picture: 0 where there is one, else the attribute that is named.

    Raises
    ------
    DataError
        The data have no such attribute, or values beyond the domains.
    """
    count, name = settings["networks"]["domains"], settings["domain"]
    if count == 1:
        return np.zeros(len(crops), dtype=np.int64)
    if name not in crops.attributes:
        known = ", ".join(crops.attributes) or "none"
        raise DataError(
            f"domain = {name!r}: the data have no such attribute (they have {known}); name one, or "
            f"take networks.domains=1"
        )
    values = np.asarray(crops.attributes[name])
    labels = values.astype(np.int64)
    if not np.array_equal(labels, values) or labels.min() < 0 or labels.max() >= count:
        raise DataError(
            f"domain = {name!r} has values from {values.min()} to {values.max()}, expected whole "
            f"numbers from 0 to {count - 1}"
        )
    return labels


def _announce(recipe: Recipe, judges: Judges, run: Path) -> None:
    """Say which terms are off for want of a network, and keep it in the run."""
    off = recipe.off(judges)
    for name, judge in off.items():
        log.warning(
            "term %r is off: there is no %s network; give its files by %s=", name, judge, judge
        )
    if is_first():
        on = {n: t.weight for n, t in recipe.terms.items() if n not in off}
        save_json(run / "terms.json", {"on": on, "off": off})


def _spread(count: int, most: int) -> list[int]:
    return sorted({round(i * (count - 1) / max(1, most - 1)) for i in range(min(most, count))})


def check(settings: Settings) -> None:
    """Refuse settings that cannot work, before anything is written."""
    if settings["what"] not in ("train", "apply", "evaluate"):
        raise SettingsError(f"what = {settings['what']!r}, expected train, apply or evaluate")
    if _mode(settings) == "train":
        check_training(settings)
    else:
        check_use(settings, _mode(settings))


def _mode(settings: Mapping[str, Any]) -> str:
    return "evaluate" if settings["evaluate"] else str(settings["what"])


def check_training(settings: Settings) -> None:
    """Refuse a training that cannot work."""
    if settings["run"] is None and not settings["resume"]:
        raise SettingsError(
            "run = null: the camera comes from a co-design run; give run=latest or its folder"
        )
    recipe = build_recipe(settings["recipe"])
    networks: Anonymizer = build(settings["networks"])
    for name in ("data", "training"):
        build(settings[name])
    build_setting(settings, distributed(settings["device"]))
    if settings["data"].get("size", settings["size"]) != settings["size"]:
        raise SettingsError(
            f"data.size = {settings['data']['size']} px: pictures to learn from have the side of "
            f"the networks, size = {settings['size']} px; leave data.size out"
        )
    if settings["references"] < 1:
        raise SettingsError(f"references = {settings['references']}, expected 1 or more")
    if settings["samples"] < 2 or settings["samples_every"] < 1:
        raise SettingsError(
            f"samples = {settings['samples']}, samples_every = {settings['samples_every']}: at "
            f"least 2 people, every step or more rarely"
        )
    if networks.domains > 1 and settings["domain"] is None:
        raise SettingsError(
            f"networks.domains = {networks.domains} needs labels: name an attribute by domain="
        )
    if not recipe.passes:
        raise SettingsError("recipe.passes is empty")
    if not settings["resume"]:
        source = find_run("codesign", str(settings["run"]))
        if not (source / "cameras" / settings["seen_by"] / "regressor.safetensors").is_file():
            raise SettingsError(
                f"seen_by = {settings['seen_by']!r}: {source.name} has no such camera, expected "
                f"{LEARNED} or one of its baselines"
            )


if __name__ == "__main__":
    run_job("anonymize", main, check=check, named={"size": "budget"})
