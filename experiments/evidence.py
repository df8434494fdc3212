"""Pictures and curves a person wants to see, as arrays for the report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from anonymizer.colour import encode_srgb
from experiments.data.synthetic import contact_sheet
from experiments.inversion import Inversion
from experiments.objectives import ScenePower
from experiments.protocol import Protocol, TestSet
from experiments.scene import FACE_WIDTH, crop_pixels, network_view, observe
from experiments.stages import StaticCamera
from optics import Camera
from optics.quality import radial_mtf

Arrays = dict[str, NDArray[Any]]
_CYCLES = np.geomspace(0.7, 24.0, 40)


@dataclass(frozen=True)
class Finished:
    """A camera with the regressor that reads it."""

    fixed: StaticCamera
    regressor: nn.Module


def collect(
    cameras: Mapping[str, Finished],
    test: TestSet,
    protocol: Protocol,
    scene_power: ScenePower,
    *,
    strengths: Mapping[str, float],
    people: int = 6,
) -> Arrays:
    """Gather the evidence of all cameras, the learned one first.

    Parameters
    ----------
    cameras : mapping of str to Finished
        By name, in the order of the report.
    test : TestSet
        Test pictures.
    protocol : Protocol
        How they were judged.
    scene_power : ScenePower
        What the attacker expects of faces.
    strengths : mapping of str to float
        Regularisation used, by "<camera>/<suffix>".
    people : int
        Number of people shown.
    """
    rows = _faces(test, people)
    device = next(next(iter(cameras.values())).regressor.parameters()).device
    with torch.no_grad():
        scenes = test.scenes(rows, device)
        arrays: dict[str, list[Tensor]] = {
            name: []
            for name in (
                "measurements",
                "heatmaps",
                "landmarks_predicted",
                "inversions_1",
                "inversions_100",
                "baseline_psf",
                "mtf",
            )
        }
        for name, item in cameras.items():
            camera = item.fixed.camera
            psf = item.fixed.psfs[protocol.reference]
            seen = observe(
                camera, psf, scenes, protocol.reference, test.noise(rows, protocol.reference)
            )
            seen = network_view(seen, scenes.size)
            heatmaps = item.regressor(seen)
            arrays["measurements"].append(seen)
            arrays["heatmaps"].append(heatmaps.peaks().amax(1))
            arrays["landmarks_predicted"].append(heatmaps.landmarks())
            for frames in (1, 100):
                attack = Inversion(camera, psf, scene_power, protocol, frames, None)
                strength = strengths.get(f"{name}/{attack.suffix}", 1.0)
                arrays[f"inversions_{frames}"].append(attack.restore(test, rows, device, strength))
            face = camera.image_size(FACE_WIDTH, protocol.reference)
            cycles = torch.from_numpy(_CYCLES / face).clamp(max=0.5)
            arrays["mtf"].append(radial_mtf(psf[1], cycles, size=1024))
            arrays["baseline_psf"].append(_window(psf, _first(cameras).window))
        camera = _first(cameras)
        own = next(iter(cameras.values())).fixed.psfs
        psfs = torch.stack([own[distance] for distance in protocol.distances])
        height = camera.mask.height().to(torch.float32)
    out = {name: torch.stack(values).cpu().numpy() for name, values in arrays.items()}
    out |= {
        "camera_names": np.array(list(cameras)),
        "psf": psfs.cpu().numpy(),
        "psf_distances": np.array(protocol.distances),
        "psf_pixel": np.array(camera.sensor.pitch),
        "psf_face_width_px": np.array(camera.image_size(FACE_WIDTH, protocol.reference)),
        "mask_height": height.cpu().numpy(),
        "mask_cell": np.array(camera.mask.cell),
        "aperture_diameter": np.array(camera.aperture_diameter),
        "scenes": _to_srgb(scenes.light),
        "landmarks_true": scenes.landmarks.cpu().numpy(),
        "mtf_cycles": _CYCLES,
        "contact_sheet": contact_sheet(np.asarray(test.crops.images[_sheet(test)]), 8),
    }
    for frames in (1, 100):
        out[f"noise_floor_{frames}"] = noise_floor(camera, scene_power, protocol, frames)
    return out


def noise_floor(
    camera: Camera, scene_power: ScenePower, protocol: Protocol, frames: int
) -> NDArray[np.float64]:
    """MTF below which an average face is lost in green after `frames` frames, per frequency."""
    pixels = crop_pixels(camera, protocol.reference, scene_power.context)
    size = pixels + camera.window - 1
    variance = camera.sensor.mean_and_variance(torch.full((3, 1, 1), 0.3))[1][1].item()
    power = np.interp(
        np.log(_CYCLES), np.log(scene_power.cycles.numpy()), np.log(scene_power.power[1].numpy())
    )
    expected = np.exp(power) * (pixels**4 / size**2)
    return np.asarray(np.sqrt(variance / (frames * expected)))


def _first(cameras: Mapping[str, Finished]) -> Camera:
    return next(iter(cameras.values())).fixed.camera


def _faces(test: TestSet, people: int) -> NDArray[np.int64]:
    """One picture each of the first few people."""
    _, first = np.unique(test.crops.person, return_index=True)
    rows = np.sort(first)[:people]
    if len(rows) < people:  # no identities: any pictures
        rows = np.arange(min(people, len(test.crops)))
    return rows.astype(np.int64)


def _sheet(test: TestSet) -> NDArray[np.int64]:
    """Rows for the contact sheet, spread over the test pictures."""
    count = min(32, len(test.crops))
    return np.linspace(0, len(test.crops) - 1, count).astype(np.int64)


def _window(psf: Tensor, window: int) -> Tensor:
    """Pad or cut the window of a PSF to `window`, centred."""
    short = window - psf.shape[-1]
    if short >= 0:
        return nn.functional.pad(psf, [short // 2] * 4)
    cut = -short // 2
    return psf[..., cut : cut + window, cut : cut + window]


def _to_srgb(light: Tensor) -> NDArray[np.uint8]:
    values = (encode_srgb(light) * 255).round().to(torch.uint8)
    return np.asarray(values.permute(0, 2, 3, 1).cpu().numpy())
