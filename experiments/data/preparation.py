"""Turn the pictures of a data set into shards of standard crops, counting what cannot be used."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from experiments.data.crop_store import SHARD
from experiments.data.cropping import Crop, cut_crop, face_place
from experiments.data.crops import Shard
from experiments.data.errors import DataError
from experiments.data.layouts.base import Entry
from experiments.data.layouts.sidecar import read_pts
from experiments.data.layouts.zip import MemberReader
from experiments.data.locating import TURNED, Locator
from experiments.data.pictures import (
    BadPicture,
    PictureLimits,
    decode_picture,
    read_picture_file,
)
from experiments.data.splits import FILE_HASH

VERSION = 1  # raise when crops come out differently, so that stores are made anew
Refused = tuple[str, str, str]  # file, kind of trouble, reason
_LISTED = 10  # refused files named in a message


@dataclass(frozen=True)
class Preparation:
    """Turns entries into shards of crops.

    Attributes
    ----------
    locator : Locator
        Finds the face where no landmarks are given.
    sidecar : mapping
        Landmarks (68, 2) by the file names of the entries [px].
    size : int
        Side of the crops [px].
    context : float
        Side of the crops in face widths.
    limits, on_bad, max_bad_fraction, min_face_px
        As in `experiments.data.photographs.Photographs`.
    """

    locator: Locator
    sidecar: Mapping[str, NDArray[np.float32]]
    size: int
    context: float
    limits: PictureLimits
    on_bad: str
    max_bad_fraction: float
    min_face_px: float

    def shards(self, entries: Sequence[Entry], first: int, progress: bool) -> Iterator[Shard]:
        """Yield the shards from number `first` on."""
        start = first * SHARD
        faulty: list[Refused] = []
        members = MemberReader()
        # disable=None: no bar unless someone is looking
        bar = tqdm(
            total=len(entries),
            initial=start,
            desc="preparing faces",
            unit="picture",
            disable=None if progress else True,
        )
        try:
            for low in range(start, len(entries), SHARD):
                shard = self._shard(entries[low : low + SHARD], members, bar)
                faulty += [one for one in shard.refused if one[1] != TURNED]
                # so many that the rest cannot make up for it
                if len(faulty) > self.max_bad_fraction * len(entries):
                    raise too_many(faulty, len(entries), self.max_bad_fraction)
                yield shard
        finally:
            bar.close()
            members.close()

    def _shard(self, entries: Sequence[Entry], members: MemberReader, bar: "tqdm[Any]") -> Shard:
        crops: list[Crop] = []
        kept: list[Entry] = []
        digests: list[bytes] = []
        refused: list[Refused] = []
        counts = {"pictures": len(entries)}

        def count(what: str) -> None:
            counts[what] = counts.get(what, 0) + 1

        for entry in entries:
            try:
                data = self._read(entry, members)
                crops.append(self._crop(entry, data, count))
                kept.append(entry)
                digests.append(hashlib.sha256(data).digest())
            except BadPicture as trouble:
                if self.on_bad == "refuse":
                    raise DataError(
                        f"{trouble}. Mend or remove it, or use data.on_bad=skip"
                    ) from trouble
                refused.append((entry.file, trouble.kind, trouble.reason))
                count(f"refused: {trouble.kind}")
            bar.update()
        s = self.size
        attributes: dict[str, NDArray[Any]] = {
            FILE_HASH: np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32),
            "source_face_width": np.array([c.face_width for c in crops], np.float32),
            "outside": np.array([c.outside for c in crops], np.float32),
        }
        for label in entries[0].labels:
            attributes[label] = np.array([e.labels[label] for e in kept], dtype=np.str_)
        return Shard(
            images=np.array([c.image for c in crops], np.uint8).reshape(-1, s, s, 3),
            landmarks=np.array([c.landmarks for c in crops], np.float32).reshape(-1, 68, 2),
            people=[e.person for e in kept],
            files=[e.file for e in kept],
            attributes=attributes,
            refused=refused,
            counts=counts,
        )

    def _read(self, entry: Entry, members: MemberReader) -> bytes:
        if not entry.member:
            return read_picture_file(entry.path, entry.file, self.limits)
        try:
            return members.read(entry.path, entry.member, self.limits.max_bytes)
        except DataError as error:
            raise BadPicture(entry.file, "archive", str(error)) from error

    def _crop(self, entry: Entry, data: bytes, count: Callable[[str], None]) -> Crop:
        picture = decode_picture(data, entry.file, self.limits)
        landmarks = self._given_landmarks(entry)
        if landmarks is None:
            found = self.locator(picture.pixels, entry.five)
            if found.landmarks is None:
                raise BadPicture(entry.file, found.kind, found.reason)
            landmarks = found.landmarks
            if found.others:
                count("several faces")
        else:
            count("landmarks given")
        self._check_face(entry.file, picture.pixels.shape[:2], landmarks)
        for note in picture.notes:
            count(f"noted: {note}")
        return cut_crop(picture.pixels, landmarks, size=self.size, context=self.context)

    def _given_landmarks(self, entry: Entry) -> NDArray[np.float32] | None:
        if entry.file in self.sidecar:
            return self.sidecar[entry.file]
        if entry.member:
            return None
        try:
            return read_pts(entry.path)
        except DataError as error:
            raise BadPicture(entry.file, "bad landmarks", str(error)) from error

    def _check_face(
        self, file: str, shape: tuple[int, ...], landmarks: NDArray[np.float32]
    ) -> None:
        """Raise BadPicture unless the face is large enough and lies in the picture."""
        if np.ptp(landmarks, axis=0).max() <= 0:
            raise BadPicture(file, "bad landmarks", "all its landmarks lie on one point")
        x, y, width = face_place(landmarks)
        if width < self.min_face_px:
            raise BadPicture(
                file,
                "small face",
                f"the face is {width:.1f} px wide, at least {self.min_face_px:g} px are needed "
                "(min_face_px)",
            )
        if not (0 <= x < shape[1] and 0 <= y < shape[0]) or width > 2 * max(shape):
            raise BadPicture(
                file,
                "bad landmarks",
                f"the landmarks place a face {width:.0f} px wide at x = {x:.0f}, y = {y:.0f} in "
                f"a picture of {shape[1]} x {shape[0]} px",
            )


def too_many(refused: Sequence[Refused], pictures: int, allowed: float) -> DataError:
    """Return the error that lists the first of the refused files and reasons."""
    listed = "".join(f"\n  {file}: {reason}" for file, _, reason in refused[:_LISTED])
    return DataError(
        f"{len(refused)} of {pictures} pictures cannot be used, more than the share of "
        f"{allowed:g} that is allowed (max_bad_fraction). The first are:{listed}\n"
        "Mend or remove them, or raise data.max_bad_fraction"
    )
