"""What can be read off a face: its points, its direction, its mouth and its eyes.

A camera with a landmark network of its own is read by that; all else by a network that learned
on clear pictures, or by one that went on learning on what is shown, where that is asked for. All
numbers are given that exist.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anonymizer.heatmaps import normalised_mean_error
from anonymizer.metrics import head_pose, over_people
from anonymizer.recognition import proportion
from anonymizer.recognition.curves import Estimate
from experiments.anonymizer_identity import Numbers, estimate
from experiments.anonymizer_likeness import FAILED
from experiments.attacks import Trial
from experiments.stages import Schedule
from experiments.utility.reading import adapted_reader, clear_reader, mean_shape, own_reader, read
from experiments.utility.utility import Utility, clear_scenes, mean_of

_DRAWS = 400  # resamples of correlations and gains
_FLAT = 1e-5  # spread of what is read below which it is rounding
_ANGLES = ("yaw", "pitch", "roll")


class Landmarks(Utility):
    """Errors of the points and the head's direction; mouth and eyes as correlations.

    "nme" is the mean error of the points over the distance of the outer eye corners, "failures"
    the share of faces above 0.1, "landmark_gain" the share of a blind guess's error that the
    pictures save: 0 for pictures that tell nothing of where the points are, 1 for exact points.
    The blind guess is the mean shape of other people. Each "_r" is the correlation of what is
    read with what is there, 0 where nothing is read.

    Parameters
    ----------
    training : Schedule
        Of the network for clear pictures, where the trial brings none.
    widths : sequence of int
        Its channels, as `CompactRegressor` takes them.
    adapted : Schedule, optional
        Trains the network of clear pictures further on what defences show that have none of their
        own; they are not adapted if left out.
    """

    def __init__(
        self,
        training: Schedule,
        widths: Sequence[int] = (32, 48, 96, 128),
        adapted: Schedule | None = None,
    ) -> None:
        self.training, self.widths, self.adapted = training, tuple(widths), adapted

    def run(self, trial: Trial, name: str) -> Numbers:
        """Read what is shown, and the clear pictures."""
        scenes = clear_scenes(trial)
        clear = clear_reader(trial, name, self.training, self.widths)
        own = own_reader(trial)
        by = {"clear": read(clear, trial.seen, trial)}
        if own is not None:
            by["own"] = read(own, trial.seen, trial)
        elif self.adapted is not None:
            learned = adapted_reader(trial, name, clear, self.adapted)
            by["adapted"] = read(learned, trial.seen, trial)
        chosen = by.get("own", by.get("adapted", by["clear"]))
        blind = mean_shape(trial).expand_as(scenes.landmarks)
        lost = normalised_mean_error(blind, scenes.landmarks)
        out: Numbers = {}
        for ending, found in (("", chosen), ("_clear", read(clear, scenes.light, trial))):
            out |= _points(found, scenes.landmarks, lost, trial, ending)
            out |= _pose(found, scenes.landmarks, trial, ending)
            out |= _expression(found, scenes.landmarks, trial, ending)
        for reader, found in by.items():
            errors = normalised_mean_error(found, scenes.landmarks)
            out[f"nme_by_{reader}"] = float(errors.mean())
        return out | mean_of("nme_blind", lost, trial)


def _points(found: Tensor, true: Tensor, lost: Tensor, trial: Trial, ending: str) -> Numbers:
    errors = normalised_mean_error(found, true)
    failed = int((errors > FAILED).sum())
    error, blind = errors.numpy(), lost.numpy()

    def gain(rows: NDArray[np.int64]) -> float:
        return float(1 - error[rows].mean() / blind[rows].mean())

    saved = _over(gain, trial)
    saved = Estimate(*(max(0.0, x) for x in (saved.value, saved.low, saved.high)))
    return (
        mean_of(f"nme{ending}", errors, trial)
        | estimate(f"failures{ending}", proportion(failed, len(errors)), len(errors))
        | estimate(f"landmark_gain{ending}", saved, len(errors))
    )


def _pose(found: Tensor, true: Tensor, trial: Trial, ending: str) -> Numbers:
    """Return errors of the angles; a face that is not read counts as seen from the front."""
    read_ok = found.isfinite().all(-1).all(-1)
    turned = torch.zeros(len(found), 3, dtype=torch.float64)
    if bool(read_ok.any()):
        turned[read_ok] = head_pose(found[read_ok])
    real = head_pose(true)
    error = (turned - real).rad2deg().abs()
    out: Numbers = {}
    for i, name in enumerate(_ANGLES):
        out |= mean_of(f"pose_{name}_error_deg{ending}", error[:, i], trial)
    return out | _correlation(f"yaw_r{ending}", turned[:, 0], real[:, 0], trial)


def _expression(found: Tensor, true: Tensor, trial: Trial, ending: str) -> Numbers:
    out: Numbers = {}
    for name, opening in (("mouth", mouth_opening), ("eyes", eye_opening)):
        out |= _correlation(f"{name}_r{ending}", opening(found), opening(true), trial)
    return out


def mouth_opening(points: Tensor) -> Tensor:
    """Return the opening of the lips (N,) over the inner width of the mouth."""
    return _opening(points, (61, 62, 63), (67, 66, 65), ((60, 64),))


def eye_opening(points: Tensor) -> Tensor:
    """Return the opening of the lids (N,), both eyes together, over the widths of the eyes.

    References
    ----------
    T. Soukupova, J. Cech, "Real-time eye blink detection using facial landmarks", CVWW 2016,
    eq. 1.
    """
    return _opening(points, (37, 38, 43, 44), (41, 40, 47, 46), ((36, 39), (42, 45)))


def _opening(
    points: Tensor, upper: Sequence[int], lower: Sequence[int], widths: Sequence[tuple[int, int]]
) -> Tensor:
    gap = (points[:, list(upper)] - points[:, list(lower)]).norm(dim=-1).mean(-1)
    across = torch.stack([(points[:, a] - points[:, b]).norm(dim=-1) for a, b in widths])
    out: Tensor = gap / across.mean(0).clamp(min=1e-6)
    return out


def _correlation(name: str, found: Tensor, true: Tensor, trial: Trial) -> Numbers:
    a, b = found.double().nan_to_num().numpy(), true.double().numpy()
    return estimate(name, _over(partial(correlation, a, b), trial), len(a))


def correlation(a: NDArray[np.float64], b: NDArray[np.float64], rows: NDArray[np.int64]) -> float:
    """Return Pearson's r of the chosen rows, 0 where one side does not vary."""
    x, y = a[rows] - a[rows].mean(), b[rows] - b[rows].mean()
    spread = float(np.sqrt((x @ x) * (y @ y)))
    flat = min(float(np.abs(x).max()), float(np.abs(y).max())) < _FLAT
    return 0.0 if flat else float(x @ y) / spread


def _over(number: Callable[[NDArray[np.int64]], float], trial: Trial) -> Estimate:
    person = trial.held.crops.person
    return over_people(number, person, resamples=_DRAWS, seed=trial.seed)
