"""What every measure of utility shares."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anonymizer.metrics import mean_over_people
from experiments.anonymizer_identity import Numbers, estimate
from experiments.attacks.trial import Trial
from experiments.scene import Scenes


class Utility(ABC):
    """One thing that protected pictures may still be good for."""

    @abstractmethod
    def run(self, trial: Trial, name: str) -> Numbers:
        """Measure it on the test people.

        Parameters
        ----------
        trial : Trial
            Whom, and what hides them.
        name : str
            Of this measure in the suite; names what it keeps.

        Returns
        -------
        dict
            Flat numbers: `<number>`, `_lo`, `_hi`, `_n`; None and `_reason` without a value.
        """


def clear_scenes(trial: Trial) -> Scenes:
    """Return all test pictures as they are, framed as the defence sees them, on the CPU."""
    return trial.held.scenes(np.arange(len(trial.held.crops)), torch.device("cpu"))


def mean_of(name: str, values: Tensor | NDArray[np.float64], trial: Trial) -> Numbers:
    """Return the mean of one value for each test picture (N,), with its interval over people."""
    found = mean_over_people(np.asarray(values), trial.held.crops.person, seed=trial.seed)
    return estimate(name, found, len(values))
