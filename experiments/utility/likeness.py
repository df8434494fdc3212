"""How far what is shown is from the clear face: picture by picture, and as a set."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from anonymizer.checkpoints import WeightsError
from anonymizer.colour import encode_srgb
from anonymizer.metrics import Inception
from experiments.anonymizer_identity import Numbers, embed
from experiments.anonymizer_likeness import distribution_numbers, inception_numbers
from experiments.anonymizer_outputs import Outputs
from experiments.attacks import Trial
from experiments.inversion import psnr
from experiments.utility.utility import Utility, clear_scenes, mean_of


class Likeness(Utility):
    """PSNR [dB] and SSIM of sRGB values against the clear picture, in [0, 1].

    "psnr_blind" is that of each picture's own mean colour: what remains without any detail.

    References
    ----------
    Z. Wang et al., IEEE Trans. Image Process. 13, 600 (2004): 11 x 11 Gaussian window of 1.5 px.
    """

    def run(self, trial: Trial, name: str) -> Numbers:
        """Compare every test picture."""
        clear, seen = clear_scenes(trial).light, trial.seen.clamp(0, 1)
        mean = clear.mean((-2, -1), keepdim=True).expand_as(clear)
        pairs = zip(torch.split(seen, trial.batch), torch.split(clear, trial.batch), strict=True)
        alike = torch.cat([_ssim(a, b) for a, b in pairs])
        return (
            mean_of("psnr", psnr(seen, clear), trial)
            | mean_of("psnr_blind", psnr(mean, clear), trial)
            | mean_of("ssim", alike, trial)
        )


def _ssim(found: Tensor, wanted: Tensor) -> Tensor:
    """Structural similarity of each picture (B,)."""
    value = structural_similarity_index_measure(
        encode_srgb(found), encode_srgb(wanted), data_range=1.0, reduction="none"
    )
    return value if isinstance(value, Tensor) else value[0]


class Distributions(Utility):
    """Distance of what is shown from clear faces, as sets: by recognisers, and by Inception-v3.

    "frechet_<recogniser>" and "kernel_<recogniser>" are never called FID and KID; those need
    Inception-v3, and without its weights they are None.

    Parameters
    ----------
    inception : callable, optional
        Returns the network; its weights may be missing.
    """

    def __init__(self, inception: Callable[[], Inception] | None = None) -> None:
        self.inception = inception

    def run(self, trial: Trial, name: str) -> Numbers:
        """Compare the two sets."""
        scenes = clear_scenes(trial)
        seen, points = trial.seen.clamp(0, 1), scenes.landmarks
        clear = {n: embed(r, scenes.light, points) for n, r in trial.pool.items()}
        made = {n: embed(r, seen, points) for n, r in trial.pool.items()}
        outputs = Outputs(
            crops=trial.held.crops,
            clear=scenes.light,
            measurement=seen,
            landmarks=points,
            read=points,
            made=seen,
            again=seen,
            references=np.zeros((len(seen), 0), np.int64),
        )
        numbers = distribution_numbers(clear, made, outputs, trial.seed)
        return numbers | inception_numbers(self._network(trial), outputs, trial.seed)

    def _network(self, trial: Trial) -> Inception | None:
        try:
            return None if self.inception is None else self.inception().to(trial.device)
        except WeightsError:  # the numbers say which weights are missing
            return None
