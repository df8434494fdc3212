"""A finished anonymizer judged on people whom neither it nor its camera ever learned from.

What is left of identity: recognisers as they are and fine-tuned, the people who lent a style,
linkage of two outputs, landmarks alone. What is left of use: detection, landmarks, direction of
the head, likeness to faces, steadiness in clips. Each number has a 95 % interval (`_lo`, `_hi`)
and what it was counted over (`_n`); what cannot be measured is null, with its reason.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anonymizer.checkpoints import WeightsError
from experiments.anonymizer_attack import AnonymizingCamera, retrain
from experiments.anonymizer_identity import Identity, Numbers, embed, missing, open_judges
from experiments.anonymizer_likeness import (
    detection_numbers,
    distribution_numbers,
    diversity_numbers,
    inception_numbers,
    jitter_numbers,
    landmark_numbers,
)
from experiments.anonymizer_outputs import Maker, Outputs
from experiments.data.crops import FaceCrops
from experiments.data.errors import DataError
from experiments.finished_anonymizer import (
    PEOPLE,
    FinishedAnonymizer,
    camera_folder,
    chosen_run,
    open_anonymizer,
)
from experiments.judging import open_crops
from experiments.report.anonymizer_sheet import Shown, anonymizer_sheet
from experiments.report.sheet import write_sheet
from experiments.runs import config_of
from experiments.scene import generator_for, load_scenes, network_view
from experiments.settings import Settings, SettingsError, build
from experiments.store import read_json, save_json

SYNTHETIC = "synthetic"

_SHOWN, _STYLES = 6, 3  # people and styles of the figure
_CLIPS = 16  # people whose clips are made

log = logging.getLogger(__name__)


def evaluate(settings: Settings, run: Path) -> None:
    """Judge the finished run `run=`, and write numbers, figure and page."""
    source = chosen_run(settings, run)
    finished = open_anonymizer(source, settings)
    crops = unseen_people(settings, finished)
    log.info("%d pictures of %d unseen people", len(crops), len(np.unique(crops.person)))
    distance = finished.observer.nearest_to(settings["reference_distance"])
    maker = Maker(
        finished, crops, distance=distance, references=settings["references"],
        seed=settings["seed"], batch=settings["batch"],
    )  # fmt: skip
    outputs = maker.all(progress=settings["progress"])
    numbers: Numbers = {
        "n_images": len(crops), "n_people": len(np.unique(crops.person)), "distance_m": distance,
    }  # fmt: skip
    numbers |= utility(settings, finished, maker, outputs)
    numbers |= privacy(settings, finished, distance, outputs, run)
    save_json(run / "metrics.json", numbers)
    write_sheet(run, anonymizer_sheet(source.name, numbers, shown(maker)))
    _summary(numbers)


def utility(
    settings: Settings, finished: FinishedAnonymizer, maker: Maker, outputs: Outputs
) -> Numbers:
    """Return what outputs are still good for."""
    seed = settings["seed"]
    try:
        numbers = detection_numbers(build(settings["detector"]), outputs, seed)
    except WeightsError as error:
        log.warning("nothing is detected: %s", error)
        numbers = {}
        for name in ("detection_rate", "detection_rate_clear"):
            numbers |= missing(name, f"no detector: {error}")
    numbers |= landmark_numbers(finished, outputs, seed)
    numbers |= diversity_numbers(outputs, _network("perceptual", settings, finished), seed)
    numbers |= inception_numbers(_network("inception", settings, finished), outputs, seed)
    return numbers | jitter_numbers(finished, maker, outputs, settings["clip_frames"], _CLIPS)


def privacy(
    settings: Settings, finished: FinishedAnonymizer, distance: float, outputs: Outputs, run: Path
) -> Numbers:
    """Return what recognisers see of source and references."""
    pool = finished.observer.pool
    judges = open_judges(settings, pool, finished.device)
    guard = next(iter(pool), None)
    identity = Identity(judges, guard, outputs, settings["seed"])
    numbers = identity.numbers() | identity.landmarks()
    numbers |= distribution_numbers(identity.clear, identity.made, outputs, settings["seed"])
    others = attacked_people(settings, finished)
    camera = AnonymizingCamera(finished, distance)
    retrained = {
        name: retrain(name, recognizer, camera, others, settings, run)
        for name, recognizer in pool.items()
    }
    if not retrained:
        return numbers | missing("reid_source_auc_retrained", "the run has no recognisers")
    probes = {n: embed(r, outputs.made, outputs.landmarks) for n, r in retrained.items()}
    return numbers | identity.source("reid_source_auc_retrained", probes)


def _network(name: str, settings: Settings, finished: FinishedAnonymizer) -> Any:
    """Return the frozen network that the settings give under `name`, None without one."""
    if "_target_" not in settings[name]:
        return None
    return build(settings[name]).to(finished.device)


def unseen_people(settings: Settings, finished: FinishedAnonymizer) -> FaceCrops:
    """Return pictures of people whom neither the run nor its camera learned from.

    Raises
    ------
    DataError
        Fewer than a handful are left.
    """
    if settings["source"] == SYNTHETIC:
        own = finished.settings["data"].get("seed"), _camera_settings(finished).get("seed")
        if settings["unseen"]["seed"] in own:
            raise SettingsError(
                f"unseen.seed = {settings['unseen']['seed']}: the run learned from people of this "
                f"seed; take another"
            )
        return open_crops(settings["unseen"], settings)
    crops = open_crops(settings["data"], settings)
    known = set(read_json(finished.folder / PEOPLE)["learned_from"])
    known |= set(read_json(camera_folder(finished.folder) / PEOPLE)["learned_from"])
    fresh = crops.of_people({name for name in crops.names if name not in known})
    if len(np.unique(fresh.person)) < settings["references"] + 2:
        raise DataError(
            f"data: {len(np.unique(fresh.person))} people are left whom the run never learned "
            f"from, at least {settings['references'] + 2} are needed; take other data, or "
            f"source=synthetic"
        )
    return fresh


def attacked_people(settings: Settings, finished: FinishedAnonymizer) -> FaceCrops:
    """Return the people the run learned from: none of them is judged."""
    stored = Settings(dict(finished.settings) | {"progress": settings["progress"]}, "")
    for key in ("cache", "weights_path"):
        stored[key] = settings[key]
    crops = open_crops(stored["data"], stored)
    known = set(read_json(finished.folder / PEOPLE)["learned_from"])
    return crops.of_people(known)


def _camera_settings(finished: FinishedAnonymizer) -> Mapping[str, Any]:
    found: Mapping[str, Any] = config_of(camera_folder(finished.folder))["data"]
    return found


@torch.inference_mode()
def shown(maker: Maker) -> Shown:
    """Return the pictures of the figure: a few people in the styles of a few others."""
    _, first = np.unique(maker.crops.person, return_index=True)
    first = np.sort(first)
    count = min(_STYLES, len(first) - 1)
    lenders, rows = first[-count:], first[:-count][:_SHOWN]
    network, device = maker.finished.anonymizer, maker.finished.device
    scenes = load_scenes(maker.crops, rows).to(device)
    measurement, heatmaps = maker.look(scenes, rows, "noise")
    styles = {
        f"as {chr(ord('A') + i)}": maker.styles(lenders[None, i : i + 1]) for i in range(count)
    }
    styles["all mixed"] = maker.styles(lenders[None])
    styles["nobody"] = network.drawn_style(1, generator_for(maker.seed, "figure"))
    return Shown(
        source=network_view(scenes.light, network.size).cpu(),
        measurement=measurement.cpu(),
        references=network_view(load_scenes(maker.crops, lenders).light, network.size),
        made={name: network.anonymize(measurement, heatmaps, style).cpu()
              for name, style in styles.items()},
    )  # fmt: skip


def check_evaluation(settings: Settings) -> None:
    """Refuse an evaluation that cannot work."""
    if settings["source"] not in (None, SYNTHETIC):
        raise SettingsError(
            f"source = {settings['source']}: an evaluation looks at source=synthetic, or without "
            f"it at the people of data= whom the run never learned from"
        )
    if settings["people"] < settings["references"] + 2 or settings["references"] < 1:
        raise SettingsError(
            f"people = {settings['people']}, references = {settings['references']}: at least two "
            f"people more than references, and 1 reference"
        )
    if settings["clip_frames"] < 3 or settings["batch"] < 1:
        raise SettingsError(
            f"clip_frames = {settings['clip_frames']}, batch = {settings['batch']}: at least 3 "
            f"and 1"
        )
    for name in ("unseen", "attack", "data"):
        build(settings[name])


def _summary(numbers: Mapping[str, Any]) -> None:
    for name in (
        "detection_rate", "nme", "reid_source_auc", "reid_source_auc_retrained",
        "reid_reference_auc", "linkage_dsys", "diversity",
    ):  # fmt: skip
        if numbers[name] is None:
            log.info("%-26s none: %s", name, numbers[f"{name}_reason"])
            continue
        log.info(
            "%-26s %.3f  [%.3f, %.3f]", name, numbers[name], numbers[f"{name}_lo"],
            numbers[f"{name}_hi"],
        )  # fmt: skip
