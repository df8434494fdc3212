r"""The sampling guard: how much to pad, which kernel, and what to refuse, with the reason.

A field of extent D on a window of width L is carried over a distance z by a circular convolution
on a padded grid of width P. Light of direction theta is displaced by z tan(theta). What leaves the
light at one edge and lands in the window at the other is displaced by g = (L + D) / 2, and no
displacement r may be so large that it comes back round the padded grid into the window:

.. math:: P \ge g + r

Frequencies of a larger displacement are cut (Matsushima and Shimobaba, Opt. Express 17, 19662
(2009), who cut at P / 2 because they keep the whole padded grid). A sharp cut right at g rings: the
waves from an edge of the light need some Fresnel zones more, so automatic padding takes
r = g + 3 sqrt(lambda z) and lets the band end smoothly. If the samples cannot carry so steep
directions, because r = z tan(theta) of the highest frequency is less, less padding will do.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from scipy.fft import next_fast_len

from optics.units import check_length, check_positive

#: Largest memory a kernel and its work planes may take unless told otherwise [bytes].
BUDGET = 4 * 2**30
#: Room that edge waves get beyond the geometric displacement [sqrt(wavelength * distance)]; it
#: leaves 2e-3 of the intensity behind a hard edge.
EDGE_ROOM = 3.0


class SamplingError(ValueError):
    """The grid cannot hold the light; the message says why and what would work."""


@dataclass(frozen=True)
class Decision:
    """What the guard decided.

    Attributes
    ----------
    method : {"identity", "angular_spectrum", "fresnel_transfer", "fresnel_impulse"}
        Kernel to use.
    padded : tuple of int
        Samples (H, W) of the padded grid.
    padding : tuple of float
        Padded over given samples, by axis.
    reach : tuple of float
        Largest lateral displacement (y, x) that the kernel passes; infinite: no cut [m].
    within : tuple of float
        Displacement up to which it passes everything [m].
    memory : int
        Kernel and two work planes [bytes].
    reason : str
        One sentence for a report.
    """

    method: str
    padded: tuple[int, int]
    padding: tuple[float, float]
    reach: tuple[float, float]
    within: tuple[float, float]
    memory: int
    reason: str


def plan_propagation(
    shape: tuple[int, int],
    spacing: float,
    wavelength: float | Sequence[float],
    distance: float,
    *,
    padding: float | str = "auto",
    extent: float | tuple[float, float] | None = None,
    largest_sine: float | None = None,
    window: tuple[float, float] | None = None,
    offset: tuple[float, float] = (0.0, 0.0),
    dtype: torch.dtype = torch.complex64,
    budget: int = BUDGET,
) -> Decision:
    """Decide the padding and the band of an angular-spectrum propagation.

    Parameters
    ----------
    shape : tuple of int
        Samples (H, W) of the field.
    spacing : float
        Sample spacing [m].
    wavelength : float or sequence of float
        Vacuum wavelengths; the longest decides [m].
    distance : float
        Along the axis; negative propagates back, zero is the identity [m].
    padding : {"auto", "periodic"} or float
        "periodic" lets the grid repeat for ever (gratings), a number is the padded over the given
        side.
    extent : float or tuple of float, optional
        Side (y, x) of the centred square outside which the field is dark; the whole grid if not
        given [m].
    largest_sine : float, optional
        Largest sine of the light's directions, if known; without it hard edges are expected.
    window : tuple of float, optional
        Size (y, x) of the region wanted; that of the grid if not given [m].
    offset : tuple of float
        Centre (y, x) of that region [m].
    dtype : torch.dtype, default torch.complex64
        Precision of the kernel, for the memory.
    budget : int
        Memory allowed [bytes].

    Raises
    ------
    SamplingError
        The padding asked for would lose or fold light that lands in the window, no light of this
        sampling reaches the window, or the memory does not suffice.
    """
    waves = _waves(wavelength)
    _check_grid(shape, spacing, distance)
    sizes = (shape[0] * spacing, shape[1] * spacing)
    if distance == 0 and window is None and not any(offset):
        return _decision(
            "identity", shape, shape, (math.inf,) * 2, (math.inf,) * 2, 0, "distance 0"
        )
    if padding == "periodic":
        memory = _memory(shape, len(waves), dtype)
        _check_memory(memory, budget, shape, spacing, "the grid itself")
        text = "no padding: the grid is taken as one period of a periodic field"
        return _decision("angular_spectrum", shape, shape, (math.inf,) * 2, (math.inf,) * 2, memory,
                         text)  # fmt: skip
    if not (padding == "auto" or isinstance(padding, int | float)):
        raise ValueError(f"padding = {padding!r}, expected 'auto', 'periodic' or a number")
    wave, far = max(waves), abs(distance)
    steepest = far * _tangent(wave / (2 * spacing))
    known = steepest
    if largest_sine is not None:
        if not 0 <= largest_sine < 1:
            raise ValueError(f"largest_sine = {largest_sine:g} is outside [0, 1)")
        known = min(steepest, far * largest_sine / math.sqrt(1 - largest_sine**2))
    room = EDGE_ROOM * math.sqrt(wave * far)
    rows = [
        _plan_axis(n, spacing, d, w, o, known, steepest, room, padding)
        for n, d, w, o in zip(
            shape, _extent(extent, sizes), window or sizes, offset, strict=True
        )
    ]  # fmt: skip
    padded = (rows[0].samples, rows[1].samples)
    worst = max(rows, key=lambda row: row.factor)
    memory = _memory(padded, len(waves), dtype)
    _check_memory(memory, budget, padded, spacing, worst.reason)
    reason = worst.reason
    if spacing < wave / 2:
        reason += (
            f"; spacing {spacing:g} m is below half a wavelength, so the highest frequencies are "
            f"evanescent and dropped"
        )
    return _decision(
        "angular_spectrum", shape, padded, (rows[0].reach, rows[1].reach),
        (rows[0].within, rows[1].within), memory, reason,
    )  # fmt: skip


def plan_fresnel(
    shape: tuple[int, int],
    spacing: float,
    wavelength: float | Sequence[float],
    distance: float,
    *,
    padding: float | str = "auto",
    extent: float | tuple[float, float] | None = None,
    dtype: torch.dtype = torch.complex64,
    budget: int = BUDGET,
) -> Decision:
    r"""Decide between the two paraxial kernels and their padding.

    The chirp of the transfer function is sampled well where all displacements
    :math:`\lambda z / 2 \Delta` of the samples fit the padded grid (near), that of the impulse
    response where that displacement exceeds every lag needed (far); between the two the transfer
    function is cut to what fits (Voelz and Roggemann, Appl. Opt. 48, 6132 (2009)).

    Parameters as for `plan_propagation`; the method is "identity", "fresnel_transfer" or
    "fresnel_impulse".

    Raises
    ------
    SamplingError
        As for `plan_propagation`, or the spacing is below half a wavelength.
    """
    waves = _waves(wavelength)
    _check_grid(shape, spacing, distance)
    check_spacing_paraxial(spacing, max(waves), distance)
    plan = plan_propagation(
        shape, spacing, waves, distance, padding=padding, extent=extent, dtype=dtype, budget=budget
    )
    if plan.method == "identity" or padding == "periodic":
        return replace(plan, method=plan.method.replace("angular_spectrum", "fresnel_transfer"))
    steep = [w * abs(distance) / (2 * spacing) for w in waves]
    cut = max(steep) > min(plan.reach)
    if cut and min(steep) >= _lag(shape, spacing, extent):
        return plan_impulse(shape, spacing, waves, distance, extent=extent, dtype=dtype)
    return replace(plan, method="fresnel_transfer", reason=f"transfer function, {plan.reason}")


def plan_impulse(
    shape: tuple[int, int],
    spacing: float,
    wavelength: float | Sequence[float],
    distance: float,
    *,
    extent: float | tuple[float, float] | None = None,
    dtype: torch.dtype = torch.complex64,
) -> Decision:
    """Plan the sampled impulse response; arguments as for `plan_propagation`.

    Raises
    ------
    SamplingError
        Too near: the chirp turns by more than half a turn between samples.
    """
    waves = _waves(wavelength)
    lag, steep = _lag(shape, spacing, extent), min(waves) * abs(distance) / (2 * spacing)
    if steep < lag:
        raise SamplingError(
            f"distance = {distance:g} m: the impulse response is sampled well up to {_mm(steep)} "
            f"from its centre, {_mm(lag)} are needed; use fresnel_transfer, or a distance of at "
            f"least {at_least(2 * lag * spacing / min(waves))} m"
        )
    sizes = (shape[0] * spacing, shape[1] * spacing)
    rows, columns = (
        int(next_fast_len(n + math.ceil(d / spacing - 1e-9)))
        for n, d in zip(shape, _extent(extent, sizes), strict=True)
    )
    memory = _memory((rows, columns), len(waves), dtype)
    reason = (
        f"impulse response, because its chirp is sampled well up to {_mm(steep)} and the light "
        f"needs {_mm(lag)}; pad {max(rows / shape[0], columns / shape[1]):.2f}x to hold both"
    )
    endless = (math.inf, math.inf)
    return _decision("fresnel_impulse", shape, (rows, columns), endless, endless, memory, reason)


def check_spacing_paraxial(spacing: float, wavelength: float, distance: float) -> None:
    """Refuse a grid on which a paraxial kernel would carry evanescent waves."""
    if spacing < wavelength / 2 and distance != 0:
        raise SamplingError(
            f"spacing = {spacing:g} m is below half the wavelength {wavelength:g} m: a paraxial "
            f"kernel would carry waves that are evanescent; use FreeSpace, or a spacing of at "
            f"least {at_least(wavelength / 2)} m"
        )


def _lag(
    shape: tuple[int, int], spacing: float, extent: float | tuple[float, float] | None
) -> float:
    """Largest displacement from the light to anywhere in the window [m]."""
    sizes = (shape[0] * spacing, shape[1] * spacing)
    return max((size + d) / 2 for size, d in zip(sizes, _extent(extent, sizes), strict=True))


@dataclass(frozen=True)
class _Axis:
    samples: int
    factor: float
    reach: float
    within: float
    reason: str


def _plan_axis(
    samples: int,
    spacing: float,
    extent: float,
    window: float,
    offset: float,
    known: float,
    steepest: float,
    room: float,
    padding: float | str,
) -> _Axis:
    """Plan one axis; displacements are counted from the centre of the window."""
    size = samples * spacing
    across = (window + extent) / 2
    if abs(offset) - across > steepest:
        raise SamplingError(
            f"offset = {offset:g} m: the samples carry light only {steepest:.3g} m to the side, "
            f"the window begins at {abs(offset) - across:.3g} m; use a spacing below "
            f"{spacing * steepest / (abs(offset) - across):.3g} m, or a window nearer the axis"
        )
    need = min(across, known + abs(offset))
    full = steepest + abs(offset)
    comfortable = min(full, need + room)
    if padding == "auto":
        target = max(across + comfortable, size)
        if full <= need + room:
            why = f"the steepest light of this spacing moves {_mm(full)} to the side"
        elif need < across:
            why = (
                f"light of this largest_sine moves {_mm(need)} to the side, edge waves {_mm(room)}"
            )
        else:
            why = f"edge waves reach {_mm(room)} beyond the light and the window"
    else:
        target = float(padding) * size
        if float(padding) < 1 or target < (across + need) * (1 - 1e-9):
            least = max(1.0, (across + need) / size)
            raise SamplingError(
                f"padding = {padding:g}: light that lands in the window moves up to {_mm(need)} "
                f"to the side and would come back round a grid of {_mm(target)}; pad at least "
                f"{math.ceil(least * 100) / 100:g}x, use 'auto', or say with extent or "
                f"largest_sine that the light is smaller"
            )
        why = "it was asked for"
    count = max(next_fast_len(math.ceil(target / spacing - 1e-9)), samples)
    reach = count * spacing - across
    if reach >= full:
        reach = within = math.inf
    else:
        within = max(min(need, reach), reach / 2)
    factor = count / samples
    cut = "" if reach == math.inf else f", directions that move it beyond {_mm(reach)} are cut"
    return _Axis(count, factor, reach, within, f"pad {factor:.2f}x because {why}{cut}")


def _decision(
    method: str,
    shape: tuple[int, int],
    padded: tuple[int, int],
    reach: tuple[float, ...],
    within: tuple[float, ...],
    memory: int,
    reason: str,
) -> Decision:
    factors = (padded[0] / shape[0], padded[1] / shape[1])
    return Decision(
        method, padded, factors, (reach[0], reach[1]), (within[0], within[1]), memory, reason
    )


def _waves(wavelength: float | Sequence[float]) -> tuple[float, ...]:
    values = (wavelength,) if isinstance(wavelength, int | float) else tuple(wavelength)
    if not values:
        raise ValueError("wavelength is empty: at least one is needed")
    return tuple(check_length("wavelength", w) for w in values)


def _check_grid(shape: tuple[int, int], spacing: float, distance: float) -> None:
    check_length("spacing", spacing)
    check_length("distance", abs(distance))
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"shape = {tuple(shape)}: two positive numbers of samples are needed")


def _extent(
    extent: float | tuple[float, float] | None, sizes: tuple[float, float]
) -> tuple[float, float]:
    if extent is None:
        return sizes
    pair = (extent, extent) if isinstance(extent, int | float) else extent
    for value in pair:
        check_positive("extent", value, "m")
    return (min(pair[0], sizes[0]), min(pair[1], sizes[1]))


def at_least(value: float) -> str:
    """Three digits, rounded up, for a remedy that must work."""
    return f"{math.ceil(value / _unit(value) * (1 - 1e-12)) * _unit(value):.3g}"


def at_most(value: float) -> str:
    """Three digits, rounded down, for a remedy that must work."""
    return f"{math.floor(value / _unit(value) * (1 + 1e-12)) * _unit(value):.3g}"


def _unit(value: float) -> float:
    return float(10.0 ** (math.floor(math.log10(value)) - 2))


def _mm(length: float) -> str:
    return f"{1e3 * length:.3g} mm"


def _tangent(sine: float) -> float:
    """Tangent along one axis of light at the largest `sine` along both; infinite if evanescent."""
    rest = 1 - 2 * sine**2
    return sine / math.sqrt(rest) if rest > 0 else math.inf


def _memory(padded: tuple[int, int], waves: int, dtype: torch.dtype) -> int:
    return padded[0] * padded[1] * dtype.itemsize * (waves + 2)


def _check_memory(
    memory: int, budget: int, padded: tuple[int, int], spacing: float, reason: str
) -> None:
    if memory > budget:
        coarser = spacing * math.sqrt(memory / budget)
        raise SamplingError(
            f"budget = {budget / 2**20:.0f} MiB: {padded[0]} x {padded[1]} samples need "
            f"{memory / 2**20:.0f} MiB ({reason}); a spacing of {at_least(coarser)} m would fit, "
            f"or fresnel_to_points, which needs no padding, or a larger budget"
        )
