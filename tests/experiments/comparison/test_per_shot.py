"""Cameras of a run that draw their mask anew, take less light, or join their pixels."""

import pytest

from experiments.composing import compose
from experiments.contestants import AlteredCamera, Place, RandomMaskCamera
from experiments.settings import Settings, SettingsError, build, to_si
from experiments.store import load_arrays
from tests.experiments.tiny_codesign import ROOT

DISTANCE = 1.5


def opened(finished_run, tmp_path, name):
    """Return a contestant of the configs and its place, on a tiny run."""
    settings = to_si(
        compose(
            "compare",
            [
                "contestants=per_shot", f"design={finished_run}", "size=64", "device=cpu",
                f"cache={tmp_path / 'cache'}", f"weights_path=[{ROOT / 'anonymizer/weights'}]",
            ],
        )
    )  # fmt: skip
    node = settings["contestants"][name]
    if name.startswith("dynamic"):
        node["drawing"]["family"]["masks"] = 3
    return build(node), Place(Settings(settings))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dynamic_mirror", "dynamic_learned"])
def test_masks_are_drawn_once_and_kept(finished_run, tmp_path, name):
    camera, place = opened(finished_run, tmp_path, name)
    defence = camera.open(place, DISTANCE)
    assert isinstance(camera, RandomMaskCamera)
    assert defence.family.shape[:2] == (3, 3)
    assert (defence.psf() - defence.family.mean(0)).abs().max() < 1e-7
    (kept,) = (tmp_path / "cache/families").glob("*.npz")
    before = kept.stat().st_mtime_ns
    again = camera.open(place, DISTANCE)
    assert (again.family == defence.family).all()
    assert kept.stat().st_mtime_ns == before
    assert load_arrays(kept)["psfs"].shape == defence.family.shape
    other, _ = opened(finished_run, tmp_path, name)
    other.drawing["family"]["seed"] = 5
    assert other.made_of(place) != camera.made_of(place)


@pytest.mark.slow
def test_less_light_and_larger_pixels_are_what_they_are_called(finished_run, tmp_path):
    dim, place = opened(finished_run, tmp_path, "dim")
    dark = dim.open(place, DISTANCE)
    sensor = dark.fixed.camera.sensor
    assert sensor.binned_white_electrons == pytest.approx(1000)
    binned, _ = opened(finished_run, tmp_path, "binned")
    coarse = binned.open(place, DISTANCE)
    joined = coarse.fixed.camera.sensor
    assert joined.binning == 4 * sensor.binning
    # noise of reading once for 16 pixels
    assert joined.read_noise == pytest.approx(sensor.read_noise / 4)
    assert coarse.psf().shape[-1] < dark.psf().shape[-1]
    energies = [one.psf().sum((-2, -1)) for one in (coarse, dark)]
    assert (energies[0] - energies[1]).abs().max() < 0.1
    assert dim.made_of(place) != binned.made_of(place)
    bright = AlteredCamera(str(finished_run), white_electrons=1e12)
    with pytest.raises(SettingsError, match="the sensor holds"):
        bright.open(place, DISTANCE)


def test_changes_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="binning = 0"):
        AlteredCamera("latest", binning=0)
    with pytest.raises(ValueError, match="`family` is missing"):
        RandomMaskCamera("latest", {})
