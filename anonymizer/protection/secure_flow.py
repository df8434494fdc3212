"""PRO-Face S: faces hidden in their own obfuscations, found again with the key.

This is obfuscation, not encryption: the weights are public and the flow is differentiable in the
key map, so a known pair of original and protected picture tells much of that one map. Keys must
therefore differ from image to image, as the vault makes them. Whoever wants originals back
without loss, and under a proof, seals them in the vault's container instead.

References
----------
L. Yuan et al., "PRO-Face S: Privacy-preserving reversible obfuscation of face images via
secure flow-based network", IEEE Trans. Circuits Syst. Video Technol. 34 (2024).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from anonymizer.colour import decode_srgb, encode_srgb
from anonymizer.protection.flow import MULTIPLE, SecureFlow, translate_published
from anonymizer.protection.key_maps import stack_key_maps
from anonymizer.protection.method import Capabilities, Protection
from anonymizer.protection.obfuscators import Obfuscator


class ProFaceS(Protection):
    """PRO-Face S.

    Recovery is as near the original as training made it; `anonymizer.protection.flow` says why.

    Parameters
    ----------
    obfuscator : Obfuscator
        What the protected faces look like, and with `decoy` what a wrong key recovers.
    blocks, width : int
        Coupling blocks, and their width; see `SecureFlow`.
    decoy : bool
        What the weights were trained for: a wrong key recovers the cover, not noise.
    """

    multiple = MULTIPLE

    def __init__(
        self, obfuscator: Obfuscator[Any], *, blocks: int = 3, width: int = 32, decoy: bool = False
    ) -> None:
        super().__init__()
        self.capabilities = Capabilities(
            keyed=True, recoverable=True, decoy=decoy, recognisable=False
        )
        self.obfuscator = obfuscator
        self.network = SecureFlow(blocks, width=width)

    @property
    def learned(self) -> nn.Module:
        """The flow; the obfuscator stays as it is."""
        return self.network

    def translate(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Accept our own files and both published layouts."""
        return translate_published(state, len(self.network.blocks))

    def protect(self, images: Tensor, keys: Sequence[bytes] | None = None) -> Tensor:
        self.check(images, keys)
        key_maps = stack_key_maps(keys or (), images)
        return decode_srgb(self.hide(images, self.obfuscator(images), key_maps))

    def recover(self, protected: Tensor, keys: Sequence[bytes]) -> Tensor:
        """Return what `keys` recover; with a wrong key, noise or the cover."""
        self.check(protected, keys)
        return self.recover_with(protected, stack_key_maps(keys, protected))

    def recover_unclipped(self, protected: Tensor, keys: Sequence[bytes]) -> Tensor:
        self.check(protected, keys)
        return self.find(encode_srgb(protected), stack_key_maps(keys, protected))

    def cover(self, images: Tensor) -> Tensor:
        """Return the obfuscated images."""
        covered: Tensor = self.obfuscator(images)
        return covered

    def recover_with(self, protected: Tensor, key_maps: Tensor) -> Tensor:
        """Recover with maps (B, 1, H, W) of -1 and +1, such as those of old files.

        See `anonymizer.protection.key_maps.legacy_key_map`.
        """
        return decode_srgb(self.find(encode_srgb(protected), key_maps))

    def hide(self, images: Tensor, covers: Tensor, key_maps: Tensor) -> Tensor:
        """Return protected images, sRGB and not yet clipped to [0, 1], of linear light."""
        signed = (2 * encode_srgb(light) - 1 for light in (images, covers))
        protected: Tensor = self.network(*signed, key_maps)[0]
        return (protected + 1) / 2

    def find(self, protected: Tensor, key_maps: Tensor) -> Tensor:
        """Return recovered images of protected ones: sRGB both, the former not yet clipped."""
        return (self.network.recover(2 * protected - 1, key_maps) + 1) / 2
