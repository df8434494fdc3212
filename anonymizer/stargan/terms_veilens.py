"""Terms of our recipe: a new identity, the same structure, and no way around either.

Identity is judged by a frozen recogniser on faces aligned by the source's true landmarks, since
an output is meant to have these.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from anonymizer.alignment import align_faces, face_frame
from anonymizer.heatmaps import gaussian_heatmaps, to_map
from anonymizer.recognition import Recognizer
from anonymizer.regressors import Heatmaps
from anonymizer.stargan.doors import LimitedDoor
from anonymizer.stargan.losses import hinge
from anonymizer.stargan.terms import Term, View


def _embed(view: View, light: Tensor, landmarks: Tensor) -> Tensor:
    recognizer: Recognizer | None = view.judges.recognizer
    if recognizer is None:
        raise ValueError("a term on identity was asked without a recogniser")
    out: Tensor = recognizer(align_faces(light, landmarks))
    return out


class IdentityGuardTerm(Term):
    """The output is neither the source nor any of its references.

    Parameters
    ----------
    weight, passes
        As for every term.
    source_limit, reference_limit : float
        Cosines up to which a likeness costs nothing.
    """

    needs = "recognizer"

    def __init__(
        self,
        *,
        weight: float,
        passes: tuple[str, ...],
        source_limit: float = 0.2,
        reference_limit: float = 0.5,
    ) -> None:
        super().__init__(weight=weight, passes=passes)
        for name, limit in (("source_limit", source_limit), ("reference_limit", reference_limit)):
            if not -1 <= limit <= 1:
                raise ValueError(f"{name} = {limit:g} is outside [-1, 1], the range of a cosine")
        self.source_limit, self.reference_limit = source_limit, reference_limit

    def forward(self, view: View) -> Tensor:
        """Mean excess of the cosines over the limits, source and references added."""
        sources, count = view.sources, len(self.passes)
        landmarks = sources.landmarks.repeat(count, 1, 1)
        found = _embed(view, view.together(self.passes), landmarks)
        with torch.no_grad():
            known = _embed(view, sources.light, sources.landmarks).repeat(count, 1)
        loss = hinge((found * known).sum(1), self.source_limit)
        for name, rows in zip(self.passes, found.chunk(count), strict=True):
            seen = view.passes[name]
            if seen.references is None or seen.reference_landmarks is None:
                continue  # a style of nobody
            people = seen.references.shape[1]
            with torch.no_grad():
                theirs = _embed(
                    view, seen.references.flatten(0, 1), seen.reference_landmarks.flatten(0, 1)
                ).reshape(len(rows), people, -1)
            cosines = (rows[:, None] * theirs).sum(-1)
            loss = loss + hinge(cosines, self.reference_limit) / count
        return loss


class LandmarkTerm(Term):
    """A landmark network of clear faces should find the source's points in the output.

    Parameters
    ----------
    weight, passes
        As for every term.
    heatmaps : float
        Weight of the heatmaps' cross entropy beside the distance of the points; it has a
        gradient where a point is far off.
    """

    needs = "landmarks"

    def __init__(self, *, weight: float, passes: tuple[str, ...], heatmaps: float = 0.05) -> None:
        super().__init__(weight=weight, passes=passes)
        self.heatmaps = heatmaps

    def forward(self, view: View) -> Tensor:
        """Mean distance of the points in face widths, and the cross entropy [nat]."""
        if view.judges.landmarks is None:
            raise ValueError("the landmark term was asked without a landmark network")
        light = view.together(self.passes)
        true = view.sources.landmarks.repeat(len(self.passes), 1, 1)
        found = view.judges.landmarks(light)
        width = face_frame(true)[1]
        distance = (found.landmarks() - true).norm(dim=-1).mean(1) / width
        logs = found.log_probability()
        side = logs.shape[-1]
        wanted = gaussian_heatmaps(to_map(true, light.shape[-1], side), side)
        wanted = wanted / wanted.sum((-2, -1), keepdim=True).clamp(min=1e-6)
        entropy = -(wanted * logs).sum((-2, -1)).mean()
        out: Tensor = distance.mean() + self.heatmaps * entropy
        return out


class BackgroundTerm(Term):
    """Seen by the same camera, the output's surroundings should be those of the measurement.

    Parameters
    ----------
    weight, passes
        As for every term.
    face : float
        Share of the weight that colours on the face have, which belong to the identity.
    """

    def __init__(self, *, weight: float, passes: tuple[str, ...], face: float = 0.1) -> None:
        super().__init__(weight=weight, passes=passes)
        if not 0 <= face <= 1:
            raise ValueError(f"face = {face:g} is outside [0, 1]")
        self.face = face

    def forward(self, view: View) -> Tensor:
        """Mean absolute difference of the cell colours in the networks' range."""
        door = view.anonymizer.door
        if not isinstance(door, LimitedDoor):
            raise ValueError("the background term needs door=limited, whose cells it compares")
        if view.see_again is None:
            return 0.0 * view.light(self.passes[0]).sum()
        light, count = view.together(self.passes), len(self.passes)
        found = door.encode(door.limit(view.see_again(light)))
        wanted = door.encode(door.limit(view.sources.measurement)).repeat(count, 1, 1, 1)
        share = 1 - (1 - self.face) * _on_face(view.sources.landmarks, light.shape[-1], door.cells)
        out: Tensor = (share.repeat(count, 1, 1, 1) * (found - wanted).abs()).mean()
        return out


