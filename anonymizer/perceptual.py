"""How different two pictures look: distances that training can lessen.

Pictures are (B, 3, H, W), sRGB in [0, 1]; values outside are taken as they are.

References
----------
.. [1] R. Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric",
   CVPR 2018, eq. 1.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anonymizer.checkpoints import fill, find_weights, read_state

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions of VGG-16


class PerceptualDistance(nn.Module, ABC):
    """Distance of pictures as an eye might judge it: 0 for equal ones, differentiable."""

    @abstractmethod
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the distance (B,) of each pair."""


class StructuralDistance(PerceptualDistance):
    """One minus the structural similarity over Gaussian windows of 11 px; needs no weights."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        from torchmetrics.functional.image import structural_similarity_index_measure as ssim

        similarity = ssim(a, b, data_range=1.0, reduction="none")
        if not isinstance(similarity, Tensor):
            raise TypeError(f"similarity is {type(similarity).__name__}, expected a tensor")
        return 1 - similarity


class Lpips(PerceptualDistance):
    r"""LPIPS 0.1 over VGG-16: weighted differences of unit-length features [1]_.

    .. math:: d = \sum_l \frac{1}{H_l W_l} \sum_{h,w} w_l \cdot
              (\hat f^l_{hw}(a) - \hat f^l_{hw}(b))^2
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stages, self.heads = nn.ModuleList(), nn.ModuleList()
        before = 3
        for i, (channels, convolutions) in enumerate(_STAGES):
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if i else []
            for _ in range(convolutions):
                layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
                before = channels
            self.stages.append(nn.Sequential(*layers))
            self.heads.append(nn.Conv2d(channels, 1, 1, bias=False))
        # the statistics that LPIPS states for values in [-1, 1], brought to [0, 1]
        for name, value in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225))):
            self.register_buffer(name, torch.tensor(value).reshape(3, 1, 1), persistent=False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        x, y = ((values - self.mean) / self.std for values in (a, b))
        total = torch.zeros(len(a), dtype=a.dtype, device=a.device)
        for stage, head in zip(self.stages, self.heads, strict=True):
            x, y = stage(x), stage(y)
            difference = F.normalize(x, eps=1e-10) - F.normalize(y, eps=1e-10)
            total = total + head(difference.square()).mean(dim=(1, 2, 3))
        return total


def load_lpips(
    *,
    backbone: str,
    backbone_sha256: str,
    heads: str,
    heads_sha256: str,
    search: Sequence[str | Path] = (),
) -> Lpips:
    """Return LPIPS with published weights, frozen.

    Parameters
    ----------
    backbone, backbone_sha256 : str
        torchvision's VGG-16 trained on ImageNet; its classifier is left out.
    heads, heads_sha256 : str
        The linear heads of LPIPS 0.1.
    search
        As in `anonymizer.checkpoints.find_weights`.

    Raises
    ------
    WeightsError
        If a file is absent, altered or of another layout.
    """
    paths = (
        find_weights(backbone, backbone_sha256, search),
        find_weights(heads, heads_sha256, search),
    )
    state = _translate(read_state(paths[0]) | read_state(paths[1]))
    network = Lpips()
    fill(network, state, paths[0])
    return network.requires_grad_(False).eval()


def _translate(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of both published files to ours."""
    names, place = {}, 0
    for stage, (_, convolutions) in enumerate(_STAGES):
        place += stage > 0  # pooling
        for i in range(convolutions):
            for what in ("weight", "bias"):
                ours = f"stages.{stage}.{2 * i + (stage > 0)}.{what}"
                names[f"features.{place}.{what}"] = ours
            place += 2
        names[f"lin{stage}.model.1.weight"] = f"heads.{stage}.weight"
    return {names[n]: t for n, t in state.items() if n in names}
