r"""Deformable mirrors: Zernike modes, or a phase, become the commands of actuators.

Light passes the surface twice, so the phase :math:`\varphi` is the surface

.. math:: s = \lambda \varphi / 4\pi

along the incoming light. Surfaces are linear in the commands (`hardware.fabrication.influence`);
what piezos add to that, hysteresis, is taken out by how they are approached.
"""

import hashlib
import math
import threading
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware.clock import Clock
from hardware.errors import EmergencyStopped, SettingsNotApplied
from hardware.fabrication.design import Map
from hardware.fabrication.influence import Influence, damped_commands, read_influence
from hardware.fabrication.zernike_fit import noll_orders, zernike
from hardware.modulators.base import PhaseModulator

#: Amplitude of the last swing of a relax cycle, of the range.
LAST_SWING = 0.01
#: A surface of which more than this share (RMS) is left over is none that the mirror can make.
UNFIT = 0.5
#: What a device applied may differ from what was asked by this share of the range.
APPLIED_WITHIN = 1e-3


@dataclass(frozen=True)
class MirrorState:
    """What a mirror was asked for, and does.

    Attributes
    ----------
    commands : ndarray of float, shape (A,)
        Commands that the device confirmed [unit of the influence].
    wanted : float
        RMS of the surface asked for, over the pupil and about its mean [m].
    residual : float
        RMS of its difference to the surface that these commands make, by the influence [m].
    clipped : int
        Actuators at a limit.
    digest : str
        SHA-256 of the commands.
    """

    commands: Map
    wanted: float
    residual: float
    clipped: int
    digest: str


def relaxing(target: Map, lowest: Map, highest: Map, swings: int) -> Iterator[Map]:
    r"""Yield the commands of a relax cycle, which ends just below the target.

    .. math:: c_k = c - (-1)^{K - k} \, (c_\mathrm{high} - c_\mathrm{low}) \, q^{k - 1},
              \quad k = 1, ..., K

    within the limits. The first swing reaches a limit, which erases what the actuators remember;
    the further ones shrink by the same factor to 1 %, which leaves them in the middle of their
    loop, as a magnet is demagnetised. The last swing is a low one, so that every target is
    approached from below.

    Parameters
    ----------
    target, lowest, highest : ndarray of float, shape (A,)
        Commands [unit].
    swings : int
        K; none for a mirror without hysteresis.
    """
    factor = LAST_SWING ** (1 / max(1, swings - 1))
    for swing in range(swings):
        side = -1 if (swings - 1 - swing) % 2 == 0 else 1
        away = side * (highest - lowest) * factor**swing
        yield np.clip(target + away, lowest, highest)


