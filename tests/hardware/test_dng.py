"""DNG files, read back by LibRaw (what photographers' programs use) and by tifffile."""

from datetime import UTC, datetime

import numpy as np
import pytest
import tifffile

from hardware.dng import write_dng
from hardware.frames import BAYER, RawFrame, Roi

rawpy = pytest.importorskip("rawpy", reason="LibRaw is not installed: pip install rawpy")
BLACK = (256.0, 250.0, 260.0, 64.0)  # different, so that their order shows


def frame(cfa="RGGB", mosaic=None, **changes):
    if mosaic is None:
        mosaic = np.random.default_rng(1).integers(0, 4096, (34, 46)).astype(np.uint16)
    known = {
        "cfa": cfa,
        "bits": 12,
        "black_level": BLACK,
        "white_level": 4095.0,
        "exposure": 0.012345,
        "gain": 2.5,
        "timestamp": 1,
        "asked_exposure": 0.0123,
        "asked_gain": 2.5,
        "taken": datetime(2026, 11, 21, 9, 30, tzinfo=UTC),
        "metadata": {"model": "imx477"},
    }
    return RawFrame(mosaic, **(known | changes))


@pytest.fixture
def written(tmp_path):
    """Return a function that writes a frame and opens it with LibRaw."""
    opened = []

    def write(taken, **options):
        write_dng(tmp_path / "frame.dng", taken, **options)
        opened.append(rawpy.imread(str(tmp_path / "frame.dng")))
        return opened[-1]

    yield write
    for raw in opened:
        raw.close()


@pytest.mark.parametrize("cfa", [*BAYER, ""])
def test_libraw_sees_the_same_mosaic_and_white(written, cfa):
    taken = frame(cfa)
    raw = written(taken)
    assert np.array_equal(raw.raw_image, taken.mosaic)
    assert raw.raw_image_visible.shape == taken.shape
    assert raw.white_level == 4095


@pytest.mark.parametrize("cfa", BAYER)
def test_libraw_sees_the_same_colours_with_the_black_of_their_places(written, cfa):
    raw = written(frame(cfa))
    colours = raw.raw_pattern[:2, :2]
    assert "".join(chr(raw.color_desc[index]) for index in colours.ravel()) == cfa
    levels = raw.black_level_per_channel
    assert [levels[index] for index in colours.ravel()] == list(BLACK)


def test_a_crop_at_odd_pixels_takes_its_colours_along(written):
    part = frame("RGGB").crop(Roi(3, 5, 28, 36))
    raw = written(part)
    colours = raw.raw_pattern[:2, :2].ravel()
    assert "".join(chr(raw.color_desc[index]) for index in colours) == "BGGR"
    assert [raw.black_level_per_channel[index] for index in colours] == list(BLACK[::-1])


def test_a_mono_frame_has_one_channel_and_one_black(written):
    raw = written(frame("", black_level=(60.0,) * 4))
    assert raw.num_colors == 1
    assert raw.black_level_per_channel == [60] * 4


@pytest.mark.parametrize(("colour", "index"), [("R", 0), ("G", 1), ("B", 2)])
def test_an_unmeasured_sensor_shows_its_colours_as_those_of_a_screen(written, colour, index):
    """A mosaic that is bright in one colour alone is that pure colour in sRGB."""
    mosaic = np.full((32, 32), 256, np.uint16)
    for place, letter in enumerate("GRBG"):
        if letter == colour:
            mosaic[place // 2 :: 2, place % 2 :: 2] = 2000
    raw = written(frame("GRBG", mosaic, black_level=(256.0,) * 4))
    options = {"use_camera_wb": True, "no_auto_bright": True, "output_bps": 16, "gamma": (1, 1)}
    middle = raw.postprocess(**options)[8:-8, 8:-8].reshape(-1, 3).mean(axis=0)
    assert middle[index] > 1e4
    assert np.delete(middle, index).max() < 0.01 * middle[index]  # matrices agree to 1e-4


def test_a_neutral_colour_comes_out_grey(written):
    neutral = np.array([0.5, 1.0, 0.625])
    mosaic = np.empty((32, 32), np.uint16)
    for place, letter in enumerate("RGGB"):
        level = 256 + 1600 * neutral["RGB".index(letter)]
        mosaic[place // 2 :: 2, place % 2 :: 2] = level
    raw = written(frame("RGGB", mosaic, black_level=(256.0,) * 4), neutral=neutral)
    options = {"use_camera_wb": True, "no_auto_bright": True, "output_bps": 16, "gamma": (1, 1)}
    middle = raw.postprocess(**options)[8:-8, 8:-8].reshape(-1, 3).mean(axis=0)
    assert middle == pytest.approx(np.full(3, middle.mean()), rel=0.005)


@pytest.mark.parametrize("exposure", [60e-6, 0.012345, 1.0, 239.5])
def test_exposure_gain_and_time_are_there(tmp_path, exposure):
    path = tmp_path / "frame.dng"
    write_dng(path, frame(exposure=exposure))
    with tifffile.TiffFile(path) as file:
        tags = file.pages[0].tags
        exif = tags["ExifTag"].value
        assert tags["DateTime"].value == "2026:11:21 09:30:00"
        assert tags["UniqueCameraModel"].value == "imx477"
        assert tags["Orientation"].value == 1
        top, bottom = exif["ExposureTime"]
        assert top / bottom == pytest.approx(exposure, rel=1e-6)
        speeds = {"ISOSpeedRatings", "PhotographicSensitivity"} & exif.keys()  # old and new name
        assert [exif[name] for name in speeds] == [250]


def test_fractions_of_a_black_level_are_kept(tmp_path):
    path = tmp_path / "frame.dng"
    write_dng(path, frame(black_level=(255.75, 256.25, 256.5, 257.0)))
    with tifffile.TiffFile(path) as file:
        values = np.reshape(file.pages[0].tags["BlackLevel"].value, (4, 2))
        assert (values[:, 0] / values[:, 1]).tolist() == [255.75, 256.25, 256.5, 257.0]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "frame.dng"
    write_dng(path, frame())
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_dng(path, frame("BGGR"))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "wrong",
    [
        {"matrix": np.zeros((3, 3))},
        {"matrix": np.eye(2)},
        {"neutral": (1.0, 0.0, 1.0)},
        {"neutral": (2.0, 1.0, 1.0)},
        {"neutral": (1.0, 1.0)},
    ],
)
def test_colours_that_cannot_be_are_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match="needed"):
        write_dng(tmp_path / "frame.dng", frame(), **wrong)
