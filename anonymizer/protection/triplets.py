"""Triplets of pictures: one person twice, and somebody else."""

import torch
from torch import Tensor


def draw_triplets(person: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw anchors, positives and negatives.

    Anchors are uniform over the pictures of people who have two or more; the positive is another
    picture of the same person, the negative a picture of anybody else, each uniform.

    Parameters
    ----------
    person : Tensor of int64
        (N,): who is on each picture; negative where unknown, which is drawn for nobody.
    count : int
        Triplets wanted.
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    Tensor of int64
        Rows (count, 3): anchor, positive, negative.

    Raises
    ------
    ValueError
        If nobody has two pictures, or there is nobody else.

    Notes
    -----
    The published lists chose positives by the beginning of a person's number, so that person 12
    was also 123: 9.5 % of the triplets named two people as one. Here people are compared whole.
    """
    known = torch.nonzero(person >= 0).flatten()
    order = known[torch.argsort(person[known], stable=True)]  # pictures, person after person
    _, counts = torch.unique_consecutive(person[order], return_counts=True)
    if len(counts) < 2 or int(counts.max()) < 2:
        raise ValueError(
            f"person names {len(counts)} people on {len(order)} pictures; triplets need two "
            f"people, and two pictures of one of them"
        )
    starts = counts.cumsum(0) - counts
    first, size = (t.repeat_interleave(counts) for t in (starts, counts))
    eligible = torch.nonzero(size >= 2).flatten()
    anchor = eligible[_below(torch.full((count,), len(eligible)), generator)]
    # the others of the same person, and all pictures that are not theirs, each skip over a gap
    positive = first[anchor] + _below(size[anchor] - 1, generator)
    positive = positive + (positive >= anchor)
    negative = _below(len(order) - size[anchor], generator)
    negative = negative + size[anchor] * (negative >= first[anchor])
    return order[torch.stack((anchor, positive, negative), dim=1)]


def _below(limits: Tensor, generator: torch.Generator) -> Tensor:
    """Draw whole numbers (K,), each uniform below its limit."""
    chance = torch.rand(limits.shape, generator=generator, dtype=torch.float64)
    return (chance * limits).long().clamp(max=limits - 1)
