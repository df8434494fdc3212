r"""Heads that teach a recogniser who is who: a softmax over people with a margin on the true one.

Every head turns raw features :math:`x` (their length included) and one direction :math:`w_j` for
each person into logits of the cosines :math:`\cos\theta_j`; the true person's cosine is made
smaller, so that features must come nearer to it than classification alone asks for.

References
----------
J. Deng, J. Guo, N. Xue, S. Zafeiriou, "ArcFace", CVPR 2019, eq. 3.
H. Wang et al., "CosFace: large margin cosine loss for deep face recognition", CVPR 2018, eq. 4.
M. Kim, A. K. Jain, X. Liu, "AdaFace: quality adaptive margin for face recognition", CVPR 2022,
eqs. 13 to 15.
W. Liu et al., "SphereFace: deep hypersphere embedding for face recognition", CVPR 2017, eqs. 6, 7.
"""

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_INSIDE = 1e-6  # cosines are kept this far from +-1, where the arc cosine has no slope


class Head(nn.Module, ABC):
    """Cross entropy of naming the person; `weight` (D, people) holds one direction each.

    Parameters
    ----------
    people : int
        How many; at least 2.
    dimension : int
        Length D of the features.
    """

    def __init__(self, people: int, dimension: int) -> None:
        super().__init__()
        if people < 2 or dimension < 1:
            raise ValueError(
                f"people = {people}, dimension = {dimension}: at least 2 people and 1 dimension"
            )
        self.weight = nn.Parameter(torch.empty(dimension, people).uniform_(-0.01, 0.01))

    @property
    def people(self) -> int:
        """How many people the head tells apart."""
        return self.weight.shape[1]

    @abstractmethod
    def logits(self, features: Tensor, people: Tensor) -> Tensor:
        """Return logits (B, people) with the margin on each row's own person."""

    def forward(self, features: Tensor, people: Tensor) -> Tensor:
        """Return the mean cross entropy [nat].

        Parameters
        ----------
        features : Tensor
            (B, D), not normalised.
        people : Tensor
            (B,) int64, who each row shows.
        """
        return F.cross_entropy(self.logits(features, people), people)

    def cosines(self, features: Tensor) -> Tensor:
        """Return the cosines (B, people) between features and directions."""
        return F.normalize(features, dim=1) @ F.normalize(self.weight, dim=0)


class ArcFaceHead(Head):
    r"""Additive angular margin: :math:`s\cos(\theta + m)` for the true person.

    Beyond :math:`\theta = \pi - m`, where that would rise again, the logit goes on as
    :math:`s(\cos\theta - m\sin m)`, a little lower, which keeps it falling.

    Parameters
    ----------
    angular_margin : float
        m in [0, pi/2) [rad].
    scale : float
        s, positive.
    """

    def __init__(
        self, people: int, dimension: int, *, angular_margin: float = 0.5, scale: float = 64.0
    ) -> None:
        super().__init__(people, dimension)
        if not 0 <= angular_margin < math.pi / 2:
            raise ValueError(
                f"angular_margin = {angular_margin:g} rad, expected at least 0 and below pi/2"
            )
        self.margin, self.scale = angular_margin, _positive("scale", scale)

    def logits(self, features: Tensor, people: Tensor) -> Tensor:
        cosines = self.cosines(features)
        own = cosines.gather(1, people[:, None]).clamp(_INSIDE - 1, 1 - _INSIDE)
        angle = own.acos()
        straight = own - self.margin * math.sin(self.margin)
        own = torch.where(angle < math.pi - self.margin, (angle + self.margin).cos(), straight)
        return self.scale * cosines.scatter(1, people[:, None], own)


class CosFaceHead(Head):
    r"""Additive cosine margin: :math:`s(\cos\theta - m)` for the true person.

    Parameters
    ----------
    cosine_margin : float
        m in [0, 1).
    scale : float
        s, positive.
    """

    def __init__(
        self, people: int, dimension: int, *, cosine_margin: float = 0.35, scale: float = 64.0
    ) -> None:
        super().__init__(people, dimension)
        if not 0 <= cosine_margin < 1:
            raise ValueError(f"cosine_margin = {cosine_margin:g}, expected at least 0 and below 1")
        self.margin, self.scale = cosine_margin, _positive("scale", scale)

    def logits(self, features: Tensor, people: Tensor) -> Tensor:
        return self.scale * (
            self.cosines(features) - self.margin * F.one_hot(people, self.people).to(features)
        )


