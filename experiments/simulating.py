"""A data set as the camera of a finished run would take it: at true scale, with its noise.

One folder per person holds 16-bit TIFF pictures (H, W, RGB) of linear light, on the camera's own
binned pixels; `landmarks.csv` beside them has the landmarks in their pixels, `measurements.json`
the scale and, for every picture, the distance [m].
"""

import csv
import io
import logging
from pathlib import Path

import numpy as np
import tifffile
import torch
from torch import Tensor
from tqdm import tqdm

from experiments.cameras import LEARNED
from experiments.data.crops import FaceCrops
from experiments.design import Codesign
from experiments.scene import generator_for, load_scenes, observe
from experiments.store import atomic_write, save_json

log = logging.getLogger(__name__)

#: Numbers of no light and of scene white; noise goes below, highlights to twice the white.
BLACK, WHITE = 2048, 32768
FOLDER, TABLE, SHEET = "measurements", "landmarks.csv", "measurements.json"
_BATCH = 32


def simulate(work: Codesign, crops: FaceCrops, run: Path) -> None:
    """Measure every picture of `crops` once, the distances of the run in turn.

    Parameters
    ----------
    work : Codesign
        Run of the camera; its calibrated one if it has one.
    crops : FaceCrops
        Pictures.
    run : Path
        Where the data set is written.
    """
    fixed, distances = work.static(LEARNED), work.setting.grid()
    rows_of = {d: np.arange(k, len(crops), len(distances)) for k, d in enumerate(distances)}
    parts = [
        (distance, part)
        for distance, rows in rows_of.items()
        for part in np.split(rows, range(_BATCH, len(rows), _BATCH))
    ]
    table: dict[int, list[str]] = {}
    taken: dict[str, float] = {}
    with tqdm(total=len(crops), unit="picture", disable=not work.settings["progress"]) as bar:
        for distance, rows in parts:
            if not len(rows):
                continue
            scenes = load_scenes(crops, rows).to(work.processes.device)
            noise = [generator_for(work.setting.seed, "simulate", int(row)) for row in rows]
            with torch.no_grad():
                seen = observe(fixed.camera, fixed.psfs[distance], scenes, distance, noise)
            # pixel n of N is at (n + 0.5) M / N - 0.5 of M, as pictures are resized
            scale = seen.shape[-1] / scenes.size
            landmarks = (scenes.landmarks + 0.5) * scale - 0.5
            for row, picture, points in zip(rows.tolist(), seen, landmarks, strict=True):
                name = f"{_person(crops, row)}/{row:06d}.tif"
                _write(run / FOLDER / name, picture)
                table[row] = [name, *(f"{value:.3f}" for value in points.flatten().tolist())]
                taken[name] = distance
            bar.update(len(rows))
    _write_table(run / FOLDER / TABLE, [table[row] for row in sorted(table)])
    sheet = {"black": BLACK, "white": WHITE, "pixel_m": fixed.camera.sensor.pitch}
    save_json(run / FOLDER / SHEET, sheet | {"distance_m": dict(sorted(taken.items()))})
    save_json(run / "metrics.json", {"pictures": float(len(crops))})
    log.info("%d pictures at %s m", len(crops), ", ".join(f"{d:.3g}" for d in distances))


def _person(crops: FaceCrops, row: int) -> str:
    person = int(crops.person[row])
    return "unnamed" if person < 0 else crops.names[person].replace("/", "_")


def _write(path: Path, picture: Tensor) -> None:
    """Write a measurement (3, H, W) as 16-bit TIFF."""
    numbers = (BLACK + picture.permute(1, 2, 0).double().cpu() * (WHITE - BLACK)).round()
    memory = io.BytesIO()
    tifffile.imwrite(memory, numbers.clamp(0, 65535).numpy().astype(np.uint16), photometric="rgb")
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, memory.getvalue())


def _write_table(path: Path, rows: list[list[str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", *(f"{axis}{k}" for k in range(68) for axis in "xy")])
    writer.writerows(rows)
    atomic_write(path, text.getvalue().encode())
