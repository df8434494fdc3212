"""The drawing of the conventions: a camera from the side, and an array of samples."""

import math
from pathlib import Path

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Rectangle

INK, LIGHT, ACCENT, FAINT = "#222222", "#c8102e", "#1f5fa8", "#9aa3ad"


def draw_conventions(path: Path) -> None:
    """Write the drawing to `path`, the same bytes every time."""
    settings = {"svg.hashsalt": "veilens", "svg.fonttype": "path"}
    with style.context(["default", settings]):  # not the reader's own settings
        figure = Figure(figsize=(10.6, 4.1))
        side, array = figure.subplots(1, 2, width_ratios=[1.55, 1])
        _side_view(side)
        _array_view(array)
        for axes in (side, array):
            axes.set_aspect("equal")
            axes.invert_yaxis()
            axes.axis("off")
        figure.subplots_adjust(0.005, 0.005, 0.995, 0.995, wspace=0.04)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], color: str = INK
) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": color, "lw": 1.2})


def _between(axes: Axes, left: float, right: float, y: float, text: str) -> None:
    """Dimension line from `left` to `right`."""
    axes.annotate("", (right, y), (left, y), arrowprops={"arrowstyle": "<|-|>", "color": FAINT})
    axes.text((left + right) / 2, y - 0.12, text, ha="center", va="bottom")


def _side_view(axes: Axes) -> None:
    d, z, tangent, edge = 5.0, 3.0, 0.3, 1.0
    # the chief ray goes straight on through the middle of the lens
    point, image = (-d, -d * tangent), (z, z * tangent)
    axes.plot([-d - 0.5, z + 1.1], [0, 0], color=FAINT, lw=0.8, dashes=(8, 3, 2, 3))
    for y, line in ((-edge, ":"), (0.0, "-"), (edge, ":")):
        axes.plot([point[0], 0, image[0]], [point[1], y, image[1]], line, color=LIGHT, lw=1.2)
    axes.plot(*point, "o", color=LIGHT, ms=6)
    axes.plot(*image, "o", color=LIGHT, ms=5, zorder=5)

    for sign in (-1, 1):  # the stop
        axes.plot([-0.12, -0.12], [sign * edge, sign * 1.9], color=INK, lw=3)
    steps = [0.10, 0.22, 0.16, 0.28, 0.12, 0.24, 0.18, 0.10]
    for place, height in enumerate(steps):
        low, tall = -edge + place * 2 * edge / len(steps), 2 * edge / len(steps)
        axes.add_patch(Rectangle((-0.12 - height, low), height, tall, color=ACCENT, lw=0))
    axes.add_patch(Ellipse((0.12, 0), 0.34, 2.3, fc="#dbe7f5", ec=ACCENT, zorder=3, alpha=0.8))
    axes.plot([z, z], [-1.9, 1.9], color=INK, lw=3)

    axes.text(-d, -1.78, "object point", ha="center", va="bottom")
    axes.text(0, -2.02, "aperture, mask, lens", ha="center", va="bottom")
    axes.text(z, -2.02, "sensor", ha="center", va="bottom")
    turn = -math.degrees(math.atan(tangent))
    where = (-1.75, -1.75 * tangent - 0.2)
    axes.text(
        *where, "chief ray, tangent $t_y$", color=LIGHT, ha="center", va="center", rotation=turn
    )
    axes.text(z + 0.15, image[1], "$y = z\\,t_y$", color=LIGHT, va="center")
    _between(axes, -d, 0, 2.45, "object distance $d$")
    _between(axes, 0, z, 2.45, "sensor distance $z$")

    corner = (-d - 0.3, 0.95)
    _arrow(axes, corner, (corner[0] + 1.0, corner[1]))
    _arrow(axes, corner, (corner[0], corner[1] + 1.0))
    axes.text(corner[0] + 1.05, corner[1], "+z, light", va="center")
    axes.text(corner[0] + 0.14, corner[1] + 0.85, "+y, down", va="center")
    axes.set_xlim(-d - 1.0, z + 1.4)
    axes.set_ylim(-2.6, 2.75)


def _array_view(axes: Axes) -> None:
    rows, columns = 5, 7
    for row in range(rows):
        for column in range(columns):
            corner = (column - 0.5, row - 0.5)
            axes.add_patch(Rectangle(corner, 1, 1, fc="white", ec=FAINT, lw=0.8))
            if (row, column) not in ((0, 0), (rows - 1, columns - 1)):  # these are numbered
                axes.plot(column, row, ".", color=FAINT, ms=3)
    y, x = (rows - 1) / 2, (columns - 1) / 2
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fc="#dbe7f5", ec=ACCENT, lw=1.2))
    axes.plot(x, y, "+", color=ACCENT, ms=11)
    _arrow(axes, (x, y), (x + 2.5, y))
    _arrow(axes, (x, y), (x, y + 1.9))
    axes.text(x + 2.45, y - 0.12, "+x", ha="right", va="bottom")
    axes.text(x - 0.12, y + 1.8, "+y", ha="right", va="bottom")
    axes.annotate(
        "",
        (x + 0.25, y + 1.25),
        (x + 1.3, y + 0.05),
        arrowprops={"arrowstyle": "-|>", "color": ACCENT, "connectionstyle": "arc3,rad=-0.35"},
    )
    axes.text(x + 1.25, y + 0.95, "$\\theta$", color=ACCENT, ha="center", va="center")
    axes.text(0, 0, "[0, 0]", ha="center", va="center", fontsize=9)
    axes.text(columns - 1, rows - 1, "[4, 6]", ha="center", va="center", fontsize=9)
    axes.text(
        x, rows - 0.3, "zero is at $[(H-1)/2,\\ (W-1)/2]$", color=ACCENT, ha="center", va="top"
    )
    _arrow(axes, (-0.5, -0.8), (columns - 0.5, -0.8))
    _arrow(axes, (-0.8, -0.5), (-0.8, rows - 0.5))
    axes.text(x, -0.95, "columns, $W = 7$", ha="center", va="bottom")
    axes.text(-0.95, y, "rows, $H = 5$", ha="right", va="center", rotation=90)
    axes.set_xlim(-1.6, columns - 0.2)
    axes.set_ylim(-1.6, rows + 0.4)
