"""What recoveries with wrong keys still show, to whoever does not stop at the file.

A face can hide in values beyond black and white, in a negative, in false colours or under noise.
So each recovery is judged before it is clipped, and in several views: as a file holds it, with its
contrast stretched, after the best correction there is, found with the original at hand, and as the
mean over several wrong keys, which takes noise away. What counts is the view in which most are
accepted.
"""

import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anonymizer.colour import decode_srgb, encode_srgb
from anonymizer.keystream import KEY_BYTES
from anonymizer.protection.resemblance import structure_shown
from anonymizer.recognition import Recognizer
from experiments.data.crops import FaceCrops
from experiments.protected_faces import (
    embed,
    faces_of,
    impostor_scores,
    in_batches,
    random_keys,
    threshold_at,
)
from experiments.protecting import Method

FALSE_ACCEPTS = 1e-3
_SMOOTH = 5  # px: noise is averaged over squares of this side
_PARTS = 100  # keys tried at a time


def views(values: Tensor, original: Tensor) -> dict[str, Tensor]:
    """Return recoveries as somebody would look at them.

    Parameters
    ----------
    values : Tensor
        (N, 3, H, W), sRGB, not clipped.
    original : Tensor
        (N, 3, H, W), linear light.

    Returns
    -------
    dict of str to Tensor
        Linear light: "file" is clipped; "stretched" has each colour of each picture from its 1st
        to its 99th percentile; "fitted" is the combination of colours, their means over 5 px and
        a constant that comes nearest the original, one for each picture.
    """
    return {
        "file": decode_srgb(values),
        "stretched": decode_srgb(stretch(values)),
        "fitted": decode_srgb(_fit(values, encode_srgb(original))),
    }


def stretch(values: Tensor) -> Tensor:
    """Return pictures (N, 3, H, W) with each colour from its 1st to its 99th percentile."""
    flat = values.flatten(2)
    low, high = (flat.quantile(q, dim=2)[..., None, None] for q in (0.01, 0.99))
    return (values - low) / (high - low).clamp(min=1e-9)


def _fit(values: Tensor, wanted: Tensor) -> Tensor:
    margin = _SMOOTH // 2
    smooth = F.avg_pool2d(values, _SMOOTH, 1, margin, count_include_pad=False)
    known = torch.cat((values, smooth), dim=1).flatten(2).mT.double()
    known = (known - known.mean(dim=1, keepdim=True)) / known.std(dim=1, keepdim=True).clamp(1e-12)
    known = torch.cat((known, torch.ones_like(known[..., :1])), dim=2)
    target = wanted.flatten(2).mT.double()
    # a little ridge, for colours that are all alike
    ridge = 1e-6 * known.shape[1] * torch.eye(known.shape[2], dtype=known.dtype)
    weights = torch.linalg.solve(known.mT @ known + ridge, known.mT @ target)
    fitted: Tensor = (known @ weights).mT.reshape(wanted.shape).to(wanted)
    return fitted


def keyed_numbers(
    pool: dict[str, Recognizer],
    method: Method,
    original: Tensor,
    protected: Tensor,
    test: FaceCrops,
    frame: float,
    count: int,
    seed: int,
) -> dict[str, Any]:
    """Return what wrong keys recover, and what searching for the right one costs.

    Parameters
    ----------
    pool : dict of str to Recognizer
    method : Method
    original, protected : Tensor
        Faces (N, 3, S, S), the latter as an 8-bit file holds them.
    test : FaceCrops
        Everybody there is: pairs of different people set the thresholds.
    frame : float
        Side of the squares in sides of a recogniser's crop.
    count, seed : int
        Wrong keys, and where they come from.

    Returns
    -------
    dict
        "wrong_key_acceptance" is that of the worst recogniser and view; "_file" of the worst
        recogniser with what a file holds. "protected_acceptance" says how many are accepted as
        the same person without any key, by what the protected faces show. Structure is that of
        `anonymizer.protection.resemblance`, 0 to 1.
    """
    bits = min(8 * KEY_BYTES, int(getattr(method.network, "key_bits", 8 * KEY_BYTES)))
    rows = torch.arange(count) % len(original)
    wrong = random_keys(count, f"search {seed}")
    seconds, structure, total = 0.0, [], torch.zeros_like(original)
    try:
        judges = _Judges(pool, test, original, method.size, frame)
    except ValueError as error:
        judges, reason = None, str(error)
    hits: dict[str, list[Tensor]] = {}
    for part in torch.split(torch.arange(count), _PARTS):
        own = original[rows[part]]
        start = time.perf_counter()
        keys = [wrong[i] for i in part.tolist()]
        values = in_batches(method.recover_unclipped, protected[rows[part]], keys)
        seconds += time.perf_counter() - start
        structure.append(structure_shown(values, encode_srgb(own)))
        total.index_add_(0, rows[part], values)
        if judges is not None:
            for name, seen in views(values, own).items():
                hits.setdefault(name, []).append(judges.accept(seen, rows[part]))
    times = torch.bincount(rows, minlength=len(original))[:count]
    mean, of = total[: len(times)] / times[:, None, None, None], torch.arange(len(times))
    averaged = structure_shown(mean, encode_srgb(original[of]))
    shown = structure_shown(encode_srgb(protected), encode_srgb(original))
    out: dict[str, Any] = {
        "key_bits": bits,
        "key_search_seconds": 2.0 ** (bits - 1) * seconds / count,
        "wrong_key_structure": max(float(torch.cat(structure).mean()), float(averaged.mean())),
        "protected_structure": float(shown.mean()),
    }
    if judges is None:
        return out | {"wrong_key_acceptance": None, "wrong_key_acceptance_reason": reason}
    hits["averaged"] = [judges.accept(views(mean, original[of])["fitted"], of)]
    shares = {name: float(torch.cat(one).mean(dim=0).max()) for name, one in hits.items()}
    free = judges.accept(protected, torch.arange(len(original)))
    return out | {
        "wrong_key_acceptance": max(shares.values()),
        "wrong_key_acceptance_file": shares["file"],
        "protected_acceptance": float(free.mean(dim=0).max()),
        "n_wrong_keys": count,
    }


class _Judges:
    """Recognisers, each with its threshold and what the originals are to it."""

    def __init__(
        self,
        pool: dict[str, Recognizer],
        test: FaceCrops,
        original: Tensor,
        size: int,
        frame: float,
    ) -> None:
        clear, self.frame = faces_of(test, frame, size), frame
        self.judges = []
        for network in pool.values():
            scores = impostor_scores(embed(network, clear, frame), test.person)
            threshold = threshold_at(scores, FALSE_ACCEPTS)
            self.judges.append((network, threshold, embed(network, original, frame)))

    def accept(self, faces: Tensor, rows: Tensor) -> Tensor:
        """Say of faces (n, 3, S, S) whether each is the original of its row, (n, judges)."""
        verdicts = [
            (embed(network, faces, self.frame) * own[rows.numpy()]).sum(axis=1) >= threshold
            for network, threshold, own in self.judges
        ]
        return torch.tensor(np.stack(verdicts, axis=1), dtype=torch.float64)
