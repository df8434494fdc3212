"""Pictures and clips with other faces in the place of those that are found.

Each face is recorded by the simulated camera first, and the clear crop dropped: the networks see
the measurement alone. Pixels alone are written, nothing else that a file may carry.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from experiments.anonymizer_crops import record
from experiments.captured_faces import binned, read_face
from experiments.data.pictures import BadPicture, PictureLimits
from experiments.face_tracks import Track, Tracks
from experiments.faces_in_pictures import FaceFinder, Pixels, Place, Square, cut_squares, to_pixels
from experiments.finished_anonymizer import FinishedAnonymizer
from experiments.lent_styles import Styles
from experiments.picture_sources import ClipReader, Mp4Writer, png_bytes
from experiments.scene import crop_pixels, generator_for
from experiments.store import atomic_write
from hardware.frames import RawFrame


class NoFace(BadPicture):
    """Nothing was found to anonymize, and nothing is written."""

    def __init__(self, file: str) -> None:
        reason = "no face was found; nothing is written, for one may have been overlooked"
        super().__init__(file, "no face", reason)


@dataclass(frozen=True)
class Disguise:
    """Whoever anonymizes: networks, camera, finder of faces and styles.

    Attributes
    ----------
    finished : FinishedAnonymizer
    finder : FaceFinder
        Gives squares like those of the training.
    styles : Styles
    distance : float
        At which the faces count as standing, one that the camera knows [m].
    seed : int
        Of the noise.
    hold, pace
        As for `Tracks`.
    """

    finished: FinishedAnonymizer
    finder: FaceFinder
    styles: Styles
    distance: float
    seed: int
    hold: int
    pace: float

    @property
    def size(self) -> int:
        """Side of the crops, that of the camera's binned pixels [px]."""
        camera = self.finished.observer.camera.camera
        return crop_pixels(camera, self.distance, self.finished.settings["context"])

    @torch.inference_mode()
    def picture(self, pixels: Pixels, name: str, number: int, target: Path) -> int:
        """Anonymize one picture into `target`.png, and return the number of its faces.

        Raises
        ------
        NoFace
            None was found.
        TooNear
            A face resembles the reference.
        """
        placed = _inside(self.finder(pixels), pixels)
        if not placed:
            raise NoFace(name)
        light = cut_squares(pixels, [square for square, _ in placed], self.size)
        light = light.to(self.finished.device)
        styles = self.styles.of(light, number)
        shown = pixels.copy()
        made = self._made(light, styles, None, number)
        for (_, place), face in zip(placed, made, strict=True):
            place.blend(shown, face.cpu())
        atomic_write(target.with_suffix(".png"), png_bytes(shown))
        return len(placed)

    @torch.inference_mode()
    def frame(self, frame: RawFrame, at: Sequence[float] | None, number: int, target: Path) -> int:
        """Anonymize the one face of a captured frame into `target`.png, as binned pixels.

        Likeness to a reference is looked for in the measurement, there being nothing else.
        """
        observer, network = self.finished.observer, self.finished.anonymizer
        sensor = observer.camera.camera.sensor
        light = binned(frame, binning=sensor.binning, white_fraction=sensor.white_fraction)
        face = read_face(
            observer, light.to(self.finished.device), side=self.size, at=at, size=network.size
        )
        style = self.styles.of(face.measurement, number)
        made = network.anonymize(face.measurement, face.heatmaps, style)
        pixels = to_pixels(light)
        for (_, place), one in zip(_inside([face.square], pixels), made, strict=True):
            place.blend(pixels, one.cpu())
        atomic_write(target.with_suffix(".png"), png_bytes(pixels))
        return 1

    @torch.inference_mode()
    def clip(self, source: Path, number: int, target: Path, limits: PictureLimits) -> int:
        """Anonymize a clip into `target`.mp4, and return the number of faces over all frames.

        A face keeps its style over the clip; its square and its heatmaps are averaged over time.
        """
        faces = 0

        def write(file: BinaryIO) -> None:
            nonlocal faces
            tracks, clip = Tracks(hold=self.hold, pace=self.pace), None
            with ClipReader(source, limits) as frames:
                for frame, (time, pixels) in enumerate(frames):
                    clip = clip or Mp4Writer(file, (pixels.shape[0], pixels.shape[1]))
                    shown = pixels.copy()
                    faces += self._frame(shown, tracks, number, frame)
                    clip.add(time, shown)
            if clip is None or not faces:
                raise NoFace(source.name)
            clip.close()

        atomic_write(target.with_suffix(".mp4"), write)
        return faces

    def _frame(self, pixels: Pixels, tracks: Tracks, number: int, frame: int) -> int:
        """Put other faces into one frame of a clip."""
        followed = tracks.follow(self.finder(pixels))
        there = [(track, Place.of(track.square, _shape(pixels))) for track in followed]
        seen = [(track, place) for track, place in there if place is not None]
        if not seen:
            return 0
        squares = [track.square for track, _ in seen]
        light = cut_squares(pixels, squares, self.size).to(self.finished.device)
        for i, (track, _) in enumerate(seen):
            if track.style is None:
                track.style = self.styles.of(light[i : i + 1], number, frame, i)
        styles = torch.cat([track.style for track, _ in seen if track.style is not None])
        made = self._made(light, styles, (tracks, [track for track, _ in seen]), number, frame)
        for (_, place), face in zip(seen, made, strict=True):
            place.blend(pixels, face.cpu())
        return len(seen)

    def _made(
        self, light: Tensor, styles: Tensor, steady: tuple[Tracks, list[Track]] | None, *key: object
    ) -> Tensor:
        """Return other faces (B, 3, S, S) for clear crops."""
        network = self.finished.anonymizer
        sources = [generator_for(self.seed, "use", *key, i) for i in range(len(light))]
        context = self.finished.settings["context"]
        seen = record(
            self.finished.observer, light, sources,
            context=context, distance=self.distance, size=network.size,
        )  # fmt: skip
        heatmaps = seen.heatmaps
        if steady is not None:
            tracks, followed = steady
            heatmaps = tracks.steady(followed, heatmaps)
        return network.anonymize(seen.measurement, heatmaps, styles)


def _shape(pixels: Pixels) -> tuple[int, int]:
    return pixels.shape[0], pixels.shape[1]


def _inside(squares: list[Square], pixels: Pixels) -> list[tuple[Square, Place]]:
    """Return the squares that reach into a picture, with their places."""
    places = [(square, Place.of(square, _shape(pixels))) for square in squares]
    return [(square, place) for square, place in places if place is not None]
