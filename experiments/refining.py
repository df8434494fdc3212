"""Go on from a finished run with its mask frozen: the regressor learns the camera that was made.

The new run keeps everything it needs, so that it is judged, attacked and looked through like any
other: the mask byte for byte, the measured camera, and in ``frozen.json`` the settings of the run
it came from. Schedules, judgement and seed are those of the command; camera, networks and data
those of the run.
"""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from calibration.measured_camera import CalibratedCamera
from experiments.adversary import paired_rows
from experiments.bench_rig import MASK, design_of_run, run_of_design
from experiments.calibrated import (
    CALIBRATED,
    calibrated_camera,
    is_calibrated,
    load_calibrated,
    save_calibrated,
    within_reach,
)
from experiments.calibration_results import open_calibration
from experiments.cameras import LEARNED
from experiments.described import stored_settings
from experiments.design import Codesign
from experiments.distributed import is_first, wait_for_all
from experiments.judging import open_parts
from experiments.launch import find_run
from experiments.protocol import Metrics
from experiments.runs import CONFIG, FROZEN, config_of
from experiments.settings import Settings, SettingsError, build, to_si
from experiments.store import read_json, save_json
from experiments.verdicts import judge_cameras

log = logging.getLogger(__name__)

_OWN = ("baseline", "attack", "attack_rates", "evaluation", "seed")
_KEPT = (MASK, "regressor_clear.safetensors", "scene_power.npz", "people.json")


def refine(settings: Settings, run: Path) -> Metrics | None:
    """Fine-tune the regressor of a finished run, attack it anew and judge it; None elsewhere.

    Judged beside it are the run as it was (`as_designed`) and, with a calibration, the networks
    as they were on the camera as it is (`as_made`).
    """
    if is_first() and not (run / FROZEN).exists():
        _keep(settings, run)
    wait_for_all()
    source = Path(read_json(run / FROZEN)["source"])
    stored = stored_settings(run, settings)
    work, before = Codesign(stored, run), Codesign(stored, source)
    parts = open_parts(stored)
    work.refine(parts.train, before.regressor(LEARNED))
    work.attack(LEARNED, parts.attack.subset(paired_rows(parts.attack.person)))
    if not is_first():
        return None
    beside = {"as_designed": before}
    if work.calibrated is not None:
        beside["as_made"] = Codesign(stored, source, calibrated=work.calibrated)
    return judge_cameras(work, parts.test, parts.tuning, run, None, beside=beside)


def source_run(settings: Mapping[str, Any]) -> Path:
    """Return the run whose mask is frozen: `run`, else the design of the calibration.

    Raises
    ------
    SettingsError
        Neither says which.
    """
    if settings["run"] is not None:
        return find_run("codesign", str(settings["run"]))
    if is_calibrated(settings) and settings["calibration"] is not None:
        _, record = open_calibration(settings["calibration"])
        if "run" in (record["design"] or {}):
            return run_of_design(record["design"]["run"])
    raise SettingsError(
        "freeze = mask needs the run whose mask it is: run=latest, its folder, or a calibration "
        "of a camera that a run designed"
    )


def made_camera(settings: Mapping[str, Any], source: Path) -> CalibratedCamera | None:
    """Return the camera of a run as it was made: as chosen, else as the run keeps it, else None."""
    if is_calibrated(settings):
        return calibrated_camera(settings, design_of_run(source), source / MASK)
    if (source / CALIBRATED).exists():
        return load_calibrated(source / CALIBRATED, design_of_run(source))
    return None


def check_frozen(settings: Settings) -> None:
    """Refuse what cannot be fine-tuned, before anything is written."""
    if settings["freeze"] != "mask":
        raise SettingsError(f"freeze = {settings['freeze']!r}, expected mask, or null to learn it")
    build(settings["baseline"]), build(settings["attack"])
    if settings["resume"]:
        return  # what it goes on from was checked, and is kept
    source = source_run(settings)
    made = made_camera(settings, source)
    if made is not None:
        within_reach(_merged(settings, source), made)


def _merged(settings: Settings, source: Path) -> Settings:
    stored = stored_settings(source, settings)
    for key in _OWN:
        stored[key] = settings[key]
    return stored


def _keep(settings: Settings, run: Path) -> None:
    """Put what the new run needs of the old one into its folder, the settings last."""
    source = source_run(settings)
    made = made_camera(settings, source)
    raw, own = config_of(source), read_json(run / CONFIG)
    raw = raw | {key: own[key] for key in _OWN} | {"baselines": {}, "trade_off": []}
    if made is not None:
        reached = within_reach(to_si(OmegaConf.create(raw)), made)
        raw |= {key: f"{reached[key]!r} m" for key in ("nearest", "farthest")}
        distances = [f"{value!r} m" for value in reached["evaluation"]["distances"]]
        raw["evaluation"] = raw["evaluation"] | {"distances": distances}
        save_calibrated(run / CALIBRATED, made)
    for name in _KEPT:
        shutil.copyfile(source / name, run / name)
    save_json(run / FROZEN, {"source": str(source), "config": raw})
