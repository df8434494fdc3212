"""Palette, axes and encoding shared by all figures.

Figures are drawn through matplotlib's object interface on a white ground, so that they read the
same on a light and on a dark page; no global state changes. Lengths of figures in inches.
"""

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.offsetbox import AnchoredOffsetbox, AuxTransformBox, TextArea, VPacker
from matplotlib.patches import Ellipse, Rectangle
from PIL import Image

from experiments.report.record import LEARNED

INK, QUIET, HAIRLINE = "#1f2933", "#6b7480", "#d9dde3"
TRUTH, FOUND = "#ffffff", "#e6007a"  # landmarks: where they are, where they were found
# Okabe and Ito's palette, distinguishable with every common colour deficiency.
_COLOURS = {
    LEARNED: "#0072b2",
    "in_focus": "#009e73",
    "defocused": "#e69f00",
    "low_resolution": "#cc79a7",
    "random_mask": "#d55e00",
}
_SPARE = ("#56b4e9", "#5b5b5b", "#a6761d", "#7570b3")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<")


@dataclass(frozen=True)
class Drawing:
    """A figure ready for the page.

    Parameters
    ----------
    name : str
        Stem of its file.
    figure : Figure
        For a desktop.
    alt : str
        What a reader who cannot see it should know.
    caption : str
        How to read it, in a sentence or two.
    narrow : Figure or None
        The same content arranged for a phone, where the wide one would be too small.
    photographic : bool
        Whether it is mostly photographs, which the page then holds as JPEG.
    full : bool
        Whether it takes the full width of the page.
    """

    name: str
    figure: Figure
    alt: str
    caption: str
    narrow: Figure | None = None
    photographic: bool = False
    full: bool = False


@dataclass(frozen=True)
class Missing:
    """A figure that the run holds no data for, and the sentence that says so."""

    name: str
    sentence: str


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in the page's style and leave the settings of the process as they were."""
    with rc_context(
        {
            "font.size": 10.0,
            "axes.titlesize": 10.5,
            "axes.titleweight": "bold",
            "axes.titlepad": 7.0,
            "axes.labelsize": 10.0,
            "axes.edgecolor": "#9aa3ae",
            "axes.labelcolor": INK,
            "axes.titlecolor": INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#e8ebef",
            "grid.linewidth": 0.8,
            "xtick.color": QUIET,
            "ytick.color": QUIET,
            "xtick.labelsize": 9.0,
            "ytick.labelsize": 9.0,
            "legend.frameon": False,
            "legend.fontsize": 9.0,
            "lines.linewidth": 1.8,
            "figure.facecolor": "white",
            "axes.facecolor": "white",
            "savefig.facecolor": "white",
            "image.interpolation": "auto",
        }
    ):
        yield


def new_figure(width: float = 5.2, height: float = 4.0, *, pad: float = 0.06) -> Figure:
    """Return an empty figure of the given size [in] with a raster canvas.

    `pad` is the margin round each chart [in]; sheets of pictures stand closer.
    """
    layout = ConstrainedLayoutEngine(w_pad=pad, h_pad=pad, wspace=0.0, hspace=0.0)
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def camera_colour(name: str, cameras: Sequence[str]) -> str:
    """Return the colour of a camera: its own everywhere, a spare one for an unknown name."""
    if name in _COLOURS:
        return _COLOURS[name]
    unknown = [camera for camera in cameras if camera not in _COLOURS]
    return _SPARE[unknown.index(name) % len(_SPARE)] if name in unknown else _SPARE[0]


def camera_marker(name: str, cameras: Sequence[str]) -> str:
    """Return the marker of a camera, so that colour is never the only sign."""
    return _MARKERS[list(cameras).index(name) % len(_MARKERS)] if name in cameras else "o"


