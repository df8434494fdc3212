"""The people and networks a run is judged with: data parts, recogniser pool, attackers."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anonymizer.recognition import Recognizer
from experiments.data.crops import FaceCrops
from experiments.data.errors import DataError
from experiments.data.photographs import Photographs
from experiments.data.splits import canonical_name
from experiments.data.synthetic import SyntheticFaces
from experiments.settings import Settings, SettingsError, build

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """Pictures of different people for different purposes.

    Attributes
    ----------
    train : FaceCrops
        Mask, regressor and adversary learn from them.
    attack : FaceCrops
        Recognisers are fine-tuned on them: everybody who is not tested.
    tuning : FaceCrops
        The inverting attacker chooses his regularisation on them.
    test : FaceCrops
        Never seen before the last measurement.
    """

    train: FaceCrops
    attack: FaceCrops
    tuning: FaceCrops
    test: FaceCrops


def open_crops(node: Mapping[str, Any], settings: Mapping[str, Any]) -> FaceCrops:
    """Prepare, or open, the data set that `node` describes."""
    source = build(node)
    cache = Path(settings["cache"])
    if isinstance(source, SyntheticFaces):
        return source.prepare(cache, progress=settings["progress"])
    if not isinstance(source, Photographs):
        raise SettingsError(f"{getattr(node, 'path', 'data')}: {type(source).__name__} is no data")
    return source.prepare(
        cache,
        detector=build(settings["detector"]),
        teacher=build(settings["teacher"]),
        size=settings["size"],
        context=settings["context"],
        progress=settings["progress"],
    )


def open_parts(settings: Mapping[str, Any]) -> Parts:
    """Open the data of a run and divide it by person, 60 / 20 / 20."""
    crops = open_crops(settings["data"], settings)
    if not (crops.person >= 0).any():
        raise DataError(
            "data: nobody in it has a name, so identity can be neither trained against nor "
            "measured; use it with evaluate=true, or give folders with one sub-folder per person"
        )
    parts = crops.split()
    attack = join(parts["train"], parts["attacker"])
    if "_target_" in settings.get("extra", {}):
        tested = {canonical_name(parts["test"].names[i]) for i in set(parts["test"].person)}
        more = open_crops(settings["extra"], settings)
        others = {name for name in more.names if canonical_name(name) not in tested}
        more = more.of_people(others)
        log.info("extra: %d pictures of people who are not tested", len(more))
        attack = join(attack, more)
    return Parts(parts["train"], attack, parts["attacker"], parts["test"])


def join(first: FaceCrops, second: FaceCrops) -> FaceCrops:
    """One set of both, people of one name being one person."""
    names = tuple(dict.fromkeys((*first.names, *second.names)))
    place = {name: i for i, name in enumerate(names)}

    def renumber(crops: FaceCrops) -> np.ndarray:
        table = np.array([*(place[n] for n in crops.names), -1], dtype=np.int64)
        return table[crops.person]

    return FaceCrops(
        images=np.concatenate((np.asarray(first.images), np.asarray(second.images))),
        landmarks=np.concatenate((first.landmarks, second.landmarks)),
        person=np.concatenate((renumber(first), renumber(second))),
        names=names,
        files=first.files + second.files,
        context=first.context,
        source={"parts": [first.source, second.source]},
    )


def limit(crops: FaceCrops, most: int) -> FaceCrops:
    """At most `most` pictures, spread evenly over the set."""
    if len(crops) <= most:
        return crops
    return crops.subset(np.linspace(0, len(crops) - 1, most).round().astype(np.int64))


def limit_people(crops: FaceCrops, most: int) -> FaceCrops:
    """At most about `most` pictures, dropping whole people so that pairs stay together."""
    if len(crops) <= most or not (crops.person >= 0).any():
        return limit(crops, most)
    people = np.unique(crops.person[crops.person >= 0])
    keep = max(2, round(len(people) * most / len(crops)))
    chosen = people[np.linspace(0, len(people) - 1, keep).round().astype(np.int64)]
    return crops.subset(np.isin(crops.person, chosen))


def limit_each(crops: FaceCrops, most: int) -> FaceCrops:
    """At most about `most` pictures, dropping the last ones of each person; two of each remain.

    Intervals resample people, so that few pictures of many people tell more than the contrary.
    """
    if len(crops) <= most or not (crops.person >= 0).any():
        return limit(crops, most)
    people = np.unique(crops.person[crops.person >= 0])
    each = max(2, most // len(people))
    kept = [np.flatnonzero(crops.person == one)[:each] for one in people]
    return crops.subset(np.sort(np.concatenate(kept)))


def pool_name(settings: Mapping[str, Any]) -> str:
    """Name of the pool that fits the data: synthetic faces or photographs."""
    name = str(settings["pool"])
    if name == "auto":
        synthetic = "Synthetic" in str(settings["data"].get("_target_"))
        name = "synthetic" if synthetic else "photographs"
    if name not in settings["pools"]:
        raise SettingsError(f"pool = {name!r}, expected auto, {', '.join(settings['pools'])}")
    return name


def build_pool(settings: Mapping[str, Any]) -> dict[str, Recognizer]:
    """Recognisers of the chosen pool, frozen, by name."""
    pool: Settings = settings["pools"][pool_name(settings)]
    return {name: build(node) for name, node in pool.items()}
