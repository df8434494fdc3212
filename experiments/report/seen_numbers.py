"""What a camera shows through several masks: a row of PSFs and a table of numbers."""

from collections.abc import Mapping

from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from experiments.preview import SHOWN, Seen
from experiments.report.drawing import Drawing, bare, house_style, new_figure
from experiments.report.sheet import Table

_LABELS = {
    "landmark_nme": "landmark error",
    "reid_auc_offtheshelf": "off the shelf",
    "reid_auc_retrained": "retrained",
    "reid_auc_inverted_100": "inverted, 100 frames",
    "psf_spread_face_widths": "spread [face widths]",
    "psf_energy_inside": "energy inside",
}


def psf_row(seen: Mapping[str, Seen], *, across: int, alt: str) -> Drawing:
    """PSFs of the masks, green channel, `across` of them in a row, on one logarithmic scale."""

    def draw(columns: int, width: float) -> Figure:
        rows = -(-len(seen) // columns)
        figure = new_figure(width, rows * (width / columns + 0.3), pad=0.03)
        top = max(float(one.psf[1].max()) for one in seen.values())
        norm = LogNorm(top * 1e-3, top)
        for place, (name, one) in enumerate(seen.items(), 1):
            axes = figure.add_subplot(rows, columns, place)
            shown = axes.imshow(one.psf[1].numpy().clip(top * 1e-3), norm=norm, cmap="magma")
            axes.set_title(name)
            bare(axes)
        figure.colorbar(shown, ax=figure.axes, label="energy per pixel", shrink=0.8)
        return figure

    with house_style():
        wide, narrow = draw(across, 10.6 if across > 2 else 8.4), draw(min(across, 2), 4.6)
    return Drawing(
        "psfs", wide, alt,
        "Green channel at the distance of the numbers below, one logarithmic scale for all.",
        narrow=narrow, full=True, photographic=True,
    )  # fmt: skip


def numbers_table(seen: Mapping[str, Seen]) -> Table:
    """Numbers of the camera with every mask, with their intervals."""
    keys = [k for k in SHOWN if all(k in one.metrics for one in seen.values())]
    rows = [[name, *(_cell(one, key) for key in keys)] for name, one in seen.items()]
    note = (
        "Landmark error over the eye distance. Attackers: chance that the right person's clear "
        "picture ranks above another's, 0.5 is guessing; 95 % interval over people."
    )
    return Table(["mask", *(_LABELS[k] for k in keys)], rows, note)


def _cell(one: Seen, key: str) -> str:
    value = f"{one.metrics[key]:.3f}"
    low, high = one.metrics.get(f"{key}_lo"), one.metrics.get(f"{key}_hi")
    return value if low is None or high is None else f"{value} [{low:.3f}, {high:.3f}]"
