"""Perceptual distance: how differently a network for objects sees two pictures.

References
----------
R. Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
CVPR 2018, eq. 1 (LPIPS 0.1, AlexNet).
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anonymizer.checkpoints import fill, find_weights, read_state

_TAPS = (1, 4, 7, 9, 11)  # the rectifiers
_WIDTHS = (64, 192, 384, 256, 256)


class PerceptualDistance(nn.Module):
    """AlexNet's five rectified layers, normalised over channels, and a weight for each channel."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(),
            nn.MaxPool2d(3, 2), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(),
            nn.MaxPool2d(3, 2), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.weights = nn.ParameterList(torch.ones(width) / width for width in _WIDTHS)
        # from [-1, 1] to what the network was trained on
        shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
        self.register_buffer("shift", shift.view(3, 1, 1), persistent=False)
        self.register_buffer("scale", scale.view(3, 1, 1), persistent=False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Distance (B,) of pictures (B, 3, H, W) of sRGB in [0, 1], 32 px and more."""
        x = (2 * torch.cat((first, second)) - 1 - self.shift) / self.scale
        total = x.new_zeros(len(first))
        weights = iter(self.weights)
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in _TAPS:
                one, other = F.normalize(x, dim=1, eps=1e-10).chunk(2)
                each = next(weights)[:, None, None] * (one - other).square()
                total = total + each.sum(1).mean((1, 2))
        return total


def load_perceptual(
    *, features: str, features_sha256: str, weights: str, weights_sha256: str,
    search: Sequence[str | Path] = (),
) -> PerceptualDistance:  # fmt: skip
    """Fill the distance from two published files, frozen.

    Parameters
    ----------
    features, features_sha256 : str
        AlexNet as torchvision publishes it; its classifier is left out.
    weights, weights_sha256 : str
        The channels' weights as the authors publish them, "lin0.model.1.weight" and so on.
    search : sequence of path
        Folders to look in.
    """
    path = find_weights(features, features_sha256, search)
    state = {n: t for n, t in read_state(path).items() if n.startswith("features.")}
    lines = find_weights(weights, weights_sha256, search)
    for name, tensor in read_state(lines).items():
        state[f"weights.{name.removeprefix('lin').split('.')[0]}"] = tensor.flatten()
    network = PerceptualDistance()
    fill(network, state, path)
    return network.requires_grad_(False).eval()
