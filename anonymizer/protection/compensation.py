"""PRO-Face C, the client: what an obfuscated face lacks, as feature maps for a server.

The server sees an obfuscated face only. A small network looks at what the obfuscation removed
(original minus obfuscated) and makes four feature maps, which the server adds inside its own
recogniser (`anonymizer.protection.compensated`). Network images are sRGB in [-1, 1].

The published client sends the maps as they enter the server (`forward`, 1.5 MB); ours sends what
the network has before the last, linear step (`taps`, 427 kB), and `feature_codec` makes that small.

Module names are those of the published file.

References
----------
L. Yuan et al., "PRO-Face C: Privacy-Preserving Recognition of Obfuscated Face via Feature
Compensation", IEEE Transactions on Information Forensics and Security, 2024.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from anonymizer.protection.feature_shuffle import permute_blocks

FACE = 112
"""Side of the faces [px]."""
TAPS = ((64, 28), (128, 14), (128, 7), (512, 7))
"""Channels and side of what the network gives at its four depths."""
INJECTIONS = ((64, 56), (128, 28), (256, 14), (512, 7))
"""Channels and side of the maps where they enter AdaFace, as published."""
_PUBLISHED_BLOCK = 28


class CompensationClient(nn.Module):
    """Residual image in, feature maps out.

    Parameters
    ----------
    injections : sequence of (int, int)
        Channels and side of the maps where they enter the server: its `stage_shapes`.

    Attributes
    ----------
    weight1, weight2, weight3, weight4 : Parameter
        Weights of the maps inside the server, of the shapes in `injections`; trained here, used
        there.
    """

    def __init__(self, injections: Sequence[tuple[int, int]] = INJECTIONS) -> None:
        super().__init__()
        if len(injections) != len(TAPS):
            raise ValueError(f"injections: {len(injections)} given, expected {len(TAPS)}")
        self.client_backbone = ClientBackbone()
        for i, ((channels, side), (entering, size)) in enumerate(
            zip(TAPS, injections, strict=True), start=1
        ):
            setattr(self, f"weight{i}", nn.Parameter(torch.ones(entering, size, size)))
            grow = nn.Upsample((size, size), mode="bilinear", align_corners=False)
            name, interface = f"interface_{i}", nn.Conv2d(channels, entering, 1)
            self.add_module(name, nn.Sequential(grow if size != side else nn.Identity(), interface))

    @property
    def weights(self) -> list[Tensor]:
        """The four weights, of the shapes in `injections`."""
        return [self.get_parameter(f"weight{i}") for i in range(1, len(TAPS) + 1)]

    def taps(self, residual: Tensor) -> list[Tensor]:
        """Return what the network has at its four depths, (B, C, N, N) as in `TAPS`.

        Parameters
        ----------
        residual : Tensor
            Original minus obfuscated face (B, 3, 112, 112), in [-2, 2].
        """
        if tuple(residual.shape[1:]) != (3, FACE, FACE):
            raise ValueError(
                f"residual is {tuple(residual.shape)}, expected (B, 3, {FACE}, {FACE})"
            )
        found: list[Tensor] = self.client_backbone(residual)[0]
        return found

    def enter(self, taps: Sequence[Tensor]) -> list[Tensor]:
        """Return the maps as they enter the server, (B, C, N, N) as in `injections`."""
        return [self.get_submodule(f"interface_{i}")(tap) for i, tap in enumerate(taps, start=1)]

    def gains(self) -> list[Tensor]:
        """Return for each channel of each tap what one of size 1 does in the server, (C,)."""
        out = []
        for i, weight in enumerate(self.weights, start=1):
            interface = self.get_submodule(f"interface_{i}.1").get_parameter("weight")
            strength = weight.abs().mean(dim=(1, 2))
            out.append((interface[:, :, 0, 0] * strength[:, None]).norm(dim=0))
        return out

    def forward(self, residual: Tensor, permutations: Tensor | None = None) -> list[Tensor]:
        """Return the maps as the published client sends them.

        Parameters
        ----------
        residual : Tensor
            As for `taps`.
        permutations : Tensor, optional
            (Q, 64) with Q >= 4: the permutations that the published file holds, applied to the
            first map. The published server was trained with them and never takes them back.
        """
        maps = self.enter(self.taps(residual))
        if permutations is not None:
            maps[0] = permute_blocks(maps[0], permutations, _PUBLISHED_BLOCK)
        return maps


class ClientBackbone(nn.Module):
    """MobileFaceNet of 512 features, with its inner maps at four depths.

    References
    ----------
    S. Chen, Y. Liu, X. Gao, Z. Han, "MobileFaceNets: Efficient CNNs for accurate real-time face
    verification on mobile devices", CCBR 2018, arXiv:1804.07573, table 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.input_layer = _Unit(3, 64, 3, stride=2)
        self.body_0 = _Unit(64, 64, 3, groups=64)
        self.body_1 = _Bottleneck(64, 128, 64, stride=2)
        self.body_2 = _Residual(64, 128, 4)
        self.body_3 = _Bottleneck(64, 256, 128, stride=2)
        self.body_4 = _Residual(128, 256, 6)
        self.body_5 = _Bottleneck(128, 512, 128, stride=2)
        self.body_6 = _Residual(128, 256, 2)
        self.body_7 = _Unit(128, 512, 1)
        self.output_layer = nn.Sequential(
            nn.Conv2d(512, 512, 7, groups=512, bias=False),
            nn.BatchNorm2d(512),
            nn.Flatten(),
            nn.Linear(512, 512),
            nn.BatchNorm1d(512),
        )

    def forward(self, residual: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the four taps, and the last map (B, 512, 7, 7)."""
        x = self.body_1(self.body_0(self.input_layer(residual)))
        taps = [x]
        x = self.body_3(self.body_2(x))
        taps.append(x)
        x = self.body_5(self.body_4(x))
        taps.append(x)
        x = self.body_7(self.body_6(x))
        taps.append(x)
        return taps, x

    def embed(self, residual: Tensor) -> Tensor:
        """Return the network's own features (B, 512), which no server uses."""
        features: Tensor = self.output_layer(self.forward(residual)[1])
        return features


class _Unit(nn.Module):
    """Convolution, batch normalisation and, if `active`, PReLU."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        active: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(channels_out)
        if active:
            self.prelu = nn.PReLU(channels_out)
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        return self.prelu(x) if self.active else x


class _Bottleneck(nn.Module):
    """Pointwise, depthwise, pointwise."""

    def __init__(
        self, channels_in: int, expanded: int, channels_out: int, *, stride: int = 1
    ) -> None:
        super().__init__()
        self.conv = _Unit(channels_in, expanded, 1)
        self.conv_dw = _Unit(expanded, expanded, 3, stride=stride, groups=expanded)
        self.project = _Unit(expanded, channels_out, 1, active=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.conv_dw(self.conv(x)))
        return y


class _Residual(nn.Module):
    """Bottlenecks, each added to its input."""

    def __init__(self, channels: int, expanded: int, count: int) -> None:
        super().__init__()
        blocks = (_Bottleneck(channels, expanded, channels) for _ in range(count))
        self.model = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.model:
            x = x + block(x)
        return x
