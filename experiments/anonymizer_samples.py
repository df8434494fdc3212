"""What an anonymizer in training makes of the same few people, as a sheet and as numbers.

The people are none of those it learns from. Rows of a sheet: clear picture (never seen by the
networks), measurement, output with the mixed style of references, the first of those references,
and two outputs with styles of nobody.
"""

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from anonymizer.alignment import align_faces
from anonymizer.colour import encode_srgb
from anonymizer.heatmaps import normalised_mean_error
from anonymizer.recognition import Recognizer
from anonymizer.stargan import Anonymizer
from anonymizer.stargan.recipe import StyleKind
from anonymizer.stargan.terms import Judges
from experiments.data.synthetic.sheet import contact_sheet
from experiments.observer import Observer, Seen
from experiments.scene import generator_for
from experiments.stages import Batch, Setting
from experiments.store import atomic_write
from experiments.style_sources import People, draw_latents, draw_lenders

FOLDER = "samples"
_PART = "samples"  # names the draws

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Faces:
    """Outputs for the same sources.

    Attributes
    ----------
    mixed, drawn, drawn_again : Tensor
        (B, 3, S, S) linear light, with a mixture of references and two styles of nobody.
    noise : Tensor
        As `mixed`, with noise for a measurement; landmarks and style are the same.
    reference : Tensor
        (B, 3, S, S) first reference of each mixture.
    """

    mixed: Tensor
    drawn: Tensor
    drawn_again: Tensor
    noise: Tensor
    reference: Tensor


class Samples:
    """Sheets and numbers of one training.

    Parameters
    ----------
    observer : Observer
        Camera and landmark networks.
    judges : Judges
        Recogniser and landmark network for the numbers.
    people : People
        People the anonymizer does not learn from.
    setting : Setting
        Framing, distances and device.
    rows : sequence of int
        Which pictures are the sources.
    references : int
        People mixed in each reference style.
    """

    def __init__(
        self, observer: Observer, judges: Judges, people: People, setting: Setting,
        rows: Sequence[int], *, references: int,
    ) -> None:  # fmt: skip
        self.observer, self.judges, self.people, self.setting = observer, judges, people, setting
        self.rows = torch.tensor(list(rows))
        self.kind = StyleKind("references", references=references)

    @torch.no_grad()
    def measure(self, anonymizer: Anonymizer, sheet: Path | None) -> dict[str, float]:
        """Return the numbers of `anonymizer` as it is, and write its sheet if `sheet` is given."""
        batch = self.setting.batch(self.people.crops, self.rows, _PART, 0)
        distance = self.observer.nearest_to(self.setting.reference)
        seen = self.observer.look(batch, distance, anonymizer.size)
        faces = self._faces(anonymizer, batch, seen)
        if sheet is not None:
            shown = (
                batch.scenes.light, seen.measurement, faces.mixed, faces.reference, faces.drawn,
                faces.drawn_again,
            )  # fmt: skip
            write_sheet(sheet, shown)
        return self._numbers(batch, faces)

    def _faces(self, anonymizer: Anonymizer, batch: Batch, seen: Seen) -> Faces:
        framing, seed = self.setting.framing, self.setting.seed

        def sources(name: str) -> list[torch.Generator]:
            return [generator_for(seed, _PART, name, int(row)) for row in self.rows]

        lent = draw_lenders(
            self.kind, self.people, self.rows, anonymizer, framing, sources("references")
        )
        mixed = lent.style(anonymizer)
        if lent.light is None:
            raise ValueError("the styles of the samples have no references")
        drawn, again = (
            draw_latents(anonymizer, sources(name)).style(anonymizer) for name in ("one", "two")
        )
        noise = torch.stack(
            [torch.rand(seen.measurement.shape[1:], generator=g) for g in sources("noise")]
        ).to(seen.measurement)
        return Faces(
            mixed=anonymizer.anonymize(seen.measurement, seen.heatmaps, mixed),
            drawn=anonymizer.anonymize(seen.measurement, seen.heatmaps, drawn),
            drawn_again=anonymizer.anonymize(seen.measurement, seen.heatmaps, again),
            noise=anonymizer.anonymize(noise, seen.heatmaps, mixed),
            reference=lent.light[:, 0],
        )

    def _numbers(self, batch: Batch, faces: Faces) -> dict[str, float]:
        scenes = batch.scenes
        found = {"spread": (faces.drawn - faces.drawn_again).abs().mean()}
        if self.judges.landmarks is not None:
            for name, light in (("nme", faces.mixed), ("nme_clear", scenes.light)):
                points = self.judges.landmarks(light).landmarks()
                found[name] = normalised_mean_error(points, scenes.landmarks).mean()
        recognizer = self.judges.recognizer
        if recognizer is not None:
            mixed = _embed(recognizer, faces.mixed, scenes.landmarks)
            for name, light in (
                ("cosine_source", scenes.light),
                ("cosine_noise", faces.noise),
                ("cosine_drawn", faces.drawn),
            ):
                found[name] = (mixed * _embed(recognizer, light, scenes.landmarks)).sum(1).mean()
        return {name: float(value) for name, value in found.items()}


def _embed(recognizer: Recognizer, light: Tensor, landmarks: Tensor) -> Tensor:
    out: Tensor = recognizer(align_faces(light, landmarks))
    return out


def write_sheet(path: Path, rows: Sequence[Tensor]) -> None:
    """Write pictures as a PNG: one row for each batch (B, 3, S, S) of linear light."""
    faces = torch.cat([row.detach().cpu() for row in rows])
    pixels = (255 * encode_srgb(faces)).round().to(torch.uint8).permute(0, 2, 3, 1)
    sheet = contact_sheet(np.ascontiguousarray(pixels.numpy()), len(rows[0]))
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "PNG")
    atomic_write(path, file.getvalue())
