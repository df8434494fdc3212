"""Simulated data sets: what the camera measures, on its own pixels, with landmarks to match."""

import csv
import json

import numpy as np
import tifffile
import torch

from experiments.cameras import LEARNED
from experiments.composing import compose
from experiments.design import Codesign
from experiments.scene import generator_for, load_scenes, observe
from experiments.settings import to_si
from experiments.simulating import BLACK, WHITE, simulate
from tests.experiments.tiny_codesign import quick, tiny_crops


def opened(finished_run):
    torch.set_num_threads(1)
    return Codesign(to_si(compose("codesign", quick())), finished_run)


def test_pictures_are_what_the_camera_measures_at_their_distances(finished_run, tmp_path):
    work, crops = opened(finished_run), tiny_crops()
    simulate(work, crops, tmp_path)
    folder = tmp_path / "measurements"
    sheet = json.loads((folder / "measurements.json").read_text())
    assert (sheet["black"], sheet["white"]) == (BLACK, WHITE)
    names = sorted(p.relative_to(folder).as_posix() for p in folder.glob("*/*.tif"))
    assert names == sorted(sheet["distance_m"])
    assert len(names) == len(crops)
    assert names[0].startswith("person 0/")
    assert set(sheet["distance_m"].values()) == set(work.setting.grid())
    fixed = work.static(LEARNED)
    distance = work.setting.grid()[1]
    chosen = [name for name in names if sheet["distance_m"][name] == distance]
    rows = [int(name[-10:-4]) for name in chosen]
    scenes = load_scenes(crops, rows)
    noise = [generator_for(work.setting.seed, "simulate", row) for row in rows]
    with torch.no_grad():
        seen = observe(fixed.camera, fixed.psfs[distance], scenes, distance, noise)
    for name, expected in zip(chosen, seen.permute(0, 2, 3, 1).numpy(), strict=True):
        picture = (tifffile.imread(folder / name).astype(float) - BLACK) / (WHITE - BLACK)
        np.testing.assert_allclose(picture, expected, rtol=0, atol=0.51 / (WHITE - BLACK))


def test_landmarks_are_those_of_the_pictures_in_pixels_of_the_measurement(finished_run, tmp_path):
    work, crops = opened(finished_run), tiny_crops()
    simulate(work, crops, tmp_path)
    folder = tmp_path / "measurements"
    with (folder / "landmarks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["file"][-10:-4]) for row in rows] == list(range(len(crops)))
    for number, row in enumerate(rows):
        side = tifffile.imread(folder / row["file"]).shape[0]
        points = np.array([[float(row[f"{a}{k}"]) for a in "xy"] for k in range(68)])
        # the corners of both pictures are the same points
        relative = (points + 0.5) / side
        expected = (crops.landmarks[number] + 0.5) / crops.images.shape[1]
        np.testing.assert_allclose(relative, expected, rtol=0, atol=1e-3)
