"""The anonymizer as one object: a measurement and a style become a face."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from anonymizer.checkpoints import WeightsError, fill, read_state
from anonymizer.regressors import Heatmaps
from anonymizer.stargan.doors import Door, LimitedDoor, PublishedDoor
from anonymizer.stargan.generator import Generator
from anonymizer.stargan.mapping import MappingNetwork
from anonymizer.stargan.references import mix_styles
from anonymizer.stargan.style_encoder import StyleEncoder

DOORS: dict[str, type[Door]] = {"limited": LimitedDoor, "published": PublishedDoor}


class Anonymizer(nn.Module):
    """Generator, mapping network and style encoder behind one door.

    All pictures are linear light (B, 3, S, S) in [0, 1].

    Parameters
    ----------
    size, width, style, high_pass, smooth
        As for the `Generator`.
    domains, latent, hidden
        As for the `MappingNetwork`.
    door : {"limited", "published"}
        Which `Door`.
    cells : int
        Of the limited door.
    signed : bool
        Of the published door.
    """

    def __init__(
        self,
        *,
        size: int,
        width: float = 1.0,
        style: int = 64,
        high_pass: float = 0.0,
        smooth: bool = False,
        domains: int = 1,
        latent: int = 16,
        hidden: int = 512,
        door: str = "limited",
        cells: int = 8,
        signed: bool = False,
    ) -> None:
        super().__init__()
        if door not in DOORS:
            raise ValueError(f"door = {door!r}, expected one of {', '.join(DOORS)}")
        self.described: dict[str, Any] = {
            "size": size, "width": width, "style": style, "high_pass": high_pass,
            "domains": domains, "latent": latent, "hidden": hidden, "door": door,
            "cells": cells, "signed": signed, "smooth": smooth,
        }  # fmt: skip
        self.size, self.domains = size, domains
        self.door: Door = (
            LimitedDoor(cells=cells) if door == "limited" else PublishedDoor(signed=signed)
        )
        self.generator = Generator(
            size=size,
            width=width,
            style=style,
            high_pass=high_pass,
            inputs=self.door.inputs,
            smooth=smooth,
        )
        self.mapping_network = MappingNetwork(
            latent=latent, style=style, hidden=hidden, domains=domains
        )
        self.style_encoder = StyleEncoder(size=size, width=width, style=style, domains=domains)

    def anonymize(self, measurement: Tensor, heatmaps: Heatmaps, style: Tensor) -> Tensor:
        """Make faces.

        Parameters
        ----------
        measurement : Tensor
            (B, 3, S, S) what the camera recorded, resized to the networks' side.
        heatmaps : Heatmaps
            What the camera's regressor read off it.
        style : Tensor
            (B, D) or (1, D) from one of the methods below.
        """
        if tuple(measurement.shape[1:]) != (3, self.size, self.size):
            raise ValueError(
                f"measurement is {tuple(measurement.shape)}, expected "
                f"(B, 3, {self.size}, {self.size}) linear light; resize it first"
            )
        picture, masks = self.door(measurement, heatmaps)
        out = self.generator(picture, style.expand(len(measurement), -1), masks)
        return self.door.decode(out)

    def style_of(self, references: Tensor, domain: int = 0) -> Tensor:
        """Styles (B, D) of clear reference faces (B, 3, S, S)."""
        labels = self._labels(domain, references)
        out: Tensor = self.style_encoder(self.door.encode(references), labels)
        return out

    def mixed_style(
        self, references: Tensor, weights: Tensor | None = None, domain: int = 0
    ) -> Tensor:
        """Style (1, D) of a mixture of reference faces (k, 3, S, S), in equal shares by default."""
        if weights is None:
            weights = references.new_full((len(references),), 1 / len(references))
        return mix_styles(self.style_of(references, domain)[None], weights[None])

    def drawn_style(self, count: int, generator: torch.Generator, domain: int = 0) -> Tensor:
        """Draw `count` styles (count, D) of nobody from the mapping network."""
        some = next(self.parameters())
        latent = torch.randn(count, self.mapping_network.latent, generator=generator).to(some)
        out: Tensor = self.mapping_network(latent, self._labels(domain, latent))
        return out

    def _labels(self, domain: int, like: Tensor) -> Tensor:
        if not 0 <= domain < self.domains:
            raise ValueError(f"domain = {domain}, expected 0 to {self.domains - 1}")
        return torch.full((len(like),), domain, dtype=torch.long, device=like.device)

    # files

    def to_bytes(self, notes: Mapping[str, str] | None = None, *, half: bool = False) -> bytes:
        """Return a safetensors file with the description of the networks in its metadata.

        Parameters
        ----------
        notes : mapping of str to str, optional
            What else a reader should know: command, data, commit.
        half : bool
            Store numbers of 16 bits.
        """
        kind = torch.float16 if half else torch.float32
        state = {n: t.detach().cpu().to(kind).contiguous() for n, t in self.state_dict().items()}
        return save(state, {**(notes or {}), "anonymizer": json.dumps(self.described)})

    def save(
        self, path: Path, notes: Mapping[str, str] | None = None, *, half: bool = False
    ) -> None:
        """Write `to_bytes` to a file; jobs write it whole or not at all by their own store."""
        path.write_bytes(self.to_bytes(notes, half=half))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the anonymizer stored in a file, frozen and in evaluation mode.

        Raises
        ------
        WeightsError
            The file is no anonymizer, or damaged.
        """
        try:
            with safe_open(path, framework="pt") as file:
                described = json.loads((file.metadata() or {})["anonymizer"])
            made = cls(**described)
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise WeightsError(
                f"{path} is no anonymizer: {error}; name the anonymizer.safetensors of a run of "
                f"./lab anonymize"
            ) from error
        fill(made, {name: tensor.float() for name, tensor in read_state(path).items()}, path)
        return made.requires_grad_(False).eval()
