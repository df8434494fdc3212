"""Identity transformer: a key turns a face into another, and that one back.

A code of some bits, drawn from the image's key, is given to one network as constant planes beside
the face. The same network with the bitwise complement of the code recovers a likeness; with any
other code it makes yet another face. The code is the only secret, and short: see `search_seconds`.

References
----------
X. Gu, W. Luo, M. S. Ryoo, Y. J. Lee, "Password-conditioned Anonymization and Deanonymization with
Face Identity Transformers", ECCV 2020, arXiv:1911.11759.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from anonymizer.colour import decode_srgb, encode_srgb
from anonymizer.keystream import KEY_BYTES, key_bits
from anonymizer.protection.identity_networks import NIBBLE, Generator
from anonymizer.protection.method import Capabilities, Protection

_PURPOSE = "identity transformer/code"


class IdentityTransformer(Protection):
    """The generator as a protection.

    Parameters
    ----------
    generator : Generator
        The network.
    size : int, default 128
        Side of the faces [px]; a multiple of 4.
    magnitude : float, default 0.5
        Bits enter the network as +-magnitude; the second published model has 0.25.
    """

    capabilities = Capabilities(keyed=True, recoverable=True, decoy=True, recognisable=False)
    multiple = 4

    def __init__(self, generator: Generator, *, size: int = 128, magnitude: float = 0.5) -> None:
        super().__init__()
        if size < 32 or size % self.multiple:
            raise ValueError(f"size = {size} px, expected a multiple of 4 from 32")
        if not magnitude > 0:
            raise ValueError(f"magnitude = {magnitude:g}, expected a positive number")
        if generator.bits > 8 * KEY_BYTES:
            raise ValueError(
                f"generator has codes of {generator.bits} bits, a key has {8 * KEY_BYTES}"
            )
        self.generator, self.size, self.magnitude = generator, size, magnitude

    @property
    def learned(self) -> nn.Module:
        """The generator."""
        return self.generator

    @property
    def key_bits(self) -> int:
        """Bits of a key that make a difference."""
        return self.generator.bits

    def codes(self, keys: Sequence[bytes]) -> Tensor:
        """Return the code of each key, (B, bits) of +-1."""
        bits = np.stack([key_bits(key, self.generator.bits, _PURPOSE) for key in keys])
        return 2 * torch.from_numpy(bits).float() - 1

    def protect(self, images: Tensor, keys: Sequence[bytes] | None = None) -> Tensor:
        """Return other faces, one for each image and key."""
        self.check(images, keys)
        return self.transform(images, self.codes(keys or []))

    def recover(self, protected: Tensor, keys: Sequence[bytes]) -> Tensor:
        """Return a likeness of the originals; of other people where a key is wrong."""
        self.check(protected, keys)
        return self.transform(protected, -self.codes(keys))

    def recover_unclipped(self, protected: Tensor, keys: Sequence[bytes]) -> Tensor:
        self.check(protected, keys)
        return (self.view(2 * encode_srgb(protected) - 1, -self.codes(keys)) + 1) / 2

    def transform(self, images: Tensor, codes: Tensor) -> Tensor:
        """Return what codes (B, bits) of +-1 make of images in linear light."""
        return decode_srgb((self.view(2 * encode_srgb(images) - 1, codes) + 1) / 2)

    def view(self, faces: Tensor, codes: Tensor) -> Tensor:
        """Return the same for the network's own range, sRGB in [-1, 1], before and after."""
        out: Tensor = self.generator(faces, self.magnitude * codes.to(faces))
        return out


def draw_codes(
    count: int, bits: int, generator: torch.Generator, others: Sequence[Tensor] = ()
) -> Tensor:
    """Return random codes (count, bits) of +-1, each unlike the same row of all `others`."""
    codes = _draw(count, bits, generator)
    for _ in range(100):
        same = torch.zeros(count, dtype=torch.bool)
        for other in others:
            same |= (codes == other).all(1)
        if not bool(same.any()):
            return codes
        codes[same] = _draw(int(same.sum()), bits, generator)
    raise ValueError(f"bits = {bits}: too few for {len(others) + 1} different codes")


def nibbles(codes: Tensor) -> Tensor:
    """Return the values 0..15 (B, bits / 4) of four bits each of codes (B, bits) of +-1.

    The first bit of four counts most.
    """
    weights = 2 ** torch.arange(NIBBLE - 1, -1, -1, device=codes.device)
    return ((codes > 0).reshape(len(codes), -1, NIBBLE) * weights).sum(2)


def search_seconds(bits: int, seconds_per_guess: float) -> float:
    """Return the mean time to find a code by trying all [s].

    Half of the codes are tried on average. A guess costs one pass of the generator, after which
    the guesser must still see that it is right: the transformer offers a test itself, since only
    the right recovery, transformed again, gives the protected face.

    Examples
    --------
    >>> search_seconds(16, 0.02)
    655.36
    """
    if bits < 1 or not seconds_per_guess > 0:
        raise ValueError(
            f"bits = {bits}, seconds_per_guess = {seconds_per_guess:g}: expected at least 1 bit "
            f"and a positive time"
        )
    return 2.0 ** (bits - 1) * seconds_per_guess


def _draw(count: int, bits: int, generator: torch.Generator) -> Tensor:
    return 2.0 * torch.randint(2, (count, bits), generator=generator) - 1
