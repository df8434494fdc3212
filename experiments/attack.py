"""Attack what hides a face: a camera that was learned, or a protection of photographs.

Every attack of the suite learns from people of its own, chooses on others, and is measured once on
a third group. The one that finds most is what the defence is worth. Floor and ceiling stand beside
it: noise that knows nothing of the face, and the clear face.

    ./lab attack method=pixelate
    ./lab attack method=proface_s suite@attacks=full
    ./lab attack camera design=latest
    ./lab attack camera design=<codesign run> camera_name=defocused
    ./lab attack resume=true                         go on with the attacks that are left
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.attacks import Attack, CameraDefence, Defence, ProtectionDefence, Trial, report
from experiments.attacks.trial import of_source
from experiments.cameras import LEARNED
from experiments.data.crops import FaceCrops
from experiments.described import load_scene_power, stored_settings
from experiments.design import Codesign
from experiments.distributed import distributed
from experiments.judging import build_pool, limit_people, open_crops
from experiments.launch import find_run, run_job
from experiments.protect import frame_of, open_method
from experiments.report.attack_sheet import attack_sheet, wall
from experiments.report.sheet import write_sheet
from experiments.settings import Settings, SettingsError, build
from experiments.store import load_arrays, read_json, save_arrays, save_json

REPORT, PICTURES = "attack.json", "reconstructions.npz"

log = logging.getLogger(__name__)


def main(settings: Settings, run: Path) -> None:
    """Run the suite, attack by attack; those that a resumed run has finished are kept."""
    defence, known = open_defence(settings)
    trial = open_trial(settings, defence, known, run)
    attacks = build_attacks(settings)
    for name, attack in attacks.items():
        if not (run / name / REPORT).exists():
            _attack(attack, trial, name, run)
    found = {name: read_json(run / name / REPORT) for name in attacks}
    save_json(run / "metrics.json", flat(found))
    shown: dict[str, Any] = {}
    for name in attacks:
        if (run / name / PICTURES).exists():
            arrays = load_arrays(run / name / PICTURES)
            shown |= {f"{name}\n{key}": torch.from_numpy(arrays[key]) for key in arrays}
    pictures = wall(trial) | shown
    write_sheet(run, attack_sheet(described(settings), found, pictures))


def _attack(attack: Attack, trial: Trial, name: str, run: Path) -> None:
    outcome = attack.run(trial, name)
    if outcome.pictures:
        arrays = {key: np.asarray(faces) for key, faces in outcome.pictures.items()}
        save_arrays(run / name / PICTURES, arrays)
    found = report(attack, outcome, trial, name)
    save_json(run / name / REPORT, found)
    if found["result"] is None:
        log.info("%-18s not tried: %s", name, found["reason"])
        return
    result = found["result"]
    log.info(
        "%-18s AUC %.3f [%.3f, %.3f], %s", name, result["auc"], result["auc_lo"],
        result["auc_hi"], found["worst_condition"],
    )  # fmt: skip


def open_defence(settings: Settings) -> tuple[Defence, set[str]]:
    """Return what is attacked, and the people it learned from."""
    if settings["what"] == "protection":
        method = open_method(settings)
        return ProtectionDefence(method.network, method.size, frame_of(settings, method)), set()
    source = find_run("codesign", str(settings["design"]))
    stored = stored_settings(source, settings)
    work = Codesign(stored, source)
    name = settings["camera_name"]
    if name not in (LEARNED, *work.baselines):
        cameras = ", ".join((LEARNED, *work.baselines))
        raise SettingsError(f"camera_name = {name!r}: the run has {cameras}")
    for key in ("size", "context"):
        if settings[key] != stored[key]:
            raise SettingsError(
                f"{key} = {settings[key]}, but the camera was learned with {stored[key]}: add "
                f"{key}={stored[key]}"
            )
    power = load_scene_power(source / "scene_power.npz")
    known = set(read_json(source / "people.json")["learned_from"])
    return CameraDefence(work.static(name), power, work.protocol), known


def open_trial(settings: Settings, defence: Defence, known: set[str], run: Path) -> Trial:
    """Divide the people of `data` and set up the trial; nobody in `known` is tested."""
    parts = open_crops(settings["data"], settings).split()
    test = parts["test"].of_people(set(parts["test"].names) - known)
    device = distributed(settings["device"]).device
    groups = {
        "learn": parts["train"],
        "tune": limit_people(parts["attacker"], settings["tuning_pictures"]),
        "test": limit_people(test, settings["pictures"]),
    }
    for name, crops in groups.items():
        log.info("%s: %d pictures of %d people", name, len(crops), _people(crops))
    return Trial(
        defence=defence,
        pool={n: r.to(device) for n, r in build_pool(settings).items()},
        framing=build(settings["framing"]),
        folder=run,
        seed=settings["seed"],
        device=device,
        batch=settings["batch"],
        checkpoint_every=settings["checkpoint_every"],
        log_every=settings["log_every"],
        progress=settings["progress"],
        learn=groups["learn"],
        tune=groups["tune"],
        test=groups["test"],
    )


def _people(crops: FaceCrops) -> int:
    return len(np.unique(crops.person))


def build_attacks(settings: Settings) -> dict[str, Attack]:
    """Return the attacks of the suite by name, in its order."""
    attacks: dict[str, Attack] = {}
    for name, node in settings["attacks"].items():
        attack = build(node)
        if not isinstance(attack, Attack):
            raise SettingsError(f"attacks.{name}: {type(attack).__name__} is no attack")
        attacks[name] = attack
    if not attacks:
        raise SettingsError("attacks: the suite is empty; choose one, suite@attacks=standard")
    return attacks


def described(settings: Settings) -> str:
    """Return what is attacked, in a few words."""
    if settings["what"] == "camera":
        return f"camera {settings['camera_name']} of the run {settings['design']}"
    return str(settings["method"]["_target_"]).rsplit(".", 1)[-1]


def flat(found: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return all numbers as `<attack>/<condition>/<number>`, and those of the worst attack."""
    out: dict[str, float] = {}
    tried = {name: one for name, one in found.items() if one["result"] is not None}
    for name, one in tried.items():
        for condition, values in one["conditions"].items():
            out |= {f"{name}/{condition}/{key}": value for key, value in values.items()}
    for name in ("floor", "ceiling"):
        first = next(iter(found.values()))
        out |= {f"{name}/{key}": value for key, value in first[name].items()}
    if own := [name for name, one in tried.items() if of_source(one)]:
        worst = max(own, key=lambda name: tried[name]["result"]["auc"])
        out |= {f"worst/{key}": value for key, value in tried[worst]["result"].items()}
    return out


def check(settings: Settings) -> None:
    """Refuse settings that cannot work, before anything is written."""
    if settings["what"] not in ("camera", "protection"):
        raise SettingsError(f"what = {settings['what']!r}, expected camera or protection")
    if min(settings["pictures"], settings["tuning_pictures"]) < 8 or settings["batch"] < 1:
        raise SettingsError(
            f"pictures = {settings['pictures']}, tuning_pictures = {settings['tuning_pictures']}, "
            f"batch = {settings['batch']}: at least 8 pictures of each, in batches of 1 or more"
        )
    build_attacks(settings)
    for name in ("data", "framing"):
        build(settings[name])
    if settings["what"] == "camera":
        find_run("codesign", str(settings["design"]))
    else:
        build(settings["method"])


if __name__ == "__main__":
    run_job("attack", main, check=check)
