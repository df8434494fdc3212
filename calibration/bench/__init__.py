"""The bench: a table that is not there, its light computed by wave optics.

A point source on a rail and a lit panel stand before a *true* camera, which is the design with
errors of its making and mounting that nobody is told. What was drawn is a `BenchTruth`; captures
hold none of it, so that a calibration can be judged by what it finds.
"""

from calibration.bench.scene import BenchScene, Source, disc_blur
from calibration.bench.table import Bench, Rail, default_axes, open_bench
from calibration.bench.truth import BenchErrors, BenchTruth, draw_truth, true_camera

__all__ = [
    "Bench",
    "BenchErrors",
    "BenchScene",
    "BenchTruth",
    "Rail",
    "Source",
    "default_axes",
    "disc_blur",
    "draw_truth",
    "open_bench",
    "true_camera",
]
