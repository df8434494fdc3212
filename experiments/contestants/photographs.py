"""Protections of photographs that were already taken, each face in its own square."""

from collections.abc import Mapping
from typing import Any, ClassVar

from anonymizer.checkpoints import WeightsError
from experiments.attacks import ProtectionDefence
from experiments.contestants.contestant import Absent, Contestant, Kind, Place
from experiments.protect import frame_of, open_method
from experiments.protecting import Method
from experiments.protection_training import NoWeights
from experiments.settings import Settings
from experiments.store import ArtifactError


class ProtectedPhotograph(Contestant):
    """A protection, on photographs in which nothing else hides a face.

    Parameters
    ----------
    protection : mapping
        Under "method" the settings of one of ``configs/method``.
    title : str
        In words.
    trained : str, optional
        Run of `protect what=train` whose weights it takes.
    face_size : int
        Side of face squares where the method does not say [px].
    frame : float, optional
        Their side in crops of a recogniser; as the method needs, if left out.
    """

    kind: ClassVar[Kind] = "protection"

    def __init__(
        self,
        protection: Mapping[str, Any],
        *,
        title: str,
        trained: str | None = None,
        face_size: int = 112,
        frame: float | None = None,
    ) -> None:
        if "method" not in protection:
            raise ValueError("protection holds no method; choose one of configs/method")
        self.protection, self.title = protection, title
        self.trained, self.face_size, self.frame = trained, face_size, frame

    def made_of(self, place: Place) -> dict[str, str]:
        """Return the hashes of weights and settings."""
        method, settings = self._method(place)
        return {
            "weights": method.model.hex(),
            "settings": method.config.hex(),
            "frame": f"{frame_of(settings, method):g}",
        }

    def learned_from(self, place: Place) -> set[str]:
        """Return nobody: weights that come with the package know none of the job's people."""
        return set()

    def open(self, place: Place, distance: float) -> ProtectionDefence:
        """Return it; the distance plays no part."""
        method, settings = self._method(place)
        return ProtectionDefence(method.network, method.size, frame_of(settings, method))

    def _method(self, place: Place) -> tuple[Method, Settings]:
        settings = Settings(
            {
                "method": self.protection["method"],
                "trained": self.trained,
                "face_size": self.face_size,
                "frame": self.frame,
                "device": place.settings["device"],
            }
        )
        try:
            return open_method(settings), settings
        except (ArtifactError, NoWeights, WeightsError) as error:
            raise Absent(str(error)) from error
