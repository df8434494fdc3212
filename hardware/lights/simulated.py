"""A light that is not there."""

from hardware.lights.base import Light


class SimulatedLight(Light):
    """Channels whose levels a simulated scene reads from `state`."""

    def _apply(self, channel: str, level: float) -> None:
        return

    def _dark(self) -> None:
        return

    def _release(self) -> None:
        return
