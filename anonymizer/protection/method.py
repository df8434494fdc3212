"""What every protection of a photographed face has in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from anonymizer.checkpoints import fill, find_weights, read_state
from anonymizer.colour import encode_srgb
from anonymizer.keystream import KEY_BYTES


@dataclass(frozen=True)
class Capabilities:
    """What a method offers; callers ask here, never for the class.

    Attributes
    ----------
    keyed : bool
        `protect` takes one key for each image.
    recoverable : bool
        `recover` returns the original's likeness to whoever holds the key.
    decoy : bool
        A wrong key recovers a face that is not the original's, rather than noise.
    recognisable : bool
        The protected face can still be recognised, as far as the method intends it.
    """

    keyed: bool
    recoverable: bool
    decoy: bool
    recognisable: bool


class Protection(nn.Module, ABC):
    """Faces in, protected faces out; with the key, faces again.

    Images are (B, 3, H, W), R G B, linear light [0, 1]. Networks that were trained on other ranges
    convert at their own door. Keys are 32 bytes, one for each image, as the vault derives them;
    none is ever made from a password here.

    Attributes
    ----------
    capabilities : Capabilities
    size : int or None
        Side of the square faces [px] that the method takes; None where any multiple will do.
    multiple : int
        Height and width must be whole multiples of it.
    """

    capabilities: Capabilities
    size: int | None = None
    multiple: int = 1

    @abstractmethod
    def protect(self, images: Tensor, keys: Sequence[bytes] | None = None) -> Tensor:
        """Return protected images of the same shape, in [0, 1] as a file would hold them.

        Raises
        ------
        ValueError
            If shape, range or number of keys is not what the method takes.
        """

    def recover(self, protected: Tensor, keys: Sequence[bytes]) -> Tensor:
        """Return what `keys` recover of protected images, in [0, 1].

        Raises
        ------
        TypeError
            If the method is not recoverable.
        """
        raise TypeError(
            f"{type(self).__name__} keeps nothing from which an original could be recovered; "
            f"choose a method whose capabilities say recoverable"
        )

    def recover_unclipped(self, protected: Tensor, keys: Sequence[bytes]) -> Tensor:
        """Return the same as sRGB values that may lie beyond black and white.

        Who judges a wrong key must look at these: a face can be there that no file would hold.
        """
        return encode_srgb(self.recover(protected, keys))

    def cover(self, images: Tensor) -> Tensor:
        """Return what the protected images are meant to look like, (B, 3, H, W) in [0, 1].

        The images themselves, unless the method hides them behind an obfuscation.
        """
        return images

    @property
    def learned(self) -> nn.Module:
        """The part that training changes and weight files hold: everything, unless said."""
        return self

    def translate(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the tensors of a weight file, ours or published, by their names in `learned`."""
        return state

    def check(self, images: Tensor, keys: Sequence[bytes] | None) -> None:
        """Refuse images or keys that the method does not take, with one clear message."""
        shape = tuple(images.shape)
        if len(shape) != 4 or shape[1] != 3:
            raise ValueError(f"images is {shape}, expected (B, 3, H, W) linear light in [0, 1]")
        if self.size is not None and shape[2:] != (self.size, self.size):
            raise ValueError(
                f"images is {shape}, expected faces of {self.size} x {self.size} px; resize first"
            )
        if any(side % self.multiple for side in shape[2:]):
            raise ValueError(
                f"images is {shape}, expected sides that are multiples of {self.multiple} px"
            )
        if not self.capabilities.keyed:
            if keys is not None:
                raise ValueError(f"{type(self).__name__} takes no keys, got {len(keys)}")
            return
        if keys is None or len(keys) != shape[0]:
            given = "none" if keys is None else len(keys)
            raise ValueError(f"keys: {given} for {shape[0]} images, expected one for each")
        if any(len(key) != KEY_BYTES for key in keys):
            lengths = sorted({len(key) for key in keys})
            raise ValueError(f"keys of {lengths} bytes, expected {KEY_BYTES}")


def load_protection(
    method: Protection, *, file: str, sha256: str, search: Sequence[str | Path] = ()
) -> Protection:
    """Fill a protection with trained weights, frozen and in evaluation mode.

    Parameters
    ----------
    method : Protection
        Of the layout that the file has; changed in place.
    file, sha256, search
        As in `anonymizer.checkpoints.find_weights`.

    Raises
    ------
    WeightsError
        If the file is absent, altered or of another layout.
    """
    path = find_weights(file, sha256, search)
    fill(method.learned, method.translate(read_state(path)), path)
    return method.requires_grad_(False).eval()
