"""What the settings of a run describe: its stages' common ground, its protocol, its objective."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from experiments.distributed import Processes
from experiments.objectives import HeatmapTerm, Objective, ScenePower, Term
from experiments.protocol import Protocol
from experiments.runs import config_of
from experiments.settings import Settings, build, to_si
from experiments.stages import Setting
from experiments.store import load_arrays

#: Settings that older runs do not know, as those runs were.
ADDED_LATER: dict[str, Any] = {
    "half_field": 0.0,
    "fabrication": {"_target_": "optics.Fabrication"},
    "attack_rates": [1.0],
}


def stored_settings(source: Path, now: Mapping[str, Any]) -> Settings:
    """Return the settings of a finished co-design run, with the surroundings of `now`."""
    stored = to_si(OmegaConf.create(config_of(source)))
    for key, value in ADDED_LATER.items():
        stored.setdefault(key, value)
    for key in ("cache", "progress", "device", "weights_path"):
        stored[key] = now[key]
    return stored


def build_setting(settings: Mapping[str, Any], processes: Processes) -> Setting:
    """Return what all stages share."""
    return Setting(
        framing=build(settings["framing"]),
        nearest=settings["nearest"],
        farthest=settings["farthest"],
        reference=settings["reference_distance"],
        field=math.tan(settings["half_field"]),
        seed=settings["seed"],
        processes=processes,
    )


def build_protocol(settings: Mapping[str, Any]) -> Protocol:
    """How cameras are judged."""
    protocol: Protocol = build(settings["evaluation"], reference=settings["reference_distance"])
    return protocol


def build_objective(settings: Mapping[str, Any], privacy: float = 1.0) -> Objective:
    """Objective of the run, all terms but the landmarks scaled by `privacy`."""
    node = settings["objective"]
    terms: dict[str, Term] = {name: build(term) for name, term in node["terms"].items()}
    for term in terms.values():
        if not isinstance(term, HeatmapTerm):
            term.weight *= privacy
    return Objective(terms=terms)


def load_scene_power(path: Path) -> ScenePower:
    """Spectrum stored by a run."""
    arrays = load_arrays(path)
    return ScenePower(
        torch.from_numpy(arrays["cycles"]),
        torch.from_numpy(arrays["power"]),
        float(arrays["context"]),
    )
