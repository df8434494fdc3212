"""Optical flow by recurrent all-pairs field transforms; modules bear the published names.

References
----------
Z. Teed, J. Deng, "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow", ECCV 2020.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anonymizer.checkpoints import fill, find_weights, read_state

_LEVELS, _RADIUS = 4, 4  # of the correlation pyramid, and of the window looked up in each level
_HIDDEN = 128
_STEP = 8  # picture pixels per flow pixel


class FlowNetwork(nn.Module):
    """The published network of 5,257,536 parameters.

    Parameters
    ----------
    iterations : int
        Refinements; 20 as the published face de-identification takes.
    """

    def __init__(self, *, iterations: int = 20) -> None:
        super().__init__()
        if iterations < 1:
            raise ValueError(f"iterations = {iterations}, expected 1 or more")
        self.iterations = iterations
        self.fnet = _Encoder(instance=True)
        self.cnet = _Encoder(instance=False)
        self.update_block = _Update()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Motion (B, 2, H, W), x and y, from `first` to `second` [px].

        Parameters
        ----------
        first, second : Tensor
            (B, 3, H, W) of sRGB in [0, 1]; sides that are multiples of 8, 64 px and more.
        """
        if first.shape != second.shape or any(n % _STEP or n < 64 for n in first.shape[-2:]):
            raise ValueError(
                f"first is {tuple(first.shape)}, second {tuple(second.shape)}, expected equal "
                f"shapes with sides that are multiples of {_STEP} and 64 px at least"
            )
        first, second = 2 * first - 1, 2 * second - 1
        one, other = self.fnet(torch.cat((first, second))).chunk(2)
        pyramid = _correlate(one, other)
        hidden, context = self.cnet(first).split(_HIDDEN, 1)
        hidden, context = hidden.tanh(), context.relu()
        start = _positions(one)
        place, weights = start, torch.zeros(())
        for _ in range(self.iterations):
            place = place.detach()
            seen = _look_up(pyramid, place)
            hidden, weights, change = self.update_block(hidden, context, seen, place - start)
            place = place + change
        return _enlarge(place - start, weights)


def load_flow(
    *, file: str, sha256: str, iterations: int = 20, search: Sequence[str | Path] = ()
) -> FlowNetwork:
    """Fill the network from the authors' file ("raft-things.pth"), frozen.

    Parameters
    ----------
    file, sha256, search
        As in `anonymizer.checkpoints.find_weights`.
    iterations : int
        Refinements.
    """
    path = find_weights(file, sha256, search)
    state = {name.removeprefix("module."): t for name, t in read_state(path).items()}
    # the norm of a shortcut is stored twice
    state = {name: tensor for name, tensor in state.items() if ".norm3." not in name}
    network = FlowNetwork(iterations=iterations)
    fill(network, state, path)
    return network.requires_grad_(False).eval()


class _Residual(nn.Module):
    def __init__(self, channels: int, out: int, stride: int, *, instance: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride=stride, padding=1)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.norm1, self.norm2 = _norm(out, instance), _norm(out, instance)
        self.downsample = (
            nn.Identity()
            if stride == 1
            else nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride), _norm(out, instance))
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(self.conv1(x)).relu()
        y = self.norm2(self.conv2(y)).relu()
        out: Tensor = (self.downsample(x) + y).relu()
        return out


