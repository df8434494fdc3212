"""What a protection must say of itself so that one loop can train all of them.

The loop draws rows, loads their faces, and for every player in turn lessens the sum of the losses
that the player sees. All chance comes from the generator that the loop passes in, so that a run
can go on where it stopped.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anonymizer.protection.method import Protection
from anonymizer.recognition.recognizer import FACE_SIZE, Recognizer


@dataclass(frozen=True)
class FaceBatch:
    """Faces of one training step.

    Attributes
    ----------
    faces : Tensor
        (B, P, 3, H, W), R G B, linear light [0, 1]: B examples of P pictures each, aligned as
        `anonymizer.alignment.align_faces` does.
    person : Tensor of int64
        (B, P): who is on them.
    """

    faces: Tensor
    person: Tensor

    def __post_init__(self) -> None:
        shape = tuple(self.faces.shape)
        if len(shape) != 5 or shape[2] != 3 or self.person.shape != shape[:2]:
            raise ValueError(
                f"faces is {shape}, person {tuple(self.person.shape)}; expected (B, P, 3, H, W) "
                f"linear light and (B, P)"
            )


class Trainable(nn.Module, ABC):
    """A protection with what its training needs: frozen judges, adversaries, weights of terms.

    Moving it to a device moves all of them; `players` says which of them learn.

    Attributes
    ----------
    protection : Protection
        What is trained, and alone kept when the training ends.
    pictures : int
        Pictures that make one example.
    """

    protection: Protection
    pictures: int = 1

    def players(self) -> dict[str, nn.Module]:
        """Return what learns, by name, in the order of their turns within one step."""
        return {"protection": self.protection.learned}

    def draw(self, person: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Draw the examples of one step.

        Parameters
        ----------
        person : Tensor of int64
            (N,): who is on each picture there is.
        count : int
            Examples wanted.
        generator : torch.Generator
            On the CPU.

        Returns
        -------
        Tensor of int64
            Rows (count, pictures), each example drawn independently of the others.

        Raises
        ------
        ValueError
            If these people and pictures cannot make an example.
        """
        if len(person) == 0:
            raise ValueError("person is empty, expected one entry for each picture")
        return torch.randint(len(person), (count, self.pictures), generator=generator)

    @abstractmethod
    def losses(
        self, batch: FaceBatch, generator: torch.Generator, *, player: str = "protection"
    ) -> dict[str, Tensor]:
        """Return the weighted terms, scalars by name, whose sum `player` should lessen.

        Parameters
        ----------
        batch : FaceBatch
            As many pictures in each example as `pictures`.
        generator : torch.Generator
            On the CPU; strengths, keys and wrong keys are drawn from it.
        player : str
            One of `players`.
        """


def unit_embeddings(recognizer: Recognizer, faces: Tensor) -> Tensor:
    """Embed aligned faces (B, 3, H, W), linear light, of another size than recognisers take."""
    vectors: Tensor = recognizer(to_face_size(faces))
    return vectors


def to_face_size(faces: Tensor) -> Tensor:
    """Resize aligned faces (B, 3, H, W) to the side that recognisers take, without aliasing."""
    shape = (FACE_SIZE, FACE_SIZE)
    if faces.shape[-2:] == shape:
        return faces
    return F.interpolate(faces, shape, mode="bilinear", align_corners=False, antialias=True)
