"""Training of PRO-Face S: recovery with the right key, through an 8-bit file, and with wrong ones.

All differences of pixels are those of sRGB values from -1 to 1.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from anonymizer.colour import encode_srgb, round_to_bytes
from anonymizer.perceptual import PerceptualDistance
from anonymizer.protection.flow import MULTIPLE
from anonymizer.protection.key_maps import draw_key_maps
from anonymizer.protection.resemblance import loudness_shown, structure_shown
from anonymizer.protection.secure_flow import ProFaceS
from anonymizer.protection.training import FaceBatch, Trainable
from anonymizer.protection.utility import Utility

_SMALLEST = 16  # px: windows of the structural distance are 11 px


@dataclass(frozen=True)
class FlowView:
    """Pictures of one step, (B, 3, H, W), sRGB in [0, 1] unless training is not there yet.

    Attributes
    ----------
    original, cover, protected : Tensor
        Before the flow and after, the last not rounded.
    right, wrong : Tensor
        What the right keys and other, random ones recover of the rounded picture.
    steps : int
        Steps of training before this one.
    """

    original: Tensor
    cover: Tensor
    protected: Tensor
    right: Tensor
    wrong: Tensor
    steps: int = 0


class WrongRecovery(ABC):
    """What a wrong key shall recover, as the terms of a loss.

    Attributes
    ----------
    decoy : bool
        A wrong key recovers the cover; see `ProFaceS`.
    """

    decoy: bool

    @abstractmethod
    def terms(self, view: FlowView, distance: PerceptualDistance) -> dict[str, Tensor]:
        """Return the weighted terms of one step."""


class NoiseRecovery(WrongRecovery):
    """A wrong key recovers noise in which nothing of the original shows.

    The published program wanted no more than a distance from the original, which a recovery meets
    that is merely darker: the face is then plain to see in it before it is clipped at black. So
    what counts here does not depend on brightness, contrast, sign or colours.

    Parameters
    ----------
    structure, loudness : float
        Weights of what shows, as `anonymizer.protection.resemblance` measures it.
    shown_until : int
        Steps in which that does not count. The flow first learns to tell right keys from wrong
        ones, for the margins, and to recover; asked for noise from the start, it hides nothing.
    perceptual_margin, pixel_margin : float
        By how much farther than the right recovery the wrong one shall be besides: in perceptual
        distance, and in mean absolute difference. The published program summed the latter over
        rows of 256 pixels, with the margin 1.2, which is met at once.
    """

    decoy = False

    def __init__(
        self,
        *,
        structure: float = 1.0,
        loudness: float = 0.3,
        shown_until: int = 0,
        perceptual_margin: float = 1.2,
        pixel_margin: float = 0.5,
    ) -> None:
        self.structure, self.loudness, self.shown_until = structure, loudness, shown_until
        self.perceptual_margin, self.pixel_margin = perceptual_margin, pixel_margin

    def terms(self, view: FlowView, distance: PerceptualDistance) -> dict[str, Tensor]:
        x, near, far = view.original, view.right, view.wrong
        perceptual = distance(x, near) - distance(x, far) + self.perceptual_margin
        pixels = _difference(x, near) - _difference(x, far) + self.pixel_margin
        counts = float(view.steps >= self.shown_until)
        return {
            "appearance": 0.3 * _appearance(view, distance),
            "recovery": 0.5 * _difference(x, near).mean(),
            "wrong_key": 0.2 * (F.relu(perceptual) + F.relu(pixels)).mean(),
            "structure": counts * self.structure * structure_shown(far, x).mean(),
            "loudness": counts * self.loudness * loudness_shown(far, x).mean(),
        }


class CoverRecovery(WrongRecovery):
    """A wrong key recovers the cover, so that it looks as if nothing were hidden.

    Parameters
    ----------
    perceptual_margin : float
        By how much nearer its own target than the other each recovery shall be, in perceptual
        distance.
    """

    decoy = True

    def __init__(self, *, perceptual_margin: float = 1.2) -> None:
        self.margin = perceptual_margin

    def terms(self, view: FlowView, distance: PerceptualDistance) -> dict[str, Tensor]:
        x, y = view.original, view.cover
        right = distance(view.right, x) - distance(view.right, y) + self.margin
        wrong = distance(view.wrong, y) - distance(view.wrong, x) + self.margin
        return {
            "appearance": 0.2 * _appearance(view, distance),
            "recovery": 0.3 * _difference(view.right, x).mean(),
            "wrong_key": 0.3 * _difference(view.wrong, y).mean()
            + 0.5 * (F.relu(right) + F.relu(wrong)).mean(),
        }


class ProFaceSTraining(Trainable):
    """Training of PRO-Face S with fresh random key maps for every image and step.

    The protected picture is rounded to 8 bits before it is recovered, as a file would, which the
    published program left out.

    Parameters
    ----------
    protection : ProFaceS
    wrong : WrongRecovery
        Must want of wrong keys what the protection declares.
    distance : PerceptualDistance
        The published weights were trained with LPIPS.
    utility : sequence of Utility
        What else protected pictures shall still tell.
    window : int, optional
        Side of the part of each face that is hidden and found [px], an even number; elsewhere in
        every step and picture. The flow only looks around itself, so that small parts teach as
        much as whole faces, in a fraction of the time. Whole faces by default.
    """

    def __init__(
        self,
        protection: ProFaceS,
        wrong: WrongRecovery,
        distance: PerceptualDistance,
        *,
        utility: Sequence[Utility] = (),
        window: int | None = None,
    ) -> None:
        super().__init__()
        if window is not None and (window < _SMALLEST or window % MULTIPLE):
            raise ValueError(
                f"window = {window} px, expected a multiple of {MULTIPLE} from {_SMALLEST}"
            )
        if window is not None and utility:
            raise ValueError("utility needs whole faces; leave window out")
        if protection.capabilities.decoy != wrong.decoy:
            raise ValueError(
                f"decoy = {protection.capabilities.decoy}, but {type(wrong).__name__} trains for "
                f"decoy = {wrong.decoy}; choose the two alike"
            )
        self.protection: ProFaceS = protection
        self.wrong = wrong
        self.distance = distance.requires_grad_(False).eval()
        self.utility = torch.nn.ModuleList(utility)
        self.window = window
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def losses(
        self, batch: FaceBatch, generator: torch.Generator, *, player: str = "protection"
    ) -> dict[str, Tensor]:
        faces = batch.faces.flatten(0, 1)
        with torch.no_grad():
            covers = self.protection.obfuscator.sample(faces, generator)
        if self.window is not None:
            faces, covers = _windows(faces, covers, self.window, generator)
        keys, others = (draw_key_maps(faces, generator) for _ in range(2))
        protected = self.protection.hide(faces, covers, keys)
        stored = round_to_bytes(protected)
        view = FlowView(
            original=encode_srgb(faces),
            cover=encode_srgb(covers),
            protected=protected,
            right=self.protection.find(stored, keys),
            wrong=self.protection.find(stored, others),
            steps=int(self.steps),
        )
        self.steps += 1
        terms = self.wrong.terms(view, self.distance)
        for i, utility in enumerate(self.utility):
            terms[f"utility_{i}"] = utility(stored, view.original)
        return terms


def _windows(
    faces: Tensor, covers: Tensor, side: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return a random square of `side` px of each face, and the same of its cover."""
    height, width = faces.shape[-2:]
    if side > min(height, width):
        raise ValueError(f"window = {side} px, faces are {height} x {width} px; choose less")
    pairs = torch.cat((faces, covers), dim=1)
    parts = []
    for pair in pairs:
        top, left = (
            int(torch.randint(n - side + 1, (), generator=generator)) for n in (height, width)
        )
        parts.append(pair[:, top : top + side, left : left + side])
    found = torch.stack(parts)
    return found[:, :3], found[:, 3:]


def _appearance(view: FlowView, distance: PerceptualDistance) -> Tensor:
    """Return how far the protected pictures are from their covers."""
    seen: Tensor = distance(view.cover, view.protected)
    return (5 * seen + _difference(view.protected, view.cover)).mean()


def _difference(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean absolute difference (B,) in sRGB values from -1 to 1."""
    return 2 * (a - b).abs().mean(dim=(1, 2, 3))