class AdaFaceHead(Head):
    r"""A margin that follows the quality of the picture, told by the length of its features.

    With :math:`q = h(\|x\| - \mu)/\sigma`, clipped to [-1, 1], :math:`\mu` and :math:`\sigma`
    being running statistics of the lengths, the true person's logit is
    :math:`s[\cos(\theta - m q) - m(1 + q)]`: an angular margin for poor pictures, an additive
    one for good ones.

    Parameters
    ----------
    adaptive_margin : float
        m in [0, 1).
    concentration : float
        h, positive: which share of one standard deviation moves the margin to its end.
    momentum : float
        Share of each batch in the running statistics, in (0, 1].
    scale : float
        s, positive.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        people: int,
        dimension: int,
        *,
        adaptive_margin: float = 0.4,
        concentration: float = 0.333,
        momentum: float = 0.01,
        scale: float = 64.0,
    ) -> None:
        super().__init__(people, dimension)
        if not 0 <= adaptive_margin < 1 or not 0 < momentum <= 1:
            raise ValueError(
                f"adaptive_margin = {adaptive_margin:g}, momentum = {momentum:g}: expected the "
                f"first at least 0 and below 1, the second above 0 and at most 1"
            )
        self.margin, self.momentum = adaptive_margin, momentum
        self.concentration = _positive("concentration", concentration)
        self.scale = _positive("scale", scale)
        self.register_buffer("mean", torch.tensor(20.0))  # the published start values
        self.register_buffer("std", torch.tensor(100.0))

    def logits(self, features: Tensor, people: Tensor) -> Tensor:
        q = self._quality(features.detach().norm(dim=1))
        cosines = self.cosines(features)
        own = cosines.gather(1, people[:, None]).clamp(_INSIDE - 1, 1 - _INSIDE)
        angle = (own.acos() - self.margin * q[:, None]).clamp(1e-3, math.pi - 1e-3)
        own = angle.cos() - self.margin * (1 + q[:, None])
        return self.scale * cosines.scatter(1, people[:, None], own)

    def _quality(self, lengths: Tensor) -> Tensor:
        """Return q of each picture; in training mode the statistics move on first."""
        lengths = lengths.clamp(1e-3, 100)
        if self.training and len(lengths) > 1:
            self.mean.lerp_(lengths.mean().to(self.mean), self.momentum)
            self.std.lerp_(lengths.std().to(self.std), self.momentum)
        deviation = (lengths - self.mean) / (self.std + 1e-3)
        return (self.concentration * deviation).clamp(-1, 1)


class AngularHead(Head):
    r"""Multiplicative angular margin of SphereFace, brought in gradually.

    The true person's logit is the blend

    .. math:: \|x\|\,\frac{\lambda\cos\theta + \psi(\theta)}{1 + \lambda},\qquad
        \psi(\theta) = (-1)^k\cos 4\theta - 2k,\quad k = \lfloor 4\theta/\pi\rfloor,

    of the plain cosine and one that falls over the whole half turn; the others are
    :math:`\|x\|\cos\theta_j`. In training :math:`\lambda = \max(5, 1500/(1 + 0.1 n))` at the n-th
    call, as published; outside it stays where it is.
    """

    num_batches_tracked: Tensor  # a counter by that name may be absent from a published file

    def __init__(self, people: int, dimension: int) -> None:
        super().__init__(people, dimension)
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.long))

    def pair(self, features: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return :math:`\|x\|\cos\theta` and :math:`\|x\|\psi(\theta)`, both (B, people)."""
        length = features.norm(dim=1, keepdim=True)
        cosines = self.cosines(features).clamp(-1, 1)
        k = (4 * cosines.detach().acos() / math.pi).floor()
        quadruple = 8 * cosines**4 - 8 * cosines**2 + 1
        return length * cosines, length * ((1 - 2 * (k % 2)) * quadruple - 2 * k)

    @property
    def blend(self) -> float:
        r""":math:`\lambda` of the call made last."""
        return max(5.0, 1500 / (1 + 0.1 * int(self.num_batches_tracked)))

    def logits(self, features: Tensor, people: Tensor) -> Tensor:
        if self.training:
            self.num_batches_tracked += 1
        cosine, steep = self.pair(features)
        own = F.one_hot(people, self.people).to(features) / (1 + self.blend)
        return cosine + own * (steep - cosine)


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise ValueError(f"{name} = {value:g}, expected a positive number")
    return value
