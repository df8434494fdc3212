"""Maps of -1 and +1, one for each image, that condition the secure flow."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from anonymizer.keystream import key_bits

_PURPOSE = "secure flow"


def key_map(key: bytes, shape: tuple[int, int]) -> Tensor:
    """Return the map (1, H, W) of one key, -1 or +1, float32."""
    height, width = shape
    bits = key_bits(key, height * width, _PURPOSE)
    return torch.from_numpy(2.0 * bits - 1).float().reshape(1, height, width)


def stack_key_maps(keys: Sequence[bytes], like: Tensor) -> Tensor:
    """Return the maps (B, 1, H, W) for images (B, 3, H, W), on their device and of their type."""
    shape = (like.shape[-2], like.shape[-1])
    return torch.stack([key_map(key, shape) for key in keys]).to(like)


def draw_key_maps(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw maps (B, 1, H, W) for images (B, 3, H, W) in training; `generator` is on the CPU."""
    shape = (len(like), 1, like.shape[-2], like.shape[-1])
    return (2 * torch.randint(2, shape, generator=generator) - 1).to(like)


def legacy_key_map(password: str | int, shape: tuple[int, int]) -> Tensor:
    """Return the map (1, H, W) that the published program made of a password.

    Only for reading its files. One salt for everybody and ten rounds make a dictionary a matter
    of minutes, and every image of one password has the same map.

    Parameters
    ----------
    password : str or int
        Text in Latin-1; or a whole number 0 to 255, which stands for that one byte.
    shape : tuple of int
        Rows and columns [px].
    """
    height, width = shape
    if isinstance(password, int):
        if not 0 <= password <= 255:
            raise ValueError("the password is a number, expected 0 to 255, or a text")
        secret = bytes([password])
    else:
        try:
            secret = password.encode("latin-1")
        except UnicodeEncodeError as error:
            raise ValueError(
                "the password has letters that the published program could not take; "
                "expected Latin-1"
            ) from error
    count = height * width
    octets = hashlib.pbkdf2_hmac("sha512", secret, b"\x01", 10, -(-count // 8))
    bits = np.unpackbits(np.frombuffer(octets, np.uint8), count=count)
    return torch.from_numpy(2.0 * bits - 1).float().reshape(1, height, width)
