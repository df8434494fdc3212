"""Faces of whole pictures: found, cut out upright, and put back without a seam.

A face is worked on in its own square: the crop that recognisers expect, widened by a factor and
turned upright. What comes back is blended in linear light over a rim, so that nothing outside the
square changes by a single bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anonymizer.alignment import (
    ARCFACE112,
    fit_similarity,
    five_points,
    invert_similarity,
    similarity_scale,
    warp_area,
)
from anonymizer.colour import decode_srgb, encode_srgb
from anonymizer.detection import Mtcnn

Pixels = NDArray[np.uint8]

RIM = 0.08
"""Width of the rim over which a face is blended into its picture, in sides of the square."""

_TEMPLATE = 112


@dataclass(frozen=True)
class Square:
    """Where a face is in a picture.

    Attributes
    ----------
    matrix : Tensor
        Similarity (2, 3), float64, from the unit square to the picture [px], (x, y) order; edges
        of the first pixel at -0.5, as everywhere.
    """

    matrix: Tensor

    def __post_init__(self) -> None:
        if self.matrix.shape != (2, 3) or not torch.isfinite(self.matrix).all():
            raise ValueError(f"matrix is {tuple(self.matrix.shape)}, expected a finite (2, 3)")

    @classmethod
    def around(cls, points: Tensor, *, frame: float) -> "Square":
        """Return the square around a face.

        Parameters
        ----------
        points : Tensor
            (68, 2) or (5, 2), as `anonymizer.alignment.align_faces` takes them [px].
        frame : float
            Side of the square in sides of the crop that recognisers expect.
        """
        five = (points if len(points) == len(ARCFACE112) else five_points(points)).double()
        template = (ARCFACE112.double() + 0.5) / _TEMPLATE  # in units of the crop
        unit = (template - 0.5) / frame + 0.5
        return cls(invert_similarity(fit_similarity(five, unit)))

    @property
    def side(self) -> float:
        """Side [px]."""
        return float(similarity_scale(self.matrix))

    def from_pixels(self, count: int) -> Tensor:
        """Return the similarity (2, 3) to the picture from the pixels of `count` by `count`."""
        linear, shift = self.matrix[:, :2], self.matrix[:, 2:]
        half = self.matrix.new_full((2, 1), 0.5 / count)
        return torch.cat((linear / count, shift + linear @ half), dim=1)

    @classmethod
    def of_pixels(cls, matrix: Sequence[float], count: int) -> "Square":
        """Return the square whose `from_pixels(count)` has the six entries `matrix`."""
        given = torch.tensor(matrix, dtype=torch.float64).reshape(2, 3)
        linear = given[:, :2] * count
        half = given.new_full((2, 1), 0.5 / count)
        return cls(torch.cat((linear, given[:, 2:] - linear @ half), dim=1))


class FaceFinder(Protocol):
    """Finds the faces of a picture."""

    def __call__(self, pixels: Pixels) -> list[Square]:
        """Return the squares around the faces of an sRGB picture (H, W, 3)."""
        ...


@dataclass(frozen=True)
class DetectedFaces:
    """All faces that a detector finds, the most confident first.

    Attributes
    ----------
    detector : Mtcnn
        With weights.
    frame : float
        As in `Square.around`.
    """

    detector: Mtcnn
    frame: float

    def __call__(self, pixels: Pixels) -> list[Square]:
        found = self.detector.detect([pixels])[0]
        return [Square.around(torch.from_numpy(one.points), frame=self.frame) for one in found]


@dataclass(frozen=True)
class WholePicture:
    """Pictures that are crops of one face already: the square covers them."""

    def __call__(self, pixels: Pixels) -> list[Square]:
        height, width = pixels.shape[:2]
        side = float(max(height, width))
        shift = [(width - side) / 2 - 0.5, (height - side) / 2 - 0.5]
        return [Square(torch.tensor([[side, 0, shift[0]], [0, side, shift[1]]]).double())]


@dataclass(frozen=True)
class FixedFaces:
    """Faces whose places are known: the same in every picture.

    Attributes
    ----------
    squares : tuple of Square
    """

    squares: tuple[Square, ...]

    def __call__(self, pixels: Pixels) -> list[Square]:
        return list(self.squares)


def cut_squares(pixels: Pixels, squares: Sequence[Square], size: int) -> Tensor:
    """Return the faces (B, 3, size, size) of a picture, upright, in linear light.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        sRGB picture.
    squares : sequence of Square
        Where they are.
    size : int
        Side of the result [px].
    """
    faces = [_cut(pixels, one, size) for one in squares]
    return torch.stack(faces) if faces else torch.zeros(0, 3, size, size)


def _cut(pixels: Pixels, square: Square, size: int) -> Tensor:
    """Return one face (3, size, size); of a large picture only what is near it is unpacked."""
    low, high = _reach(square, (pixels.shape[0], pixels.shape[1]), margin=2)
    part = to_light(pixels[low[1] : high[1], low[0] : high[0]])[None]
    matrix = square.from_pixels(size) - torch.tensor([[0, 0, low[0]], [0, 0, low[1]]])
    return warp_area(part, matrix[None].to(part), (size, size))[0]


def _reach(
    square: Square, shape: tuple[int, int], *, margin: int = 0
) -> tuple[list[int], list[int]]:
    """Return first and one after last (x, y) of the pixels that a square reaches, at least one."""
    unit = torch.tensor([[0, 1, 0, 1], [0, 0, 1, 1]]).double()
    corners = square.matrix[:, :2] @ unit + square.matrix[:, 2:]
    size = torch.tensor([shape[1], shape[0]])
    low = (corners.amin(dim=1).floor().long() - margin).clamp(min=0)
    low = torch.minimum(low, size - 1)
    high = corners.amax(dim=1).ceil().long() + 1 + margin
    high = torch.maximum(torch.minimum(high, size), low + 1)
    return low.tolist(), high.tolist()


@dataclass(frozen=True)
class Place:
    """The pixels of a picture that a square reaches.

    Attributes
    ----------
    rows, columns : slice
        Box within the picture.
    weight : Tensor
        Share of the face in each pixel of the box (h, w), 0 outside the square.
    """

    rows: slice
    columns: slice
    weight: Tensor
    _to_square: Tensor

    @classmethod
    def of(cls, square: Square, shape: tuple[int, int], *, rim: float = RIM) -> "Place | None":
        """Return the place of a square in a picture of `shape`, or None if it lies outside.

        Where the square is cut by the border of the picture there is no rim.
        """
        low, (right, bottom) = _reach(square, shape)
        y, x = torch.meshgrid(
            torch.arange(low[1], bottom).double(), torch.arange(low[0], right).double(),
            indexing="ij",
        )  # fmt: skip
        inverse = invert_similarity(square.matrix[None])[0]
        u = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]
        v = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]
        inside = torch.minimum(torch.minimum(u, 1 - u), torch.minimum(v, 1 - v))
        share = (inside / rim).clamp(0, 1) if rim > 0 else (inside >= 0).double()
        weight = (share * share * (3 - 2 * share)).float()
        if not bool(weight.any()):
            return None
        return cls(slice(low[1], bottom), slice(low[0], right), weight, inverse)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, width, height [px]."""
        left, top = self.columns.start, self.rows.start
        return left, top, self.columns.stop - left, self.rows.stop - top

    def project(self, face: Tensor) -> Tensor:
        """Return a face (3, n, n) as it lies in the box, (3, h, w)."""
        count = face.shape[-1]
        shift = torch.tensor([self.columns.start, self.rows.start]).double()
        linear = self._to_square[:, :2]
        offset = (linear @ shift + self._to_square[:, 2]) * count - 0.5
        matrix = torch.cat((linear * count, offset[:, None]), dim=1)[None]
        box = (self.weight.shape[0], self.weight.shape[1])
        return warp_area(face[None], matrix.to(face), box)[0]

    def blend(self, pixels: Pixels, face: Tensor) -> None:
        """Put a face (3, n, n), linear light, into `pixels`; the rest keeps every bit."""
        self._change(pixels, lambda light: light + self.weight * (self.project(face) - light))

    def exchange(self, pixels: Pixels, old: Tensor, new: Tensor) -> None:
        """Put the face `new` where `old` was blended in, so that the rim comes out right too."""
        difference = self.weight * (self.project(new) - self.project(old))
        self._change(pixels, lambda light: light + difference)

    def _change(self, pixels: Pixels, how: "_Change") -> None:
        box = pixels[self.rows, self.columns]
        changed = to_pixels(how(to_light(box)))
        keep = (self.weight == 0).numpy()[..., None]
        pixels[self.rows, self.columns] = np.where(keep, box, changed)


class _Change(Protocol):
    def __call__(self, light: Tensor) -> Tensor: ...


def to_light(pixels: Pixels) -> Tensor:
    """Return sRGB pixels (..., H, W, 3) as linear light (..., 3, H, W)."""
    values = torch.from_numpy(np.array(pixels, order="C")).movedim(-1, -3)
    return decode_srgb(values.float() / 255)


def to_pixels(light: Tensor) -> Pixels:
    """Return linear light (..., 3, H, W) as sRGB pixels (..., H, W, 3), rounded."""
    values = (encode_srgb(light.detach().cpu()) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(values.movedim(-3, -1).numpy())
