"""Pairs in LFW's own format, over folders of people that hold aligned crops."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from experiments.data.layouts.lfw import read_pairs
from experiments.data.pairs.base import FacePairs, PairLayout, numbered
from experiments.data.pictures import PictureLimits, read_picture_file

_LIMITS = PictureLimits()


@dataclass(frozen=True)
class FolderPairs(PairLayout):
    """`root/<Name>/<Name>_<nnnn>.jpg`, 112 px aligned, and a `pairs.txt`.

    Attributes
    ----------
    pairs : Path
        The list; one that is not absolute lies below `root`.
    """

    pairs: Path

    def read(self) -> FacePairs:
        """Read the list; pictures are opened when they are needed."""
        listed = read_pairs(self.root / self.pairs)
        files = [name for pair in listed for name in (pair.a, pair.b)]
        names, picture = numbered(files)
        _, person = numbered([PurePosixPath(name).parts[0] for name in files])

        def encoded(row: int) -> bytes:
            return read_picture_file(self.root / names[row], names[row], _LIMITS)

        return FacePairs(
            names,
            encoded,
            pairs=picture.reshape(-1, 2),
            same=np.array([pair.same for pair in listed]),
            fold=np.array([pair.fold for pair in listed]),
            people=person.reshape(-1, 2),
        )
