"""The door between linear light and the sRGB values that published networks were trained on."""

import torch
from torch import Tensor

_LINEAR_END = 0.0031308  # IEC 61966-2-1: below it the curve is a straight line


def encode_srgb(linear: Tensor) -> Tensor:
    """Encode linear light as sRGB, both in [0, 1].

    Values outside [0, 1] are clipped as an image file would clip them; the gradient there is zero.
    The gradient at 0 is that of the straight part of the curve, 12.92, hence finite.

    Parameters
    ----------
    linear : Tensor
        Linear light, any shape.

    Examples
    --------
    >>> encode_srgb(torch.tensor([0.0, 0.2140, 1.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    linear = linear.clamp(0, 1)
    curve = 1.055 * linear.clamp(min=_LINEAR_END) ** (1 / 2.4) - 0.055
    return torch.where(linear <= _LINEAR_END, 12.92 * linear, curve)


def decode_srgb(encoded: Tensor) -> Tensor:
    """Decode sRGB values in [0, 1] to linear light in [0, 1]; the inverse of `encode_srgb`."""
    encoded = encoded.clamp(0, 1)
    curve = ((encoded.clamp(min=12.92 * _LINEAR_END) + 0.055) / 1.055) ** 2.4
    return torch.where(encoded <= 12.92 * _LINEAR_END, encoded / 12.92, curve)


def round_to_bytes(encoded: Tensor) -> Tensor:
    """Clip and round sRGB values in [0, 1] to what an 8-bit file holds.

    Straight-through: the gradient passes as if nothing had been rounded, and is zero where a value
    was clipped.

    Examples
    --------
    >>> 255 * round_to_bytes(torch.tensor([-0.1, 0.5, 1.2]))
    tensor([  0., 128., 255.])
    """
    clipped = encoded.clamp(0, 1)
    return clipped + ((255 * clipped).round() / 255 - clipped).detach()
