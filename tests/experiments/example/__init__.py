"""A small job: its configs, and the things they describe."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass
class Relief:
    """A mask with one argument of every kind."""

    shape: tuple[int, int]
    cell: float
    index: float = 1.46
    levels: int = 8
    wrapped: bool = True
    start: Literal["flat", "random"] = "flat"
    weights: list[float] = field(default_factory=list)
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 1e-7 <= self.cell <= 1e-2:
            raise ValueError(f"cell = {self.cell:g} m is outside [1e-07, 0.01] m")


@dataclass
class Pinhole:
    """A mask made of one hole."""

    aperture_diameter: float