def legend_below(figure: Figure, axes: Axes, first: Sequence[str] = ()) -> None:
    """Put the legend of `axes` under the figure, where it hides nothing; `first` leads it."""
    handles, labels = axes.get_legend_handles_labels()
    found = dict(zip(labels, handles, strict=True))
    names = [n for n in first if n in found] + [n for n in labels if n not in first]
    if names:
        figure.legend([found[n] for n in names], names, loc="outside lower center", ncols=3)


def bare(axes: Axes) -> None:
    """Take ticks, grid and frame off, for pictures."""
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def to_display(linear: np.ndarray) -> np.ndarray:
    """Encode linear light for the screen (IEC 61966-2-1).

    Parameters
    ----------
    linear : ndarray
        Float (3, H, W); outside [0, 1] and NaN are clipped.

    Returns
    -------
    ndarray
        uint8 (H, W, 3).
    """
    light = np.clip(np.nan_to_num(np.asarray(linear, np.float64)), 0.0, 1.0)
    encoded = np.where(
        light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-12) ** (1 / 2.4) - 0.055
    )
    return np.moveaxis(np.round(255 * encoded), 0, -1).astype(np.uint8)


def nice_length(limit: float) -> float:
    """Return the largest 1, 2 or 5 times a power of ten that is not above `limit`."""
    power = 10.0 ** np.floor(np.log10(limit))
    return float(next(step * power for step in (5, 2, 1) if step * power <= limit * (1 + 1e-9)))


def scale_bar(axes: Axes, length: float, label: str, *, on_white: bool = False) -> None:
    """Draw a bar of `length` (in data units) with its label in the lower left corner.

    On a picture a dark plate lies under it, so that it reads on any; `on_white` needs none.
    """
    colour = INK if on_white else "white"
    bar = AuxTransformBox(axes.transData)
    bar.add_artist(Rectangle((0, 0), length, 0, color=colour, linewidth=3))
    text = TextArea(label, textprops={"color": colour, "fontsize": 8})
    box = AnchoredOffsetbox(
        loc="lower left",
        child=VPacker(children=[text, bar], align="center", pad=0, sep=3),
        pad=0.35,
        borderpad=0.5,
        frameon=not on_white,
    )
    if not on_white:
        box.patch.set(facecolor="black", alpha=0.5, linewidth=0)
    axes.add_artist(box)


def face_outline(axes: Axes, width: float, centre: tuple[float, float]) -> bool:
    """Draw a face-sized ellipse if it fits; `width` and `centre` in data units.

    Returns
    -------
    bool
        Whether it was drawn.
    """
    height = 1.35 * width  # of a face with forehead, over its width
    if width > abs(np.ptp(axes.get_xlim())) or height > abs(np.ptp(axes.get_ylim())):
        return False
    axes.add_patch(
        Ellipse(
            centre, width, height, fill=False, edgecolor="white", linestyle=(0, (4, 3)), alpha=0.8
        )
    )
    return True


def render(figure: Figure, dpi: int) -> Image.Image:
    """Return the figure as an RGB picture at `dpi` dots per inch."""
    with house_style():
        figure.set_dpi(dpi)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()  # type: ignore[no-untyped-call]
        rgba = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
        return Image.fromarray(rgba[..., :3].copy())


def png(picture: Image.Image) -> bytes:
    """Encode losslessly; a picture of few colours becomes a small file."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=False, compress_level=7)
    return buffer.getvalue()


def data_uri(picture: Image.Image, *, photographic: bool) -> str:
    """Return the picture as the value of a ``src`` attribute.

    Photographs are JPEG with full colour resolution: noise does not compress, and a page of PNG
    photographs would be ten times as large.
    """
    if not photographic:
        few = picture.quantize(256, dither=Image.Dither.NONE)  # charts have few colours
        return "data:image/png;base64," + base64.b64encode(png(few)).decode("ascii")
    buffer = io.BytesIO()
    try:
        picture.save(buffer, format="JPEG", quality=84, subsampling=0, optimize=True)
    except OSError:  # noise takes more room than Pillow sets aside for that
        buffer = io.BytesIO()
        picture.save(buffer, format="JPEG", quality=84, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
