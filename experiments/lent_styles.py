"""Whose face the outputs of a job wear: reference pictures, mixed, or nobody's.

A reference that resembles a source is refused: its likeness in the output would be the source's.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from anonymizer.alignment import align_faces
from anonymizer.recognition import Recognizer
from anonymizer.stargan import Anonymizer
from anonymizer.stargan.references import refuse_near
from experiments.anonymizer_crops import usual_landmarks
from experiments.data.errors import DataError
from experiments.data.pictures import PictureLimits
from experiments.faces_in_pictures import FaceFinder, cut_squares
from experiments.finished_anonymizer import FinishedAnonymizer
from experiments.picture_sources import is_clip, list_source, read_picture
from experiments.scene import generator_for, network_view


class TooNear(DataError):
    """A reference resembles the source, so that the output would too."""


class Styles(Protocol):
    """Gives each face of a source its style."""

    def of(self, faces: Tensor, *key: object) -> Tensor:
        """Return the styles (B, D) of clear faces (B, 3, n, n); the same again for one `key`.

        Raises
        ------
        TooNear
            A face resembles whose style it would get.
        """
        ...


class DrawnStyles:
    """Another face of nobody for each source.

    Parameters
    ----------
    anonymizer : Anonymizer
    seed : int
        Of the draws.
    """

    def __init__(self, anonymizer: Anonymizer, seed: int) -> None:
        self.anonymizer, self.seed = anonymizer, seed

    def of(self, faces: Tensor, *key: object) -> Tensor:
        """Return a style for each face, by its place in the batch."""
        draws = (generator_for(self.seed, "style", *key, i) for i in range(len(faces)))
        return torch.cat([self.anonymizer.drawn_style(1, draw) for draw in draws])


class LentStyles:
    """The same mixture of references for each source.

    Parameters
    ----------
    anonymizer : Anonymizer
    references : Tensor
        (k, 3, n, n) clear faces in crops like those of the sources, linear light.
    context : float
        Side of the crops in face widths.
    pool : mapping of str to Recognizer
        Each of them may find a likeness.
    limit : float
        Largest cosine of a source and a reference.
    """

    def __init__(
        self,
        anonymizer: Anonymizer,
        references: Tensor,
        *,
        context: float,
        pool: Mapping[str, Recognizer],
        limit: float,
    ) -> None:
        self.pool, self.context, self.limit = pool, context, limit
        self.style = anonymizer.mixed_style(network_view(references, anonymizer.size))
        self.known = {name: self._embed(net, references) for name, net in pool.items()}

    def of(self, faces: Tensor, *key: object) -> Tensor:
        """Return the style of the mixture, (B, D), if no reference resembles a face."""
        found = torch.stack(
            [self._embed(net, faces) @ self.known[name].T for name, net in self.pool.items()]
        )
        try:
            refuse_near(found.amax(dim=(0, 1)), limit=self.limit)
        except ValueError as error:
            raise TooNear(f"{error} (nearest_reference)") from error
        return self.style.expand(len(faces), -1)

    def _embed(self, recognizer: Recognizer, faces: Tensor) -> Tensor:
        points = usual_landmarks(len(faces), faces.shape[-1], self.context).to(faces)
        out: Tensor = recognizer(align_faces(faces, points))
        return out


def seed_of(settings: Mapping[str, Any]) -> int | None:
    """Return the number that draws styles of nobody, None if `reference` names pictures."""
    reference = settings["reference"]
    if reference is None:
        return int(settings["seed"])
    return int(reference) if str(reference).isdecimal() else None


@torch.no_grad()
def open_styles(
    finished: FinishedAnonymizer, finder: FaceFinder, size: int, settings: Mapping[str, Any],
    limits: PictureLimits,
) -> Styles:  # fmt: skip
    """Return the styles that the settings name.

    Parameters
    ----------
    finished : FinishedAnonymizer
        Its networks make the styles, its recognisers look for likeness.
    finder : FaceFinder
        Finds the faces of reference pictures; the most confident one of each counts.
    size : int
        Side of the crops of sources and references [px].
    settings : mapping
        Of the job: reference, nearest_reference.
    limits : PictureLimits
        How large reference pictures may be.
    """
    seed = seed_of(settings)
    if seed is not None:
        return DrawnStyles(finished.anonymizer, seed)
    files = [path for path in list_source(str(settings["reference"])) if not is_clip(path)]
    faces = [_only_face(path, finder, size, limits) for path in files]
    if not faces:
        raise DataError(
            f"reference = {settings['reference']}: there are no pictures, clips lend no faces"
        )
    return LentStyles(
        finished.anonymizer,
        torch.cat(faces).to(finished.device),
        context=finished.settings["context"],
        pool=finished.observer.pool,
        limit=settings["nearest_reference"],
    )


def _only_face(path: Path, finder: FaceFinder, size: int, limits: PictureLimits) -> Tensor:
    pixels = read_picture(path, limits)
    squares: Sequence[Any] = finder(pixels)
    if not squares:
        raise DataError(f"reference {path.name}: no face was found; give another picture")
    return cut_squares(pixels, squares[:1], size)
