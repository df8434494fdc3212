"""One co-design run: its cameras and networks, how they are trained, kept and measured."""

import copy
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from anonymizer.recognition import Recognizer
from calibration.measured_camera import CalibratedCamera
from experiments.adversary import Attacker, embed_clear, paired_rows
from experiments.calibrated import CALIBRATED, load_calibrated
from experiments.cameras import LEARNED, Baseline, build_baseline, build_camera, build_maker
from experiments.data.crops import FaceCrops
from experiments.described import (
    build_objective,
    build_protocol,
    build_setting,
    load_scene_power,
)
from experiments.distributed import distributed, is_first, wait_for_all
from experiments.evaluation import evaluate_camera
from experiments.joint import Design, joint_stage, mask_stage, start_average
from experiments.judging import Parts, build_pool, limit, limit_people
from experiments.mask_file import load_mask, save_mask
from experiments.objectives import HeatmapTerm, ScenePower
from experiments.protocol import Judges, Metrics, Protocol, TestSet
from experiments.scene import load_scenes
from experiments.settings import build
from experiments.stages import (
    JointSchedule,
    MaskSchedule,
    Schedule,
    StaticCamera,
    attack_loss,
    attacker_stage,
    baseline_stage,
    clear_stage,
)
from experiments.store import (
    file_sha256,
    load_arrays,
    load_tensors,
    save_arrays,
    save_tensors,
)
from experiments.training import Stage, fit
from optics import Camera

log = logging.getLogger(__name__)


