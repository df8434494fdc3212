"""Recover pictures and clips from their protected files and vaults."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from anonymizer.vault import (
    ForeignModel,
    Header,
    Keyholder,
    Record,
    VaultError,
    Verifier,
    face_key,
    frame_nonce,
    open_content,
    open_originals,
    payload,
    records,
)
from experiments.data.errors import DataError
from experiments.data.pictures import PictureLimits
from experiments.faces_in_pictures import Place, Square, to_light
from experiments.picture_sources import ClipReader, ClipWriter, png_bytes, read_picture
from experiments.protecting import Method
from experiments.store import atomic_write
from experiments.vault_files import VAULT, require_model, require_payload, verify_file

Pixels = NDArray[np.uint8]

_LONGEST_NAME = 80


def list_vaults(source: Path) -> list[Path]:
    """Return the vaults of a file or folder; DataError if there are none."""
    if source.is_file():
        return [source.with_suffix(VAULT)]
    found = sorted(source.rglob(f"*{VAULT}")) if source.is_dir() else []
    if not found:
        raise DataError(f"source = {source}: no vault (*{VAULT}) is there")
    return found


@dataclass
class Opener:
    """Whoever opens vaults.

    Attributes
    ----------
    holder : Keyholder
        With the secret.
    verifier : Verifier
        The producer's public key; no byte of a vault is believed without it.
    method : Method or None
        Needed in modes "flow" and "decoy" alone.
    limits : PictureLimits
        How large protected pictures may be.
    """

    holder: Keyholder
    verifier: Verifier
    method: Method | None
    limits: PictureLimits

    def recover(self, vault: Path, folder: Path, step: Callable[[], object] = lambda: None) -> Path:
        """Recover what belongs to one vault into `folder`, and return its path.

        `step` is called after each frame of a clip.

        Raises
        ------
        VaultError
            The vault was altered, or made with another model; the secret does not open it; the
            protected file is not its own.
        ArtifactError
            A file is missing.
        """
        header = verify_file(vault, self.verifier)
        with vault.open("rb") as file:
            belongs, protected = payload(file), protected_file(vault, header)
            require_payload(protected, belongs)
            try:
                content = open_content(header, self.holder)
                self._require_method(header)
                if header.kind == "picture":
                    return self._picture(header, content, file, protected, folder)
                return self._clip(header, content, file, protected, folder, step)
            except VaultError as error:
                raise type(error)(f"{vault.name}: {error}") from error

    def _require_method(self, header: Header) -> None:
        if header.mode == "aead":
            return
        if self.method is None:
            raise ForeignModel(
                f"it keeps no original (mode {header.mode}); name the method that recovers a "
                f"likeness: method=..., of kind {header.method}"
            )
        if not self.method.network.capabilities.recoverable:
            raise ForeignModel(f"method {self.method.name} recovers nothing")
        require_model(header, self.method.name, self.method.model, self.method.config)

    def _picture(
        self, header: Header, content: bytes, file: BinaryIO, protected: Path, folder: Path
    ) -> Path:
        (record,) = records(file)
        pixels = read_picture(protected, self.limits)
        name = self._frame(header, content, record, pixels)
        target = folder / f"{protected.stem}{_safe(name)}.png"
        atomic_write(target, png_bytes(pixels))
        return target

    def _clip(
        self,
        header: Header,
        content: bytes,
        file: BinaryIO,
        protected: Path,
        folder: Path,
        step: Callable[[], object],
    ) -> Path:
        names = []

        def write(out: BinaryIO) -> None:
            clip = ClipWriter(out, (header.height, header.width))
            with ClipReader(protected, self.limits) as frames:
                for record, (time, pixels) in zip(records(file), frames, strict=True):
                    names.append(self._frame(header, content, record, pixels))
                    clip.add(time, pixels)
                    step()
            clip.close()

        target = folder / f"{protected.stem}.mkv"
        atomic_write(target, write)
        return target.replace(target.with_name(f"{protected.stem}{_safe(names[0])}.mkv"))

    def _frame(self, header: Header, content: bytes, record: Record, pixels: Pixels) -> str:
        """Recover one frame in place, and return the name that its vault keeps."""
        if pixels.shape[:2] != (header.height, header.width):
            raise ForeignModel(
                f"the protected picture has {pixels.shape[1]} x {pixels.shape[0]} px, the vault "
                f"belongs to one of {header.width} x {header.height} px"
            )
        if header.mode == "decoy":
            self._recover_faces(header, content, record, pixels)
            return ""
        originals, name = open_originals(header, content, record)
        if header.mode == "flow":
            self._recover_faces(header, content, record, pixels)
            return name
        for tile, original in zip(record.tiles, originals, strict=True):
            rows = slice(tile.top, tile.top + tile.height)
            pixels[rows, tile.left : tile.left + tile.width] = original
        return name

    def _recover_faces(
        self, header: Header, content: bytes, record: Record, pixels: Pixels
    ) -> None:
        if self.method is None or not record.tiles:
            return
        nonce = frame_nonce(header.nonce, record.frame)
        shown = to_light(np.stack([tile.face() for tile in record.tiles]))
        size = shown.shape[-1]
        keys = [face_key(header, content, nonce, i, (size, size)) for i in range(len(record.tiles))]
        recovered = self.method.recover(shown, keys)
        for tile, old, new in zip(record.tiles, shown, recovered, strict=True):
            place = Place.of(Square.of_pixels(tile.matrix, size), (header.height, header.width))
            if place is not None:
                place.exchange(pixels, old, new)


def protected_file(vault: Path, header: Header) -> Path:
    """Return the protected picture or clip that lies beside a vault."""
    return vault.with_suffix(".mkv" if header.kind == "clip" else ".png")


def _safe(name: str) -> str:
    """Return the stem of a stored name as part of a file name, or nothing."""
    stem = re.sub(r"[^\w.-]+", "_", Path(name.replace("\\", "/")).stem)[:_LONGEST_NAME].strip("._")
    return f"_{stem}" if stem else ""
