"""Feature maps put out of order by a key, and back.

A map (B, C, H, W) is cut into square blocks. The published client (`permute_blocks`) permutes the
channels of each block with permutations that lie in its weight file. Ours (`CellShuffle`) permutes
all cells, a cell being one channel of one block, by a permutation drawn from a session's key; only
whoever has the key can put them back.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anonymizer.keystream import stream

_WORD = np.dtype("<u8")
_WORDS_AT_ONCE = 1024


def draw_permutation(key: bytes, count: int, purpose: str) -> NDArray[np.int64]:
    """Return one of all permutations of `count` things, each as likely as any other.

    Fisher and Yates' shuffle. A number below n is drawn from 64 bits modulo n; values beyond the
    largest multiple of n are thrown away, so that no remainder is favoured.

    Parameters
    ----------
    key : bytes
        32 bytes.
    count : int
        1 or more.
    purpose : str
        Which stream of the key; a new one for every use.

    References
    ----------
    D. E. Knuth, "The Art of Computer Programming", vol. 2, section 3.4.2, algorithm P.
    """
    if count < 1:
        raise ValueError(f"count = {count}, expected 1 or more")
    words: list[int] = []
    part = 0
    order = np.arange(count)
    for last in range(count - 1, 0, -1):
        choices = last + 1
        limit = 2**64 - 2**64 % choices
        while True:
            if not words:
                octets = stream(key, _WORDS_AT_ONCE * _WORD.itemsize, f"{purpose}/{part}")
                words, part = np.frombuffer(octets, _WORD).tolist(), part + 1
            word = words.pop()
            if word < limit:
                break
        other = word % choices
        order[[last, other]] = order[[other, last]]
    return order


def permute_blocks(features: Tensor, permutations: Tensor, block: int) -> Tensor:
    """Permute the channels of each block by its own permutation, as the published client does.

    out[:, j, block q] = features[:, permutations[q, j], block q], blocks row by row.

    Parameters
    ----------
    features : Tensor
        (B, C, H, W); H and W are multiples of `block`.
    permutations : Tensor
        (Q, C) integers, Q at least the number of blocks.
    block : int
        Side of a block [cells of the map].
    """
    cells = _to_blocks(features, block)
    order = permutations[: cells.shape[1]].to(features.device, torch.int64)
    if order.shape != cells.shape[1:3]:
        raise ValueError(
            f"permutations is {tuple(permutations.shape)}, expected at least {cells.shape[1]} "
            f"permutations of {cells.shape[2]} channels"
        )
    index = order[None, :, :, None, None].expand_as(cells)
    return _from_blocks(cells.gather(2, index), features.shape)


class CellShuffle:
    """Puts the cells of feature maps of one shape into the order that a key gives, and back.

    Parameters
    ----------
    shape : tuple of int
        (C, H, W) of the maps.
    block : int
        Side of a block; H and W are multiples of it.
    key : bytes
        32 bytes.
    purpose : str
        Which stream of the key; a new one for every image.
    """

    def __init__(self, shape: tuple[int, int, int], block: int, key: bytes, purpose: str) -> None:
        channels, height, width = shape
        if height % block or width % block:
            raise ValueError(f"shape = {shape}, expected sides that are multiples of {block}")
        self.shape, self.block = shape, block
        count = channels * (height // block) * (width // block)
        self.order = torch.from_numpy(draw_permutation(key, count, purpose))

    def mix(self, features: Tensor) -> Tensor:
        """Return `features` (B, C, H, W), cells in the order of the key."""
        return self._reorder(features, self.order)

    def restore(self, features: Tensor) -> Tensor:
        """Return what `mix` made from its argument."""
        return self._reorder(features, self.order.argsort())

    def _reorder(self, features: Tensor, order: Tensor) -> Tensor:
        if tuple(features.shape[1:]) != self.shape:
            raise ValueError(f"features is {tuple(features.shape)}, expected (B, *{self.shape})")
        blocks = _to_blocks(features, self.block)
        cells = blocks.flatten(1, 2)[:, order.to(features.device)]
        return _from_blocks(cells.reshape(blocks.shape), features.shape)


def _to_blocks(features: Tensor, block: int) -> Tensor:
    """Return (B, Q, C, block, block), blocks row by row."""
    batch, channels, height, width = features.shape
    if height % block or width % block:
        raise ValueError(
            f"features is {tuple(features.shape)}, expected sides that are multiples of {block}"
        )
    rows, columns = height // block, width // block
    split = features.reshape(batch, channels, rows, block, columns, block)
    return split.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * columns, channels, block, block)


def _from_blocks(blocks: Tensor, shape: torch.Size) -> Tensor:
    batch, channels, height, width = shape
    block = blocks.shape[-1]
    rows, columns = height // block, width // block
    split = blocks.reshape(batch, rows, columns, channels, block, block)
    return split.permute(0, 3, 1, 4, 2, 5).reshape(shape)
