"""Obfuscation alone, as a protection: no key, and no way back but the vault's own box."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from anonymizer.protection.method import Capabilities, Protection
from anonymizer.protection.obfuscators import Obfuscator


class Obfuscation(Protection):
    """Any obfuscator at its typical strength.

    How much of an identity it removes is a matter of measurement: blur and coarse pixels fool
    people long before they fool a recogniser that was trained on them.

    Parameters
    ----------
    obfuscator : Obfuscator
        Its strengths are in pixels of the face square that it is given.
    """

    capabilities = Capabilities(keyed=False, recoverable=False, decoy=False, recognisable=False)

    def __init__(self, obfuscator: Obfuscator[Any]) -> None:
        super().__init__()
        self.obfuscator = obfuscator

    def protect(self, images: Tensor, keys: Sequence[bytes] | None = None) -> Tensor:
        self.check(images, keys)
        hidden: Tensor = self.obfuscator(images)
        return hidden.clamp(0, 1)
