"""Recognition where it is wanted: people told apart by their protected pictures alone."""

from experiments.anonymizer_identity import Numbers, missing
from experiments.attacks import ProtectionDefence, Trial
from experiments.attacks.trial import numbers
from experiments.utility.utility import Utility

_KEPT = ("auc", "eer", "tar_0.01")


class Recognition(Utility):
    """Verification of protected against protected, and of protected against clear pictures.

    Every picture has a key of its own. The recogniser of the pool that does best counts. Methods
    that do not promise recognition are left out: with them it is a leak, and attacks measure it.
    """

    def run(self, trial: Trial, name: str) -> Numbers:
        """Compare all test pictures with all others."""
        defence = trial.defence
        if not isinstance(defence, ProtectionDefence):
            return missing("recognition_auc", "a camera does not mean people to be recognised")
        if not defence.network.capabilities.recognisable:
            method = type(defence.network).__name__
            return missing("recognition_auc", f"{method} does not mean people to be recognised")
        probes = trial.look(trial.held, trial.lookers())
        out: Numbers = {}
        for ending, found in (
            ("", trial.verify(probes, gallery=probes)),
            ("_enrolled_clear", trial.verify(probes)),
        ):
            values = numbers(found)
            for key in (k for k in _KEPT if k in values):
                for part in ("", "_lo", "_hi", "_n"):
                    out[f"recognition_{key}{ending}{part}"] = values[f"{key}{part}"]
        for part in ("", "_lo", "_hi", "_n"):
            out[f"recognition_auc_clear{part}"] = trial.ceiling[f"auc{part}"]
        return out
