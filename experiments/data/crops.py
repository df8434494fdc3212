"""Standard face crops: square pictures of one face each, with landmarks and who it is."""

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from experiments.data.splits import FRACTIONS, people_in_same_picture, split_people

RowIndex = int | slice | NDArray[np.integer[Any]] | NDArray[np.bool_] | list[int]
Index = RowIndex | tuple[Any, ...]


class Rows:
    """Chosen rows of a larger image array, read from it when they are indexed.

    Indexing returns an ndarray; `numpy.asarray` reads all rows.
    """

    def __init__(self, base: NDArray[np.uint8], rows: NDArray[np.int64]) -> None:
        self.base, self.rows = base, rows

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (N, S, S, 3)."""
        return (len(self.rows), *self.base.shape[1:])

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """Always uint8."""
        return self.base.dtype

    @property
    def ndim(self) -> int:
        """Always 4."""
        return self.base.ndim

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Index) -> NDArray[np.uint8]:
        if not isinstance(index, tuple):
            return np.asarray(self.base[self.rows[index]])
        if index[0] is ...:
            return np.asarray(self)[index]
        chosen = np.asarray(self.base[self.rows[index[0]]])
        kept_axes = chosen.ndim - (self.ndim - 1)  # none if the first index was one row
        return chosen[(slice(None),) * kept_axes + index[1:]]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("chosen rows cannot be read without a copy")
        return np.asarray(self.base[self.rows], dtype=dtype)


@dataclass(frozen=True, eq=False)
class FaceCrops:
    """Square pictures of one face each, with 68 landmarks and who it is.

    Attributes
    ----------
    images : ndarray of uint8 or Rows, shape (N, S, S, 3)
        sRGB values; a memory map when it comes from a store.
    landmarks : ndarray of float32, shape (N, 68, 2)
        iBUG points as (x, y) in the crop, pixel centres at whole numbers [px].
    person : ndarray of int64, shape (N,)
        Index into `names`, -1 where unknown.
    names : tuple of str
        Names of the people.
    files : tuple of str
        Where each crop comes from.
    context : float
        Side of the crop in face widths.
    source : dict
        What made the crops, with counts and refused files; plain JSON values.
    attributes : dict of ndarray
        Further values for each crop, such as "yaw" [rad]; first axis N.
    """

    images: NDArray[np.uint8] | Rows
    landmarks: NDArray[np.float32]
    person: NDArray[np.int64]
    names: tuple[str, ...]
    files: tuple[str, ...]
    context: float
    source: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n, s = len(self.images), self.images.shape[1]
        if self.images.shape != (n, s, s, 3) or self.images.dtype != np.uint8:
            raise ValueError(
                f"images is {self.images.dtype} {self.images.shape}, expected uint8 (N, S, S, 3)"
            )
        if self.landmarks.shape != (n, 68, 2):
            raise ValueError(f"landmarks is {self.landmarks.shape}, expected ({n}, 68, 2)")
        columns: dict[str, Sized] = {"person": self.person, "files": self.files, **self.attributes}
        for name, column in columns.items():
            if len(column) != n:
                raise ValueError(f"{name} has {len(column)} rows, expected {n}, one for each crop")
        if n and not -1 <= self.person.min() <= self.person.max() < len(self.names):
            raise ValueError(f"person must be -1 to {len(self.names) - 1}, an index into names")

    def __len__(self) -> int:
        return len(self.files)

    @property
    def size(self) -> int:
        """Side of a crop [px]."""
        return self.images.shape[1]

    @property
    def face_width_px(self) -> float:
        """Face width in a crop [px]."""
        return self.size / self.context

    def subset(self, index: ArrayLike) -> "FaceCrops":
        """Return chosen crops; no image is read.

        Parameters
        ----------
        index : array_like of int or bool, shape (M,) or (N,)
            Rows to keep in this order, or which to keep.
        """
        chosen = np.asarray(index)
        if chosen.size == 0:
            chosen = chosen.astype(np.int64)
        rows = np.arange(len(self), dtype=np.int64)[chosen]
        if isinstance(self.images, Rows):
            images = Rows(self.images.base, self.images.rows[rows])
        else:
            images = Rows(self.images, rows)
        return replace(
            self,
            images=images,
            landmarks=self.landmarks[rows],
            person=self.person[rows],
            files=tuple(self.files[i] for i in rows),
            attributes={name: column[rows] for name, column in self.attributes.items()},
        )

    def of_people(self, names: set[str]) -> "FaceCrops":
        """Return the crops of the people in `names`."""
        wanted = np.array([name in names for name in self.names] + [False])  # -1 is the last
        return self.subset(wanted[self.person])

    def split(self, fractions: tuple[float, float, float] = FRACTIONS) -> dict[str, "FaceCrops"]:
        """Return "train", "attacker" and "test" crops, of different people.

        Crops of unknown people are left out: nobody can tell which part they belong to.
        """
        present = {self.names[i] for i in np.unique(self.person) if i >= 0}
        parts = split_people(sorted(present), fractions, same=people_in_same_picture(self))
        return {part: self.of_people(people) for part, people in parts.items()}


@dataclass(frozen=True, eq=False)
class Shard:
    """Crops that are stored in one go, and what was refused on the way.

    Attributes
    ----------
    images, landmarks, files, attributes
        As in `FaceCrops`.
    people : sequence of str or None
        Name of the person in each crop.
    refused : sequence of (str, str, str)
        File, kind of trouble and reason of each picture that gave no crop.
    counts : mapping of str to int
        Anything worth counting; the store adds up its shards.
    """

    images: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    people: Sequence[str | None]
    files: Sequence[str]
    attributes: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    refused: Sequence[tuple[str, str, str]] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
