"""Whose face is worn: people who lent their looks to an anonymizer, recognised in its outputs.

This is no attack on the person in front of the camera but on those who lent a style, so it is
kept apart: it never counts as what the defence leaks of its source.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anonymizer.recognition import Verification, verify
from experiments.attacks.defence import Faces
from experiments.attacks.trial import FALSE_ACCEPTS, RULE, Attack, Outcome, Trial, numbers
from experiments.protocol import Metrics
from experiments.scene import generator_for, load_scenes


@runtime_checkable
class Disguise(Protocol):
    """A defence that shows faces in looks that others lent."""

    def show_as(self, faces: Faces, references: Tensor) -> Tensor:
        """Return pictures (B, 3, S, S) of `faces` in mixtures of references (B, k, 3, S, S)."""
        ...


class ReferenceMembership(Attack):
    """Compare outputs with clear pictures of those who lent their looks, others than were lent.

    Parameters
    ----------
    references : sequence of int
        People mixed in each output; one condition for each number.
    """

    actor = "A3"
    about = "references"

    def __init__(self, references: Sequence[int] = (1, 3)) -> None:
        if not references or min(references) < 1:
            raise ValueError(
                f"references = {list(references)}, expected one number or more, each at least 1"
            )
        self.references = tuple(references)

    def budget(self) -> dict[str, Any]:
        """Return how many people lend their looks to one output."""
        return {"references": list(self.references)}

    def run(self, trial: Trial, name: str) -> Outcome:
        """Let people of the test group lend their looks to each other."""
        defence = trial.defence
        if not isinstance(defence, Disguise):
            return Outcome(reason="nobody lends the defence a face")
        conditions: dict[str, Metrics] = {}
        pictures: dict[str, Tensor] = {}
        for count in self.references:
            lent = lenders(trial, count, name)
            shown = [
                self._shown(trial, defence, rows, lent) for rows in trial.held.batches(trial.batch)
            ]
            points = trial.held.scenes(np.arange(len(lent)), trial.device).landmarks
            found = {}
            for label, look in trial.lookers().items():
                parts = zip(shown, torch.split(points, trial.batch), strict=True)
                vectors = torch.cat([look(part, at).cpu() for part, at in parts])
                found[label] = self._recognised(trial, vectors, lent, label)
            conditions[f"references_{count}"] = numbers(found)
            pictures[f"references_{count}"] = torch.cat(shown)[trial.shown].cpu()
        return Outcome(conditions, pictures=pictures)

    @staticmethod
    @torch.no_grad()
    def _shown(
        trial: Trial, defence: Disguise, rows: NDArray[np.int64], lent: NDArray[np.int64]
    ) -> Tensor:
        chosen = lent[rows]
        light = load_scenes(trial.held.crops, chosen.ravel()).light.to(trial.device)
        faces = trial.faces(trial.held, rows, "references")
        return defence.show_as(faces, light.reshape(*chosen.shape, *light.shape[1:]))

    @staticmethod
    def _recognised(
        trial: Trial, vectors: Tensor, lent: NDArray[np.int64], label: str
    ) -> Verification:
        """Compare every output as each of its lenders with all pictures but the one lent."""
        person = trial.held.crops.person
        impostors = int((person[lent.ravel()][:, None] != person[None]).sum())
        return verify(
            vectors.numpy().repeat(lent.shape[1], 0),
            trial.held.gallery[label].numpy(),
            probe_person=person[lent.ravel()],
            gallery_person=person,
            probe_image=lent.ravel(),
            gallery_image=np.arange(len(person)),
            false_accepts=[rate for rate in FALSE_ACCEPTS if rate * impostors >= RULE],
            seed=trial.seed,
        )


def lenders(trial: Trial, count: int, name: str) -> NDArray[np.int64]:
    """Draw for each test picture the pictures (N, count) of as many other people."""
    person = trial.held.crops.person
    if len(np.unique(person)) <= count:
        raise ValueError(
            f"references = {count}: the test group has {len(np.unique(person))} people, and "
            f"nobody lends to a picture of their own"
        )
    out = []
    for row, own in enumerate(person):
        draw = generator_for(trial.seed, name, count, row)
        others = np.unique(person[person != own])
        people = others[torch.randperm(len(others), generator=draw)[:count].numpy()]
        picks = torch.rand(count, generator=draw).tolist()
        rows = [np.flatnonzero(person == one) for one in people]
        out.append([r[int(p * len(r))] for r, p in zip(rows, picks, strict=True)])
    return np.array(out, dtype=np.int64)
