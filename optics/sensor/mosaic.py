"""Colour mosaic: which pixel sees which colour, and the colours guessed back.

A mosaic is named by the colours of its top-left 2 x 2 block, row by row: "RGGB". A picture cut
out of a frame at an odd row or column has another name than the frame.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

#: The four places of a Bayer block (B. E. Bayer, US patent 3971065 (1976)).
CFA_ORDERS = ("RGGB", "BGGR", "GRBG", "GBRG")


def check_cfa(cfa: str) -> str:
    """Return `cfa`, or raise if it is no Bayer order."""
    if cfa not in CFA_ORDERS:
        raise ValueError(
            f"cfa = {cfa!r}: the colours of the top-left 2 x 2 block, row by row, are one of "
            f"{', '.join(CFA_ORDERS)}"
        )
    return cfa


def colour_filters(
    cfa: str, shape: tuple[int, int], *, device: torch.device | None = None
) -> Tensor:
    """Where each colour is seen: bool (3, H, W), red, green, blue; one is true at each pixel.

    Parameters
    ----------
    cfa : str
        One of `CFA_ORDERS`.
    shape : tuple of int
        Pixels (H, W).
    device : torch.device, optional
        Where the result lives.
    """
    block = torch.tensor([[name == colour for name in check_cfa(cfa)] for colour in "RGB"])
    height, width = shape
    tiles = block.reshape(3, 2, 2).repeat(1, math.ceil(height / 2), math.ceil(width / 2))
    return tiles[:, :height, :width].to(device)


def sample_mosaic(image: Tensor, cfa: str) -> Tensor:
    """Keep at every pixel the colour its filter passes: (..., 3, H, W) -> (..., H, W)."""
    if image.ndim < 3 or image.shape[-3] != 3:
        raise ValueError(f"image is {tuple(image.shape)}, expected (..., 3, H, W)")
    shape = (image.shape[-2], image.shape[-1])
    return (image * colour_filters(cfa, shape, device=image.device).to(image)).sum(-3)


def demosaic_bilinear(mosaic: Tensor, cfa: str) -> Tensor:
    """Fill every colour by normalised bilinear interpolation: (..., H, W) -> (..., 3, H, W).

    What a pixel saw is kept. At the border the average is over the neighbours there are.
    """
    height, width = _check_mosaic(mosaic)
    keep = colour_filters(cfa, (height, width), device=mosaic.device).to(mosaic)
    kernel = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]).to(mosaic)
    kernel = kernel.expand(3, 1, 3, 3)
    planes = mosaic.reshape(-1, 1, height, width) * keep
    total = functional.conv2d(planes, kernel, padding=1, groups=3)
    weight = functional.conv2d(keep[None], kernel, padding=1, groups=3)
    # green has green neighbours across the corner, which must not blur what was seen
    filled = torch.where(keep.bool(), planes, total / weight)
    return filled.reshape(*mosaic.shape[:-2], 3, height, width)


# Malvar et al., fig. 2, in eighths. Rows of the kernel are rows of the picture.
_GREEN = ((0, 0, -1, 0, 0), (0, 0, 2, 0, 0), (-1, 2, 4, 2, -1), (0, 0, 2, 0, 0), (0, 0, -1, 0, 0))
_ALONG_ROW = (
    (0, 0, 0.5, 0, 0),
    (0, -1, 0, -1, 0),
    (-1, 4, 5, 4, -1),
    (0, -1, 0, -1, 0),
    (0, 0, 0.5, 0, 0),
)
_ACROSS = (
    (0, 0, -1.5, 0, 0),
    (0, 2, 0, 2, 0),
    (-1.5, 0, 6, 0, -1.5),
    (0, 2, 0, 2, 0),
    (0, 0, -1.5, 0, 0),
)


def demosaic_malvar(mosaic: Tensor, cfa: str) -> Tensor:
    """Fill every colour by the gradient-corrected linear filters: (..., H, W) -> (..., 3, H, W).

    The bilinear guess of a colour is corrected by the curvature of the colour that is seen, so
    that edges which all colours share stay sharp. 5 x 5, linear, mirrored at the border. It
    overshoots at coloured edges: values may fall below zero or above the brightest.

    References
    ----------
    H. S. Malvar, L.-W. He, R. Cutler, "High-quality linear interpolation for demosaicing of
    Bayer-patterned color images", Proc. IEEE ICASSP 3, 485 (2004): fig. 2.
    """
    height, width = _check_mosaic(mosaic)
    if min(height, width) < 3:
        raise ValueError(f"mosaic is {tuple(mosaic.shape)}, at least 3 x 3 pixels are needed")
    red, green, blue = colour_filters(cfa, (height, width), device=mosaic.device)
    along_row = torch.tensor(_ALONG_ROW)
    kernels = torch.stack([torch.tensor(_GREEN), along_row, along_row.T, torch.tensor(_ACROSS)]).to(
        mosaic
    )
    seen = mosaic.reshape(-1, 1, height, width)
    # mirrored about the outermost pixel, which keeps every colour on its place
    padded = functional.pad(seen, (2, 2, 2, 2), mode="reflect")
    guess = functional.conv2d(padded, kernels[:, None] / 8)
    to_green, row_guess, column_guess, diagonal = guess.unbind(1)
    seen = seen[:, 0]

    def other(own: Tensor, far: Tensor) -> Tensor:
        """Red or blue: seen at `own`, across from `far`, beside itself at green."""
        in_row = own.any(-1, keepdim=True)  # rows that hold this colour
        beside = torch.where(in_row, row_guess, column_guess)
        return torch.where(own, seen, torch.where(far, diagonal, beside))

    planes = [other(red, blue), torch.where(green, seen, to_green), other(blue, red)]
    return torch.stack(planes, 1).reshape(*mosaic.shape[:-2], 3, height, width)


def _check_mosaic(mosaic: Tensor) -> tuple[int, int]:
    if mosaic.ndim < 2 or min(mosaic.shape[-2:]) < 2:
        raise ValueError(
            f"mosaic is {tuple(mosaic.shape)}, expected (..., H, W) of at least one 2 x 2 block"
        )
    return mosaic.shape[-2], mosaic.shape[-1]
