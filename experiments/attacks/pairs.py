"""Known pairs: some originals of protected pictures are known, all under one key.

Whoever protects everything under one key gives an attacker who knows a few originals (published
elsewhere, or his own) pairs from which to learn that key's inverse. Methods that draw another key
for each picture give him pairs that do not belong together; that is the second condition.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from anonymizer.keystream import KEY_BYTES
from experiments.attacks.defence import Faces, ProtectionDefence, draw_keys
from experiments.attacks.restoring import LearnedInversion
from experiments.attacks.trial import Attack, Outcome, Trial
from experiments.protocol import Metrics
from experiments.sampling import derive_seed
from experiments.scene import generator_for
from experiments.stages import Schedule


@dataclass(frozen=True, eq=False)
class OneKey(ProtectionDefence):
    """A protection that is given the same key for every picture.

    Attributes
    ----------
    key : bytes
        The key.
    """

    key: bytes = bytes(KEY_BYTES)

    def show(self, faces: Faces, *, frames: int = 1) -> Tensor:
        """Return pictures with protected faces, all under one key."""
        keys = [self.key] * len(faces.noise)
        with torch.no_grad():
            return self.paste(self.network.protect(self.squares(faces.scenes), keys), faces.scenes)


class KnownPairs(Attack):
    """Learn the inverse of one key from known pairs, then undo other pictures under that key.

    Conditions are "one_key_pairs_<n>", and "other_keys_pairs_<n>" where every picture has a key
    of its own, those of the known pairs too.

    Parameters
    ----------
    training : Schedule
        Of the network that undoes the key.
    pairs : sequence of int
        Originals that are known.
    widths, identity, points
        As for `LearnedInversion`.
    """

    actor = "A1"

    def __init__(
        self,
        training: Schedule,
        pairs: Sequence[int] = (10, 100),
        widths: tuple[int, ...] = (24, 48, 96, 144),
        identity: float = 0.5,
        points: int = 4,
    ) -> None:
        if not pairs or min(pairs) < 2:
            raise ValueError(f"pairs = {list(pairs)}, expected one count or more, each at least 2")
        self.inversion = LearnedInversion(training, widths, identity, points)
        self.pairs = tuple(pairs)

    def budget(self) -> dict[str, Any]:
        """Return the pairs, and the training from them."""
        return self.inversion.budget() | {"known_pairs": list(self.pairs)}

    def run(self, trial: Trial, name: str) -> Outcome:
        """Learn from pairs of `learn`, choose on `tune`, measure once on `test`."""
        defence = trial.defence
        if not isinstance(defence, ProtectionDefence):
            return Outcome(reason="a camera has no keys")
        if not defence.network.capabilities.keyed:
            return Outcome(reason=f"{type(defence.network).__name__} takes no keys")
        key = draw_keys([generator_for(trial.seed, name, "key")])[0]
        reused = OneKey(defence.network, defence.size, defence.frame, key=key)
        conditions: dict[str, Metrics] = {}
        chosen: dict[str, float] = {}
        pictures: dict[str, Tensor] = {}
        curve: list[Any] = []
        for count in self.pairs:
            for label, shown in (("one_key", reused), ("other_keys", defence)):
                condition = f"{label}_pairs_{count}"
                known = trial.against(shown, trial.folder)
                known.learn = _some(trial, count, name)
                found = self.inversion.run(known, f"{name}_{condition}")
                conditions[condition] = found.conditions["frames_1"]
                pictures[condition] = found.pictures["frames_1"]
                chosen[f"{condition}_auc_tune"] = found.chosen["auc_tune"]
                curve += [point | {"pairs": count} for point in map(dict, found.curve)]
        return Outcome(conditions, chosen, tuple(curve), pictures)


def _some(trial: Trial, count: int, name: str) -> Any:
    """Return `count` pictures of `learn`, or all of them if there are fewer."""
    draw = torch.Generator().manual_seed(derive_seed(trial.seed, name))
    rows = torch.randperm(len(trial.learn), generator=draw)[:count]
    return trial.learn.subset(rows.sort().values.numpy())
