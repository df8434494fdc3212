"""The rig of the bench: simulated devices around the true camera."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from calibration.bench.scene import BenchScene, Source
from calibration.bench.truth import BenchErrors, BenchTruth, draw_truth
from hardware.cameras import SensorMode, SensorNoise, SimulatedCamera
from hardware.clock import Clock, SimulatedClock
from hardware.lights import Channel, SimulatedLight
from hardware.motion import Axis, SimulatedStage
from hardware.rig import Rig
from optics.camera import Camera


class Rail(SimulatedStage):
    """Moves the source: z along the axis, x and y across it, where homing leaves it on the axis."""

    def _home(self) -> None:
        super()._home()
        across = {name: 0.0 for name in ("x", "y") if name in self.axes}
        if across:
            self._start(across)
            self.clock.sleep(max(self.axes[name].high / self.axes[name].speed for name in across))

    def place(self) -> Mapping[str, float]:
        """Return where the source stands by the scale of the rail, known to the user or not [m]."""
        return self._read().position


@dataclass
class Bench(Rig):
    """A rig of simulated devices, and what only the report may know.

    Attributes
    ----------
    truth : BenchTruth or None
        What the true camera was drawn with.
    design : mapping
        Which design it was made of, for the notes of a session.
    """

    truth: BenchTruth | None = field(default=None, repr=False)
    design: Mapping[str, Any] = field(default_factory=dict)

    def about(self) -> Mapping[str, Any]:
        """Return which design stands on the bench."""
        return {"design": dict(self.design)}

    def known_truth(self) -> Mapping[str, Any] | None:
        """Return what the true camera was drawn with."""
        return None if self.truth is None else self.truth.as_dict()


def open_bench(
    design: Camera,
    *,
    seed: int = 0,
    errors: BenchErrors | None = None,
    noise: SensorNoise | None = None,
    source: Source | None = None,
    shape: tuple[int, int] = (3040, 4056),
    axes: Mapping[str, Axis] | None = None,
    clock: Clock | None = None,
) -> Bench:
    """Return a rig whose camera is the design as it might have been made.

    Parameters
    ----------
    design : Camera
        The design.
    seed : int
        Which of the cameras that might have been made; also seeds the sensor's noise.
    errors : BenchErrors
        How far it may stray.
    noise : SensorNoise
        The sensor, before its own scatter; that of the design with some fixed pattern if left out.
    source : Source
        What shines.
    shape : tuple of int
        Pixels of the sensor (H, W).
    axes : mapping of str to Axis
        Of the rail: z, and x and y across it.
    clock : Clock
        A simulated one if left out: exposures and moves then take no time.
    """
    clock = clock or SimulatedClock()
    sensor = design.sensor
    if sensor.cfa == "":
        raise ValueError("the bench shows a colour mosaic; the design has a monochrome sensor")
    noise = noise or SensorNoise(
        system_gain=sensor.system_gain,
        full_well=sensor.full_well,
        read_noise=sensor.read_noise,
        dark_current=sensor.dark_current or 0.5,
        dsnu=sensor.dsnu or 0.8,
        prnu=sensor.prnu or 0.006,
        black_level=sensor.black_level,
    )
    truth = draw_truth(errors or BenchErrors(), noise, seed)
    height, width = shape
    mode = SensorMode(
        f"{width}x{height}-{sensor.bits}", shape, sensor.bits, sensor.cfa, sensor.pixel_pitch,
        min_exposure=60e-6, max_exposure=200.0, max_gain=22.26, frame_rate=10.0,
    )  # fmt: skip
    rail = Rail(axes or default_axes(), clock=clock)
    light = SimulatedLight({"point": Channel(), "panel": Channel()})
    scene = BenchScene(
        design, truth, source or Source(), mode, place=rail.place, levels=lambda: light.state
    )
    camera = SimulatedCamera(scene, mode, truth.noise, seed=seed, clock=clock)
    return Bench(camera, {"rail": rail}, {"source": light}, name="bench", clock=clock, truth=truth)


def default_axes(depths: Sequence[float] = (0.5, 4.0)) -> dict[str, Axis]:
    """Return a rail along the axis and a cross slide [m]."""
    low, high = depths
    return {
        "z": Axis(low, high, speed=0.2, tolerance=50e-6),
        "x": Axis(-0.2, 0.2, speed=0.05),
        "y": Axis(-0.2, 0.2, speed=0.05),
    }
