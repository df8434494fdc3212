"""How different two pictures look: distances that training can lessen.

Pictures are (B, 3, H, W), sRGB in [0, 1]; values outside are taken as they are.

References
----------
R. Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric",
CVPR 2018, eq. 1.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anonymizer.checkpoints import fill, find_weights, read_state

_VGG16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions of a stage


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
    r"""LPIPS 0.1: weighted differences of unit-length features of a network for objects.

    .. math:: d = \sum_l \frac{1}{H_l W_l} \sum_{h,w} w_l \cdot
              (\hat f^l_{hw}(a) - \hat f^l_{hw}(b))^2

    Parameters
    ----------
    network : {"vgg16", "alexnet"}
        Whose features: those of each stage of VGG-16, pictures from 16 px, or of each layer of
        AlexNet, pictures from 32 px. Until weights are loaded, channels count alike.

    Raises
    ------
    ValueError
        If there is no such network.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: str = "vgg16") -> None:
        super().__init__()
        makers = {"vgg16": _vgg16, "alexnet": _alexnet}
        if network not in makers:
            raise ValueError(f"network = {network!r}, expected {' or '.join(makers)}")
        self.features, self.taps = makers[network]()
        found = [self.features[tap - 1] for tap in self.taps]
        widths = [layer.out_channels for layer in found if isinstance(layer, nn.Conv2d)]
        self.weights = nn.ParameterList(torch.ones(width) / width for width in widths)
        # the statistics that LPIPS states for values in [-1, 1], brought to [0, 1]
        for name, value in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225))):
            self.register_buffer(name, torch.tensor(value).reshape(3, 1, 1), persistent=False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        x = (torch.cat((a, b)) - self.mean) / self.std
        total = x.new_zeros(len(a))
        weights = iter(self.weights)
        for place, layer in enumerate(self.features):
            x = layer(x)
            if place in self.taps:
                one, other = F.normalize(x, dim=1, eps=1e-10).chunk(2)
                each = next(weights)[:, None, None] * (one - other).square()
                total = total + each.sum(1).mean((1, 2))
        return total


def load_lpips(
    *,
    network: str,
    backbone: str,
    backbone_sha256: str,
    heads: str,
    heads_sha256: str,
    search: Sequence[str | Path] = (),
) -> Lpips:
    """Return LPIPS with published weights, frozen.

    Parameters
    ----------
    network : {"vgg16", "alexnet"}
        Whose features are compared.
    backbone, backbone_sha256 : str
        torchvision's file of that network, trained on ImageNet; its classifier is left out.
    heads, heads_sha256 : str
        The channels' weights of LPIPS 0.1, "lin0.model.1.weight" and so on.
    search
        As in `anonymizer.checkpoints.find_weights`.

    Raises
    ------
    ValueError
        If there is no such network.
    WeightsError
        If a file is absent, altered or of another layout.
    """
    lpips = Lpips(network)
    paths = (
        find_weights(backbone, backbone_sha256, search),
        find_weights(heads, heads_sha256, search),
    )
    state = {n: t for n, t in read_state(paths[0]).items() if n.startswith("features.")}
    for name, tensor in read_state(paths[1]).items():
        state[f"weights.{name.removeprefix('lin').split('.')[0]}"] = tensor.flatten()
    fill(lpips, state, paths[0])
    return lpips.requires_grad_(False).eval()


# Layers are numbered as torchvision numbers them; taps are the rectifiers that are compared.


def _vgg16() -> tuple[nn.Sequential, tuple[int, ...]]:
    layers: list[nn.Module] = []
    taps, before = [], 3
    for channels, convolutions in _VGG16:
        layers += [nn.MaxPool2d(2)] if layers else []
        for _ in range(convolutions):
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
            before = channels
        taps.append(len(layers) - 1)
    return nn.Sequential(*layers), tuple(taps)


def _alexnet() -> tuple[nn.Sequential, tuple[int, ...]]:
    layers = nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(),
        nn.MaxPool2d(3, 2), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(),
        nn.MaxPool2d(3, 2), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
    )  # fmt: skip
    return layers, (1, 4, 7, 9, 11)
