"""Faces of capture sessions: binning without demosaicing, and the regressor for a detector."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from anonymizer.alignment import CANONICAL68
from anonymizer.heatmaps import gaussian_heatmaps
from anonymizer.regressors import Heatmaps
from experiments import anonymizer_use
from experiments.captured_faces import binned, read_face
from experiments.data.errors import DataError
from experiments.data.pictures import PictureLimits
from experiments.picture_sources import read_picture
from hardware.frames import RawFrame
from tests.experiments.test_disguising import disguise
from tests.experiments.tiny_anonymizer import finished

BLACK, WHITE = (250.0, 256.0, 260.0, 256.0), 4095.0


def frame(light, binning=8, cfa="RGGB", fraction=0.7):
    """A raw frame of linear light (3, h, w), as binned pixels."""
    planes = light.repeat(binning, 1).repeat(binning, 2)
    mosaic = np.zeros(planes.shape[1:])
    for place, colour in enumerate(cfa):
        i, j = divmod(place, 2)
        span = fraction * (WHITE - BLACK[place])
        mosaic[i::2, j::2] = BLACK[place] + span * planes["RGB".index(colour), i::2, j::2]
    return RawFrame(
        np.rint(mosaic).astype(np.uint16), cfa, 12, BLACK, WHITE, 0.01, 1.0, 0, 0.01, 1.0
    )


@pytest.mark.parametrize("cfa", ["RGGB", "BGGR", "GRBG"])
def test_binning_gives_back_the_light_of_each_colour(cfa):
    light = np.random.default_rng(0).uniform(0, 1, (3, 5, 6))
    found = binned(frame(light, cfa=cfa), binning=8, white_fraction=0.7)
    torch.testing.assert_close(found, torch.from_numpy(light).float(), atol=4e-4, rtol=0)
    with pytest.raises(ValueError, match="binning = 3: a Bayer mosaic and an even number"):
        binned(frame(light, cfa=cfa), binning=3, white_fraction=0.7)


class Bright(torch.nn.Module):
    """Reads a face of the usual shape wherever the light is."""

    def forward(self, pictures):
        size = pictures.shape[-1]
        weight = pictures.mean(1)
        total = weight.sum((1, 2)).clamp(min=1e-9)
        line = torch.arange(float(size))
        x, y = (weight.sum(1) * line).sum(1) / total, (weight.sum(2) * line).sum(1) / total
        points = CANONICAL68 * (size / 2.5) + torch.stack((x, y), 1)[:, None]
        maps = gaussian_heatmaps(points, size).clamp(min=1e-12).log()
        return Heatmaps(maps, maps[:, :1], size)


def test_the_regressor_leads_to_a_face_off_the_middle():
    light = torch.zeros(3, 60, 80)
    light[:, 20:31, 50:61] = 0.8
    observer = SimpleNamespace(regressor=Bright(), regressor_size=64)
    found = read_face(observer, light, side=40.0, at=None, size=64)
    middle = found.square.matrix @ torch.tensor([0.5, 0.5, 1.0]).double()
    torch.testing.assert_close(middle, torch.tensor([55.0, 25.0]).double(), atol=1.0, rtol=0)
    assert found.square.side == pytest.approx(40)
    told = read_face(observer, light, side=40.0, at=(54, 26), size=64)
    torch.testing.assert_close(told.measurement, found.measurement, atol=0.15, rtol=0)
    points = found.heatmaps.landmarks()[0]
    assert (points.mean(0) - 31.5).abs().max() < 6


def test_a_captured_frame_gets_another_face_in_its_place_alone(tmp_path):
    made = finished()
    sensor = made.observer.camera.camera.sensor
    light = np.random.default_rng(1).uniform(0.2, 0.8, (3, 64, 96))
    taken = frame(light, binning=sensor.binning, fraction=sensor.white_fraction)
    one = disguise(made=made)
    assert one.frame(taken, (48, 32), 1, tmp_path / "a") == 1
    shown = read_picture(tmp_path / "a.png", PictureLimits())
    assert shown.shape == (64, 96, 3)
    other = replace(one, styles=type(one.styles)(made.anonymizer, 99))
    other.frame(taken, (48, 32), 1, tmp_path / "b")
    differ = (read_picture(tmp_path / "b.png", PictureLimits()) != shown).any(-1)
    assert differ.any()
    assert differ.any(0).sum() <= one.size + 2  # columns: no more than the square
    assert differ.any(1).sum() <= one.size + 2


def test_a_session_without_a_scene_is_refused(tmp_path, monkeypatch):
    (tmp_path / "session.json").write_text("{}")
    session = SimpleNamespace(frames=lambda kind: [], load=None)
    monkeypatch.setattr(anonymizer_use, "Session", SimpleNamespace(open=lambda folder: session))
    with pytest.raises(DataError, match="the session has no frames of a scene"):
        anonymizer_use.list_pieces({"source": str(tmp_path)}, disguise(), PictureLimits())
