r"""What the actuators of a deformable mirror do to its surface, and the commands for a surface.

Commands are counted from the middle of their range, where the mirror is taken to be flat. The
surface is linear in them, :math:`s = A c`, and piston does not count: it has no optical effect.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware.errors import HardwareError
from hardware.fabrication.design import Map, positions


@dataclass(frozen=True)
class Influence:
    """Surfaces of single actuators over the pupil.

    Attributes
    ----------
    surfaces : ndarray
        (A, S, S) surface for a command of one, along the incoming light, over the square around
        the pupil, y down, samples in the middle of their cells [m per unit].
    lowest, highest : ndarray
        (A,) limits of the commands [unit].
    unit : str
        Unit of the commands, such as "V" or "m".
    """

    surfaces: Map
    lowest: Map
    highest: Map
    unit: str

    @property
    def pupil(self) -> NDArray[np.bool_]:
        """Samples (S, S) within the pupil."""
        x = self.axis()
        return np.hypot(x[None, :], x[:, None]) <= 1

    def axis(self) -> Map:
        """Positions (S,) of the samples in pupil radii."""
        samples = self.surfaces.shape[-1]
        return positions(samples, 2 / samples)

    def middle(self) -> Map:
        """Commands (A,) of the flat mirror [unit]."""
        return (self.lowest + self.highest) / 2

    def matrix(self) -> Map:
        """Surfaces (P, A) on the samples of the pupil, without their piston."""
        columns = self.surfaces[:, self.pupil].T
        return np.asarray(columns - columns.mean(axis=0), np.float64)

    def shape_of(self, commands: Map) -> Map:
        """Surface (S, S) that commands (A,) make, without piston, 0 outside the pupil [m]."""
        out = np.zeros(self.surfaces.shape[1:])
        out[self.pupil] = self.matrix() @ (commands - self.middle())
        return out


def gaussian_actuators(across: int, coupling: float, stroke: float, samples: int) -> Influence:
    r"""Square grid of actuators with Gaussian surfaces.

    .. math:: s(r) = c \, \kappa^{(r / p)^2}

    for the command c, which is then a length: the surface falls to the coupling at the next
    actuator, one pitch p away. The outer actuators stand on the rim of the pupil.

    Parameters
    ----------
    across : int
        Actuators along the diameter.
    coupling : float
        Surface at the next actuator, relative to that at its own; 0 < coupling < 1.
    stroke : float
        Travel of an actuator from end to end [m].
    samples : int
        Samples S along the diameter.
    """
    pitch = 2 / (across - 1)
    place = positions(across, pitch)
    y, x = (axis.ravel() for axis in np.meshgrid(place, place, indexing="ij"))
    used = np.hypot(x, y) <= 1 + 0.75 * pitch  # those outside that still lift the rim
    axis = positions(samples, 2 / samples)
    along = np.exp(math.log(coupling) * ((axis - x[used, None]) / pitch) ** 2)
    down = np.exp(math.log(coupling) * ((axis - y[used, None]) / pitch) ** 2)
    limit = np.full(int(used.sum()), stroke / 2)
    return Influence(down[:, :, None] * along[:, None, :], -limit, limit, "m")


def read_influence(path: Path | str, samples: int) -> Influence:
    """Measured influence of a mirror, from an npz file.

    Its arrays are ``influence_m`` (A, N, N), surfaces along the incoming light for a command of
    one over the square around the pupil, y down; ``lowest`` and ``highest``, limits of the
    commands, of one or A numbers; and ``unit``, the text of their unit.

    Raises
    ------
    HardwareError
        The file cannot be read, lacks an array, or its numbers do not fit together.
    """
    expected = "expected an npz file with influence_m (A, N, N), lowest, highest and unit"
    try:
        with np.load(path, allow_pickle=False) as file:
            surfaces = np.asarray(file["influence_m"], np.float64)
            low, high = (np.asarray(file[key], np.float64) for key in ("lowest", "highest"))
            unit = str(file["unit"])
        count = len(surfaces)
        low, high = (np.broadcast_to(limit, (count,)).copy() for limit in (low, high))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HardwareError(f"{path}: {error}; {expected}") from error
    if surfaces.ndim != 3 or surfaces.shape[1] != surfaces.shape[2] or surfaces.shape[1] < 8:
        raise HardwareError(f"{path}: influence_m has shape {surfaces.shape}; {expected}, N >= 8")
    if not (np.isfinite(surfaces).all() and np.isfinite(low).all() and (low < high).all()):
        raise HardwareError(f"{path}: a number is not finite, or lowest is not below highest")
    if not unit.isascii() or not unit.isalnum():
        raise HardwareError(f"{path}: unit = {unit!r}; letters and digits are expected")
    weights = _interpolation(surfaces.shape[1], samples)
    return Influence(weights @ surfaces @ weights.T, low, high, unit)


def _interpolation(given: int, samples: int) -> Map:
    """Matrix (samples, given) that interpolates linearly between cell middles."""
    position = (np.arange(samples) + 0.5) * (given / samples) - 0.5
    position = np.clip(position, 0, given - 1)
    low = np.minimum(position.astype(np.int64), given - 2)
    out = np.zeros((samples, given))
    out[np.arange(samples), low] = 1 - (position - low)
    out[np.arange(samples), low + 1] = position - low
    return out


def damped_commands(influence: Influence, surface: Map, damping: float) -> tuple[Map, int]:
    r"""Commands within their limits for the surface, by damped least squares.

    .. math:: \min_c |A c - s|^2 + (\alpha \sigma_1)^2 |c|^2

    with the largest singular value :math:`\sigma_1` of A (A. N. Tikhonov, 1963): combinations of
    commands that hardly move the surface are not asked for much. An actuator that would leave
    its range stays at the end of it, and the others are solved again to make up for it.

    Parameters
    ----------
    influence : Influence
        The mirror.
    surface : ndarray
        (P,) wanted surface on the samples of the pupil [m].
    damping : float
        :math:`\alpha`, relative to the largest singular value; 0 is the plain fit (1e-6).

    Returns
    -------
    tuple of ndarray and int
        Commands (A,), from the zero of the unit, and how many of them are at a limit.
    """
    half = (influence.highest - influence.lowest) / 2
    # in parts of the range, so that damping means the same for actuators of unequal range
    matrix = influence.matrix() * half
    wanted = surface - surface.mean()
    gram, right = matrix.T @ matrix, matrix.T @ wanted
    # 1e-6: where rounding of the squared singular values, 1e-16 relative, would take over
    floor = max(damping, 1e-6) ** 2 * float(np.linalg.eigvalsh(gram)[-1])
    part = np.zeros(len(half))
    free = np.ones(len(half), dtype=bool)
    while free.any():
        fixed = gram[np.ix_(free, ~free)] @ part[~free]
        block = gram[np.ix_(free, free)] + floor * np.eye(int(free.sum()))
        part[free] = np.linalg.solve(block, right[free] - fixed)
        over = free & (np.abs(part) > 1)
        if not over.any():
            break
        part[over] = np.sign(part[over])
        free &= ~over
    return influence.middle() + part * half, int((~free).sum())