class _Encoder(nn.Module):
    """Features at an eighth of the side."""

    def __init__(self, *, instance: bool, out: int = 2 * _HIDDEN) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        self.norm1 = _norm(64, instance)
        for number, (channels, wide, stride) in enumerate(((64, 64, 1), (64, 96, 2), (96, 128, 2))):
            layer = nn.Sequential(
                _Residual(channels, wide, stride, instance=instance),
                _Residual(wide, wide, 1, instance=instance),
            )
            self.add_module(f"layer{number + 1}", layer)
        self.conv2 = nn.Conv2d(128, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(self.conv1(x)).relu()
        for name in ("layer1", "layer2", "layer3"):
            x = self.get_submodule(name)(x)
        out: Tensor = self.conv2(x)
        return out


def _norm(channels: int, instance: bool) -> nn.Module:
    return nn.InstanceNorm2d(channels) if instance else nn.BatchNorm2d(channels)


class _Update(nn.Module):
    """One refinement: what was looked up moves the hidden state, which moves the flow."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _Motion()
        self.gru = _Memory()
        self.flow_head = nn.ModuleDict(
            {
                "conv1": nn.Conv2d(_HIDDEN, 256, 3, padding=1),
                "conv2": nn.Conv2d(256, 2, 3, padding=1),
            }
        )
        self.mask = nn.Sequential(
            nn.Conv2d(_HIDDEN, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, 9 * _STEP**2, 1)
        )

    def forward(
        self, hidden: Tensor, context: Tensor, seen: Tensor, flow: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        hidden = self.gru(hidden, torch.cat((context, self.encoder(seen, flow)), 1))
        change = self.flow_head["conv2"](self.flow_head["conv1"](hidden).relu())
        return hidden, 0.25 * self.mask(hidden), change


class _Motion(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convc1 = nn.Conv2d(_LEVELS * (2 * _RADIUS + 1) ** 2, 256, 1)
        self.convc2 = nn.Conv2d(256, 192, 3, padding=1)
        self.convf1 = nn.Conv2d(2, 128, 7, padding=3)
        self.convf2 = nn.Conv2d(128, 64, 3, padding=1)
        self.conv = nn.Conv2d(192 + 64, _HIDDEN - 2, 3, padding=1)

    def forward(self, seen: Tensor, flow: Tensor) -> Tensor:
        looked = self.convc2(self.convc1(seen).relu()).relu()
        moved = self.convf2(self.convf1(flow).relu()).relu()
        return torch.cat((self.conv(torch.cat((looked, moved), 1)).relu(), flow), 1)


class _Memory(nn.Module):
    """Gated recurrent unit, along the rows and then along the columns."""

    def __init__(self) -> None:
        super().__init__()
        for number, (kernel, padding) in enumerate((((1, 5), (0, 2)), ((5, 1), (2, 0)))):
            for gate in "zrq":
                layer = nn.Conv2d(3 * _HIDDEN, _HIDDEN, kernel, padding=padding)
                self.add_module(f"conv{gate}{number + 1}", layer)

    def forward(self, hidden: Tensor, x: Tensor) -> Tensor:
        for number in (1, 2):
            update, reset, new = (self.get_submodule(f"conv{gate}{number}") for gate in "zrq")
            both = torch.cat((hidden, x), 1)
            z, r = update(both).sigmoid(), reset(both).sigmoid()
            hidden = (1 - z) * hidden + z * new(torch.cat((r * hidden, x), 1)).tanh()
        return hidden


def _correlate(one: Tensor, other: Tensor) -> list[Tensor]:
    """Scalar products of all pairs of places, (B H W, 1, H', W') at each level."""
    rows, columns = one.shape[-2:]
    products = one.flatten(2).mT @ other.flatten(2) / math.sqrt(one.shape[1])
    level = products.reshape(-1, 1, rows, columns)
    pyramid = [level]
    for _ in range(_LEVELS - 1):
        level = F.avg_pool2d(level, 2)
        pyramid.append(level)
    return pyramid


def _look_up(pyramid: Sequence[Tensor], place: Tensor) -> Tensor:
    """Correlations around `place` (B, 2, H, W), x running slower than y in the published order."""
    batch, _, rows, columns = place.shape
    line = torch.arange(-_RADIUS, _RADIUS + 1, dtype=place.dtype, device=place.device)
    window = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1)
    centre = place.permute(0, 2, 3, 1).reshape(-1, 1, 1, 2)
    found = []
    for number, level in enumerate(pyramid):
        size = torch.tensor(level.shape[:-3:-1], dtype=place.dtype, device=place.device)
        grid = (2 * (centre / 2**number + window) + 1) / size - 1
        found.append(F.grid_sample(level, grid, align_corners=False).flatten(1))
    return torch.cat(found, 1).reshape(batch, rows, columns, -1).permute(0, 3, 1, 2)


def _positions(like: Tensor) -> Tensor:
    """Positions (B, 2, H, W) of the pixels of `like`, x and y [px]."""
    rows, columns = like.shape[-2:]
    axes = [torch.arange(n, dtype=like.dtype, device=like.device) for n in (rows, columns)]
    y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.stack((x, y)).expand(len(like), -1, -1, -1)


def _enlarge(flow: Tensor, weights: Tensor) -> Tensor:
    """Flow on picture pixels: each a weighted mean of nine neighbours on the coarse grid."""
    batch, _, rows, columns = flow.shape
    shares = weights.reshape(batch, 1, 9, _STEP, _STEP, rows, columns).softmax(2)
    near = F.unfold(_STEP * flow, 3, padding=1).reshape(batch, 2, 9, 1, 1, rows, columns)
    fine = (shares * near).sum(2).permute(0, 1, 4, 2, 5, 3)
    return fine.reshape(batch, 2, _STEP * rows, _STEP * columns)
