"""What a finished camera protects and what it leaves useful, measured on people never seen.

Probe: the measurement, aligned by the true landmarks. Gallery: clear, different pictures. All
pairs; the recogniser that finds most counts. Three looks at identity: recognisers as they are,
recognisers fine-tuned on measurements of other people, and recognisers as they are on the best
linear inversion with the exact PSF, after one frame and after many, at several exposures.
"""

import logging
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from tqdm import tqdm

from anonymizer.alignment import align_faces
from anonymizer.heatmaps import normalised_mean_error
from anonymizer.recognition import Recognizer
from experiments.inversion import Inversion
from experiments.objectives import ScenePower
from experiments.protocol import Judges, Metrics, Protocol, TestSet, verification, worst_of
from experiments.scene import (
    FACE_WIDTH,
    network_view,
    observe,
)
from experiments.stages import StaticCamera
from optics import Camera
from optics.quality import energy_inside, rms_radius

log = logging.getLogger(__name__)


def evaluate_camera(
    fixed: StaticCamera,
    regressor: nn.Module,
    judges: Judges,
    test: TestSet,
    tuning: TestSet,
    protocol: Protocol,
    scene_power: ScenePower,
    *,
    label: str,
    strengths: Mapping[str, float] | None = None,
    progress: bool = True,
) -> Metrics:
    """Measure one camera.

    Parameters
    ----------
    fixed : StaticCamera
        What is judged, with its PSFs at every distance of the protocol.
    regressor : nn.Module
        The network that reads its measurements.
    judges : Judges
        Who looks.
    test, tuning : TestSet
        People on whom it is measured, and other people on whom the inversion is tuned.
    protocol : Protocol
        How.
    scene_power : ScenePower
        What the inverting attacker expects of faces.
    label : str
        Name for the progress bar.
    strengths : mapping of str to float, optional
        Regularisation by suffix, instead of tuning.
    progress : bool
        Show a progress bar where there is a terminal.

    Returns
    -------
    dict of str to float
        Flat keys; those of other distances start with "<distance>m/".
    """
    camera, psfs = fixed.camera, fixed.psfs
    device = next(regressor.parameters()).device
    out: Metrics = {}
    test.enrol(judges.recognizers)
    tuning.enrol(judges.recognizers)
    inversions = [(f, e) for e in (None, *protocol.exposures) for f in protocol.frames]
    elsewhere = [d for d in protocol.distances if d != protocol.reference and protocol.frames]
    total = len(protocol.distances) + len(inversions) + len(elsewhere)
    with tqdm(total=total, desc=f"evaluate {label}", disable=None if progress else True) as bar:
        for distance in protocol.distances:
            psf = psfs[distance]
            found = _at_distance(camera, psf, regressor, judges, test, protocol, distance, device)
            out |= {f"{distance:g}m/{key}": value for key, value in found.items()}
            if distance == protocol.reference:
                out |= found | _psf_numbers(camera, psf, distance)
            bar.update()
        for frames, exposure in inversions:
            attack = Inversion(
                camera, psfs[protocol.reference], scene_power, protocol, frames, exposure
            )
            strength = (strengths or {}).get(attack.suffix)
            if strength is None:
                strength = attack.tune(judges.recognizers, tuning, device)
            out |= attack.judge(judges.recognizers, test, device, strength)
            bar.update()
        for distance in elsewhere:  # a band that is dead at one distance need not be at another
            frames = max(protocol.frames)
            attack = Inversion(
                camera, psfs[distance], scene_power, protocol, frames, None, distance=distance
            )
            strength = float(out[f"inversion_strength{attack.suffix}"])
            found = attack.judge(judges.recognizers, test, device, strength)
            out |= {f"{distance:g}m/{key}": value for key, value in found.items()}
            bar.update()
    return out


def clear_numbers(
    regressor: nn.Module, pool: Mapping[str, Recognizer], test: TestSet, batch: int
) -> Metrics:
    """Ceilings: landmarks and identity on clear pictures, framed like the measurements."""
    device = next(regressor.parameters()).device
    test.enrol(pool)
    errors, probes = [], {name: [] for name in pool}  # type: ignore[var-annotated]
    with torch.no_grad():
        for rows in test.batches(batch):
            scenes = test.scenes(rows, device)
            errors.append(
                normalised_mean_error(regressor(scenes.light).landmarks(), scenes.landmarks)
            )
            for name, recognizer in pool.items():
                faces = align_faces(scenes.light, scenes.landmarks)
                probes[name].append(recognizer(faces).cpu())
    out: Metrics = {"landmark_nme_clear": float(torch.cat(errors).mean())}
    if test.has_identities:
        found = {n: verification(torch.cat(p), test, n) for n, p in probes.items()}
        out |= worst_of("reid_auc_clear", found)
    return out


def _at_distance(
    camera: Camera,
    psf: Tensor,
    regressor: nn.Module,
    judges: Judges,
    test: TestSet,
    protocol: Protocol,
    distance: float,
    device: torch.device,
) -> Metrics:
    """Landmarks, off-the-shelf and retrained identity at one distance."""
    probes: dict[str, list[Tensor]] = {}
    errors = []
    lookers: dict[str, Callable[[Tensor, Tensor], Tensor]] = {}
    if test.has_identities:
        for name, recognizer in judges.recognizers.items():
            lookers[f"offtheshelf/{name}"] = _embedder(recognizer)
        for name, attacker in judges.retrained.items():
            lookers[f"retrained/{name}"] = attacker.embed
    with torch.no_grad():
        for rows in test.batches(protocol.batch):
            scenes = test.scenes(rows, device)
            seen = observe(camera, psf, scenes, distance, test.noise(rows, distance))
            seen = network_view(seen, scenes.size)
            errors.append(normalised_mean_error(regressor(seen).landmarks(), scenes.landmarks))
            for name, look in lookers.items():
                probes.setdefault(name, []).append(look(seen, scenes.landmarks).cpu())
    out: Metrics = {"landmark_nme": float(torch.cat(errors).mean())}
    for kind in ("offtheshelf", "retrained"):
        found = {
            name.split("/")[1]: verification(torch.cat(rows), test, name.split("/")[1])
            for name, rows in probes.items()
            if name.startswith(kind)
        }
        if found:
            out |= worst_of(f"reid_auc_{kind}", found)
    return out


def _embedder(recognizer: Recognizer) -> Callable[[Tensor, Tensor], Tensor]:
    def look(measurement: Tensor, landmarks: Tensor) -> Tensor:
        out: Tensor = recognizer(align_faces(measurement, landmarks))
        return out

    return look


def _psf_numbers(camera: Camera, psf: Tensor, distance: float) -> Metrics:
    face = camera.image_size(FACE_WIDTH, distance)
    return {
        "psf_energy_inside": float(energy_inside(psf).mean()),
        "psf_spread_face_widths": float(rms_radius(psf).mean()) / face,
        "exposure_e": camera.sensor.binned_white_electrons,
        "face_width_pixels": face,
    }
