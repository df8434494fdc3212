"""Learn a phase mask and a landmark regressor together, and measure what that protects.

The mask in front of the lens is learned with a network that reads 68 facial landmarks off the
measurement, against a recogniser that learns from the same measurements and against the best
inversion with the exact PSF. Then the camera is compared with a bare, a defocused, a coarse and a
randomly masked one, on people none of the networks has seen.

    ./lab codesign                                    the bundled synthetic faces
    ./lab codesign data=folder data.root=photos       one sub-folder per person
    ./lab codesign mask=zernike joint.steps=10000     another mask, longer
    ./lab codesign resume=true                        go on with the newest interrupted run
    ./lab codesign run=latest data=folder data.root=others evaluate=true

With a calibration (`./lab calibrate`) the camera that was made stands in the place of the design:

    ./lab codesign freeze=mask camera=calibrated calibration=latest    fine-tune and attack anew
    ./lab codesign run=latest camera=calibrated calibration=latest evaluate=true
    ./lab codesign simulate run=latest camera=calibrated calibration=latest data=lfw data.root=...
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from experiments.adversary import paired_rows
from experiments.calibrated import is_calibrated, within_reach
from experiments.cameras import LEARNED, build_baseline, build_camera
from experiments.data.crops import FaceCrops
from experiments.described import (
    build_objective,
    build_protocol,
    build_setting,
    stored_settings,
)
from experiments.design import Codesign
from experiments.distributed import distributed, is_first, wait_for_all
from experiments.judging import Parts, build_pool, open_crops, open_parts
from experiments.launch import find_run, run_job
from experiments.protocol import Metrics
from experiments.refining import check_frozen, made_camera, refine
from experiments.report import write_report
from experiments.settings import Settings, SettingsError, build
from experiments.simulating import simulate
from experiments.store import (
    atomic_write,
    read_json,
    save_json,
    save_tensors,
)
from experiments.verdicts import judge_cameras

log = logging.getLogger(__name__)


def main(settings: Settings, run: Path) -> None:
    """Train and judge, or judge a finished run on other people."""
    if settings["evaluate"] or settings["what"] == "evaluate":
        evaluate(settings, run)
        return
    if settings["what"] == "simulate":
        work, _ = _finished(settings)
        simulate(work, open_crops(settings["data"], work.settings), run)
        return
    if settings["freeze"] is not None:
        metrics = refine(settings, run)
        if metrics is not None:
            write_report(run)
            _summary(metrics, beside=("as_designed", "as_made"))
        return
    work = Codesign(settings, run)
    parts = open_parts(settings)
    _announce(parts)
    work.train(parts)
    trade_off(work, parts)
    if not is_first():
        return
    save_tensors(run / "regressor_clear.safetensors", work.clear.state_dict(), {"camera": "none"})
    save_json(run / "people.json", {"learned_from": _people(parts.attack)})
    metrics = judge_cameras(work, parts.test, parts.tuning, run, None)
    write_report(run)
    _summary(metrics)


def evaluate(settings: Settings, run: Path) -> None:
    """Judge the finished run `run=` on the people in `data`, with its stored attackers."""
    work, source = _finished(settings)
    stored = work.settings
    crops = open_crops(stored["data"], stored)
    known = set(read_json(source / "people.json")["learned_from"])
    fresh = crops
    if (crops.person >= 0).any():
        fresh = crops.of_people({name for name in crops.names if name not in known})
    log.info("%d pictures of people this run never learned from", len(fresh))
    strengths = read_json(source / "inversion_strengths.json")
    metrics = judge_cameras(work, fresh, fresh, run, strengths)
    atomic_write(run / "metrics.jsonl", (source / "metrics.jsonl").read_bytes())
    write_report(run)
    _summary(metrics)


def _finished(settings: Settings) -> tuple[Codesign, Path]:
    """Return the finished run `run=`, to look at `data` with the camera chosen, and its folder."""
    source = find_run("codesign", str(settings["run"]))
    stored = stored_settings(source, settings)
    for key in ("data", "evaluation"):  # the recognisers are those that became its attackers
        stored[key] = settings[key]
    made = made_camera(settings, source)
    if made is not None:
        stored = within_reach(stored, made)
    return Codesign(stored, source, calibrated=made), source


def trade_off(work: Codesign, parts: Parts) -> None:
    """Go on from the learned camera with other weights of the privacy terms.

    The mask moves at its full rate, so that a few hundred steps are enough to leave the
    learned design for another balance.
    """
    points = []
    plan = replace(work.plans["joint"], steps=work.settings["trade_off_steps"], mask_scale=1.0)
    protocol = replace(work.protocol, distances=(work.protocol.reference,), exposures=())
    for weight in work.settings["trade_off"]:
        name = f"trade_off_{weight:g}".replace(".", "_")
        power = work.scene_power(parts)
        camera, regressor = work.learn(
            parts, power, plan, f"{name}_joint", privacy=float(weight), start=LEARNED
        )
        work.keep(name, regressor, camera)
        work.attack(name, parts.attack.subset(paired_rows(parts.attack.person)))
        if is_first():
            found = work.judge(name, *work.test_sets(parts.test, parts.tuning, protocol), protocol)
            points.append({"weight": float(weight)} | found)
            save_json(work.run / "trade_off.json", points)
        wait_for_all()


def check(settings: Settings) -> None:
    """Refuse settings that cannot work, before anything is written."""
    if settings["what"] not in ("train", "evaluate", "simulate"):
        raise SettingsError(f"what = {settings['what']!r}, expected train, evaluate or simulate")
    if settings["evaluate"] or settings["what"] != "train":
        if settings["run"] is None:
            raise SettingsError(
                "evaluate = true and what = simulate need a finished run: run=latest or its folder"
            )
        source = find_run("codesign", str(settings["run"]))
        if settings["freeze"] is not None:
            raise SettingsError(
                "freeze = mask trains a run, evaluate and simulate use one: give one of them"
            )
        if is_calibrated(settings):
            made_camera(settings, source)
            return
    elif settings["freeze"] is not None:
        check_frozen(settings)
        return
    if is_calibrated(settings):
        raise SettingsError(
            "camera = calibrated: no mask can be learned behind PSFs that were measured; add "
            "freeze=mask to fine-tune the regressor, or run=<run> evaluate=true to judge it"
        )
    if settings["calibration"] is not None:
        raise SettingsError("calibration is read with camera=calibrated; add it")
    setting = build_setting(settings, distributed(settings["device"]))
    protocol = build_protocol(settings)
    camera = build_camera(settings)
    for distance in {*protocol.distances, setting.nearest, setting.farthest}:
        camera.lens.image_distance(distance)
    build_objective(settings)
    regressor = build(settings["regressor"])
    if settings["size"] % regressor.stride:
        raise SettingsError(
            f"size = {settings['size']} px: {type(regressor).__name__} needs a multiple of "
            f"{regressor.stride}"
        )
    for name in ("clear", "shaping", "joint", "baseline", "attack", "framing", "data"):
        build(settings[name])
    for node in settings["baselines"].values():
        build_baseline(
            build(node), settings, context=settings["context"], reference=protocol.reference
        )
    if min(settings["attack_rates"], default=0.0) <= 0:
        raise SettingsError(
            f"attack_rates = {settings['attack_rates']}: one or more positive numbers are needed"
        )
    if min(settings["trade_off"], default=0) < 0 or settings["trade_off_steps"] < 0:
        raise SettingsError(
            f"trade_off = {settings['trade_off']}, trade_off_steps = "
            f"{settings['trade_off_steps']}: zero or positive numbers are needed"
        )
    build_pool(settings)


def _people(crops: FaceCrops) -> list[str]:
    return sorted({crops.names[i] for i in crops.person if i >= 0})


def _announce(parts: Parts) -> None:
    for name in ("train", "attack", "tuning", "test"):
        crops: FaceCrops = getattr(parts, name)
        log.info("%s: %d pictures of %d people", name, len(crops), len(_people(crops)))


def _summary(metrics: Metrics, *, beside: Sequence[str] = ()) -> None:
    keys = (
        "landmark_nme_clear",
        "landmark_nme",
        "reid_auc_clear",
        "reid_auc_offtheshelf",
        "reid_auc_retrained",
        "reid_auc_inverted_100",
        "psf_spread_face_widths",
    )
    for key in keys:
        if key in metrics:
            low, high = metrics.get(f"{key}_lo"), metrics.get(f"{key}_hi")
            interval = "" if low is None else f"  [{low:.3f}, {high:.3f}]"
            others = [f"{n} {metrics[f'{n}/{key}']:.3f}" for n in beside if f"{n}/{key}" in metrics]
            more = f"  ({', '.join(others)})" if others else ""
            log.info("%-26s %.3f%s%s", key, metrics[key], interval, more)


if __name__ == "__main__":
    run_job("codesign", main, check=check)
