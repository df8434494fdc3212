"""Whose face the output wears: styles of references, mixed, and references that are refused."""

import torch
from torch import Tensor

from anonymizer.alignment import align_faces
from anonymizer.recognition import Recognizer


def mixture_weights(count: int, references: int, generator: torch.Generator) -> Tensor:
    """Draw `count` rows of `references` weights that sum to 1.

    Evenly over the simplex, then halfway to equal shares, so that no single person stands out.
    """
    if references < 1:
        raise ValueError(f"references = {references}, expected 1 or more")
    draws = -torch.rand(count, references, generator=generator).clamp(min=1e-9).log()
    shares = draws / draws.sum(1, keepdim=True)
    return 0.5 * shares + 0.5 / references


def mix_styles(styles: Tensor, weights: Tensor) -> Tensor:
    """Mix styles (B, k, D) by weights (B, k) that sum to 1 -> (B, D).

    The mixture keeps the mean length of its parts: a plain mean of many styles would be short,
    and the faces of short styles all look alike.
    """
    if styles.ndim != 3 or weights.shape != styles.shape[:2]:
        raise ValueError(
            f"styles is {tuple(styles.shape)} and weights {tuple(weights.shape)}, expected "
            f"(B, k, D) and (B, k)"
        )
    mean = (weights[..., None] * styles).sum(1)
    length = (weights * styles.norm(dim=-1)).sum(1, keepdim=True)
    out: Tensor = mean * (length / mean.norm(dim=-1, keepdim=True).clamp(min=1e-6))
    return out


def likeness(recognizer: Recognizer, faces: Tensor, landmarks: Tensor) -> Tensor:
    """Cosines (B, B) of the faces (B, 3, S, S), linear light, with landmarks (B, 68, 2) [px]."""
    embedded: Tensor = recognizer(align_faces(faces, landmarks))
    return embedded @ embedded.T


def refuse_near(cosines: Tensor, *, limit: float) -> None:
    """Raise ValueError if a reference resembles the source.

    Parameters
    ----------
    cosines : Tensor
        (k,) likeness of each reference and the source, by a recogniser.
    limit : float
        Largest cosine allowed; take the recogniser's threshold at the false match rate that is
        acceptable.
    """
    near = [(i, c) for i, c in enumerate(cosines.tolist()) if not c <= limit]
    if near:
        listed = ", ".join(f"{i} (cosine {c:.2f})" for i, c in near)
        raise ValueError(
            f"reference {listed} resembles the source, allowed is {limit:g} and less; choose "
            f"another reference, a mixture of more, or a style from the mapping network"
        )
