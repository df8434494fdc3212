"""A picture with a transparent surround, pasted over the face."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from anonymizer.colour import decode_srgb
from anonymizer.protection.obfuscators.obfuscator import Obfuscator, draw_integer


class Sticker(Obfuscator[int]):
    """Cover the face with a sticker; the strength is which of them.

    Each sticker is cut to the square around what it shows, stretched to the image, and composited
    in linear light.

    Parameters
    ----------
    stickers : Tensor
        (N, 4, H, W): sRGB colours and opacity, all in [0, 1]. `cartoon_faces` draws some.
    """

    pictures: Tensor

    def __init__(self, stickers: Tensor) -> None:
        super().__init__()
        shape = tuple(stickers.shape)
        if len(shape) != 4 or shape[0] < 1 or shape[1] != 4:
            raise ValueError(f"stickers is {shape}, expected (N, 4, H, W) with N >= 1")
        colour, opacity = decode_srgb(stickers[:, :3]), stickers[:, 3:]
        # colours are weighted by opacity before they are resampled, so that none bleeds in
        weighted = torch.cat((colour * opacity, opacity), dim=1)
        side = max(shape[2:])
        cut = [_square(picture, side) for picture in weighted]
        self.register_buffer("pictures", torch.stack(cut), persistent=False)

    def typical(self) -> int:
        return 0

    def draw(self, generator: torch.Generator) -> int:
        return draw_integer(0, len(self.pictures) - 1, generator)

    def apply_strength(self, images: Tensor, strength: int) -> Tensor:
        picture = self.pictures[strength : strength + 1].to(images)
        fitted = _resize(picture, (images.shape[-2], images.shape[-1]))
        return fitted[:, :3] + (1 - fitted[:, 3:]) * images


def cartoon_faces(count: int = 8, size: int = 128, seed: int = 0) -> Tensor:
    """Draw plain cartoon faces of different colours and proportions.

    Returns
    -------
    Tensor
        (count, 4, size, size): sRGB colours and opacity, in [0, 1].
    """
    if count < 1 or size < 16:
        raise ValueError(f"count = {count}, size = {size} px, expected 1 and 16 or more")
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([_draw_face(size, torch.rand(9, generator=generator)) for _ in range(count)])


def _draw_face(size: int, chance: Tensor) -> Tensor:
    """Draw one face (4, size, size) from nine numbers in [0, 1]."""
    c = [float(v) for v in chance]
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    edge = size / 2  # soft edges one pixel wide

    def ellipse(cx: float, cy: float, rx: float, ry: float) -> Tensor:
        away = torch.hypot((x - cx) / rx, (y - cy) / ry) - 1
        return (0.5 - away * min(rx, ry) * edge).clamp(0, 1)

    skin = torch.tensor([0.95, 0.8 - 0.3 * c[0], 0.55 - 0.3 * c[1]])
    hair, lips = torch.tensor([c[2], 0.6 * c[3], 0.5 * c[4]]), torch.tensor([0.75, 0.2, 0.25])
    white, dark = torch.ones(3), torch.full((3,), 0.1)
    apart, mouth = 0.26 + 0.14 * c[5], 0.2 + 0.2 * c[6]
    layers = [(hair, ellipse(0, -0.12, 0.8, 0.86)), (skin, ellipse(0, 0.08, 0.7, 0.86))]
    for side in (-apart, apart):
        layers += [
            (white, ellipse(side, -0.12, 0.17, 0.11 + 0.05 * c[7])),
            (dark, ellipse(side, -0.12, 0.07, 0.07)),
            (hair, ellipse(side, -0.36, 0.19, 0.045)),
        ]
    layers += [(0.85 * skin, ellipse(0, 0.14, 0.09, 0.12 + 0.08 * c[8]))]
    layers += [(lips, ellipse(0, 0.5, mouth, 0.09))]
    colour, opacity = torch.zeros(3, size, size), torch.zeros(1, size, size)
    for paint, cover in layers:
        colour = colour + (paint.reshape(3, 1, 1) - colour) * cover
        opacity = torch.maximum(opacity, cover)
    return torch.cat((colour, opacity))


def _square(picture: Tensor, side: int) -> Tensor:
    """Cut the square around the opaque part and bring it to `side` pixels."""
    seen = picture[3] > 0
    if not bool(seen.any()):
        raise ValueError("a sticker is transparent everywhere; leave it out")
    rows, columns = (torch.nonzero(seen.any(dim=d)).flatten() for d in (1, 0))
    low = torch.stack((rows[0], columns[0])).double()
    high = torch.stack((rows[-1], columns[-1])).double() + 1
    middle, length = (low + high) / 2, float((high - low).max())
    top, left = (math.floor(float(m) - length / 2) for m in middle)
    whole = math.ceil(length)
    # what the square holds beyond the picture is transparent
    top, left = top + whole, left + whole
    cut = F.pad(picture, [whole] * 4)[:, top : top + whole, left : left + whole]
    return _resize(cut.unsqueeze(0), (side, side))[0]


def _resize(picture: Tensor, shape: tuple[int, int]) -> Tensor:
    return F.interpolate(picture, shape, mode="bilinear", align_corners=False, antialias=True)
