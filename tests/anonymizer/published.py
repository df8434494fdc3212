"""Published networks as the configs name them, and labelled photographs to judge them by."""

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from PIL import Image

from anonymizer.colour import decode_srgb
from tests.shared_data import shared

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def group(choice):
    """Return the config of "group=option" alone, with the shared weights on its path."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        path = f"+weights_path=[{shared('data')}]"
        return compose(overrides=[f"+{choice}", path])[choice.split("=")[0]]


def published(choice):
    """Instantiate "group=option" with its published weights."""
    return instantiate(group(choice), _convert_="all")


def read(path):
    return np.asarray(Image.open(path).convert("RGB"))


def portraits(n):
    """Return n portraits and their hand-placed pupils (n, 2, 2) [px]."""
    with np.load(shared("data/faces/dev/frll_landmarks189.npz"), allow_pickle=False) as file:
        ids, pupils = file["ids"][:n], file["points"][:n, :2]
    folder = shared("data/faces/dev/frll_hq512")
    return [read(folder / i / "neutral_front.jpg") for i in ids], pupils


def aligned_pairs(step):
    """Return every `step`-th official pair: linear faces a, b (n, 3, 112, 112), same, fold."""
    folder = shared("data/faces/dev")
    with (folder / "lfw.csv").open() as file:
        where = {row["image"]: row["aligned112"] for row in csv.DictReader(file)}
    with (folder / "lfw_pairs_view2.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["erratum"] == "0"][::step]
    archives = {}

    def face(name):
        archive, member = where[name].split(":")
        if archive not in archives:
            archives[archive] = zipfile.ZipFile(folder / archive)
        return read(io.BytesIO(archives[archive].read(member)))

    try:
        a, b = (
            decode_srgb(
                torch.from_numpy(np.stack([face(r[k]) for r in rows])).permute(0, 3, 1, 2) / 255
            )
            for k in "ab"
        )
    finally:
        for archive in archives.values():
            archive.close()
    same = np.array([r["same"] == "1" for r in rows])
    return a, b, same, np.array([int(r["fold"]) for r in rows])
