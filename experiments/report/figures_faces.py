"""Faces side by side: scene, measurement, heatmap, landmarks, inversion."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.report.drawing import (
    FOUND,
    QUIET,
    TRUTH,
    Drawing,
    Missing,
    bare,
    camera_colour,
    house_style,
    new_figure,
    to_display,
)
from experiments.report.record import LEARNED, RunRecord
from experiments.report.wording import camera_label

_PEOPLE_WIDE, _PEOPLE_NARROW = 5, 3
_OUTER_EYE_CORNERS = (36, 45)


@dataclass(frozen=True)
class _Faces:
    """The stored pictures of one camera and person by index, whichever are there."""

    scenes: np.ndarray
    truth: np.ndarray | None
    found: np.ndarray | None
    pictures: dict[str, np.ndarray]

    @property
    def people(self) -> int:
        return len(self.scenes)

    @property
    def size(self) -> tuple[int, int]:
        return self.scenes.shape[1], self.scenes.shape[2]


_View = Callable[[Axes, _Faces, int, int], None]  # axes, faces, camera, person


def _read(record: RunRecord, cameras: int) -> _Faces | None:
    scenes = record.array("scenes", 4)
    if scenes is None:
        return None
    people = len(scenes)
    pictures = {}
    for key, ndim in (
        ("measurements", 5),
        ("heatmaps", 4),
        ("inversions_1", 5),
        ("inversions_100", 5),
    ):
        array = record.array(key, ndim)
        if array is not None and len(array) >= cameras and array.shape[1] >= people:
            pictures[key] = array
    truth, found = record.array("landmarks_true", 3), record.array("landmarks_predicted", 4)
    if truth is not None and len(truth) < people:
        truth = None
    if found is not None and (len(found) < cameras or found.shape[1] < people):
        found = None
    return _Faces(scenes, truth, found, pictures)


def _scene(axes: Axes, faces: _Faces, camera: int, person: int) -> None:
    axes.imshow(faces.scenes[person])


def _light(key: str) -> _View:
    def view(axes: Axes, faces: _Faces, camera: int, person: int) -> None:
        axes.imshow(to_display(faces.pictures[key][camera, person]))

    return view


def _heatmap(axes: Axes, faces: _Faces, camera: int, person: int) -> None:
    heat = np.nan_to_num(faces.pictures["heatmaps"][camera, person])
    axes.imshow(heat, cmap="magma", vmin=0.0, vmax=max(float(heat.max()), 1e-6))


def _landmarks(axes: Axes, faces: _Faces, camera: int, person: int) -> None:
    """Draw true points white, found ones magenta, and the error between as a line."""
    axes.imshow(to_display(faces.pictures["measurements"][camera, person]))
    height, width = faces.size
    if faces.truth is not None:
        true = faces.truth[person]
        axes.plot(*true.T, "o", ms=2.6, mfc=TRUTH, mec="#333333", mew=0.4, ls="none")
    if faces.found is not None:
        found = faces.found[camera, person]
        if faces.truth is not None:
            for a, b in zip(faces.truth[person], found, strict=False):
                axes.plot([a[0], b[0]], [a[1], b[1]], color=FOUND, lw=0.7)
            axes.text(
                0.97,
                0.035,
                _error_text(faces.truth[person], found),
                transform=axes.transAxes,
                ha="right",
                va="bottom",
                fontsize=7.5,
                color="white",
                bbox={"facecolor": "black", "alpha": 0.55, "lw": 0, "pad": 1.6},
            )
        axes.plot(*found.T, "o", ms=2.3, mfc=FOUND, mec="none", ls="none")
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)


def _error_text(true: np.ndarray, found: np.ndarray) -> str:
    left, right = _OUTER_EYE_CORNERS
    if len(true) <= right or len(true) != len(found):
        return ""
    scale = float(np.linalg.norm(true[left] - true[right]))
    error = float(np.linalg.norm(true - found, axis=-1).mean())
    if not scale > 0 or not np.isfinite(error):
        return ""
    return f"{100 * error / scale:.1f} %"


def _views(faces: _Faces, *, with_scene: bool) -> list[tuple[str, _View]]:
    views: list[tuple[str, _View]] = [("scene", _scene)] if with_scene else []
    if "measurements" in faces.pictures:
        views.append(("measurement", _light("measurements")))
        if faces.truth is not None or faces.found is not None:
            views.append(("landmarks", _landmarks))
    if "heatmaps" in faces.pictures:
        views.append(("heatmap", _heatmap))
    for key, title in (("inversions_1", "inverted,\n1 frame"), ("inversions_100", "100 frames")):
        if key in faces.pictures:
            views.append((title if key == "inversions_1" else f"inverted,\n{title}", _light(key)))
    return views


def _grid(
    rows: Sequence[tuple[str, str]],
    columns: Sequence[tuple[str, str]],
    draw: Callable[[Axes, int, int], None],
    *,
    tile: float,
    aspect: float,
) -> Figure:
    """Draw a sheet of tiles; rows and columns are (title, colour), `tile` is the width [in]."""
    label = 0.32 if any(title for title, _ in rows) else 0.02
    figure = new_figure(tile * len(columns) + label, tile * aspect * len(rows) + 0.45, pad=0.04)
    sheet = figure.subplots(len(rows), len(columns), squeeze=False)
    for i, (row_title, row_colour) in enumerate(rows):
        for j, (column_title, column_colour) in enumerate(columns):
            axes = sheet[i][j]
            draw(axes, i, j)
            bare(axes)
            if i == 0 and column_title:
                axes.set_title(column_title, color=column_colour, fontsize=9.5, pad=4)
            if j == 0 and row_title:
                axes.set_ylabel(row_title, color=row_colour, fontsize=9.5, fontweight="bold")
    return figure


def people_strip(record: RunRecord) -> Drawing | Missing:
    """Draw what the learned camera makes of several people."""
    faces = _read(record, max(1, record.evidence.get("camera_names", np.array([])).size))
    views = _views(faces, with_scene=True) if faces else []
    if faces is None or len(views) < 2:
        return Missing("people", "This run stored no example pictures, so no people are shown.")
    aspect = faces.size[0] / faces.size[1]
    names = [str(name) for name in record.evidence.get("camera_names", np.array([]))]
    camera = names.index(LEARNED) if LEARNED in names else 0

    def sheet(people: int, tile: float, *, people_in_rows: bool) -> Figure:
        labels = [(f"person {i + 1}", QUIET) for i in range(people)]
        titles = [(title, "#1f2933") for title, _ in views]

        def draw(axes: Axes, i: int, j: int) -> None:
            person, view = (i, j) if people_in_rows else (j, i)
            views[view][1](axes, faces, camera, person)

        rows, columns = (labels, titles) if people_in_rows else (titles, labels)
        return _grid(rows, columns, draw, tile=tile, aspect=aspect)

    with house_style():
        wide = sheet(min(faces.people, _PEOPLE_WIDE), 1.62, people_in_rows=True)
        narrow = sheet(min(faces.people, _PEOPLE_NARROW), 1.35, people_in_rows=False)
    return Drawing(
        "people",
        wide,
        alt="Rows of faces: the scene, the blurred measurement, landmarks, heatmap, inversions.",
        caption="From the scene to what each side gets. White points are the true landmarks, "
        "magenta ones were found in the measurement alone (number: mean error in per cent of the "
        "outer-eye-corner distance); the inversions are what an attacker who knows the exact PSF "
        "reconstructs from one frame and from the mean of 100. All pictures are shown as sRGB.",
        narrow=narrow,
        photographic=True,
        full=True,
    )


def camera_strip(record: RunRecord) -> Drawing | Missing:
    """Draw the first person through the learned camera and every baseline."""
    cameras = [str(name) for name in record.evidence.get("camera_names", np.array([]))]
    faces = _read(record, len(cameras)) if len(cameras) > 1 else None
    views = _views(faces, with_scene=False) if faces else []
    if faces is None or not views:
        return Missing(
            "cameras", "This run stored no pictures of baseline cameras to compare with."
        )
    aspect = faces.size[0] / faces.size[1]
    person = 0
    names = [
        (camera_label(name).replace(" ", "\n", 1), camera_colour(name, cameras)) for name in cameras
    ]
    titles = [(title, "#1f2933") for title, _ in views]

    def wide_tile(axes: Axes, i: int, j: int) -> None:
        views[i][1](axes, faces, j, person)

    narrow_views = [k for k, (title, _) in enumerate(views) if title != "measurement"] or [0]

    def narrow_tile(axes: Axes, i: int, j: int) -> None:
        views[narrow_views[j]][1](axes, faces, i, person)

    with house_style():
        wide = _grid(titles, names, wide_tile, tile=1.75, aspect=aspect)
        narrow = _grid(
            names, [titles[k] for k in narrow_views], narrow_tile, tile=1.15, aspect=aspect
        )
    return Drawing(
        "cameras",
        wide,
        alt=f"One face through {len(cameras)} cameras, with landmarks, heatmap and inversions.",
        caption=f"The same person through the {camera_label(LEARNED)} and the baselines, each "
        "with its own landmark network and attacked with its own exact PSF. A camera protects "
        "only if the last row or column, the inversion of 100 frames, shows no person either.",
        narrow=narrow,
        photographic=True,
        full=True,
    )


def contact_sheet(record: RunRecord) -> Drawing | Missing:
    """Draw the overview of the data set."""
    sheet = record.array("contact_sheet", 3)
    if sheet is None or sheet.shape[-1] != 3 or sheet.dtype != np.uint8:
        return Missing("contact_sheet", "No contact sheet of the data set was stored.")
    height, width = sheet.shape[:2]
    with house_style():
        size = min(10.0, width / 96)
        figure = new_figure(size, size * height / width, pad=0.0)
        axes = figure.subplots()
        axes.imshow(sheet, aspect="auto")
        bare(axes)
    return Drawing(
        "contact_sheet",
        figure,
        alt="Many small face crops of the data set with their landmarks.",
        caption="A sample of the crops with the landmarks they were trained on; look here first "
        "when a number surprises.",
        photographic=True,
        full=True,
    )
