"""The LED of the point source, on our own firmware."""

from collections.abc import Mapping

from hardware.errors import ProtocolError
from hardware.lights.base import Channel, Light
from hardware.point_source import PointSource


class PointSourceLight(Light):
    """One LED; the port is opened on construction, shared with the stage of the same controller.

    The LED is on for the fraction `level` of a period of 16 us, in steps of 1/256. For radiometry
    use level 1, which is steady, and a neutral filter. The controller itself goes dark `longest`
    after the last `set`, also when this program is gone.

    Parameters
    ----------
    channels : mapping of str to Channel
        One channel, by name.
    port : str
        Path, or a pyserial URL.
    longest, interlock
        As `Light`; `longest` up to a day.
    """

    def __init__(
        self,
        channels: Mapping[str, Channel],
        port: str,
        *,
        longest: float = 600.0,
        interlock: bool = False,
    ) -> None:
        super().__init__(channels, longest=longest, interlock=interlock)
        if len(channels) != 1:
            raise ValueError(f"channels = {', '.join(channels)}: the point source has one LED")
        if longest > 86_400:
            raise ValueError(f"longest = {longest:g} s, expected 0 (never) to 86400 s")
        self._released = False
        self._controller = PointSource.shared(port)
        try:
            if self._controller.halted():
                self._stopped.set()
        except BaseException:
            self._controller.release()
            raise

    def _apply(self, channel: str, level: float) -> None:
        number = round(256 * level) - 1 if level > 0 else 0
        if level > 0 and number < 1:
            raise ValueError(f"level = {level:g} of {channel}: the lowest beside 0 is {2 / 256:g}")
        # Each time, since a reset forgets it.
        self._controller.command(f"LEDTIME {round(self.longest * 1000)}")
        reply = self._controller.command(f"LED {number}")
        if reply.get("led") != str(number):
            raise ProtocolError(f"LED {number}".encode(), str(reply).encode())

    def _dark(self) -> None:
        if not self._released:
            self._controller.tell("LED 0")

    def emergency_stop(self) -> None:
        """Dark at once, from any thread; the axis of the same controller stops too."""
        self._stopped.set()
        self._controller.halt()  # one byte, which no damaged line can hide
        self.off()

    def clear(self) -> None:
        """Allow light again after an emergency stop."""
        self._controller.command("CLR")
        super().clear()

    def _release(self) -> None:
        if not self._released:
            self._released = True
            self._controller.release()
