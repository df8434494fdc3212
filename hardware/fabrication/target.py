"""What every file format for a mask has in common: written, then read again and compared."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from hardware.fabrication.design import HeightMap, MaskDesign
from hardware.fabrication.levels import Levels

#: A value in a sidecar; a float stands under a key that ends in its unit.
Plain = str | int | float | bool | None | list["Plain"] | dict[str, "Plain"]


@dataclass(frozen=True)
class Estimate:
    """What a file is going to cost, said before it is written.

    Attributes
    ----------
    size : int
        Expected bytes of all files.
    items : int
        Rectangles, triangles or numbers in it.
    remark : str
        Sentence for the user, such as a better target; "" if there is nothing to say.
    """

    size: int
    items: int
    remark: str = ""


@dataclass(frozen=True)
class Written:
    """What a target left in its folder.

    Attributes
    ----------
    files : list of Path
        Files, in the order they are listed in the sidecar.
    notes : mapping
        Plain entries for the sidecar: units, orientation, tables.
    """

    files: list[Path]
    notes: Mapping[str, Plain] = field(default_factory=dict)


@dataclass(frozen=True)
class RoundTrip:
    """Difference of what was read back to what was meant.

    Attributes
    ----------
    max_height_error : float
        Largest difference of heights [m].
    area_error : int
        Cells off by more than half a step of the format.
    volume_error : float
        Difference of the volumes, relative to the volume of the map about its lowest point.
    step : float
        Smallest height that the format can tell apart [m].
    """

    max_height_error: float
    area_error: int
    volume_error: float
    step: float

    @property
    def exact(self) -> bool:
        """True if every cell came back to within half a step, plus rounding of the sum."""
        return self.area_error == 0


class Target(ABC):
    """A file format for masks.

    Subclasses are frozen dataclasses whose fields are the options of the format.
    """

    #: Name on the command line.
    name: ClassVar[str]
    #: Units of options that are no lengths [m], "ratio" for plain numbers.
    units: ClassVar[Mapping[str, str]] = {}
    #: Whether the files show the mask along the light; the others show who looks at its relief.
    seen_along_light: ClassVar[bool] = False
    #: Whether the files hold the relief; others hold outlines alone.
    holds_relief: ClassVar[bool] = True
    #: True if the device has flat cells, False if its surface is smooth, None if as the design.
    flat_cells: ClassVar[bool | None] = None

    def relief_levels(self) -> Levels | None:
        """Levels that the files describe; None for continuous heights."""
        return None

    @abstractmethod
    def meant(self, design: MaskDesign) -> HeightMap:
        """Surface that the files are to hold: `design` after rounding and resampling.

        Raises
        ------
        ValueError
            The design cannot be written in this format, with the reason and the remedy.
        """

    @abstractmethod
    def step(self, design: MaskDesign) -> float:
        """Smallest height that the files can tell apart [m]."""

    @abstractmethod
    def estimate(self, design: MaskDesign) -> Estimate:
        """Cost of the files, without writing them."""

    @abstractmethod
    def write(self, design: MaskDesign, folder: Path) -> Written:
        """Write the files into the existing, empty `folder`; the same design gives equal bytes."""

    @abstractmethod
    def read(self, folder: Path, written: Written) -> HeightMap:
        """Read the files again, by another parser than the writer's where there is one.

        May use the notes of `written`, as a maker would use the sidecar, but no heights.
        """

    def compare(self, design: MaskDesign, found: HeightMap) -> RoundTrip:
        """Compare the surface that was read back with the one that was meant."""
        meant = self.meant(design)
        if meant.shape != found.shape:
            raise ValueError(
                f"{self.name}: {found.shape} samples were read back, {meant.shape} were meant"
            )
        if not np.isclose(meant.spacing, found.spacing, rtol=1e-6, atol=0):
            raise ValueError(
                f"{self.name}: a spacing of {found.spacing:g} m was read back, {meant.spacing:g} m "
                f"was meant"
            )
        step = self.step(design)
        error = np.abs(found.height - meant.height)
        ground = meant.height.min()
        volume = float((meant.height - ground).sum())
        excess = float((found.height - meant.height).sum())
        return RoundTrip(
            max_height_error=float(error.max()),
            area_error=int((error > step * (0.5 + 1e-6)).sum()),
            volume_error=abs(excess) / volume if volume else abs(excess),
            step=step,
        )
