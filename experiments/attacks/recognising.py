"""Attacks that train nothing: public recognisers look at what is shown."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from anonymizer.recognition import linkability, worst_case
from experiments.attacks.trial import Attack, Outcome, Trial, numbers

FRAMES = (1, 16, 100)


class OffTheShelf(Attack):
    """Compare what is shown with clear, different pictures.

    Parameters
    ----------
    frames : sequence of int
        Shots averaged, where averaging helps.
    """

    actor = "A0"

    def __init__(self, frames: Sequence[int] = FRAMES) -> None:
        self.frames = check_frames(frames)

    def budget(self) -> dict[str, Any]:
        """Return the shots averaged."""
        return {"frames": list(self.frames)}

    def run(self, trial: Trial, name: str) -> Outcome:
        """Attack with as many shots as help."""
        return Outcome(
            {
                f"frames_{count}": numbers(
                    trial.verify(trial.look(trial.held, trial.lookers(), frames=count))
                )
                for count in usable(self.frames, trial)
            }
        )


class Parrot(Attack):
    """Enrol protected pictures: likeness of what is shown to what is shown.

    A defence that gives every person a face of their own is a pseudonym, whatever the face.
    The same scores tell whether two protected pictures can be linked (D_sys).

    Parameters
    ----------
    frames : sequence of int
        As for `OffTheShelf`, of probe and gallery alike.
    shuffles : int
        Permutations behind the null of D_sys.
    """

    actor = "A1"

    def __init__(self, frames: Sequence[int] = FRAMES, shuffles: int = 200) -> None:
        self.frames, self.shuffles = check_frames(frames), shuffles
        if shuffles < 20:
            raise ValueError(f"shuffles = {shuffles}, expected at least 20 for a null of 5 %")

    def budget(self) -> dict[str, Any]:
        """Return shots averaged and permutations."""
        return {"frames": list(self.frames), "shuffles": self.shuffles}

    def run(self, trial: Trial, name: str) -> Outcome:
        """Attack with as many shots as help."""
        person = trial.held.crops.person
        same = person[:, None] == person[None]
        once = np.triu(np.ones_like(same), 1)
        conditions = {}
        for count in usable(self.frames, trial):
            shown = trial.look(trial.held, trial.lookers(), frames=count)
            found = trial.verify(shown, gallery=shown)
            vectors = shown[worst_case(found)].double().numpy()
            scores = vectors @ vectors.T
            linked = linkability(
                scores[same & once], scores[~same & once], shuffles=self.shuffles, seed=trial.seed
            )
            extra = linked.flat() | {"linkable": linked.linkable, "d_sys_enough": linked.enough}
            conditions[f"frames_{count}"] = numbers(found) | {
                key: float(value) for key, value in extra.items()
            }
        return Outcome(conditions)


def check_frames(frames: Sequence[int]) -> tuple[int, ...]:
    """Refuse counts of shots that are not."""
    if not frames or min(frames) < 1:
        raise ValueError(f"frames = {list(frames)}, expected one count or more, each at least 1")
    return tuple(frames)


def usable(frames: Sequence[int], trial: Trial) -> tuple[int, ...]:
    """Return the counts of shots that differ in what they show."""
    return tuple(frames) if trial.defence.noisy else (1,)
