"""Protect pictures and clips: each face hidden in its place, its original in the vault."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from anonymizer.protection import Protection
from anonymizer.vault import (
    PROFILES,
    Header,
    Keyholder,
    Mode,
    Payload,
    Record,
    Stretch,
    Tile,
    VaultWriter,
    admit,
    face_key,
    frame_nonce,
    pack_pixels,
    seal_originals,
)
from experiments.data.pictures import BadPicture, PictureLimits
from experiments.faces_in_pictures import (
    FaceFinder,
    Place,
    Square,
    cut_squares,
    to_light,
    to_pixels,
)
from experiments.picture_sources import ClipReader, ClipWriter, png_bytes
from experiments.store import atomic_write, file_sha256
from experiments.vault_files import VAULT, Workshop, write_vault

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Method:
    """A protection as vaults know it.

    Attributes
    ----------
    network : Protection
        In evaluation mode.
    size : int
        Side of the face squares that it works on [px].
    model, config : bytes
        Hashes of its weights and settings.
    device : torch.device
    """

    network: Protection
    size: int
    model: bytes
    config: bytes
    device: torch.device

    @property
    def name(self) -> str:
        """Name in the vaults."""
        return type(self.network).__name__

    def protect(self, faces: torch.Tensor, keys: Sequence[bytes]) -> torch.Tensor:
        """Return protected faces (B, 3, S, S), as an 8-bit file holds them."""
        with torch.inference_mode():
            given = keys if self.network.capabilities.keyed else None
            made = self.network.protect(faces.to(self.device), given)
        return to_light(to_pixels(made))

    def recover(self, faces: torch.Tensor, keys: Sequence[bytes]) -> torch.Tensor:
        """Return what `keys` recover of protected faces (B, 3, S, S)."""
        with torch.inference_mode():
            return self.network.recover(faces.to(self.device), keys).cpu().clone()

    def recover_unclipped(self, faces: torch.Tensor, keys: Sequence[bytes]) -> torch.Tensor:
        """Return the same as sRGB values that may lie beyond black and white."""
        with torch.inference_mode():
            return self.network.recover_unclipped(faces.to(self.device), keys).cpu().clone()


@dataclass
class Guard:
    """Whoever protects: a method, the finder of faces, a workshop, and those who may open.

    Attributes
    ----------
    method : Method
    finder : FaceFinder
    workshop : Workshop
    holders : sequence of Keyholder
        Each of them can open everything.
    mode : {"aead", "flow", "decoy"}
        As in `anonymizer.vault.Header`.
    salt : bytes
        16 random bytes for all vaults of this job.
    stretch : Stretch
        For passwords.
    hold : int
        Frames for which a face that is no longer found in a clip stays hidden where it was.
    """

    method: Method
    finder: FaceFinder
    workshop: Workshop
    holders: Sequence[Keyholder]
    mode: Mode
    salt: bytes
    stretch: Stretch = field(default_factory=lambda: PROFILES["default"])
    hold: int = 12

    def picture(self, pixels: Pixels, name: str, target: Path) -> tuple[int, int]:
        """Protect one picture into `target`.png and `target`.veil.

        Returns
        -------
        faces : int
            Faces found; with none nothing is written.
        size : int
            Of both files [bytes].
        """
        squares = self.finder(pixels)
        if not squares:
            return 0, 0
        header, content = self._head(pixels.shape, self.workshop.nonces.picture(), "picture")
        shown, record = self._frame(header, content, pixels, squares, 0, name)
        if not record.tiles:
            return 0, 0
        picture = png_bytes(shown)
        size = write_vault(
            target.with_suffix(VAULT), header, record, Payload.of(picture), self.workshop.producer
        )
        atomic_write(target.with_suffix(".png"), picture)
        return len(record.tiles), size + len(picture)

    def clip(
        self,
        source: Path,
        target: Path,
        limits: PictureLimits,
        step: Callable[[], object] = lambda: None,
    ) -> tuple[int, int]:
        """Protect a clip, frame by frame, into `target`.mkv and `target`.veil.

        `step` is called after each frame. Returns faces and size as `picture` does.
        """
        video, vault = target.with_suffix(".mkv"), target.with_suffix(VAULT)
        faces = 0

        def write(file: BinaryIO) -> None:
            nonlocal faces
            with ClipReader(source, limits) as frames:
                _, first = next(iter(frames), (0.0, None))
            if first is None:
                raise BadPicture(source.name, "empty", "the clip has no frames")
            header, content = self._head(first.shape, self.workshop.nonces.clip(), "clip")
            writer = VaultWriter(file, header, self.workshop.producer)

            def write_frames(out: BinaryIO) -> None:
                nonlocal faces
                clip, kept = ClipWriter(out, (first.shape[0], first.shape[1])), _Kept(self.hold)
                with ClipReader(source, limits) as frames:
                    for number, (time, pixels) in enumerate(frames):
                        squares = kept.with_lost(self.finder(pixels))
                        name = source.name if number == 0 else ""
                        shown, record = self._frame(header, content, pixels, squares, number, name)
                        clip.add(time, shown)
                        writer.add(record)
                        faces += len(record.tiles)
                        step()
                clip.close()

            atomic_write(video, write_frames)
            writer.close(Payload(video.stat().st_size, bytes.fromhex(file_sha256(video))))

        try:
            atomic_write(vault, write)
        except BaseException:
            video.unlink(missing_ok=True)  # what no vault can give back
            raise
        return faces, video.stat().st_size + vault.stat().st_size

    def _head(self, shape: Sequence[int], nonce: bytes, kind: str) -> tuple[Header, bytes]:
        header = Header(
            mode=self.mode,
            kind="clip" if kind == "clip" else "picture",
            image_id=secrets.token_bytes(16),
            nonce=nonce,
            producer=self.workshop.producer.verifier.name,
            model=self.method.model,
            config=self.method.config,
            height=shape[0],
            width=shape[1],
            method=self.method.name,
        )
        return admit(header, self.holders, salt=self.salt, stretch=self.stretch)

    def _frame(
        self,
        header: Header,
        content: bytes,
        pixels: Pixels,
        squares: Sequence[Square],
        number: int,
        name: str,
    ) -> tuple[Pixels, Record]:
        """Return the protected frame and its record."""
        size, shown = self.method.size, pixels.copy()
        shape = (pixels.shape[0], pixels.shape[1])
        places = [(one, Place.of(one, shape)) for one in squares]
        found = [(square, place) for square, place in places if place is not None]
        nonce = frame_nonce(header.nonce, number)
        keys = [face_key(header, content, nonce, i, (size, size)) for i in range(len(found))]
        faces = cut_squares(pixels, [square for square, _ in found], size)
        hidden = self.method.protect(faces, keys) if found else faces
        tiles, originals = [], []
        for (square, place), face in zip(found, hidden, strict=True):
            place.blend(shown, face)
            matrix = tuple(square.from_pixels(size).flatten().tolist())
            kept = (0, b"") if self.mode == "aead" else (size, pack_pixels(to_pixels(face)))
            tiles.append(Tile(*place.box, matrix, *kept))
            originals.append(pixels[place.rows, place.columns])
        record = Record(number, tuple(tiles))
        if self.mode == "decoy":
            return shown, record
        boxed = originals if self.mode == "aead" else []
        return shown, seal_originals(header, content, record, boxed, name)


class _Kept:
    """Keeps faces hidden for a while after the detector lost them."""

    def __init__(self, hold: int) -> None:
        self._hold = hold
        self._seen: list[tuple[Square, int]] = []

    def with_lost(self, found: list[Square]) -> list[Square]:
        """Return the faces of this frame and those lost not long ago."""
        lost = [
            (old, age + 1)
            for old, age in self._seen
            if age < self._hold and not any(_same(old, new) for new in found)
        ]
        self._seen = [(one, 0) for one in found] + lost
        return [one for one, _ in self._seen]


def _same(old: Square, new: Square) -> bool:
    """Return whether the new square covers the middle of the old one and is about as large."""
    middles = [one.matrix @ one.matrix.new_tensor([0.5, 0.5, 1.0]) for one in (old, new)]
    apart = float(torch.linalg.vector_norm(middles[0] - middles[1]))
    return apart < 0.4 * new.side and 0.5 < old.side / new.side < 2
