"""How far a process strays, and one draw of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor
from torch.nn import functional

from optics.fabrication import cells, surface
from optics.grids import coordinates
from optics.masks.doe import check_levels
from optics.propagation import cis_turns
from optics.units import check_positive


@dataclass(frozen=True)
class Thermal:
    """How a material answers to temperature.

    Attributes
    ----------
    index_rate : float
        Change of the refractive index relative to air [1/K].
    expansion : float
        Linear thermal expansion [1/K].
    source : str
        Where the numbers were published.
    """

    index_rate: float
    expansion: float
    source: str


#: Materials whose answer to temperature is known, near 20 degrees Celsius and 0.55 um.
THERMAL = {
    "fused_silica": Thermal(
        1.01e-5,
        5.5e-7,
        "in vacuum 8.74e-6: Sensors 23, 6023 (2023), Corning 7980, visible; air adds 1.36e-6, "
        "by Schott TIE-19 (2008)",
    ),
    "n_bk7": Thermal(3.0e-6, 7.1e-6, "Schott, N-BK7 data sheet (2014), e line, 20 to 40 C"),
    "mirror": Thermal(0.0, 0.0, "reflection has no index; the actuators set the shape"),
}

#: Shapes of the errors that are not scalars; overlay has one row per etch mask.
_SHAPES = {"overlay": (-1, 2), "tilt": (2,), "decentre": (2,)}


def _zeros(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Errors:
    """One mask as it came out: deviations from the design, all zero by default.

    Tensors, so that there are gradients with respect to an error; stored as float64.

    Attributes
    ----------
    etch_scale : Tensor
        Scalar, relative error of all depths.
    blur : Tensor
        Scalar, standard deviation of the lateral blur [m].
    overlay : Tensor
        (layers, 2), shift (y, x) of every etch mask, the weakest first; no rows: none [m].
    tilt : Tensor
        (2,), wedge: angle by which the surface rises towards +y and +x [rad].
    decentre : Tensor
        (2,), shift (y, x) of the relief against the stop [m].
    gap : Tensor
        Scalar, change of the distance from mask to lens [m]; applied by the camera's user.
    wavelength_shift : Tensor
        Scalar, change of every wavelength [m]; applied by the camera's user.
    temperature : Tensor
        Scalar, difference to the temperature of the design [K]; the mask's share is applied by
        `Fabricated`, the lens's is not.
    """

    etch_scale: Tensor = field(default_factory=_zeros)
    blur: Tensor = field(default_factory=_zeros)
    overlay: Tensor = field(default_factory=lambda: _zeros(0, 2))
    tilt: Tensor = field(default_factory=lambda: _zeros(2))
    decentre: Tensor = field(default_factory=lambda: _zeros(2))
    gap: Tensor = field(default_factory=_zeros)
    wavelength_shift: Tensor = field(default_factory=_zeros)
    temperature: Tensor = field(default_factory=_zeros)

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = torch.as_tensor(getattr(self, entry.name)).to(torch.float64)
            shape = _SHAPES.get(entry.name, ())
            if value.ndim != len(shape) or any(
                n not in (-1, m) for n, m in zip(shape, value.shape, strict=True)
            ):
                wanted = str(shape).replace("-1", "layers") if shape else "a scalar"
                raise ValueError(f"{entry.name} is {tuple(value.shape)}, expected {wanted}")
            object.__setattr__(self, entry.name, value)


@dataclass(frozen=True)
class Fabrication:
    """A process: what it always does, and how far its results scatter.

    The first three are the process, the others standard deviations of independent normal errors.

    Attributes
    ----------
    levels : int
        Levels over the wrap, a power of two; 0 leaves heights continuous.
    min_feature : float
        Side of the smallest square it makes [m].
    blur : float
        Mean standard deviation of the lateral blur [m].
    etch_scale : float
        Scatter of the relative depth error.
    blur_spread : float
        Scatter of the lateral blur, which never falls below 0 [m].
    overlay : float
        Scatter of the etch masks' shifts on the first of them, per axis; needs `levels` [m].
    tilt : float
        Scatter of the wedge, per axis [rad].
    decentre : float
        Scatter of the relief's position, per axis [m].
    gap : float
        Scatter of the distance from mask to lens [m].
    wavelength_shift : float
        Scatter of the wavelength [m].
    temperature : float
        Scatter of the temperature [K].
    """

    levels: int = 0
    min_feature: float = 0.0
    blur: float = 0.0
    etch_scale: float = 0.0
    blur_spread: float = 0.0
    overlay: float = 0.0
    tilt: float = 0.0
    decentre: float = 0.0
    gap: float = 0.0
    wavelength_shift: float = 0.0
    temperature: float = 0.0

    def __post_init__(self) -> None:
        if self.levels:
            check_levels(self.levels)
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{entry.name} = {value:g}: a tolerance is 0 or more")
        if self.overlay and not self.levels:
            raise ValueError(
                f"overlay = {self.overlay:g} m without levels: only a relief of several etches has "
                f"layers to shift; give levels, or leave overlay out"
            )

    @property
    def layers(self) -> int:
        """Etch masks that make the levels."""
        return round(math.log2(self.levels)) if self.levels else 0

    def nominal(self) -> Errors:
        """Errors of a mask without scatter: the mean blur only."""
        return Errors(blur=torch.tensor(self.blur, dtype=torch.float64))

    def draw(self, generator: torch.Generator | None = None) -> Errors:
        """Errors of one mask.

        Every error takes its own numbers from the generator whatever the tolerances are, so that
        two processes drawn with one seed differ by their tolerances alone.
        """

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        etch, blur, tilt, decentre = normal(), normal(), normal(2), normal(2)
        gap, wavelength, temperature = normal(), normal(), normal()
        overlay = self.overlay * normal(self.layers, 2)
        if self.layers:
            overlay[0] = 0  # the first etch defines where the others should lie
        return Errors(
            etch_scale=self.etch_scale * etch,
            blur=(self.blur + self.blur_spread * blur).clamp(min=0),
            overlay=overlay,
            tilt=self.tilt * tilt,
            decentre=self.decentre * decentre,
            gap=self.gap * gap,
            wavelength_shift=self.wavelength_shift * wavelength,
            temperature=self.temperature * temperature,
        )

    def apply(
        self, height: Tensor, errors: Errors, *, cell: float, wrap_height: float, pixelated: bool
    ) -> Tensor:
        """Height that comes out.

        In the order of the making: level rounding, minimum feature, overlay, depth, blur, wedge,
        decentre. The functions are those of `optics.fabrication.surface`. Of flat cells that are
        divided by blur or overlay it is the mean height, which is not what light sees at a wrap:
        that is `mean_field`.

        Parameters
        ----------
        height : Tensor
            Float64 (H, W), as designed [m].
        errors : Errors
            This mask's errors.
        cell : float
            Cell side or sample spacing [m].
        wrap_height : float
            Height after which the relief starts again, over which the levels are spread [m].
        pixelated : bool
            Whether the samples are flat cells, as of `optics.Mask`.

        Returns
        -------
        Tensor
            Float64 (H, W) [m]; differentiable with respect to height and errors.
        """
        out = sum(
            (
                share * part
                for share, part in self._parts(height, errors, cell, wrap_height, pixelated)
            ),
            start=torch.zeros_like(height),
        )
        errors = _on(errors, height.device)
        if _acts(errors.blur):
            out = surface.lateral_blur(out, sigma=errors.blur, cell=cell, pixelated=pixelated)
        return _placed(out, errors, cell, wrap_height, pixelated)

    def mean_field(
        self, height: Tensor, errors: Errors, rate: Tensor, *, cell: float, wrap_height: float
    ) -> Tensor | None:
        """Mean field (W, H, N) of every flat cell, where it is not that of its mean height.

        Parameters
        ----------
        height, errors, cell, wrap_height
            As for `apply`.
        rate : Tensor
            Float64 (W,), turns of phase per metre of height [1/m].

        Returns
        -------
        Tensor or None
            Complex128; None where neither blur nor overlay divides the cells.
        """
        errors = _on(errors, height.device)
        blurred = _acts(errors.blur)
        if not (blurred or len(errors.overlay)):
            return None
        total: Tensor | None = None
        for share, part in self._parts(height, errors, cell, wrap_height, pixelated=True):
            # cells at the border keep the neighbours that a decentre moves out of the map
            margin = 1 if blurred and _acts(errors.decentre) else 0
            made = _placed(part, errors, cell, wrap_height, pixelated=True, margin=margin)
            if blurred:
                field = cells.blurred_cells(made, rate, sigma=errors.blur, cell=cell)
                field = field[:, margin : margin + len(part), margin : margin + part.shape[1]]
            else:
                field = cis_turns(rate[:, None, None] * made)
            total = share * field if total is None else total + share * field
        return total

    def _parts(
        self, height: Tensor, errors: Errors, cell: float, wrap_height: float, pixelated: bool
    ) -> list[tuple[Tensor, Tensor]]:
        """Shares of the area and their heights, before blur, wedge and decentre."""
        check_positive("wrap_height", wrap_height, "m")
        if (self.levels or self.min_feature > cell) and not pixelated:
            raise ValueError(
                f"levels = {self.levels}, min_feature = {self.min_feature:g} m on a smooth "
                f"surface: they belong to masks of flat cells; choose a process without them"
            )
        errors = _on(errors, height.device)
        step = wrap_height / self.levels if self.levels else 0.0
        if self.levels:
            height = surface.round_levels(height, level_height=step, levels=self.levels)
        height = surface.minimum_feature(height, cells=round(self.min_feature / cell))
        parts = [(height.new_ones(()), height)]
        if len(errors.overlay):
            if not self.levels:
                raise ValueError("overlay errors need a process with levels")
            level = (height.detach() / step).round().long()
            straight = height - height.detach()  # the gradient of the height is passed on
            shifted = cells.shifted_levels(
                level, levels=self.levels, shifts=errors.overlay, cell=cell
            )
            parts = [(share, number * step + straight) for share, number in shifted]
        return [(share, part * (1 + errors.etch_scale)) for share, part in parts]


def _placed(
    height: Tensor,
    errors: Errors,
    cell: float,
    wrap_height: float,
    pixelated: bool,
    margin: int = 0,
) -> Tensor:
    """Height with its wedge, at its place, and `margin` cells more on every side."""
    if _acts(errors.tilt):
        rise = errors.tilt.tan()
        y, x = (coordinates(n, cell, device=height.device) for n in height.shape)
        height = height + rise[0] * y[:, None] + rise[1] * x
    if margin:
        height = functional.pad(height[None], (margin,) * 4, mode="replicate")[0]
    if _acts(errors.decentre):
        shift = errors.decentre / cell
        if pixelated:
            return surface.decentre_cells(height, shift, wrap_height=wrap_height)
        return surface.decentre_smooth(height, shift)
    return height


def _acts(error: Tensor) -> bool:
    """Whether an error changes anything, or somebody asks for its gradient."""
    return surface.carries_gradient(error) or bool((error.detach() != 0).any())


def _on(errors: Errors, device: torch.device) -> Errors:
    """Errors on a device."""
    return Errors(*(getattr(errors, entry.name).to(device) for entry in fields(errors)))


def thermal_of(name: str, given: Thermal | None) -> Thermal:
    """Thermal data of material `name`, unless they are given; the error lists the known ones."""
    if given is not None:
        return given
    if name not in THERMAL:
        raise ValueError(
            f"temperature: nothing is known of {name}, only of {_listed(sorted(THERMAL))}; give "
            f"thermal=Thermal(index_rate, expansion, source), or leave the temperature alone"
        )
    return THERMAL[name]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
