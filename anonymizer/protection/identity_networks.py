"""The identity transformer's networks: generator, discriminators, password classifier.

Images are sRGB in [-1, 1]. Module names are those of the published files.

References
----------
X. Gu, W. Luo, M. S. Ryoo, Y. J. Lee, "Password-conditioned Anonymization and Deanonymization with
Face Identity Transformers", ECCV 2020, arXiv:1911.11759.
"""

from collections.abc import Callable, Iterable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROLES = ("M", "R", "WR")
"""What a face may have become: anonymised, recovered, wrongly recovered."""
NIBBLE = 4
"""Bits of the code that the classifier reads together."""

Norm = Callable[[int], nn.Module]


def group_norm(channels: int) -> nn.Module:
    """Return the normalisation of the default generator: each image by itself, in groups of 8.

    A code enters as constant planes, which add a constant to each channel of the first layer.
    Normalising channel by channel (instance norm) would remove it, and the code with it; in a
    group the differences between channels remain.
    """
    return nn.GroupNorm(channels // 8, channels)


def batch_norm(channels: int) -> nn.Module:
    """Return the published normalisation, over the images of a batch, when used too.

    What becomes of an image then depends on the other images and passwords of its batch, and a
    batch in which all passwords agree does not depend on the password at all. `freeze_statistics`
    mends that for published weights.
    """
    return nn.BatchNorm2d(channels, track_running_stats=False)


def running_norm(channels: int) -> nn.Module:
    """Return the normalisation of published weights that `freeze_statistics` has mended."""
    return nn.BatchNorm2d(channels)


class Generator(nn.Module):
    """Face and code in, another face out.

    Parameters
    ----------
    bits : int, default 16
        Length of the code; the published weights have 16.
    norm : callable, default group_norm
        Makes the normalisation of so many channels: `group_norm`, or `batch_norm` as published.
    width : int, default 64
        Channels at full resolution, a multiple of 8; the published weights have 64.
    blocks : int, default 9
        Residual blocks at a quarter of the resolution; the published weights have 9.
    changes : bool, default False
        What the layers make is added to the face, and is nothing at first: a short training need
        not learn to draw faces. The published weights make the whole face.
    """

    def __init__(
        self,
        bits: int = 16,
        *,
        norm: Norm = group_norm,
        width: int = 64,
        blocks: int = 9,
        changes: bool = False,
    ) -> None:
        super().__init__()
        if bits < 1 or width < 8 or width % 8 or blocks < 0:
            raise ValueError(
                f"bits = {bits}, width = {width}, blocks = {blocks}: expected bits of 1 or more, "
                f"a width that is a multiple of 8, blocks of 0 or more"
            )
        self.bits, self.changes = bits, changes
        layers: list[nn.Module] = [*_convolution(3 + bits, width, norm, kernel=7)]
        for grown in (2, 4):
            layers += _convolution(grown // 2 * width, grown * width, norm, stride=2)
        layers += [_Block(4 * width, norm) for _ in range(blocks)]
        for grown in (4, 2):
            layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
            layers += _convolution(grown * width, grown // 2 * width, norm, bias=True)
        last = nn.Conv2d(width, 3, 7)
        if changes:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        layers += [nn.ReflectionPad2d(3), last, nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, faces: Tensor, codes: Tensor) -> Tensor:
        """Transform faces.

        Parameters
        ----------
        faces : Tensor
            (B, 3, H, W) in [-1, 1]; H and W are multiples of 4.
        codes : Tensor
            (B, bits), one for each face; the sign-flipped code is that of recovery.
        """
        if codes.shape != (faces.shape[0], self.bits):
            raise ValueError(
                f"codes is {tuple(codes.shape)}, expected ({faces.shape[0]}, {self.bits})"
            )
        planes = codes[:, :, None, None].expand(-1, -1, *faces.shape[2:])
        out: Tensor = self.model(torch.cat([faces, planes.to(faces)], 1))
        return faces + out if self.changes else out


def freeze_statistics(generator: Generator, batches: Iterable[tuple[Tensor, Tensor]]) -> Generator:
    """Replace statistics over the batch by the mean of those that `batches` have; in place.

    Afterwards an image's result depends on no other image, and batches of one work; what it is
    filled with can be loaded into a generator made with `running_norm`.

    Parameters
    ----------
    generator : Generator
        Made with `batch_norm`.
    batches : iterable of (Tensor, Tensor)
        Faces and codes as `Generator` takes them, as varied as those it was trained on.

    Raises
    ------
    ValueError
        If there is no batch, or nothing to freeze.
    """
    layers = [m for m in generator.modules() if isinstance(m, nn.BatchNorm2d)]
    if not layers:
        raise ValueError("generator has no batch statistics, there is nothing to freeze")
    for layer in layers:
        layer.register_buffer("running_mean", torch.zeros_like(layer.weight))
        layer.register_buffer("running_var", torch.ones_like(layer.weight))
        layer.register_buffer("num_batches_tracked", torch.tensor(0))
        layer.track_running_stats, layer.momentum = True, None  # the plain mean over all batches
        layer.train()
    with torch.no_grad():
        for faces, codes in batches:
            generator(faces, codes)
    if not layers[0].num_batches_tracked:
        raise ValueError("batches is empty, expected faces and codes to take statistics from")
    for layer in layers:
        layer.eval()
    return generator


class Discriminators(nn.Module):
    """Patch discriminators: one of full resolution for each role, one of half for all.

    Parameters
    ----------
    norm : callable, default group_norm
        As of `Generator`.
    width : int, default 64
        Channels of the first layer.
    """

    def __init__(self, *, norm: Norm = group_norm, width: int = 64) -> None:
        super().__init__()
        for role in ROLES:
            self.add_module(f"layer1_{role}", _patches(width, norm))
        self.FE = _patches(width, norm)

    def forward(self, faces: Tensor, role: str) -> list[Tensor]:
        """Return the scores of patches (B, 1, h, w), at full resolution and at half.

        Parameters
        ----------
        faces : Tensor
            (B, 3, H, W) in [-1, 1].
        role : {"M", "R", "WR"}
        """
        half = F.avg_pool2d(faces, 3, 2, 1, count_include_pad=False)
        return [self.get_submodule(f"layer1_{role}")(faces), self.FE(half)]


class PasswordClassifier(nn.Module):
    """Reads from two pictures, before and after, the code that made one of the other.

    Parameters
    ----------
    bits : int, default 16
        Length of the code, a multiple of 4.
    norm : callable, default group_norm
        As of `Generator`.
    width : int, default 64
        Channels of the first layer.
    """

    def __init__(self, bits: int = 16, *, norm: Norm = group_norm, width: int = 64) -> None:
        super().__init__()
        if bits < NIBBLE or bits % NIBBLE:
            raise ValueError(f"bits = {bits}, expected a multiple of {NIBBLE}")
        self.FE = nn.ModuleDict(
            {"model": nn.Sequential(*_descent(6, [width, 2 * width, 4 * width], norm, (2, 2)))}
        )
        self.classifiers = _Heads(8 * width, bits // NIBBLE, norm)

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Return logits (B, bits / 4, 16), the most significant four bits first."""
        features = self.FE["model"](torch.cat([before, after], 1))
        out: Tensor = self.classifiers(features)
        return out


class _Heads(nn.Module):
    """One classifier of sixteen values for each four bits."""

    def __init__(self, channels: int, count: int, norm: Norm) -> None:
        super().__init__()
        self.model = nn.Sequential(
            *_normalised(channels // 2, channels, 2, norm, padding=1),
            *_normalised(channels, channels, 4, norm, padding=0),
            nn.AdaptiveAvgPool2d(1),  # published: 2 x 2, all that is left of 128 px
        )
        self.fc_list = nn.ModuleDict(
            {f"fc_{i}": nn.Linear(channels, 2**NIBBLE) for i in range(count)}
        )

    def forward(self, x: Tensor) -> Tensor:
        features = self.model(x).flatten(1)
        return torch.stack([head(features) for head in self.fc_list.values()], 1)


class _Block(nn.Module):
    """Two normalised convolutions, added to their input."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        convolutions = _convolution(channels, channels, norm)
        self.conv_block = nn.Sequential(*convolutions, *_convolution(channels, channels, norm)[:-1])

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv_block(x)
        return x + y


def _convolution(
    channels_in: int,
    channels_out: int,
    norm: Norm,
    *,
    kernel: int = 3,
    stride: int = 1,
    bias: bool = False,
) -> list[nn.Module]:
    """Return padding by reflection, convolution, normalisation, ReLU."""
    return [
        nn.ReflectionPad2d(kernel // 2),
        nn.Conv2d(channels_in, channels_out, kernel, stride, bias=bias),
        norm(channels_out),
        nn.ReLU(),
    ]


def _descent(
    channels_in: int, channels: list[int], norm: Norm, strides: tuple[int, ...]
) -> list[nn.Module]:
    """Return convolutions of kernel 4 with leaky ReLU, all but the first normalised."""
    layers: list[nn.Module] = [nn.Conv2d(channels_in, channels[0], 4, 2, 1), nn.LeakyReLU(0.2)]
    for (c_in, c_out), stride in zip(pairwise(channels), strides, strict=True):
        layers += _normalised(c_in, c_out, stride, norm, padding=1)
    return layers


def _normalised(
    channels_in: int, channels_out: int, stride: int, norm: Norm, *, padding: int
) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels_out, 4, stride, padding, bias=False),
        norm(channels_out),
        nn.LeakyReLU(0.2),
    ]


def _patches(width: int, norm: Norm) -> nn.Sequential:
    channels = [width, 2 * width, 4 * width, 8 * width]
    last = nn.Conv2d(8 * width, 1, 4, 1, 1, bias=False)
    return nn.Sequential(*_descent(3, channels, norm, (2, 2, 1)), last)
