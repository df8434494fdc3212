"""Who takes part: our own functions, plain torch, and every peer that can be imported."""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.benchmarks.scenes import BlurScene, PropagateScene, PsfScene, Scene, ZernikeScene

OURS, PLAIN = "ours", "plain torch"


@dataclass(frozen=True)
class Work:
    """One contestant's way through one scene.

    Attributes
    ----------
    forward : callable
        Returns the output, with whatever `backward` needs of it.
    backward : callable or None
        Takes what `forward` returned to the gradient; None where there is no gradient.
    value : callable
        Takes what `forward` returned to the output itself.
    """

    forward: Callable[[], Any]
    backward: Callable[[Any], Any] | None
    value: Callable[[Any], Any] = lambda output: output


Works = Mapping[str, Work]


class Contestant(ABC):
    """A library and how it works on the scenes.

    Each method returns its ways through a scene by variant, "" for the plain one; none where the
    library cannot do it.
    """

    name: str
    accelerated = False  #: whether it runs on a GPU

    @abstractmethod
    def version(self) -> str:
        """Version of the library."""

    def psf(self, scene: PsfScene, device: torch.device) -> Works:
        """PSF of mask and lens."""
        return {}

    def propagate(self, scene: PropagateScene, device: torch.device) -> Works:
        """Free-space propagation."""
        return {}

    def zernike(self, scene: ZernikeScene, device: torch.device) -> Works:
        """Sum of Zernike modes."""
        return {}

    def blur(self, scene: BlurScene, device: torch.device) -> Works:
        """Blur by one PSF per colour."""
        return {}

    def varying(self, scene: BlurScene, device: torch.device) -> Works:
        """Blur that varies over the field."""
        return {}

    def works(self, kind: str, scene: Scene, device: torch.device) -> Works:
        """Ways through a scene of some kind."""
        found: Works = getattr(self, kind)(scene, device)
        return found


def torch_work(function: Callable[[Tensor], Tensor], leaf: Tensor, weights: Tensor) -> Work:
    """Work of a torch function of one tensor; the loss is the weighted sum of its output.

    The intensity stands for an output that is complex.
    """
    given = leaf.detach().clone().requires_grad_()

    def forward() -> Tensor:
        return function(given)

    def backward(output: Tensor) -> Tensor:
        real = output.real.square() + output.imag.square() if output.is_complex() else output
        return torch.autograd.grad((real * weights).sum(), given)[0]

    return Work(forward, backward)


def to_tensor(value: Any) -> Tensor:
    """Output or gradient of any contestant as a CPU tensor in double precision."""
    tensor = (
        value.detach().cpu() if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
    )
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


@dataclass(frozen=True)
class Absent:
    """A peer that takes no part, and why."""

    name: str
    reason: str


def everyone() -> Iterator[Contestant | Absent]:
    """Yield our own functions, plain torch and the peers; a new peer is a file in `peers`."""
    from experiments.benchmarks import ours, peers, plain

    yield ours.Ours()
    yield plain.Plain()
    for module in pkgutil.iter_modules(peers.__path__):
        try:
            found = importlib.import_module(f"{peers.__name__}.{module.name}")
            yield found.Peer()
        except ImportError as error:
            yield Absent(module.name, f"not installed ({error})")
        except Exception as error:  # whatever a foreign library does when it is loaded
            yield Absent(module.name, f"cannot be loaded ({type(error).__name__}: {error})")


def present() -> dict[str, Contestant]:
    """Contestants that can take part, by name."""
    return {c.name: c for c in everyone() if isinstance(c, Contestant)}
