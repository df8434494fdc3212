"""Feature maps in few bytes: unimportant channels left out, the rest in a few bits each.

Ranges and kept channels are learned (`observe`, `prune`) and belong to the weights that both ends
have, so what is sent is nothing but numbers of fixed width. Its length is the same for every face
and says nothing about it; a reader needs to check that length and no more.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from anonymizer.protection.feature_shuffle import CellShuffle

_BLOCK = 7  # side of the blocks that are shuffled; it divides every map
_OUTSIDE = 0.005  # share of a channel's values beyond either end of its range
_PACE = 0.05  # weight of the newest batch in what was observed


class FeatureCodec(nn.Module):
    """Quantises, prunes, shuffles and packs feature maps of fixed shapes.

    Parameters
    ----------
    shapes : sequence of (int, int)
        Channels and side of each map; sides are multiples of 7.
    bits : int, default 4
        Bits of one value, 1 to 8.

    Attributes
    ----------
    keep_0, low_0, high_0, importance_0, ... : Tensor
        For each channel of each map: whether it is sent, its range, and the mean size of what
        it does.
    observed : Tensor
        Batches observed, a scalar.
    """

    observed: Tensor

    def __init__(self, shapes: Sequence[tuple[int, int]], *, bits: int = 4) -> None:
        super().__init__()
        if not 1 <= bits <= 8:
            raise ValueError(f"bits = {bits}, expected 1 to 8")
        if not shapes or any(
            channels < 1 or side < 1 or side % _BLOCK for channels, side in shapes
        ):
            raise ValueError(f"shapes = {shapes}, expected sides that are multiples of {_BLOCK}")
        self.shapes, self.bits = tuple((int(c), int(n)) for c, n in shapes), bits
        self.register_buffer("observed", torch.tensor(0))
        for i, (channels, _) in enumerate(self.shapes):
            self.register_buffer(f"keep_{i}", torch.ones(channels, dtype=torch.bool))
            self.register_buffer(f"low_{i}", torch.full((channels,), -1.0))
            self.register_buffer(f"high_{i}", torch.ones(channels))
            self.register_buffer(f"importance_{i}", torch.ones(channels))

    @property
    def size(self) -> int:
        """Length of what `encode` returns for one face [bytes]."""
        return sum(-(-self.bits * count // 8) for count in self._counts())

    @property
    def unpruned_size(self) -> int:
        """Length of the same maps in float32 [bytes]."""
        return sum(4 * channels * side**2 for channels, side in self.shapes)

    @torch.no_grad()
    def observe(self, maps: Sequence[Tensor], gains: Sequence[Tensor]) -> None:
        """Learn from a batch the range and the importance of each channel.

        Parameters
        ----------
        maps : sequence of Tensor
            (B, C, N, N) each.
        gains : sequence of Tensor
            (C,) each: what a channel of size 1 does where it enters the server.
        """
        pace = 1.0 if self.observed == 0 else _PACE
        for i, (values, gain) in enumerate(zip(self._checked(maps), gains, strict=True)):
            rows = values.transpose(0, 1).flatten(1)
            found = torch.quantile(
                rows[:, :: _stride(rows)], rows.new_tensor([_OUTSIDE, 1 - _OUTSIDE]), 1
            )
            self.get_buffer(f"low_{i}").lerp_(found[0], pace)
            self.get_buffer(f"high_{i}").lerp_(torch.maximum(found[1], found[0] + 1e-6), pace)
            self.get_buffer(f"importance_{i}").lerp_(rows.abs().mean(1) * gain, pace)
        self.observed.add_(1)

    def prune(self, share: float) -> None:
        """Send from now on the most important channels of each map, `share` of them.

        Raises
        ------
        ValueError
            If `share` is not in (0, 1], or nothing was observed.
        """
        if not 0 < share <= 1:
            raise ValueError(f"share = {share:g}, expected more than 0, at most 1")
        if self.observed == 0:
            raise ValueError("nothing was observed yet: call observe on some batches first")
        for i, (channels, _) in enumerate(self.shapes):
            best = self.get_buffer(f"importance_{i}").argsort(descending=True)
            keep = self.get_buffer(f"keep_{i}").zero_()
            keep[best[: max(1, round(share * channels))]] = True

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return what the other end gets of `maps`, with gradients as if nothing were rounded.

        Pruned channels are zero. Beyond a channel's range the gradient is zero.
        """
        out = []
        for i, values in enumerate(self._checked(maps)):
            low, step = self._steps(i)
            inside = values.clamp(low, low + step * self._top)
            rounded = low + step * ((inside - low) / step).round()
            keep = self.get_buffer(f"keep_{i}")[:, None, None]
            out.append((inside + (rounded - inside).detach()) * keep)
        return out

    @torch.no_grad()
    def encode(self, maps: Sequence[Tensor], key: bytes, purpose: str) -> list[bytes]:
        """Return the bytes of each face of a batch, its cells in the order of the key.

        Parameters
        ----------
        maps : sequence of Tensor
            (B, C, N, N) each.
        key : bytes
            32 bytes; the reader needs it too.
        purpose : str
            Names the one use of the key; never the same twice.
        """
        parts: list[NDArray[np.uint8]] = []
        for i, values in enumerate(self._checked(maps)):
            low, step = self._steps(i)
            codes = ((values - low) / step).round().clamp(0, self._top)
            sent = codes[:, self.get_buffer(f"keep_{i}")].to(torch.uint8)
            mixed = self._shuffle(i, key, purpose).mix(sent)
            parts.append(_pack(mixed.flatten(1).cpu().numpy(), self.bits))
        return [row.tobytes() for row in np.concatenate(parts, axis=1)]

    @torch.no_grad()
    def decode(self, payload: bytes, key: bytes, purpose: str) -> list[Tensor]:
        """Return the maps (1, C, N, N) of one face, pruned channels zero.

        Raises
        ------
        ValueError
            If the payload has another length than `size`. Any payload of that length is a face,
            if not a sensible one.
        """
        if len(payload) != self.size:
            raise ValueError(f"payload of {len(payload)} bytes, expected {self.size}")
        out, start = [], 0
        for i, ((channels, side), count) in enumerate(
            zip(self.shapes, self._counts(), strict=True)
        ):
            length = -(-self.bits * count // 8)
            octets = np.frombuffer(payload, np.uint8, length, start)
            start += length
            keep = self.get_buffer(f"keep_{i}")
            mixed = torch.from_numpy(_unpack(octets, self.bits, count)).to(keep.device)
            codes = self._shuffle(i, key, purpose).restore(mixed.reshape(1, -1, side, side))
            low, step = self._steps(i)
            values = low.new_zeros(1, channels, side, side)
            values[:, keep] = low[keep] + step[keep] * codes
            out.append(values)
        return out

    @property
    def _top(self) -> int:
        return int(2**self.bits - 1)

    def _steps(self, i: int) -> tuple[Tensor, Tensor]:
        """Return the least value and the width of a step, (C, 1, 1) each."""
        low, high = self.get_buffer(f"low_{i}"), self.get_buffer(f"high_{i}")
        return low[:, None, None], ((high - low) / self._top)[:, None, None]

    def _counts(self) -> list[int]:
        """Return how many values of each map are sent."""
        return [
            int(self.get_buffer(f"keep_{i}").sum()) * side**2
            for i, (_, side) in enumerate(self.shapes)
        ]

    def _shuffle(self, i: int, key: bytes, purpose: str) -> CellShuffle:
        kept, side = int(self.get_buffer(f"keep_{i}").sum()), self.shapes[i][1]
        return CellShuffle((kept, side, side), _BLOCK, key, f"{purpose}/map {i}")

    def _checked(self, maps: Sequence[Tensor]) -> Sequence[Tensor]:
        found = [tuple(values.shape[1:]) for values in maps]
        expected = [(channels, side, side) for channels, side in self.shapes]
        if found != expected:
            raise ValueError(f"maps are {found}, expected {expected} after the batch")
        return maps


def _stride(rows: Tensor) -> int:
    """Return how far apart values are taken for a quantile: it takes no more than 16 million."""
    return max(1, rows.shape[1] // 4096)


def _pack(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Return rows of `bits`-bit numbers, most significant bit first, as rows of bytes."""
    digits = np.unpackbits(codes[..., None], axis=-1)[..., 8 - bits :]
    return np.packbits(digits.reshape(len(codes), -1), axis=1)


def _unpack(octets: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint8]:
    digits = np.unpackbits(octets, count=bits * count).reshape(count, bits)
    padded = np.pad(digits, ((0, 0), (8 - bits, 0)))
    return np.packbits(padded, axis=1)[:, 0]
