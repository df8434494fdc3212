"""What a finished camera protects and what it leaves useful, measured on people never seen.

Probe: the measurement, aligned by the true landmarks. Gallery: clear, different pictures. All
pairs; the recogniser that finds most counts. Three looks at identity: recognisers as they are,
recognisers fine-tuned on measurements of other people, and recognisers as they are on the best
linear inversion with the exact PSF, after one frame and after many, at several exposures.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from anonymizer.alignment import align_faces
from anonymizer.colour import encode_srgb
from anonymizer.heatmaps import normalised_mean_error
from anonymizer.recognition import Recognizer
from anonymizer.recognition.protocol import Verification, verify
from experiments.adversary import Attacker, embed_clear
from experiments.data.crops import FaceCrops
from experiments.objectives import ScenePower
from experiments.scene import (
    FACE_WIDTH,
    Framing,
    Scenes,
    crop_pixels,
    generator_for,
    load_scenes,
    network_view,
    observe,
    reframe,
)
from optics import Camera
from optics.quality import energy_inside, rms_radius, wiener

log = logging.getLogger(__name__)

Metrics = dict[str, float]


@dataclass(frozen=True)
class Protocol:
    """How a camera is judged.

    Attributes
    ----------
    distances : sequence of float
        Where privacy and utility are measured [m].
    reference : float
        Distance of the plain keys and of the inversion [m].
    frames : sequence of int
        Frames the inverting attacker averages.
    exposures : sequence of float
        Further exposures at which the inversion is tried [e- per binned pixel, scene white].
    regularisation : sequence of float
        Noise powers tried by the Wiener filter, relative to the true one; the best on other
        people is used.
    tuning_images : int
        Pictures of other people on which that choice is made.
    max_images : int
        At most this many test pictures.
    batch : int
        Pictures measured at once.
    nodes : int
        Wavelengths per colour channel of the final PSFs.
    """

    distances: Sequence[float]
    reference: float
    frames: Sequence[int] = (1, 100)
    exposures: Sequence[float] = (10e3, 1e3)
    regularisation: Sequence[float] = (0.1, 1.0, 10.0, 100.0)
    tuning_images: int = 96
    max_images: int = 600
    batch: int = 32
    nodes: int = 7

    def __post_init__(self) -> None:
        if not self.distances or min(self.distances) <= 0:
            raise ValueError(f"distances = {list(self.distances)}: positive lengths are needed")
        if self.reference not in self.distances:
            raise ValueError(
                f"distances = {list(self.distances)} m do not hold the reference distance "
                f"{self.reference:g} m; add it"
            )
        if min(self.frames) < 1 or min(self.exposures, default=1) <= 0:
            raise ValueError("frames and exposures must be positive")


@dataclass(frozen=True)
class Judges:
    """Who looks at the measurements.

    Attributes
    ----------
    recognizers : mapping of str to Recognizer
        The pool, off the shelf.
    retrained : mapping of str to Attacker
        The same, fine-tuned on measurements of this camera.
    """

    recognizers: Mapping[str, Recognizer]
    retrained: Mapping[str, Attacker]


@dataclass
class TestSet:
    """Test pictures with their framing and the clear embeddings of the pool.

    Attributes
    ----------
    crops : FaceCrops
        The pictures.
    framing : Framing
        Random framing, without mirroring; the same for every camera.
    seed : int
        Seed of framing and noise.
    gallery : dict of str to Tensor
        Clear embeddings by recogniser.
    """

    crops: FaceCrops
    framing: Framing
    seed: int
    gallery: dict[str, Tensor] = field(default_factory=dict)

    @property
    def has_identities(self) -> bool:
        """Whether people can be told apart at all."""
        people = self.crops.person
        known = people[people >= 0]
        return len(known) > 0 and len(np.unique(known)) > 1 and len(np.unique(known)) < len(known)

    def enrol(self, recognizers: Mapping[str, Recognizer]) -> None:
        """Embed the clear pictures with every recogniser of the pool."""
        for name, recognizer in recognizers.items():
            if self.has_identities and name not in self.gallery:
                self.gallery[name] = embed_clear(recognizer, self.crops)

    def batches(self, size: int) -> list[np.ndarray]:
        """Rows of the pictures, `size` at a time."""
        count = len(self.crops)
        return [np.arange(a, min(a + size, count)) for a in range(0, count, size)]

    def scenes(self, rows: np.ndarray, device: torch.device) -> Scenes:
        """Frame the pictures `rows`, always in the same way."""
        sources = [generator_for(self.seed, "framing", int(row)) for row in rows]
        return reframe(load_scenes(self.crops, rows), self.framing, sources).to(device)

    def noise(self, rows: np.ndarray, *key: object) -> list[torch.Generator]:
        """Noise sources of the pictures `rows` for one condition."""
        return [generator_for(self.seed, "noise", *key, int(row)) for row in rows]


def evaluate_camera(
    camera: Camera,
    psfs: Mapping[float, Tensor],
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
    camera, regressor : Camera, nn.Module
        What is judged.
    psfs : mapping of float to Tensor
        PSF (3, h, w) of the camera at every distance of the protocol.
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
    device = next(regressor.parameters()).device
    out: Metrics = {}
    test.enrol(judges.recognizers)
    tuning.enrol(judges.recognizers)
    inversions = [(f, e) for e in (None, *protocol.exposures) for f in protocol.frames]
    total = len(protocol.distances) + (len(inversions) if test.has_identities else 0)
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
            if test.has_identities:
                bar.update()
    return out


def clear_numbers(regressor: nn.Module, judges: Judges, test: TestSet, batch: int) -> Metrics:
    """Ceilings: landmarks and identity on clear pictures, framed like the measurements."""
    device = next(regressor.parameters()).device
    test.enrol(judges.recognizers)
    errors, probes = [], {name: [] for name in judges.recognizers}  # type: ignore[var-annotated]
    with torch.no_grad():
        for rows in test.batches(batch):
            scenes = test.scenes(rows, device)
            errors.append(
                normalised_mean_error(regressor(scenes.light).landmarks(), scenes.landmarks)
            )
            for name, recognizer in judges.recognizers.items():
                faces = align_faces(scenes.light, scenes.landmarks)
                probes[name].append(recognizer(faces).cpu())
    out: Metrics = {"landmark_nme_clear": float(torch.cat(errors).mean())}
    if test.has_identities:
        found = {n: _verify(torch.cat(p), test, n) for n, p in probes.items()}
        out |= _worst("reid_auc_clear", found)
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
            name.split("/")[1]: _verify(torch.cat(rows), test, name.split("/")[1])
            for name, rows in probes.items()
            if name.startswith(kind)
        }
        if found:
            out |= _worst(f"reid_auc_{kind}", found)
    return out


def _embedder(recognizer: Recognizer) -> Callable[[Tensor, Tensor], Tensor]:
    def look(measurement: Tensor, landmarks: Tensor) -> Tensor:
        out: Tensor = recognizer(align_faces(measurement, landmarks))
        return out

    return look


def _verify(probe: Tensor, test: TestSet, name: str) -> Verification:
    """All pairs of probe and clear gallery, never a picture against itself."""
    people = test.crops.person
    known = np.flatnonzero(people >= 0)
    return verify(
        probe.numpy()[known],
        test.gallery[name].numpy()[known],
        probe_person=people[known],
        gallery_person=people[known],
        probe_image=known,
        gallery_image=known,
        seed=test.seed,
    )


def _worst(key: str, found: Mapping[str, Verification]) -> Metrics:
    """Numbers of the recogniser that finds most, and every AUC under its name."""
    name = max(found, key=lambda n: found[n].auc.value)
    auc, worst = found[name].auc, found[name]
    out = {key: auc.value, f"{key}_lo": auc.low, f"{key}_hi": auc.high}
    out |= {f"{key}_rank1": worst.rank1, f"{key}_rank1_chance": worst.rank1_chance}
    if 1e-2 in worst.tar:
        out[f"{key}_tar_0.01"] = worst.tar[1e-2].value
    return out | {f"{key}_by_{n}": v.auc.value for n, v in found.items()}


def _psf_numbers(camera: Camera, psf: Tensor, distance: float) -> Metrics:
    face = camera.image_size(FACE_WIDTH, distance)
    return {
        "psf_energy_inside": float(energy_inside(psf).mean()),
        "psf_spread_face_widths": float(rms_radius(psf).mean()) / face,
        "exposure_e": camera.sensor.binned_white_electrons,
        "face_width_pixels": face,
    }


class Inversion:
    """Wiener inversion with the exact PSF, then the recognisers as they are.

    Parameters
    ----------
    camera : Camera
        The camera under attack.
    psf : Tensor
        (3, h, w) its exact PSF at the reference distance.
    scene_power : ScenePower
        What the attacker expects of faces.
    protocol : Protocol
        Distances and regularisation.
    frames : int
        Frames averaged.
    exposure : float or None
        Electrons of scene white per binned pixel; None is the camera's own [e-].
    """

    def __init__(
        self,
        camera: Camera,
        psf: Tensor,
        scene_power: ScenePower,
        protocol: Protocol,
        frames: int,
        exposure: float | None,
    ) -> None:
        self.camera, self.psf, self.frames = camera, psf, frames
        self.protocol = protocol
        self.exposure = exposure
        own = camera.sensor.binned_white_electrons
        self.white = camera.sensor.white_electrons * (1.0 if exposure is None else exposure / own)
        self.pixels = crop_pixels(camera, protocol.reference, scene_power.context)
        self.size = self.pixels + psf.shape[-1] - 1
        self.power = scene_power.on_grid(pixels=self.pixels, size=self.size).to(torch.float32)

    @property
    def suffix(self) -> str:
        """Ending of the keys: frames, then the exposure if it is not the camera's own."""
        extra = "" if self.exposure is None else f"_{self.exposure / 1e3:g}ke"
        return f"_{self.frames}{extra}"

    def restore(
        self, test: TestSet, rows: np.ndarray, device: torch.device, strength: float
    ) -> Tensor:
        """Invert the measurements of `rows`: (B, 3, S, S) linear light, clipped to [0, 1]."""
        scenes = test.scenes(rows, device)
        seen = observe(
            self.camera,
            self.psf,
            scenes,
            self.protocol.reference,
            test.noise(rows, "inversion", self.frames, self.exposure),
            white_electrons=self.white,
            frames=self.frames,
            extent="full",
        )
        backdrop = scenes.surround[:, :, None, None]  # taken as known to the attacker
        offset = backdrop * self.psf.to(seen).sum((-2, -1))[:, None, None]
        level = scenes.light.mean((0, 2, 3))[:, None, None]
        noise = self.camera.sensor.mean_and_variance(level, white_electrons=self.white)[1]
        power = noise.flatten().to(seen) / self.frames * strength
        found = wiener(seen - offset, self.psf, scene_power=self.power, noise_power=power)
        light = found[..., : self.pixels, : self.pixels] + backdrop
        return network_view(light, scenes.size).clamp(0, 1)

    def judge(
        self,
        recognizers: Mapping[str, Recognizer],
        test: TestSet,
        device: torch.device,
        strength: float,
    ) -> Metrics:
        """PSNR and identity after inversion with one regularisation."""
        probes: dict[str, list[Tensor]] = {name: [] for name in recognizers}
        decibels = []
        with torch.no_grad():
            for rows in test.batches(self.protocol.batch):
                light = self.restore(test, rows, device, strength)
                scenes = test.scenes(rows, device)
                decibels.append(_psnr(light, scenes.light))
                if test.has_identities:
                    faces = align_faces(light, scenes.landmarks)
                    for name, recognizer in recognizers.items():
                        probes[name].append(recognizer(faces).cpu())
        out: Metrics = {
            f"inversion_psnr{self.suffix}": float(torch.cat(decibels).mean()),
            f"inversion_strength{self.suffix}": strength,
        }
        if test.has_identities:
            found = {n: _verify(torch.cat(p), test, n) for n, p in probes.items()}
            worst = _worst("reid_auc_inverted", found)
            base = len("reid_auc_inverted")
            out |= {f"reid_auc_inverted{self.suffix}{k[base:]}": v for k, v in worst.items()}
        return out

    def tune(
        self, recognizers: Mapping[str, Recognizer], tuning: TestSet, device: torch.device
    ) -> float:
        """Regularisation with the highest AUC of the first recogniser on other people."""
        if len(self.protocol.regularisation) == 1:
            return self.protocol.regularisation[0]
        best, chosen = -np.inf, 1.0
        name = next(iter(recognizers), None)
        with torch.no_grad():
            for strength in self.protocol.regularisation:
                score = 0.0
                rows_all, probes = [], []
                for rows in tuning.batches(self.protocol.batch):
                    light = self.restore(tuning, rows, device, strength)
                    scenes = tuning.scenes(rows, device)
                    rows_all.append(_psnr(light, scenes.light))
                    if name is not None and tuning.has_identities:
                        probes.append(recognizers[name](align_faces(light, scenes.landmarks)).cpu())
                score = float(torch.cat(rows_all).mean())
                if probes:
                    score = _verify(torch.cat(probes), tuning, str(name)).auc.value
                if score > best:
                    best, chosen = score, strength
        return chosen


def _psnr(found: Tensor, true: Tensor) -> Tensor:
    """Peak signal-to-noise ratio per picture of sRGB values in [0, 1] (B,) [dB]."""
    error = (encode_srgb(found) - encode_srgb(true)).square().mean((1, 2, 3))
    return -10 * error.clamp(min=1e-12).log10()
