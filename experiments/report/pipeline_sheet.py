"""The page of a pipeline: the story in one strip, and one row per step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from calibration.bayer import planes
from calibration.psf.registration import filled
from calibration.psf.stack import load_stack
from experiments.report.drawing import (
    FOUND,
    QUIET,
    Drawing,
    Missing,
    bare,
    house_style,
    new_figure,
    to_display,
)
from experiments.report.record import LEARNED
from experiments.report.sheet import Section, Sheet, Table
from experiments.store import ArtifactError, load_arrays

#: Numbers of a step that its row shows, by job: the key in its metrics, and what it is called.
KEY_NUMBERS: dict[str, dict[str, str]] = {
    "codesign": {
        "landmark_nme": "landmark error",
        "reid_auc_retrained": "AUC of a retrained attacker",
        "reid_auc_inverted_100": "AUC from 100 frames inverted",
    },
    "export": {"bytes": "bytes", "readback/max_height_error_m": "largest error read back [m]"},
    "capture": {"frames": "frames", "frames_lost": "frames lost"},
    "calibrate": {
        "psf/ncc_to_design": "correlation with the design",
        "twin/ncc": "with the twin",
        "noise/read_e": "read noise [e-]",
    },
    "compare": {
        "design/ncc": "correlation with the design",
        "as exported/ncc": "with the exported mask",
        "twin/ncc": "with the twin",
        "bare_lens/1.5m/attacked_auc": "worst AUC: bare lens",
        "learned/1.5m/attacked_auc": "learned mask",
        "anonymizer/1.5m/attacked_auc": "with anonymizer",
        "pixelate/1.5m/attacked_auc": "pixelated",
    },
    "faces": {"pictures": "pictures"},
    "anonymize": {"faces": "faces", "reid_source_auc": "AUC against the source"},
    "protect": {"faces": "faces", "bytes_sent": "bytes"},
    "recover": {"vaults": "vaults opened"},
    "attack": {"worst/auc": "AUC of the worst attack"},
}

_WIDTH, _ABREAST, _TILE = 10.6, 7, 2.0  # of the strip [in], pictures in a row, their side [in]
_REFERENCE = 1.5  # distance at which the PSFs are shown, or the nearest measured [m]
_DECADES = 4  # of a PSF that are shown below its brightest pixel

Draw = Callable[[Axes], object]


@dataclass(frozen=True)
class StepShown:
    """One step as the page shows it.

    Attributes
    ----------
    name, job : str
        Of the step.
    folder : Path
        Its run folder, below that of the pipeline.
    state : str
        Of its run; "not made" if there is none.
    metrics : mapping
        Its final numbers.
    seconds, cpu_seconds : float
        What it took on the wall and of the processors [s].
    """

    name: str
    job: str
    folder: Path
    state: str
    metrics: Mapping[str, Any]
    seconds: float
    cpu_seconds: float


def pipeline_sheet(command: str, steps: Sequence[StepShown]) -> Sheet:
    """Lay out the page."""
    done = sum(step.state == "finished" for step in steps)
    seconds = sum(step.seconds for step in steps)
    headline = f"{done} of {len(steps)} steps are done"
    if done == len(steps):
        headline = f"All {done} steps are done, in {_time(seconds)}"
    pictures = _faces(steps) + _psfs(steps)
    figure: Drawing | Missing = Missing("story", "No step that shows pictures is finished.")
    if pictures:
        figure = _strip(pictures)
    table = Table(
        ("step", "job", "state", "time", "numbers"),
        [_row(step) for step in steps],
        "Each name leads to the page of the step, which says what its numbers mean and where "
        "they end.",
    )
    lead = [
        f"./lab {command}: every step below is a run of its own, in the folder of its name, and "
        f"can be used by other jobs as any run."
    ]
    return Sheet(headline, lead, [Section("In one strip", "", [figure]),
                                  Section("Steps", "", tables=[table])])  # fmt: skip


def _row(step: StepShown) -> tuple[str, ...]:
    name = step.name.replace("_", " ")
    if (step.folder / "report.html").exists():  # names of steps are plain words
        name = Markup(f'<a href="{step.name}/report.html">{name}</a>')
    wanted = KEY_NUMBERS.get(step.job, {})
    numbers = [f"{label} {_number(step.metrics[key])}" for key, label in wanted.items()
               if isinstance(step.metrics.get(key), (int, float))]  # fmt: skip
    time = _time(step.seconds) if step.seconds else ""
    return name, step.job, step.state, time, ", ".join(numbers)


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.3g}"


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


# The strip


def _strip(pictures: Sequence[tuple[str, Draw]]) -> Drawing:
    def draw(most: int, width: float) -> Figure:
        rows = -(-len(pictures) // most)
        across = -(-len(pictures) // rows)  # rows of one length, as far as they go
        tile = min(_TILE, width / across)
        figure = new_figure(tile * across, rows * (tile + 0.3), pad=0.03)
        for place, (title, one) in enumerate(pictures, start=1):
            axes = figure.add_subplot(rows, across, place)
            one(axes)
            axes.set_title(title, fontsize=8.5)
            bare(axes)
        return figure

    with house_style():
        wide, narrow = draw(_ABREAST, _WIDTH), draw(3, 4.6)
    return Drawing(
        "story",
        wide,
        alt=f"One test person from the original on: {', '.join(t for t, _ in pictures)}.",
        caption="One test person: the scene; what the camera with the learned mask records, with "
        "the landmarks read off it; the heatmap; what the finished steps made of it. PSFs in one "
        f"green plane over {_DECADES} decades.",
        narrow=narrow,
        photographic=True,
        full=True,
    )


def _last(steps: Sequence[StepShown], file: str) -> Path | None:
    """Return the file of that name in the first finished step that has one."""
    found = (path for step in steps if step.state == "finished"
             for path in sorted(step.folder.glob(file)))  # fmt: skip
    return next(found, None)


def _faces(steps: Sequence[StepShown]) -> list[tuple[str, Draw]]:
    """Draw one person in the evidence of the co-design, and what other steps made of the scene."""
    evidence = _last(steps, "evidence.npz")
    out: list[tuple[str, Draw]] = []
    if evidence is not None:
        arrays = load_arrays(evidence)
        names = [str(name) for name in arrays["camera_names"]]
        camera = names.index(LEARNED) if LEARNED in names else 0
        seen = to_display(arrays["measurements"][camera, 0])
        points = arrays["landmarks_predicted"][camera, 0]
        heat = np.nan_to_num(arrays["heatmaps"][camera, 0])
        out = [
            ("original", _picture(arrays["scenes"][0])),
            ("measurement", _picture(seen, points)),
            ("heatmap", lambda axes: axes.imshow(heat, cmap="magma")),
            ("inverted, 100 frames", _picture(to_display(arrays["inversions_100"][camera, 0]))),
        ]
    for title, pattern in (
        ("anonymized", "anonymized/*1.png"),
        ("protected", "protected/*1.png"),
        ("recovered by the key", "recovered/*.png"),
    ):
        path = _last(steps, pattern)
        if path is not None:
            try:
                with Image.open(path) as file:
                    out.append((title, _picture(np.asarray(file.convert("RGB")))))
            except (OSError, UnidentifiedImageError) as error:
                raise ArtifactError(f"{path} is not a sound picture: {error}") from error
    return out


def _picture(image: NDArray[Any], points: NDArray[Any] | None = None) -> Draw:
    def draw(axes: Axes) -> None:
        axes.imshow(image)
        if points is not None:
            axes.plot(*points.T, "o", ms=1.6, mfc=FOUND, mec="none", ls="none")
            axes.set_xlim(-0.5, image.shape[1] - 0.5)
            axes.set_ylim(image.shape[0] - 0.5, -0.5)

    return draw


def _psfs(steps: Sequence[StepShown]) -> list[tuple[str, Draw]]:
    """Draw the PSF as designed, as measured, and as the twin has it, near the reference."""
    path = _last(steps, "psf.npz")
    if path is None:
        return []
    stack = load_stack(path)
    depth = int(np.abs(stack.readings - _REFERENCE).argmin())
    name = "Gr" if stack.cfa else "mono"
    seen = planes(stack.valid[depth], stack.cfa)[name]
    images = {"PSF measured": filled(planes(stack.rate[depth], stack.cfa)[name], seen)}
    for title, file in (("PSF designed", "design.npz"), ("PSF of the twin", "twin.npz")):
        if (path.parent / file).exists():
            expected = load_arrays(path.parent / file)["expected"]
            images[title] = planes(expected[depth], stack.cfa)[name]
    order = [t for t in ("PSF designed", "PSF measured", "PSF of the twin") if t in images]
    top = float(np.nanmax(images["PSF measured"]))
    norm = LogNorm(top * 10.0**-_DECADES, top)

    def spot(image: NDArray[Any]) -> Draw:
        shown = np.clip(np.nan_to_num(image), norm.vmin, None)

        def draw(axes: Axes) -> None:
            axes.imshow(shown, norm=norm, cmap="magma")
            axes.set_xlabel(f"{stack.readings[depth]:.2g} m", fontsize=7.5, color=QUIET)

        return draw

    return [(title, spot(images[title])) for title in order]
