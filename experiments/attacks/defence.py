"""What stands between a face and whoever wants to know whose it is.

An attack knows a defence by four things: what it shows of a face, whether averaging shots removes
noise, the PSF where there is one, and the protection behind it where that has keys.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor, nn

from anonymizer.alignment import apply_similarity, invert_similarity, warp_area
from anonymizer.keystream import KEY_BYTES
from anonymizer.protection import Protection
from experiments import protocol
from experiments.faces_in_pictures import Square
from experiments.inversion import Inversion
from experiments.objectives import ScenePower
from experiments.scene import Scenes, network_view, observe
from experiments.stages import StaticCamera


@dataclass(frozen=True)
class Faces:
    """Clear pictures of known people, on their way into a defence.

    Attributes
    ----------
    scenes : Scenes
        (B, 3, S, S) linear light with landmarks.
    person : Tensor
        Who they are, int64 (B,). A defence may know; an attack sees only what is shown.
    noise : sequence of torch.Generator
        One per picture: source of its noise and of its key.
    """

    scenes: Scenes
    person: Tensor
    noise: Sequence[torch.Generator]


class Defence(Protocol):
    """Shows an attacker something else than a face."""

    @property
    def noisy(self) -> bool:
        """Whether several shots of one scene differ, so that their mean tells more."""
        ...

    def show(self, faces: Faces, *, frames: int = 1) -> Tensor:
        """Return what is seen (B, 3, S, S), linear light, the face where it was.

        Parameters
        ----------
        faces : Faces
            The pictures.
        frames : int
            Shots of each scene that are averaged.
        """
        ...


class Clear:
    """Shows the faces themselves: the ceiling of every attack."""

    noisy = False

    def show(self, faces: Faces, *, frames: int = 1) -> Tensor:
        """Return the faces."""
        return faces.scenes.light


class Blank:
    """Shows noise that knows nothing of the face: the floor of every attack."""

    noisy = False

    def show(self, faces: Faces, *, frames: int = 1) -> Tensor:
        """Return even noise from 0 to 1, another for each picture."""
        light = faces.scenes.light
        drawn = [torch.rand(light.shape[1:], generator=g) for g in faces.noise]
        return torch.stack(drawn).to(light)


@dataclass(frozen=True, eq=False)
class CameraDefence:
    """A camera whose lens hides identity; faces stand at one distance.

    Attributes
    ----------
    fixed : StaticCamera
        Camera with its PSFs.
    scene_power : ScenePower
        What an attacker expects of faces.
    protocol : experiments.protocol.Protocol
        Distance, and how inversions are tuned.
    reader : nn.Module, optional
        The camera's own landmark network, frozen: what is shown (B, 3, S, S) to `Heatmaps`.
    """

    fixed: StaticCamera
    scene_power: ScenePower
    protocol: protocol.Protocol
    reader: nn.Module | None = None
    noisy = True

    def at(self, distance: float) -> Self:
        """Return the same camera before faces at another distance that it has a PSF of [m]."""
        known = self.fixed.psfs
        if distance not in known:
            there = ", ".join(f"{one:g}" for one in known)
            raise ValueError(f"distance = {distance:g} m: there are PSFs at {there} m")
        moved = replace(self.protocol, distances=(distance,), reference=distance)
        return replace(self, protocol=moved)

    def show(self, faces: Faces, *, frames: int = 1) -> Tensor:
        """Return the measurement at the reference distance."""
        distance = self.protocol.reference
        seen = observe(
            self.fixed.camera, self.psf(), faces.scenes, distance, faces.noise, frames=frames
        )
        return network_view(seen, faces.scenes.size)

    def psf(self) -> Tensor:
        """Return the exact PSF (3, h, w) at the reference distance."""
        return self.fixed.psfs[self.protocol.reference]

    def inversion(
        self,
        frames: int,
        assumed: Tensor,
        kind: type[Inversion] = Inversion,
        exposure: float | None = None,
    ) -> Inversion:
        """Return an inversion of the mean of `frames` shots with `assumed` as the PSF.

        `exposure` is that of scene white on a binned pixel, the camera's own if None [e-].
        """
        return kind(
            self.fixed.camera,
            self.psf(),
            self.scene_power,
            self.protocol,
            frames,
            exposure,
            assumed=assumed,
        )


@dataclass(frozen=True, eq=False)
class ProtectionDefence:
    """A protection of photographed faces, each in its own square of the picture.

    What lies around the square stays clear, as in a protected picture.

    Attributes
    ----------
    network : Protection
        In evaluation mode.
    size : int
        Side of the squares [px].
    frame : float
        Their side in sides of the crop that recognisers expect.
    """

    network: Protection
    size: int
    frame: float
    noisy = False

    def show(self, faces: Faces, *, frames: int = 1) -> Tensor:
        """Return pictures with protected faces, a new key for each."""
        keys = draw_keys(faces.noise) if self.network.capabilities.keyed else None
        with torch.no_grad():
            protected = self.network.protect(self.squares(faces.scenes), keys)
        return self.paste(protected, faces.scenes)

    def squares(self, scenes: Scenes) -> Tensor:
        """Return the faces (B, 3, size, size), upright, by their true landmarks."""
        matrix = self._places(scenes).to(scenes.light)
        return warp_area(scenes.light, matrix, (self.size, self.size)).clamp(0, 1)

    def paste(self, squares: Tensor, scenes: Scenes) -> Tensor:
        """Return the pictures with `squares` in place of their faces."""
        places, side = self._places(scenes), scenes.size
        back = invert_similarity(places)
        pasted = warp_area(squares, back.to(squares), (side, side))
        line = torch.arange(side, dtype=torch.float64)
        y, x = torch.meshgrid(line, line, indexing="ij")
        points = torch.stack((x, y), -1).reshape(1, -1, 2).expand(len(squares), -1, 2)
        found = apply_similarity(back.cpu(), points)
        inside = ((found > -0.5) & (found < self.size - 0.5)).all(-1).reshape(-1, 1, side, side)
        return torch.where(inside.to(squares.device), pasted, scenes.light)

    def _places(self, scenes: Scenes) -> Tensor:
        """Similarities (B, 2, 3), float64, from the pixels of a square to those of a picture."""
        return torch.stack(
            [
                Square.around(points.cpu(), frame=self.frame).from_pixels(self.size)
                for points in scenes.landmarks
            ]
        ).to(scenes.light.device)


def draw_keys(noise: Sequence[torch.Generator]) -> list[bytes]:
    """Return a key from each source, for measurements alone."""
    return [
        bytes(torch.randint(256, (KEY_BYTES,), dtype=torch.uint8, generator=g).tolist())
        for g in noise
    ]