class Codesign:
    """One run: what is learned, compared and judged, and where it is kept.

    Parameters
    ----------
    settings : mapping
        Settings in SI units.
    run : Path
        Run folder.
    calibrated : CalibratedCamera, optional
        Stands in the place of the learned camera; by default the one that the run keeps, if any.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        run: Path,
        *,
        calibrated: CalibratedCamera | None = None,
    ) -> None:
        self.settings, self.run = settings, run
        self.processes = distributed(settings["device"])
        self.setting = build_setting(settings, self.processes)
        self.protocol = build_protocol(settings)
        self.plans: dict[str, Any] = {
            name: build(settings[name]) for name in ("clear", "joint", "baseline", "attack")
        }
        self.shaping: MaskSchedule = build(settings["shaping"])
        self.baselines: dict[str, Baseline] = {
            name: build(node) for name, node in settings["baselines"].items()
        }
        self.utility = HeatmapTerm()
        device = self.processes.device
        self.pool = {n: r.to(device) for n, r in build_pool(settings).items()}
        torch.manual_seed(self.setting.seed)
        self.clear: nn.Module = build(settings["regressor"]).to(device)
        self.calibrated = calibrated
        if calibrated is None and (run / CALIBRATED).exists():
            self.calibrated = load_calibrated(run / CALIBRATED, self.camera(LEARNED))

    # what is trained

    def fit(self, stage: Stage, steps: int) -> None:
        """Train one stage in the run folder."""
        fit(
            stage,
            steps,
            folder=self.run,
            seed=self.setting.seed,
            checkpoint_every=self.settings["checkpoint_every"],
            log_every=self.settings["log_every"],
            progress=self.settings["progress"],
        )

    def train(self, parts: Parts) -> None:
        """Train everything, keeping the results below the run folder."""
        plan: Schedule = self.plans["clear"]
        self.fit(clear_stage(self.clear, self.utility, parts.train, plan, self.setting), plan.steps)
        power = self.scene_power(parts)
        camera, regressor = self.learn(parts, power, self.plans["joint"], "joint")
        self.keep(LEARNED, regressor, camera)
        for name in self.baselines:
            adapted = copy.deepcopy(self.clear)
            plan = self.plans["baseline"]
            stage = baseline_stage(
                name, self.static(name), adapted, self.utility, parts.train, plan, self.setting
            )
            self.fit(stage, plan.steps)
            self.keep(name, adapted, None)
        attacked = parts.attack.subset(paired_rows(parts.attack.person))
        for name in (LEARNED, *self.baselines):
            self.attack(name, attacked)

    def learn(
        self,
        parts: Parts,
        power: ScenePower,
        plan: JointSchedule,
        name: str,
        *,
        privacy: float = 1.0,
        start: str | None = None,
    ) -> tuple[Camera, nn.Module]:
        """Learn a mask and its regressor.

        Parameters
        ----------
        parts : Parts
            The pictures.
        power : ScenePower
            What the inverting attacker expects of faces.
        plan : JointSchedule
            Length and pace.
        name : str
            Name of the stage.
        privacy : float
            Factor on all terms but the landmarks.
        start : str, optional
            Finished camera to go on from, instead of a new mask that is shaped first.
        """
        camera = build_camera(self.settings) if start is None else self.camera(start)
        camera = camera.to(self.processes.device).train()
        objective = build_objective(self.settings, privacy).to(self.processes.device)
        objective.prepare(camera, power, self.setting.reference)
        maker = build_maker(camera, self.settings)
        regressor = copy.deepcopy(self.clear)
        if start is not None:
            regressor.load_state_dict(self.regressor(start).state_dict())
        attacker = None
        crops = parts.train
        if objective.needs_adversary:
            crops = crops.subset(paired_rows(crops.person))
            first = next(iter(self.pool.values()))
            attacker = self.enrolled(first, crops)
        if start is None and objective.shapes_mask_alone and self.shaping.steps:
            stage = mask_stage(maker, objective, self.shaping, self.setting, name=f"{name}_mask")
            self.fit(stage, self.shaping.steps)
        design = Design(maker, regressor, start_average(regressor), objective, attacker)
        stage = joint_stage(design, crops, plan, self.shaping, self.setting, name=name)
        self.fit(stage, plan.steps)
        average = design.average.module
        if not isinstance(average, nn.Module):
            raise TypeError("the moving average holds no module")
        return camera, average

    def enrolled(self, recognizer: Recognizer, crops: FaceCrops) -> Attacker:
        """Attacker that starts as `recognizer`, with `crops` as its clear gallery."""
        attacker = Attacker(recognizer).to(self.processes.device)
        people = torch.from_numpy(crops.person).to(self.processes.device)
        attacker.enrol(embed_clear(recognizer, crops).to(self.processes.device), people)
        return attacker

    def attack(self, name: str, crops: FaceCrops) -> None:
        """Fine-tune every recogniser of the pool on measurements of one camera.

        Each tries the learning rates `attack_rates` times that of the plan, and keeps what names
        the people it learned from best; too fast a rate can lose all a recogniser knew, and a
        failed attack must not pass for protection.
        """
        plan: Schedule = self.plans["attack"]
        fixed = self.static(name)
        for label, recognizer in self.pool.items():
            path = self.folder(name) / f"attacker_{label}.safetensors"
            if path.exists():
                continue
            best = self.enrolled(recognizer, crops)
            least, kept = attack_loss(best, fixed, crops, self.setting), 0.0
            for number, rate in enumerate(self.settings["attack_rates"], 1):
                attacker = self.enrolled(recognizer, crops)
                stage = attacker_stage(
                    f"attacker_{name}_{label}" + (f"_{number}" if number > 1 else ""),
                    fixed,
                    attacker,
                    crops,
                    replace(plan, learning_rate=plan.learning_rate * rate),
                    self.setting,
                )
                self.fit(stage, plan.steps)
                loss = attack_loss(attacker, fixed, crops, self.setting)
                if loss < least:
                    best, least, kept = attacker, loss, rate
            if not kept and plan.steps:
                log.warning(
                    "%s, %s: no fine-tuned attacker is better than the recogniser as it was; try "
                    "other attack_rates or more attack.steps before trusting reid_auc_retrained",
                    name,
                    label,
                )
            if is_first():
                notes = {"trained_on": name, "rate": f"{kept:g}", "loss": f"{least:.4f}"}
                save_tensors(path, best.probe.state_dict(), notes)
            wait_for_all()

    def refine(self, crops: FaceCrops, start: nn.Module) -> None:
        """Adapt the regressor `start` to the learned camera, whose mask stays as it is."""
        plan: Schedule = self.plans["baseline"]
        regressor = copy.deepcopy(start).requires_grad_(True).train()
        fixed = self.static(LEARNED)
        stage = baseline_stage(LEARNED, fixed, regressor, self.utility, crops, plan, self.setting)
        self.fit(stage, plan.steps)
        self.keep(LEARNED, regressor, None)

    # what is kept

    def folder(self, name: str) -> Path:
        """Folder of one camera's networks."""
        return self.run / "cameras" / name

    def keep(self, name: str, regressor: nn.Module, camera: Camera | None) -> None:
        """Store a regressor and, for the learned camera, its mask."""
        if is_first():
            weights = regressor.state_dict()
            save_tensors(self.folder(name) / "regressor.safetensors", weights, {"camera": name})
            if camera is not None:
                camera.eval()  # a mask whose levels are annealed has them exactly from now on
                path = self.run / "config.json"
                digest = file_sha256(path) if path.exists() else ""
                save_mask(self.mask_path(name), camera, config_sha256=digest)
        wait_for_all()

    def mask_path(self, name: str) -> Path:
        """Where the mask of a learned camera is kept; the run's own stands in front."""
        return (self.run if name == LEARNED else self.folder(name)) / "mask.safetensors"

    def camera(self, name: str) -> Camera:
        """Camera `name` as it was finished, on the device."""
        if name in self.baselines:
            camera = build_baseline(
                self.baselines[name],
                self.settings,
                context=self.settings["context"],
                reference=self.setting.reference,
            )
            return camera.to(self.processes.device)
        camera = build_camera(self.settings)
        load_mask(self.mask_path(name), camera)
        return camera.to(self.processes.device).eval()

    def static(self, name: str) -> StaticCamera:
        """Camera `name` with its PSFs; they are computed once and kept."""
        distances = sorted({*self.setting.grid(), *self.protocol.distances})
        if name == LEARNED and self.calibrated is not None:
            made = self.calibrated.to(self.processes.device)
            return StaticCamera(made.design, dict(zip(distances, made.psf(distances), strict=True)))
        camera = self.camera(name)
        path = self.folder(name) / "psfs.npz"
        if is_first() and not path.exists():
            arrays = {"psfs": self._psfs(name, camera, distances), "distances": np.array(distances)}
            save_arrays(path, arrays)
        wait_for_all()
        arrays = load_arrays(path)
        known = dict(zip(arrays["distances"].tolist(), arrays["psfs"], strict=True))
        if missing := [d for d in distances if d not in known]:  # judged elsewhere than trained
            known |= dict(zip(missing, self._psfs(name, camera, missing), strict=True))
        device = self.processes.device
        return StaticCamera(camera, {d: torch.from_numpy(known[d]).to(device) for d in distances})

    def _psfs(self, name: str, camera: Camera, distances: list[float]) -> NDArray[np.float32]:
        """Compute the PSFs (D, 3, h, w) of a finished camera."""
        log.info("%s: PSFs at %d distances", name, len(distances))
        with torch.no_grad():
            psfs = camera.psf(distances, nodes=self.protocol.nodes)
        return np.asarray(psfs.cpu().numpy(), np.float32)

    def regressor(self, name: str) -> nn.Module:
        """Regressor of camera `name`, frozen."""
        network = copy.deepcopy(self.clear)
        network.load_state_dict(load_tensors(self.folder(name) / "regressor.safetensors")[0])
        return network.requires_grad_(False).eval()

    def judges(self, name: str) -> Judges:
        """Return the pool and its copies that were trained on camera `name`."""
        retrained = {}
        for label, recognizer in self.pool.items():
            path = self.folder(name) / f"attacker_{label}.safetensors"
            if not path.exists():  # judged on another kind of pictures than it learned from
                log.warning("%s: no attacker was made of %s; it judges as it is", name, label)
                continue
            attacker = Attacker(recognizer)
            attacker.probe.load_state_dict(load_tensors(path)[0])
            retrained[label] = attacker.to(self.processes.device).requires_grad_(False).eval()
        return Judges(self.pool, retrained)

    def scene_power(self, parts: Parts) -> ScenePower:
        """Mean spectrum of training faces; measured once and kept."""
        path = self.run / "scene_power.npz"
        if is_first() and not path.exists():
            some = limit(parts.train, 256)
            power = ScenePower.measure(load_scenes(some, range(len(some))))
            save_arrays(
                path,
                {
                    "cycles": power.cycles.numpy(),
                    "power": power.power.numpy(),
                    "context": np.array(power.context),
                },
            )
        wait_for_all()
        return load_scene_power(path)

    # what is measured

    def test_sets(
        self, test: FaceCrops, tuning: FaceCrops, protocol: Protocol
    ) -> tuple[TestSet, TestSet]:
        """People to judge on, and others to tune the inversion on, unmirrored."""
        framing, seed = replace(self.setting.framing, flip=False), self.setting.seed
        held = TestSet(limit_people(test, protocol.max_images), framing, seed)
        return held, TestSet(limit_people(tuning, protocol.tuning_images), framing, seed + 1)

    def judge(
        self,
        name: str,
        held: TestSet,
        other: TestSet,
        protocol: Protocol,
        strengths: Mapping[str, float] | None = None,
    ) -> Metrics:
        """Judge one finished camera with its regressor and its attackers."""
        return evaluate_camera(
            self.static(name),
            self.regressor(name),
            self.judges(name),
            held,
            other,
            protocol,
            load_scene_power(self.run / "scene_power.npz"),
            label=name,
            strengths=strengths,
            progress=self.settings["progress"],
        )