class PathTerm(Term):
    """Other colours in the measurement should not change who the output is.

    The cells of the measurement are replaced by noise; landmarks and style stay. A face may then
    be lit otherwise, but must be the same person, as the recogniser sees it.

    Parameters
    ----------
    weight, passes
        As for every term; the first pass alone is asked, on a part of the batch.
    limit : float
        Distance, 1 - cosine, up to which a change costs nothing.
    share : float
        Part of the batch that is asked.
    """

    needs = "recognizer"

    def __init__(
        self, *, weight: float, passes: tuple[str, ...], limit: float = 0.2, share: float = 0.5
    ) -> None:
        super().__init__(weight=weight, passes=passes)
        if not 0 < share <= 1:
            raise ValueError(f"share = {share:g} is outside (0, 1]")
        self.limit, self.share = limit, share

    def forward(self, view: View) -> Tensor:
        """Mean excess of the distance over the limit."""
        name = self.passes[0]
        count = max(1, round(self.share * len(view.draws)))
        networks, sources = view.anonymizer, view.sources
        input_ = networks.door(view.draws[:count], _rows(sources.heatmaps, count))
        again = networks.generator(input_.picture, view.passes[name].style[:count], input_.masks)
        landmarks = sources.landmarks[:count]
        one = _embed(view, view.light(name)[:count], landmarks)
        other = _embed(view, networks.door.decode(again), landmarks)
        return hinge(1 - (one * other).sum(1), self.limit)


class SpreadTerm(Term):
    """Outputs of one source with different styles should differ, up to a limit.

    Parameters
    ----------
    weight, passes
        As for every term; each pass is compared with the next, and with its twin if it has one.
    limit : float
        Mean absolute difference of 4 x 4 pixels' means, in the networks' range, above which
        nothing is gained. Patterns finer than that are no other face.
    """

    def __init__(self, *, weight: float, passes: tuple[str, ...], limit: float = 0.25) -> None:
        super().__init__(weight=weight, passes=passes)
        if len(passes) < 2:
            raise ValueError("passes: two or more are needed to differ from each other")
        self.limit = limit

    def forward(self, view: View) -> Tensor:
        """Mean lack of difference."""
        passes = [view.passes[name] for name in self.passes]
        pairs = [(one.output, other.output) for one, other in pairwise(passes)]
        pairs += [(one.output, one.twin) for one in passes if one.twin is not None]
        differences = torch.stack([F.avg_pool2d(a - b, 4).abs().mean((1, 2, 3)) for a, b in pairs])
        return hinge(-differences, -self.limit)


class OwnPictureTerm(Term):
    """With the style of another picture of the same person the source itself should come back.

    The only term that shows the generator what a face of given landmarks, colours and style looks
    like. Sources of the training data are the ones it may recall.

    Parameters
    ----------
    weight, passes
        As for every term.
    identity : float
        Weight of the recogniser's distance, 1 - cosine, beside the difference of the pictures.
    """

    needs = "recognizer"

    def __init__(self, *, weight: float, passes: tuple[str, ...], identity: float = 0.2) -> None:
        super().__init__(weight=weight, passes=passes)
        self.identity = identity

    def forward(self, view: View) -> Tensor:
        """Mean absolute difference at full and at a quarter of the side, and of identities."""
        sources = view.sources
        wanted = view.anonymizer.door.encode(sources.light)
        with torch.no_grad():
            known = _embed(view, sources.light, sources.landmarks)
        loss = torch.zeros((), device=wanted.device)
        for name in self.passes:
            output = view.passes[name].output
            near = (output - wanted).abs().mean()
            coarse = (F.avg_pool2d(output, 4) - F.avg_pool2d(wanted, 4)).abs().mean()
            found = _embed(view, view.light(name), sources.landmarks)
            loss = loss + near + coarse + self.identity * (1 - (found * known).sum(1)).mean()
        return loss


def _on_face(landmarks: Tensor, side: int, cells: int) -> Tensor:
    """Whether the middle of each cell lies on the face (B, 1, cells, cells), softly at the rim."""
    centre, width, _ = face_frame(landmarks)
    line = (torch.arange(cells, device=landmarks.device) + 0.5) * (side / cells) - 0.5
    y, x = torch.meshgrid(line, line, indexing="ij")
    away = torch.stack((x, y), -1) - centre[:, None, None, :]
    scaled = away / width[:, None, None, None] * away.new_tensor([2.0, 1.6])
    near: Tensor = (3 * (1.3 - scaled.norm(dim=-1))).clamp(0, 1)
    return near[:, None]


def _rows(heatmaps: Heatmaps, count: int) -> Heatmaps:
    return Heatmaps(heatmaps.logits[:count], heatmaps.boundary[:count], heatmaps.size)
