"""Terms of the published recipe, each really connected to the generator.

The constants stand in ``configs/recipe/lopez2024.yaml``.

References
----------
J. Lopez, C. Hinojosa, H. Arguello, B. Ghanem, "Privacy-preserving Optics for Enhancing Protection
in Face De-identification", CVPR 2024; Y. Choi et al., "StarGAN v2", CVPR 2020, eqs. 1-5.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from anonymizer.colour import encode_srgb
from anonymizer.regressors import Heatmaps
from anonymizer.stargan.doors import PublishedDoor
from anonymizer.stargan.generator import Masks
from anonymizer.stargan.masks import group_masks
from anonymizer.stargan.terms import Term, View

_BATCH = 4  # published; the published flow term is a sum over it


class DiversityTerm(Term):
    """Two styles should give two faces; fades to nothing.

    Parameters
    ----------
    weight, passes
        As for every term.
    steps : int
        Steps over which the weight falls to zero in a straight line.
    """

    def __init__(self, *, weight: float, passes: tuple[str, ...], steps: int) -> None:
        super().__init__(weight=weight, passes=passes)
        if steps < 1:
            raise ValueError(f"steps = {steps}, expected 1 or more")
        self.steps = steps

    def forward(self, view: View) -> Tensor:
        """Minus the mean absolute difference of outputs and their twins, faded."""
        share = max(0.0, 1 - view.step / self.steps)
        total = torch.zeros((), device=view.sources.light.device)
        for name in self.passes:
            seen = view.passes[name]
            if seen.twin is None:
                raise ValueError(f"passes: {name} has no twin to differ from; give it twin: true")
            total = total - (seen.output - seen.twin.detach()).abs().mean()
        return share * total


class CycleTerm(Term):
    """From the output and the source's style the measurement should come back, without masks."""

    def forward(self, view: View) -> Tensor:
        """Mean absolute difference from the measurement, summed over the passes."""
        networks, sources = view.anonymizer, view.sources
        if networks.generator.inputs != 3:
            raise ValueError("the cycle needs a generator whose input is a picture: door=published")
        picture = sources.input.picture
        style = networks.style_encoder(picture, sources.domain)
        total = torch.zeros((), device=picture.device)
        for name in self.passes:
            back = networks.generator(view.passes[name].output, style)
            total = total + (back - picture).abs().mean()
        return total


class FlowTerm(Term):
    """The face should not have moved: the mean motion between clear source and output.

    Only a shift of the whole face counts, as published; the sum over the published batch of 4 is
    4 times the mean here, whatever the batch.
    """

    needs = "flow"

    def forward(self, view: View) -> Tensor:
        """Absolute mean motion inside the face, times 4, summed over the passes [px]."""
        flow, sources = view.judges.flow, view.sources
        if flow is None or view.judges.landmarks is None:
            raise ValueError(
                "the flow term was asked without a flow network and a landmark network"
            )
        with torch.no_grad():
            side = sources.light.shape[-1]
            face = _masks(view.judges.landmarks(sources.light)).coarse
            face = (F.interpolate(face, size=(side, side), mode="bilinear") > 0.5).float()
        before = encode_srgb(sources.light) * face
        total = torch.zeros((), device=before.device)
        for name in self.passes:
            motion = flow(before, encode_srgb(view.light(name)) * face)
            total = total + _BATCH * motion.mean((1, 2, 3)).abs().mean()
        return total


class PerceptualTerm(Term):
    """The output should look like its reference."""

    needs = "perceptual"

    def forward(self, view: View) -> Tensor:
        """Mean perceptual distance to the first reference, summed over the passes."""
        perceptual = view.judges.perceptual
        if perceptual is None:
            raise ValueError("the perceptual term was asked without a perceptual network")
        total = torch.zeros((), device=view.sources.light.device)
        for name in self.passes:
            references = view.passes[name].references
            if references is None:
                raise ValueError(f"passes: {name} has no references to look like")
            wanted, found = encode_srgb(references[:, 0]), encode_srgb(view.light(name))
            total = total + perceptual(wanted, found).mean()
        return total


class MaskTerm(Term):
    """The clear landmark network should find the source's coarse mask in the output.

    The published program computed this without gradient; here it has one.
    """

    needs = "landmarks"

    def forward(self, view: View) -> Tensor:
        """Mean absolute difference of the coarse masks, summed over the passes."""
        network, masks = view.judges.landmarks, view.sources.input.masks
        if network is None or masks is None:
            raise ValueError("the mask term was asked without a landmark network or without masks")
        total = torch.zeros((), device=view.sources.light.device)
        for name in self.passes:
            found = _masks(network(view.light(name))).coarse
            wanted = F.interpolate(masks.coarse, size=found.shape[-2:], mode="bilinear")
            total = total + (found - wanted.detach()).abs().mean()
        return total


def _masks(heatmaps: Heatmaps) -> Masks:
    if heatmaps.logits.shape[1] == 98:
        return PublishedDoor().masks(heatmaps)
    return group_masks(heatmaps.peaks())
