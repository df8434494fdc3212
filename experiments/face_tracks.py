"""Faces of a clip followed from frame to frame, so that each keeps its place, style and shape."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from anonymizer.regressors import Heatmaps
from experiments.faces_in_pictures import Square

_NEAR = 0.4  # of the new square's side: how far a face moves from frame to frame at most
_GROWTH = 2.0  # of the sides


@dataclass(eq=False)
class Track:
    """One face of a clip.

    Attributes
    ----------
    square : Square
        Where it is, smoothed over time.
    lost : int
        Frames since it was last found.
    style : Tensor or None
        (1, D), the same for the whole clip once it is set.
    logits, boundary : Tensor or None
        Smoothed heatmaps, (1, K, M, M) and (1, 1, M, M).
    """

    square: Square
    lost: int = 0
    style: Tensor | None = None
    logits: Tensor | None = None
    boundary: Tensor | None = None


class Tracks:
    """All faces of a clip.

    Parameters
    ----------
    hold : int
        Frames for which a face that is no longer found stays where it was.
    pace : float
        Share of the newest frame in the moving averages, 0 to 1; 1 smooths nothing.
    """

    def __init__(self, *, hold: int, pace: float) -> None:
        if hold < 0 or not 0 < pace <= 1:
            raise ValueError(f"hold = {hold}, pace = {pace:g}: 0 or more frames, a share in (0, 1]")
        self.hold, self.pace = hold, pace
        self.now: list[Track] = []

    def follow(self, found: Sequence[Square]) -> list[Track]:
        """Take the squares of the next frame; return its faces, with those lost not long ago."""
        free = list(self.now)
        tracks: list[Track] = []
        for square in found:
            best = min(free, key=lambda t: _apart(t.square, square), default=None)
            if best is None or not _near(best.square, square):
                tracks.append(Track(square))
                continue
            free.remove(best)
            best.square = Square(torch.lerp(best.square.matrix, square.matrix, self.pace))
            best.lost = 0
            tracks.append(best)
        for track in free:
            track.lost += 1
        self.now = tracks + [track for track in free if track.lost <= self.hold]
        return self.now

    def steady(self, tracks: Sequence[Track], seen: Heatmaps) -> Heatmaps:
        """Return the heatmaps (B, ...) of this frame averaged with those before."""
        for i, track in enumerate(tracks):
            logits, boundary = seen.logits[i : i + 1], seen.boundary[i : i + 1]
            if track.logits is not None and track.boundary is not None:
                logits = torch.lerp(track.logits, logits, self.pace)
                boundary = torch.lerp(track.boundary, boundary, self.pace)
            track.logits, track.boundary = logits, boundary
        return Heatmaps(
            torch.cat([t.logits for t in tracks if t.logits is not None]),
            torch.cat([t.boundary for t in tracks if t.boundary is not None]),
            seen.size,
        )


def _apart(old: Square, new: Square) -> float:
    """Return the distance of the middles of two squares [px]."""
    middles = [one.matrix @ one.matrix.new_tensor([0.5, 0.5, 1.0]) for one in (old, new)]
    return float(torch.linalg.vector_norm(middles[0] - middles[1]))


def _near(old: Square, new: Square) -> bool:
    return _apart(old, new) < _NEAR * new.side and 1 / _GROWTH < old.side / new.side < _GROWTH
