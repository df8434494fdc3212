"""What can be made to go wrong."""

from collections import deque
from typing import Literal

Spoiled = Literal["short", "zero", "repeat"]


class Faults:
    """Switches of one camera; they may be used while it runs.

    Attributes
    ----------
    cable_out : bool
        The ribbon cable is out: no frame arrives any more, requests stay pending for ever.
    held_elsewhere : bool
        Another process holds the camera: it cannot be acquired.
    """

    def __init__(self):
        self.cable_out = False
        self.held_elsewhere = False
        self._lost = 0
        self._spoiled: deque[Spoiled] = deque()

    def drop(self, frames: int):
        """Lose the next `frames` frames between the sensor and memory."""
        self._lost += frames

    def spoil_next(self, how: Spoiled, frames: int = 1):
        """Spoil the next `frames` frames that are delivered, whether or not someone looks at them.

        Parameters
        ----------
        how : {"short", "zero", "repeat"}
            "short": the lower half of the raw frame is not written and its buffer keeps what was
            there before, as after a transfer that broke off; "zero": all bytes are zero;
            "repeat": the frame carries the timestamp of the frame before.
        """
        if how not in ("short", "zero", "repeat"):
            raise ValueError(f"spoil_next({how!r}): expected 'short', 'zero' or 'repeat'")
        self._spoiled.extend([how] * frames)

    def loses_this_frame(self) -> bool:
        """Tell whether the frame that just ended is lost, and count it."""
        if self._lost:
            self._lost -= 1
            return True
        return False

    def spoils_this_frame(self) -> Spoiled | None:
        """Tell how the frame about to be delivered is spoiled, if at all."""
        return self._spoiled.popleft() if self._spoiled else None
