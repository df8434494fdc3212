"""Who lends a style: latents of nobody, pictures of other people, another picture of the person.

All draws depend on the generators alone, one for each source.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from anonymizer.stargan import Anonymizer
from anonymizer.stargan.recipe import StyleKind
from anonymizer.stargan.references import mix_styles, mixture_weights
from experiments.data.crops import FaceCrops
from experiments.scene import Framing, load_scenes, reframe


@dataclass(frozen=True)
class People:
    """The pictures of a training, and their domains.

    Attributes
    ----------
    crops : FaceCrops
        Pictures.
    domain : ndarray of int64, shape (N,)
        Domain of each picture.
    """

    crops: FaceCrops
    domain: np.ndarray

    def others(self, row: int, count: int, generator: torch.Generator) -> tuple[list[int], int]:
        """Draw a domain, and in it pictures of `count` different people other than that of `row`.

        Raises
        ------
        ValueError
            There are not so many.
        """
        person = self.crops.person
        domains = np.unique(self.domain)
        domain = int(domains[_draw(len(domains), generator)])
        allowed = np.flatnonzero((self.domain == domain) & (person != person[row]))
        chosen: list[int] = []
        while len(chosen) < count:
            if not len(allowed):
                raise ValueError(
                    f"references: domain {domain} has fewer than {count} people other than the "
                    f"source; use fewer references or more people"
                )
            chosen.append(int(allowed[_draw(len(allowed), generator)]))
            allowed = allowed[person[allowed] != person[chosen[-1]]]
        return chosen, domain

    def again(self, row: int, generator: torch.Generator) -> int:
        """Draw another picture of the same person; `row` itself where there is none."""
        same = np.flatnonzero(self.crops.person == self.crops.person[row])
        other = same[same != row]
        return int(other[_draw(len(other), generator)]) if len(other) else row


@dataclass(frozen=True)
class Lenders:
    """What the styles of one pass are made of: latents, or pictures with their shares.

    Attributes
    ----------
    domain : Tensor
        (B,) int64.
    latent : Tensor or None
        (B, L).
    light, landmarks, shares : Tensor or None
        Pictures (B, k, 3, S, S) of linear light, their landmarks (B, k, 68, 2) [px] and weights
        (B, k) that sum to 1.
    """

    domain: Tensor
    latent: Tensor | None = None
    light: Tensor | None = None
    landmarks: Tensor | None = None
    shares: Tensor | None = None

    def style(self, anonymizer: Anonymizer) -> Tensor:
        """Return the styles (B, D) by the networks of `anonymizer`."""
        if self.latent is not None:
            out: Tensor = anonymizer.mapping_network(self.latent, self.domain)
            return out
        if self.light is None or self.shares is None:
            raise ValueError("lenders have neither latents nor pictures")
        count = self.light.shape[1]
        pictures = anonymizer.door.encode(self.light.flatten(0, 1))
        styles = anonymizer.style_encoder(pictures, self.domain.repeat_interleave(count))
        return mix_styles(styles.reshape(-1, count, styles.shape[-1]), self.shares)


def draw_latents(anonymizer: Anonymizer, generators: Sequence[torch.Generator]) -> Lenders:
    """Draw a latent and a domain for each source."""
    size = anonymizer.mapping_network.latent
    latent = torch.stack([torch.randn(size, generator=g) for g in generators])
    domain = torch.tensor([_draw(anonymizer.domains, g) for g in generators])
    device = next(anonymizer.parameters()).device
    return Lenders(domain.to(device), latent=latent.to(device))


def draw_lenders(
    kind: StyleKind,
    people: People,
    rows: Tensor,
    anonymizer: Anonymizer,
    framing: Framing,
    generators: Sequence[torch.Generator],
) -> Lenders:
    """Draw what one pass needs for the sources `rows`, on the device of `anonymizer`."""
    if kind.source == "latent":
        return draw_latents(anonymizer, generators)
    picked: list[list[int]] = []
    domains: list[int] = []
    for row, generator in zip(rows.tolist(), generators, strict=True):
        if kind.source == "own":
            picked.append([people.again(row, generator)])
            domains.append(int(people.domain[row]))
        else:
            some, domain = people.others(row, kind.references, generator)
            picked.append(some)
            domains.append(domain)
    count = len(picked[0])
    each = [g for g in generators for _ in range(count)]
    device = next(anonymizer.parameters()).device
    scenes = reframe(load_scenes(people.crops, np.array(picked).ravel()), framing, each).to(device)
    return Lenders(
        torch.tensor(domains, device=device),
        light=scenes.light.reshape(-1, count, *scenes.light.shape[1:]),
        landmarks=scenes.landmarks.reshape(-1, count, *scenes.landmarks.shape[1:]),
        shares=torch.cat([mixture_weights(1, count, g) for g in generators]).to(device),
    )


def _draw(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (1,), generator=generator)[0])
