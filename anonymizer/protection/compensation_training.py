"""How the client of PRO-Face C learns what a frozen server needs.

References
----------
L. Yuan et al., "PRO-Face C: Privacy-Preserving Recognition of Obfuscated Face via Feature
Compensation", IEEE Transactions on Information Forensics and Security, 2024.
"""

from typing import Self

import torch
from torch import Tensor, nn

from anonymizer.protection.compensated import CompensatedRecognizer, Compensation, as_sent
from anonymizer.protection.training import FaceBatch, Trainable
from anonymizer.recognition.heads import Head
from anonymizer.recognition.staged import StagedRecognizer


class CompensationTraining(Trainable):
    """Training of the client, with its few bits in the loop.

    With e the server's unit vector of an obfuscated face and its features, and c that of the clear
    face, the terms are

    - "likeness": the mean of (e - c)**2, summed over the vector. The published program takes the
      mean over its 512 components, at most 0.008, beside a cross entropy of several units.
    - "identity": the cross entropy of `head`, if there is one.

    Parameters
    ----------
    protection : Compensation
        What is trained.
    server : StagedRecognizer
        Trained on clear faces; frozen.
    head : Head, optional
        Over the people of the training pictures, numbered from 0; it learns beside the client.
        Without one, clear faces alone are the teacher, and nobody need be named.
    likeness, identity : float
        Weights of the terms.
    share : float
        Share of the channels of each map that are sent in the end, in (0, 1].
    prune_after : int
        Steps before the others are dropped; until then values are not rounded either.
    """

    protection: Compensation

    def __init__(
        self,
        protection: Compensation,
        server: StagedRecognizer,
        *,
        head: Head | None = None,
        likeness: float = 1.0,
        identity: float = 1.0,
        share: float = 0.5,
        prune_after: int = 200,
    ) -> None:
        super().__init__()
        if not 0 < share <= 1 or prune_after < 1:
            raise ValueError(
                f"share = {share:g}, prune_after = {prune_after}: expected a share above 0, at "
                f"most 1, and at least one step to observe"
            )
        self.protection, self.head = protection, head
        self.server = server.requires_grad_(False).eval()
        self.likeness, self.identity = likeness, identity
        self.share, self.prune_after = share, prune_after

    def train(self, mode: bool = True) -> Self:
        """Switch training mode of all but the server."""
        super().train(mode)
        self.server.eval()
        return self

    def players(self) -> dict[str, nn.Module]:
        """Return the client, and the head where there is one."""
        learns: list[nn.Module] = [self.protection.learned]
        return {"protection": nn.ModuleList(learns + ([self.head] if self.head else []))}

    def losses(
        self, batch: FaceBatch, generator: torch.Generator, *, player: str = "protection"
    ) -> dict[str, Tensor]:
        """Return the weighted terms; in training mode the codec observes the batch."""
        clear, codec = batch.faces[:, 0], self.protection.codec
        with torch.no_grad():
            hidden = as_sent(self.protection.obfuscator.sample(clear, generator))
            wanted = self.server(clear)
        taps = self.protection.taps(clear, hidden)
        if self.training:
            codec.observe([tap.detach() for tap in taps], self.protection.client.gains())
            if codec.observed == self.prune_after:
                codec.prune(self.share)
        sent = codec(taps) if codec.observed >= self.prune_after else taps
        found = CompensatedRecognizer(self.server, self.protection.client)(hidden, sent)
        terms = {"likeness": self.likeness * (found - wanted).square().sum(dim=1).mean()}
        if self.head is not None:
            terms["identity"] = self.identity * self.head(found, batch.person[:, 0])
        return terms