class DeformableMirror(PhaseModulator):
    """A mirror whose actuators take commands; at rest on exit.

    `show` takes a phase over the square around the pupil, without jumps of whole turns: unlike on
    a panel they are not free.

    A driver is a subclass with `_apply`, `_rest` and `_release`. Those for makers' libraries
    (Thorlabs DMP40 and others; none was tried here) stand outside this package, as the libraries
    come with the devices: load the library in the constructor, return from `_apply` what it reads
    back (or the commands, where its return code is all it gives), and let its errors become
    `HardwareError`.

    Parameters
    ----------
    influence : Influence or path
        What the actuators do; a path is read by `read_influence`.
    diameter : float
        Diameter of the pupil on the mirror [m].
    settle : float
        Time from the confirmation of commands until the surface stands still [s].
    damping : float
        See `damped_commands`.
    clip : bool
        Whether surfaces beyond the stroke are made as well as they can be; `state` tells the
        residual. Otherwise they are refused.
    swings : int
        Swings of the relax cycle before every surface, each of which takes `settle`; 0: none.
    samples : int
        Samples along the diameter of an influence from a file, 16 to 512.
    clock : Clock, optional
        Source of time.

    Raises
    ------
    ValueError
        The values mean nothing.
    HardwareError
        The influence cannot be read.
    """

    def __init__(
        self,
        influence: Influence | Path | str,
        diameter: float,
        settle: float,
        *,
        damping: float = 0.01,
        clip: bool = False,
        swings: int = 20,
        samples: int = 64,
        clock: Clock | None = None,
    ) -> None:
        if not 1e-4 <= diameter <= 1:
            raise ValueError(f"diameter = {diameter:g} m: 1e-4 to 1 m are allowed")
        if not 0 <= damping <= 1:
            raise ValueError(f"damping = {damping:g}: 0 to 1 is allowed")
        if not 0 <= swings <= 200:
            raise ValueError(f"swings = {swings}: 0 to 200 are allowed")
        if not 16 <= samples <= 512:
            raise ValueError(f"samples = {samples}: 16 to 512 are allowed")
        if not isinstance(influence, Influence):
            influence = read_influence(influence, samples)
        side = influence.surfaces.shape[-1]
        super().__init__((side, side), diameter / side, settle, clock=clock)
        self.influence, self.damping, self.clip, self.swings = influence, damping, clip, swings
        self.state: MirrorState | None = None  #: of the last surface that was confirmed
        self._stopped = threading.Event()
        self._command = threading.RLock()
        self._closed = False

    # What a driver provides

    @abstractmethod
    def _apply(self, commands: Map) -> Map:
        """Send commands (A,), and return those that the device confirms [unit]."""

    @abstractmethod
    def _rest(self) -> None:
        """Bring all actuators to rest at once: called without a lock, from any thread."""

    @abstractmethod
    def _release(self) -> None:
        """Release the device; called once, after `_rest`."""

    # What a user calls

    def command(self, amplitudes: Mapping[int, float]) -> MirrorState:
        """Make a surface of Zernike modes, and return when it stands.

        Parameters
        ----------
        amplitudes : mapping of int to float
            RMS amplitudes of the surface, along the incoming light, by Noll index from 2 on [m].

        Raises
        ------
        ValueError
            A mode does not exist, or the surface is beyond what the mirror can make.
        EmergencyStopped
            An emergency stop is latched.
        HardwareError
            The device did not confirm it.
        """
        x = self.influence.axis()
        surface = np.zeros(self.shape)
        for j, amplitude in amplitudes.items():
            if j < 2:
                raise ValueError(f"noll index = {j}: 2 and up; piston has no effect")
            if not abs(amplitude) <= 1e-3:
                raise ValueError(f"amplitude of mode {j} = {amplitude:g} m: up to 1e-3 m")
            surface += amplitude * zernike(*noll_orders(j), x[None, :], x[:, None])
        state = self._make(surface)
        self.clock.sleep(self.settle)
        return state

    def blank(self) -> None:
        """Make a flat surface."""
        self.command({})

    def emergency_stop(self) -> None:
        """All actuators to rest at once, from any thread; nothing moves until `clear`."""
        self._stopped.set()
        self._forget()
        self._rest()

    def clear(self) -> None:
        """Allow commands again after an emergency stop."""
        self._stopped.clear()

    def close(self) -> None:
        """All actuators to rest, and release the device; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._forget()
        try:
            self._rest()
        finally:
            self._release()

    # How

    def _display(self, phase: NDArray[np.float64], wavelength: float) -> str:
        return self._make(phase * (wavelength / (4 * math.pi))).digest

    def _make(self, surface: Map) -> MirrorState:
        """Make a surface (S, S), and return when its commands are confirmed."""
        wanted = surface[self.influence.pupil]
        wanted = wanted - wanted.mean()
        commands, clipped = damped_commands(self.influence, wanted, self.damping)
        self._check(wanted, commands, clipped)
        with self._command:
            self._forget()
            low, high = self.influence.lowest, self.influence.highest
            for step in relaxing(commands, low, high, self.swings):
                self._send(step)
                self.clock.sleep(self.settle)
            applied = self._send(commands)
            digest = hashlib.sha256(np.ascontiguousarray(applied, "<f8").tobytes()).hexdigest()
            residual = self._residual(wanted, applied)
            state = MirrorState(applied, _rms(wanted), residual, clipped, digest)
            self.state, self.shown = state, digest
        return state

    def _check(self, wanted: Map, commands: Map, clipped: int) -> None:
        residual, rms = self._residual(wanted, commands), _rms(wanted)
        if clipped and not self.clip:
            raise ValueError(
                f"{clipped} of {len(commands)} actuators would end at their limits, and the "
                f"surface be off by {residual * 1e9:.3g} of {rms * 1e9:.3g} nm RMS; scale it by "
                f"{self._fitting(wanted):.2g}, or set clip"
            )
        if not clipped and residual > max(UNFIT * rms, 1e-9):
            raise ValueError(
                f"{residual * 1e9:.3g} of {rms * 1e9:.3g} nm RMS of the surface are finer than the "
                "actuators; unwrap the phase, or use fewer modes"
            )

    def _fitting(self, wanted: Map) -> float:
        """Return the largest factor, rounded down, with which no actuator is at a limit."""
        small = 1e-6
        commands, _ = damped_commands(self.influence, small * wanted, self.damping)
        half = (self.influence.highest - self.influence.lowest) / 2
        most = float(np.abs((commands - self.influence.middle()) / half).max()) / small
        return math.floor(100 / most) / 100 if most > 1 else 0.99

    def _residual(self, wanted: Map, commands: Map) -> float:
        return _rms(self.influence.shape_of(commands)[self.influence.pupil] - wanted)

    def _send(self, commands: Map) -> Map:
        if self._stopped.is_set():
            raise EmergencyStopped("an emergency stop is latched", hint="clear() it first")
        applied = self._apply(commands)
        if self._stopped.is_set():  # it came while these were on their way
            self._rest()
            raise EmergencyStopped("an emergency stop came meanwhile", hint="clear() it first")
        off = np.abs(applied - commands) / (self.influence.highest - self.influence.lowest)
        worst = int(np.argmax(off))
        if not off[worst] <= APPLIED_WITHIN:
            raise SettingsNotApplied(
                f"actuator {worst}",
                float(commands[worst]),
                float(applied[worst]),
                self.influence.unit,
                hint="the limits of the influence must be those of the device",
            )
        return applied

    def _forget(self) -> None:
        self.state, self.shown = None, ""


def _rms(values: Map) -> float:
    return math.sqrt(float(np.mean(values**2)))
