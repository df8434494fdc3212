r"""Linear convolution through windows: the one operation behind every blur.

Every PSF :math:`h_g` has a window :math:`w_g` that says how much of each scene point it takes,

.. math:: y = \sum_g (w_g x) * h_g ,

and is convolved on a tile just large enough for its window. The two pictures of a pair travel as
real and imaginary part of one complex picture, because PSFs are real: half the transforms, and
complex ones, which are the faster ones. Transforms are unscaled.

The form :math:`\langle y, \sum_g (w_g x) * h_g \rangle` is linear in x, h and y. So its three
partial derivatives are the three operations there are (blur, adjoint, gradient of the PSFs), and
each is the derivative of the others: gradients of any order cost no recorded spectra.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from scipy.fft import next_fast_len
from torch import Tensor

Extent = Literal["same", "full"]
_NAMES = ("scene", "psfs", "image")


def pack(pictures: Tensor) -> Tensor:
    """Real (B, ...) as complex (ceil(B / 2), ...): first half real, second half imaginary."""
    half = (len(pictures) + 1) // 2
    second = pictures[half:]
    if len(second) < half:
        second = torch.cat([second, torch.zeros_like(pictures[:1])])
    return torch.complex(pictures[:half], second)


def unpack(pictures: Tensor, batch: int) -> Tensor:
    """Undo `pack`: complex (ceil(B / 2), ...) as real (B, ...)."""
    return torch.cat([pictures.real, pictures.imag[: batch - len(pictures)]])


def fast_length(samples: int) -> int:
    """Transform length of at least `samples`: 2, 3 and 5 alone, and whole fours.

    Lengths such as 135 or 225 take longer than 144 or 240.
    """
    return 4 * int(next_fast_len(-(-samples // 4), real=True))


@dataclass(frozen=True)
class Window:
    """One window along one axis, and where its light goes.

    Attributes
    ----------
    first, last : int
        Scene samples it covers, from `first` up to but without `last`.
    low, high : int
        Image samples its light reaches.
    skip : int
        Where image sample `low` lies in the convolution of window and PSF.
    length : int
        Of the transform.
    weights : Tensor or None
        Float64 (last - first,); None is one everywhere.
    """

    first: int
    last: int
    low: int
    high: int
    skip: int
    length: int
    weights: Tensor | None


def positions(samples: int, cells: int, *, margin: int = 0) -> Tensor:
    """Where scene samples lie among the centres of equal cells, float64, 0 to cells - 1.

    Samples beyond the outer centres, and the `margin` added at both sides, belong to those.
    """
    place = torch.arange(-margin, samples + margin, dtype=torch.float64) + 0.5
    return (place * cells / samples - 0.5).clamp(0, cells - 1)


def shares(samples: int, cells: int, *, margin: int = 0) -> Tensor:
    """Share of every cell at every sample, linear between centres: float64 (samples, cells)."""
    place = positions(samples, cells, margin=margin)[:, None]
    return (1 - (place - torch.arange(cells, dtype=torch.float64)).abs()).clamp(min=0)


def windows(
    samples: int, cells: int, kernel: int, extent: Extent, *, margin: int = 0
) -> tuple[Window, ...]:
    """Linear interpolation between cell centres, as windows that add up to one.

    Parameters
    ----------
    samples : int
        Scene samples along this axis.
    cells : int
        Equal cells they are divided into; one PSF belongs to the centre of each.
    kernel : int
        PSF samples.
    extent : {"same", "full"}
        Image samples wanted.
    margin : int
        Samples added to the scene at both sides.
    """
    start = margin + (kernel // 2 if extent == "same" else 0)
    stop = start + (samples if extent == "same" else samples + kernel - 1)
    found = []
    for share in shares(samples, cells, margin=margin).T:
        inside = share.nonzero()
        first, last = int(inside[0]), int(inside[-1]) + 1
        low, high = max(first, start), min(last + kernel - 1, stop)
        # shorter than the whole convolution where what wraps falls on samples nobody wants
        least = max(high - first, last + kernel - 1 - low, last - first, kernel)
        found.append(
            Window(
                first=first,
                last=last,
                low=low - start,
                high=high - start,
                skip=low - first,
                length=fast_length(least),
                weights=None if cells == 1 else share[first:last],
            )
        )
    return tuple(found)


@dataclass(frozen=True)
class Tiling:
    """Windows over both axes, and the sizes of all that takes part."""

    rows: tuple[Window, ...]
    columns: tuple[Window, ...]
    scene: tuple[int, int]
    image: tuple[int, int]
    kernel: tuple[int, int]

    def tiles(self) -> Iterator[tuple[int, int, Window, Window]]:
        """Every pair of windows that reaches the image, with its place in the grid."""
        for row, y in enumerate(self.rows):
            for column, x in enumerate(self.columns):
                if y.low < y.high and x.low < x.high:
                    yield row, column, y, x


def tiling(
    scene: tuple[int, int],
    grid: tuple[int, int],
    kernel: tuple[int, int],
    extent: Extent,
    *,
    margin: tuple[int, int] = (0, 0),
) -> Tiling:
    """Windows for a scene (H, W) divided into `grid` cells, with a margin around it."""
    sides = [
        windows(n, cells, k, extent, margin=m)
        for n, cells, k, m in zip(scene, grid, kernel, margin, strict=True)
    ]
    more = (0, 0) if extent == "same" else (kernel[0] - 1, kernel[1] - 1)
    return Tiling(
        rows=sides[0],
        columns=sides[1],
        scene=(scene[0] + 2 * margin[0], scene[1] + 2 * margin[1]),
        image=(scene[0] + more[0], scene[1] + more[1]),
        kernel=kernel,
    )


def convolve(scene: Tensor, psfs: Tensor, plan: Tiling) -> Tensor:
    """Blur a scene (B, C, H, W) by PSFs (gy, gx, C, h, w); differentiable to any order."""
    kind = torch.result_type(scene, psfs)
    return _apply("image", {"scene": scene.to(kind), "psfs": psfs.to(kind)}, plan)


class _Tiles:
    """What all tiles share: windows in the right precision, and padded memory used again."""

    def __init__(self, plan: Tiling, like: Tensor) -> None:
        self.plan, self.like = plan, like
        self.sides = [
            [None if w.weights is None else w.weights.to(like) for w in side]
            for side in (plan.rows, plan.columns)
        ]
        self.padded: dict[tuple[int, int], tuple[tuple[int, ...], Tensor]] = {}

    def share(self, row: int, column: int) -> Tensor | None:
        """Window of one tile (h, w); None is one everywhere."""
        y, x = self.sides[0][row], self.sides[1][column]
        if y is None:
            return x
        return y[:, None] if x is None else y[:, None] * x

    def _transform(
        self, part: Tensor, share: Tensor | None, y: int, x: int, size: tuple[int, int]
    ) -> Tensor:
        """Spectrum of `part` times `share`, put at (y, x) of a dark tile of that size."""
        inside = self._dark(part, y, x, size)[..., y : y + part.shape[-2], x : x + part.shape[-1]]
        if share is None:
            inside.copy_(part)
        else:
            torch.mul(part, share, out=inside)
        spectrum: Tensor = torch.fft.fft2(self.padded[size][1])
        return spectrum

    def _dark(self, part: Tensor, y: int, x: int, size: tuple[int, int]) -> Tensor:
        """Memory of a tile, dark wherever `part` will not lie."""
        place = (*part.shape, y, x)
        if size not in self.padded:
            self.padded[size] = (place, part.new_zeros(*part.shape[:2], *size))
        before, memory = self.padded[size]
        if before != place:
            self.padded[size] = (place, memory.zero_())
        return memory

    def scene_spectrum(self, pictures: Tensor, row: int, column: int) -> Tensor:
        y, x = self.plan.rows[row], self.plan.columns[column]
        part = pictures[..., y.first : y.last, x.first : x.last]
        return self._transform(part, self.share(row, column), 0, 0, (y.length, x.length))

    def image_spectrum(self, pictures: Tensor, row: int, column: int) -> Tensor:
        y, x = self.plan.rows[row], self.plan.columns[column]
        part = pictures[..., y.low : y.high, x.low : x.high]
        return self._transform(part, None, y.skip, x.skip, (y.length, x.length))

    def psf_spectrum(self, psfs: Tensor, row: int, column: int) -> Tensor:
        size = (self.plan.rows[row].length, self.plan.columns[column].length)
        # the 1 / (H W) of the inverse transform goes into the small one
        spectrum: Tensor = torch.fft.fft2(psfs[row, column] / (size[0] * size[1]), s=size)
        return spectrum


def _add(
    out: Tensor | None, light: Tensor, place: tuple[slice, slice], size: tuple[int, int]
) -> Tensor:
    """Add the light of one tile to a picture; a tile as large as the picture becomes it."""
    if out is None:
        if light.shape[-2:] == size:
            return light
        out = light.new_zeros(*light.shape[:2], *size)
    out[(..., *place)].add_(light)
    return out


def _whole(out: Tensor | None, like: Tensor, size: tuple[int, int]) -> Tensor:
    """Real pictures (B, C, H, W), as many as in `like`; dark if no tile reached them."""
    if out is None:
        return like.new_zeros(*like.shape[:2], *size)
    return unpack(out, len(like))


def _image(scene: Tensor, psfs: Tensor, plan: Tiling) -> Tensor:
    """Blur: image (B, C, H', W')."""
    tiles, pictures = _Tiles(plan, scene), pack(scene)
    out: Tensor | None = None
    for row, column, y, x in plan.tiles():
        light = tiles.scene_spectrum(pictures, row, column)
        light.mul_(tiles.psf_spectrum(psfs, row, column))
        light = torch.fft.ifft2(light, norm="forward")
        bottom, right = y.skip + y.high - y.low, x.skip + x.high - x.low
        light = light[..., y.skip : bottom, x.skip : right]
        out = _add(out, light, (slice(y.low, y.high), slice(x.low, x.high)), plan.image)
    return _whole(out, scene, plan.image)


def _scene(psfs: Tensor, image: Tensor, plan: Tiling) -> Tensor:
    """Adjoint of the blur: scene (B, C, H, W)."""
    tiles, pictures = _Tiles(plan, image), pack(image)
    out: Tensor | None = None
    for row, column, y, x in plan.tiles():
        light = tiles.image_spectrum(pictures, row, column)
        light.mul_(tiles.psf_spectrum(psfs, row, column).conj())
        light = torch.fft.ifft2(light, norm="forward")[..., : y.last - y.first, : x.last - x.first]
        share = tiles.share(row, column)
        light = light if share is None else light * share
        out = _add(out, light, (slice(y.first, y.last), slice(x.first, x.last)), plan.scene)
    return _whole(out, image, plan.scene)


def _psfs(scene: Tensor, image: Tensor, plan: Tiling) -> Tensor:
    """Correlation of scene and image inside every window: PSFs (gy, gx, C, h, w)."""
    tiles, pictures, pair = _Tiles(plan, scene), pack(scene), pack(image)
    grid = (len(plan.rows), len(plan.columns))
    out = scene.new_zeros(*grid, scene.shape[1], *plan.kernel)
    for row, column, y, x in plan.tiles():
        light = tiles.image_spectrum(pair, row, column)
        light.mul_(tiles.scene_spectrum(pictures, row, column).conj())
        lag = torch.fft.ifft2(light.sum(0) / (y.length * x.length), norm="forward")
        out[row, column] = lag.real[..., : plan.kernel[0], : plan.kernel[1]]
    return out


_FORMS = {"scene": _scene, "psfs": _psfs, "image": _image}


class _Derivative(torch.autograd.Function):
    """Derivative of the trilinear form to one of its arguments, from the other two."""

    @staticmethod
    def forward(first: Tensor, second: Tensor, wanted: str, plan: Tiling) -> Tensor:
        return _FORMS[wanted](first, second, plan)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, str, Tiling], output: Tensor) -> None:
        first, second, ctx.wanted, ctx.plan = inputs
        ctx.save_for_backward(first, second)
        ctx.save_for_forward(first, second)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        names = [name for name in _NAMES if name != ctx.wanted]
        known = dict(zip(names, ctx.saved_tensors, strict=True)) | {ctx.wanted: grads[0]}
        first, second = (
            _apply(name, known, ctx.plan) if needed else None
            for name, needed in zip(names, ctx.needs_input_grad, strict=False)
        )
        return first, second, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        names = [name for name in _NAMES if name != ctx.wanted]
        values = dict(zip(names, ctx.saved_tensors, strict=True))
        steps = [
            _apply(ctx.wanted, values | {name: tangent}, ctx.plan)
            for name, tangent in zip(names, tangents, strict=False)
            if tangent is not None
        ]
        return sum(steps[1:], steps[0])

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Tensor, int]:
        first, second, wanted, plan = inputs
        rows = [
            _run(
                first if in_dims[0] is None else first.select(in_dims[0], i),
                second if in_dims[1] is None else second.select(in_dims[1], i),
                wanted,
                plan,
            )
            for i in range(info.batch_size)
        ]
        return torch.stack(rows), 0


def _run(first: Tensor, second: Tensor, wanted: str, plan: Tiling) -> Tensor:
    out: Tensor = _Derivative.apply(  # type: ignore[no-untyped-call]
        first, second, wanted, plan
    )
    return out


def _apply(wanted: str, known: dict[str, Tensor], plan: Tiling) -> Tensor:
    first, second = (known[name] for name in _NAMES if name != wanted)
    return _run(first, second, wanted, plan)
