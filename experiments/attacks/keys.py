"""Attacks on keyed protections: recover with wrong keys, and search for one that looks right."""

from typing import Any

import torch
from torch import Tensor

from anonymizer.recognition import proportion
from experiments.attacks.defence import Faces, ProtectionDefence, draw_keys
from experiments.attacks.trial import FALSE_ACCEPTS, RULE, Attack, Outcome, Trial, numbers
from experiments.protocol import TestSet
from experiments.scene import generator_for


class WrongKey(Attack):
    """Recover protected faces with keys drawn at random, then let public recognisers look.

    The condition "one_key" takes a single wrong key for each picture. "search_<n>" tries n and
    keeps the recovery that is most like somebody in a gallery of suspects, as a search would that
    knows nothing but how faces look. "right_key" shows what the key holder sees.

    Parameters
    ----------
    tries : int
        Keys tried for each picture; the share of the key space that this covers is in the result.
    """

    actor = "A3"

    def __init__(self, tries: int = 16) -> None:
        if tries < 1:
            raise ValueError(f"tries = {tries}, expected at least 1")
        self.tries = tries

    def budget(self) -> dict[str, Any]:
        """Return the keys tried for each picture."""
        return {"keys_per_picture": self.tries}

    def run(self, trial: Trial, name: str) -> Outcome:
        """Attack every test picture with the same number of keys."""
        defence = trial.defence
        if not isinstance(defence, ProtectionDefence):
            return Outcome(reason="a camera has no keys")
        offers = defence.network.capabilities
        if not (offers.keyed and offers.recoverable):
            return Outcome(reason=f"{type(defence.network).__name__} recovers nothing with a key")
        threshold_rate = lowest_rate(trial)
        conditions = {}
        one = _recoveries(trial, defence, 1)
        all_of_them = _recoveries(trial, defence, self.tries) if self.tries > 1 else one
        for condition, (probes, accepted) in {
            "one_key": one,
            f"search_{self.tries}": all_of_them,
        }.items():
            estimate = proportion(int(accepted.sum()), len(accepted))
            conditions[condition] = numbers(trial.verify(probes)) | {
                "accepted": estimate.value,
                "accepted_lo": estimate.low,
                "accepted_hi": estimate.high,
                "accepted_n": len(accepted),
                "accepted_false_accepts": threshold_rate,
            }
        key_bits = float(getattr(defence.network, "key_bits", 256))
        right = numbers(trial.verify(_recoveries(trial, defence, 0)[0]))
        chosen = {"key_bits": key_bits, "key_space_tried": self.tries * 2.0**-key_bits}
        return Outcome(conditions, chosen | {f"right_key_{k}": right[k] for k in _AUC})


_AUC = ("auc", "auc_lo", "auc_hi", "auc_n")


def lowest_rate(trial: Trial) -> float:
    """Return the lowest rate of false accepts that the test people's impostor pairs can carry."""
    person = trial.held.crops.person
    impostors = int((person[:, None] < person[None]).sum())
    rates = [rate for rate in FALSE_ACCEPTS if rate * impostors >= RULE]
    return min(rates, default=FALSE_ACCEPTS[0])


def _thresholds(trial: Trial, people: TestSet) -> dict[str, float]:
    """Return the score above which each recogniser accepts, from clear pictures."""
    person = torch.from_numpy(people.crops.person)
    differ = torch.triu(person[:, None] != person[None], 1)
    out = {}
    for name, vectors in people.gallery.items():
        scores = (vectors @ vectors.T)[differ].double()
        out[name] = float(torch.quantile(scores, 1 - lowest_rate(trial), interpolation="higher"))
    return out


@torch.no_grad()
def _recoveries(
    trial: Trial, defence: ProtectionDefence, tries: int
) -> tuple[dict[str, Tensor], Tensor]:
    """Return embeddings of the recoveries by recogniser, and which are accepted as the original.

    With `tries` = 0 the right keys are used. Accepted is what any recogniser accepts.
    """
    held, lookers = trial.held, trial.lookers()
    thresholds = _thresholds(trial, held)
    kept: dict[str, list[Tensor]] = {name: [] for name in lookers}
    accepted = []
    for rows in held.batches(trial.batch):
        faces = trial.faces(held, rows, "keys")
        right = draw_keys(faces.noise)
        squares = defence.squares(faces.scenes)
        protected = defence.network.protect(squares, right)
        best: dict[str, Tensor] = {}
        clear = {n: look(faces.scenes.light, faces.scenes.landmarks) for n, look in lookers.items()}
        for attempt in range(max(1, tries)):
            keys = right if tries == 0 else _guesses(trial, rows.tolist(), attempt)
            shown = defence.paste(defence.network.recover(protected, keys), faces.scenes)
            for name, vectors in _seen(trial, shown, faces).items():
                best[name] = _nearer(best.get(name), vectors, held.gallery[name], rows.tolist())
        hit = torch.zeros(len(rows), dtype=torch.bool)
        for name, vectors in best.items():
            kept[name].append(vectors)
            hit |= (vectors * clear[name].cpu()).sum(1) >= thresholds[name]
        accepted.append(hit)
    return {name: torch.cat(parts) for name, parts in kept.items()}, torch.cat(accepted)


def _guesses(trial: Trial, rows: list[int], attempt: int) -> list[bytes]:
    return draw_keys([generator_for(trial.seed, "guess", attempt, row) for row in rows])


def _seen(trial: Trial, shown: Tensor, faces: Faces) -> dict[str, Tensor]:
    points = faces.scenes.landmarks
    return {name: look(shown, points).cpu() for name, look in trial.lookers().items()}


def _nearer(before: Tensor | None, new: Tensor, gallery: Tensor, rows: list[int]) -> Tensor:
    """Return of each pair of recoveries the one that is more like somebody else's picture."""
    if before is None:
        return new
    own = torch.zeros(len(rows), len(gallery), dtype=torch.bool)
    own[torch.arange(len(rows)), rows] = True

    def likeness(vectors: Tensor) -> Tensor:
        return (vectors @ gallery.T).masked_fill(own, -torch.inf).amax(1)

    return torch.where((likeness(new) > likeness(before))[:, None], new, before)
