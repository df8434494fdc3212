"""What a reader of pairs gives: encoded pictures, and which of them to compare."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anonymizer.colour import decode_srgb
from anonymizer.recognition import FACE_SIZE
from experiments.data.errors import DataError
from experiments.data.pictures import PictureLimits, decode_picture

_LIMITS = PictureLimits()


@dataclass(frozen=True)
class FacePairs:
    """Pairs of pictures in folds.

    Attributes
    ----------
    names : sequence of str
        Pictures, each once, for people to read.
    encoded : callable
        Row of a picture to the bytes of its file.
    pairs : ndarray of int64, shape (n, 2)
        Rows of the pictures to compare.
    same : ndarray of bool, shape (n,)
        Whether they show one person.
    fold : ndarray of int64, shape (n,)
        Which of the disjoint sets.
    people : ndarray of int64, shape (n, 2)
        Who is shown.
    named : bool
        Whether `people` is known; else every pair has people of its own, and intervals treat
        pairs as if they were independent.
    """

    names: Sequence[str]
    encoded: Callable[[int], bytes]
    pairs: NDArray[np.int64]
    same: NDArray[np.bool_]
    fold: NDArray[np.int64]
    people: NDArray[np.int64]
    named: bool = True

    def faces(self, rows: Sequence[int]) -> Tensor:
        """Return aligned faces (B, 3, 112, 112) in linear light.

        Raises
        ------
        DataError
            If a picture cannot be read or is not an aligned crop.
        """
        pictures = []
        for row in rows:
            pixels = decode_picture(self.encoded(row), self.names[row], _LIMITS).pixels
            if pixels.shape[:2] != (FACE_SIZE, FACE_SIZE):
                raise DataError(
                    f"{self.names[row]} has {pixels.shape[1]} x {pixels.shape[0]} px, expected a "
                    f"crop of {FACE_SIZE} x {FACE_SIZE} px aligned to ArcFace's template"
                )
            pictures.append(pixels)
        return decode_srgb(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 255)


@dataclass(frozen=True)
class PairLayout(ABC):
    """A list of pairs on disk.

    Attributes
    ----------
    root : Path
        Its folder or file.
    """

    root: Path

    @abstractmethod
    def read(self) -> FacePairs:
        """Read the list, or raise DataError with what to do."""


def numbered(names: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Return each name once, sorted, and the number of each."""
    known, code = np.unique(np.asarray(names), return_inverse=True)
    return known.tolist(), code.astype(np.int64)
