"""Recognisers whose inner features can be changed on their way through."""

from abc import abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from anonymizer.recognition.recognizer import Recognizer


class StagedRecognizer(Recognizer):
    """A recogniser of a stem, a body of several stages, and an end.

    Attributes
    ----------
    body : nn.Sequential
        The layers of all stages.
    stage_ends : tuple of int
        Layers of `body` after which a stage is complete.
    stage_shapes : tuple of (int, int)
        Channels and side of the features that each stage gives.
    """

    body: nn.Sequential
    stage_ends: tuple[int, ...]
    stage_shapes: tuple[tuple[int, int], ...]

    @abstractmethod
    def begin(self, faces: Tensor) -> Tensor:
        """Return what `body` takes, of sRGB-encoded faces (B, 3, 112, 112) in [0, 1]."""

    @abstractmethod
    def end(self, x: Tensor) -> Tensor:
        """Return raw features (B, D) of what `body` gives."""

    def embed(self, faces: Tensor) -> Tensor:
        """Return raw features (B, D) of sRGB-encoded faces (B, 3, 112, 112) in [0, 1]."""
        return self.end(self.body(self.begin(faces)))

    def embed_changed(self, faces: Tensor, change: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Return raw features where `change(stage, x)` replaces what each stage gives.

        Parameters
        ----------
        faces : Tensor
            As of `embed`.
        change : callable
            Gets the stage's number from 0 and its features, (B, C, N, N) as in `stage_shapes`.
        """
        x = self.begin(faces)
        for done, layer in enumerate(self.body, start=1):
            x = layer(x)
            if done in self.stage_ends:
                x = change(self.stage_ends.index(done), x)
        return self.end(x)
