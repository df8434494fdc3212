"""What a finished anonymizer makes of the people it is judged on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from anonymizer.alignment import apply_similarity, invert_similarity, warp_area
from anonymizer.heatmaps import to_map
from anonymizer.regressors import Heatmaps
from anonymizer.stargan.references import mix_styles
from experiments.data.crops import FaceCrops
from experiments.finished_anonymizer import FinishedAnonymizer
from experiments.scene import Scenes, border_mean, generator_for, load_scenes, network_view
from experiments.stages import Batch
from experiments.style_sources import People

_PART = "evaluation"  # names the draws
_SWAY, _LEAN = 0.06, 0.09  # of a moving head: [face widths], [rad]


@dataclass(frozen=True)
class Outputs:
    """Outputs for all pictures of `crops`, in their order, on the CPU.

    Attributes
    ----------
    crops : FaceCrops
        Sources.
    clear, measurement : Tensor
        (N, 3, S, S) linear light at the networks' side, before and behind the camera.
    landmarks : Tensor
        (N, 68, 2) true ones in those pictures [px].
    read : Tensor
        (N, 68, 2) what the camera's regressor read [px].
    made, again : Tensor
        (N, 3, S, S) outputs with mixtures of references, other ones in `again`.
    references : ndarray of int64
        (N, k) which pictures of `crops` were mixed for `made`.
    """

    crops: FaceCrops
    clear: Tensor
    measurement: Tensor
    landmarks: Tensor
    read: Tensor
    made: Tensor
    again: Tensor
    references: NDArray[np.int64]


class Maker:
    """Makes outputs with styles of the people themselves, each lending to others.

    Parameters
    ----------
    finished : FinishedAnonymizer
    crops : FaceCrops
        Sources and references.
    distance : float
        One that the camera knows [m].
    references : int
        People mixed in each style.
    seed : int
        Of noise and choice.
    batch : int
        Pictures at once.
    """

    def __init__(
        self, finished: FinishedAnonymizer, crops: FaceCrops, *, distance: float,
        references: int, seed: int, batch: int,
    ) -> None:  # fmt: skip
        self.finished, self.crops, self.distance = finished, crops, distance
        self.count, self.seed, self.batch = references, seed, batch
        self.people = People(crops, np.zeros(len(crops), dtype=np.int64))

    @torch.inference_mode()
    def all(self, *, progress: bool) -> Outputs:
        """Make all outputs."""
        rows = np.arange(len(self.crops))
        first, second = (self.choose(rows, name) for name in ("one", "two"))
        parts: list[tuple[Tensor, ...]] = []
        size = self.finished.anonymizer.size
        starts = range(0, len(rows), self.batch)
        for start in tqdm(starts, desc="anonymize", disable=None if progress else True):
            some = rows[start : start + self.batch]
            scenes = load_scenes(self.crops, some).to(self.finished.device)
            measurement, heatmaps = self.look(scenes, some, "noise")
            outs = [
                self.finished.anonymizer.anonymize(measurement, heatmaps, self.styles(chosen[some]))
                for chosen in (first, second)
            ]
            points = to_map(scenes.landmarks, scenes.size, size)
            read = to_map(heatmaps.landmarks(), heatmaps.size, size)
            clear = network_view(scenes.light, size)
            parts.append((clear, measurement, points, read, *outs))
        clear, measurement, points, read, made, again = (
            torch.cat(column).cpu() for column in zip(*parts, strict=True)
        )
        return Outputs(self.crops, clear, measurement, points, read, made, again, first)

    def choose(self, rows: NDArray[np.int64], name: str) -> NDArray[np.int64]:
        """Choose pictures (n, k) of k people other than those on the pictures `rows`."""
        draws = [generator_for(self.seed, _PART, name, int(row)) for row in rows]
        chosen = [
            self.people.others(int(row), self.count, draw)[0]
            for row, draw in zip(rows, draws, strict=True)
        ]
        return np.array(chosen, dtype=np.int64)

    def styles(self, chosen: NDArray[np.int64]) -> Tensor:
        """Return the styles (n, D) of mixtures in equal shares of the pictures `chosen` (n, k)."""
        network = self.finished.anonymizer
        light = load_scenes(self.crops, chosen.ravel()).light.to(self.finished.device)
        styles = network.style_of(network_view(light, network.size))
        styles = styles.reshape(*chosen.shape, -1)
        return mix_styles(styles, torch.full_like(styles[..., 0], 1 / chosen.shape[1]))

    def look(
        self, scenes: Scenes, rows: Sequence[int] | NDArray[np.int64], *key: object
    ) -> tuple[Tensor, Heatmaps]:
        """Return what the camera records of scenes, and what its regressor reads."""
        sources = [generator_for(self.seed, _PART, *key, int(row)) for row in rows]
        batch = Batch(scenes, sources, torch.as_tensor(np.asarray(rows)))
        seen = self.finished.observer.look(batch, self.distance, self.finished.anonymizer.size)
        return seen.measurement, seen.heatmaps

    @torch.inference_mode()
    def clip(self, row: int, frames: int) -> tuple[Tensor, Tensor, Tensor]:
        """Anonymize a clip in which the picture `row` sways, with fresh noise in each frame.

        Returns
        -------
        made, clear : Tensor
            (T, 3, S, S) outputs of one style, and the frames before the camera.
        landmarks : Tensor
            (T, 68, 2) true ones [px].
        """
        network = self.finished.anonymizer
        scenes = swaying(load_scenes(self.crops, [row]), frames).to(self.finished.device)
        measurement, heatmaps = self.look(scenes, range(frames), "clip", row)
        style = self.styles(self.choose(np.array([row]), "one"))
        made = network.anonymize(measurement, heatmaps, style)
        points = to_map(scenes.landmarks, scenes.size, network.size)
        return made.cpu(), network_view(scenes.light, network.size).cpu(), points.cpu()


def swaying(scenes: Scenes, frames: int) -> Scenes:
    """Return one picture (1, 3, S, S) as `frames` frames of a head that sways and leans."""
    time = torch.linspace(0, 2 * math.pi, frames + 1)[:-1]
    lean = _LEAN * torch.sin(time)
    size, middle = scenes.size, (scenes.size - 1) / 2
    shift = _SWAY * size / scenes.context * torch.stack((time.sin(), (2 * time).sin()), dim=1)
    cosine, sine = lean.cos(), lean.sin()
    back = torch.stack((cosine, sine, -sine, cosine), dim=1).reshape(-1, 2, 2)
    offset = middle - back @ (middle + shift)[..., None]
    matrix = torch.cat((back, offset), dim=2)
    light = warp_area(scenes.light.expand(frames, -1, -1, -1), matrix, (size, size))
    points = scenes.landmarks.expand(frames, -1, -1)
    points = apply_similarity(invert_similarity(matrix), points)
    return Scenes(light, points, border_mean(light), scenes.context)
