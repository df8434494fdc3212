"""Maps of a mask over millimetres."""

from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from hardware.fabrication.design import HeightMap, Map

_MOST_PIXELS = 1200  # of a side of a drawn map; larger ones are thinned out
Extent = tuple[float, float, float, float]


def thinning(shape: tuple[int, ...]) -> int:
    """Return every which sample of a map is drawn."""
    return max(1, -(-max(shape) // _MOST_PIXELS))


def extent(like: HeightMap, rows: slice, columns: slice) -> Extent:
    """Left, right, bottom and top of a part of a map, for a picture with y down [mm]."""
    x, y = (axis * 1e3 for axis in like.axes())
    x, y = x[columns], y[rows]
    half = like.spacing * 1e3 / 2
    return x[0] - half, x[-1] + half, y[-1] + half, y[0] - half


def draw_map(
    axes: Axes,
    like: HeightMap,
    values: Map,
    *,
    cmap: str,
    limits: tuple[float, float],
    rows: slice = slice(None),
    columns: slice = slice(None),
) -> AxesImage:
    """Draw values (H, W) on the grid of `like`, thinned out; what is NaN stays white."""
    part = values[rows, columns]
    step = thinning(part.shape)
    shown = axes.imshow(
        part[::step, ::step], extent=extent(like, rows, columns), cmap=cmap,
        interpolation="nearest", vmin=limits[0], vmax=limits[1],
    )  # fmt: skip
    axes.grid(visible=False)
    axes.set_xlabel("x [mm]")
    return shown
