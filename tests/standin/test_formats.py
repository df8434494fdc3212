"""Raw formats that picamera2 is granted, and the values that arrive through each of them."""

from dataclasses import replace

import numpy as np
import pytest

from tests import standin
from tests.standin.compression import compress
from tests.standin.pixels import read_window
from tests.standin.sensors import Mode
from tests.standin.sessions import HEIGHT, SMALL, WIDTH, board, configured, taken

pytestmark = standin.marks

Y, X = np.mgrid[:HEIGHT, :WIDTH]
RAMP = 2e4 + 300.0 * X + 700.0 * Y  # [e-/s]; no two neighbours alike, nor its mirror images
EXPOSURE = 10000  # [us]


def picamera():
    from picamera2 import Picamera2

    return Picamera2()


@pytest.mark.parametrize(
    ("sensor", "pipeline", "size", "bits", "asked", "granted", "stride"),
    [
        (standin.IMX477, standin.VC4, (4056, 3040), 12, "SRGGB12", "SRGGB12", 8128),
        (standin.IMX477, standin.VC4, (4056, 3040), 12, "SRGGB12_CSI2P", "SRGGB12_CSI2P", 6112),
        (standin.IMX477, standin.VC4, (1332, 990), 10, "SRGGB10_CSI2P", "SRGGB10_CSI2P", 1696),
        (standin.IMX477, standin.PISP, (4056, 3040), 12, "SRGGB12", "SRGGB16", 8128),
        (standin.IMX477, standin.PISP, (4056, 3040), 12, "SRGGB12_CSI2P", "RGGB_PISP_COMP1", 4096),
        (standin.IMX296, standin.VC4, (1456, 1088), 10, "SRGGB10", "SRGGB10", 2912),
        (standin.IMX296_MONO, standin.VC4, (1456, 1088), 10, "R10", "R10", 2912),
        (standin.IMX296_MONO, standin.PISP, (1456, 1088), 10, "R10", "R16", 2944),
    ],
)
def test_granted_format_and_row_length(sensor, pipeline, size, bits, asked, granted, stride):
    mode = next(m for m in sensor.modes if (m.size, m.bits) == (size, bits))
    with standin.plugged(standin.Board(sensor, pipeline)), picamera() as camera:
        raw = configured(camera, exposure=EXPOSURE, raw=asked, mode=mode, buffer_count=1)
    assert raw["format"] == granted
    assert raw["size"] == size
    assert raw["stride"] == stride
    assert raw["framesize"] == stride * size[1]


@pytest.mark.parametrize(
    ("pipeline", "asked", "index", "left"),
    [
        (standin.VC4, "SRGGB12", -1, 0),
        (standin.VC4, "SRGGB12_CSI2P", -1, 0),
        (standin.VC4, "SRGGB10", 0, 0),
        (standin.VC4, "SRGGB10_CSI2P", 0, 0),
        (standin.VC4, "SRGGB12", 2, 0),
        (standin.PISP, "SRGGB12", -1, 4),
        (standin.PISP, "SRGGB10", 0, 6),
    ],
)
def test_every_pixel_has_the_charge_of_its_place_in_the_scene(pipeline, asked, index, left):
    """Standardised residuals are standard normal: place, gain, black level and noise at once."""
    mode = SMALL.modes[index]
    with standin.plugged(board(lambda state: RAMP, pipeline=pipeline)), picamera() as camera:
        granted = configured(camera, exposure=EXPOSURE, gain=2.0, raw=asked, mode=mode)
        camera.start()
        values, metadata = taken(camera, granted)
    x, y, w, h = mode.crop
    mean = RAMP[y : y + h, x : x + w] * metadata["ExposureTime"] * 1e-6
    if mode.binning == 2:  # same-colour neighbours are two pixels apart
        rows, columns = (np.arange(n // 2) // 2 * 4 + np.arange(n // 2) % 2 + 1 for n in (h, w))
        mean = mean[np.ix_(rows, columns)]  # of a ramp: the middle of what is averaged
    gain = 0.47 * 2.0 * 2.0 ** (mode.bits - 12)  # [DN/e-]
    black = 256 * 2.0 ** (mode.bits - 12)
    read = 1.49**2 + (2.60 / 2) ** 2  # [e-^2]
    sigma = np.sqrt(gain**2 * (mean + read) / mode.binning**2 + 1 / 12)
    assert (values % 2**left == 0).all()  # left-justified: nothing below the last bit
    residual = (values / 2**left - black - gain * mean) / sigma
    n = residual.size  # 5 standard errors
    assert abs(residual.mean()) < 5 / np.sqrt(n)
    assert residual.std() == pytest.approx(1, abs=5 / np.sqrt(2 * n))
    assert abs(residual).max() < 6


def test_packed_raw_of_a_pi_5_comes_back_through_picamera2s_decompressor_with_a_loss():
    with standin.plugged(board(lambda state: RAMP, pipeline=standin.PISP)), picamera() as camera:
        granted = configured(camera, exposure=EXPOSURE, raw="SRGGB12_CSI2P")
        camera.start()
        request = camera.capture_request()
        rows = request.make_array("raw")
        request.release()
        values = camera.helpers.decompress(rows).view(np.uint16)[:, :WIDTH].astype(float)
    assert granted["format"] == "RGGB_PISP_COMP1"
    mean = 4096 + 7.52 * RAMP * EXPOSURE * 1e-6
    assert len(np.unique(values)) < len(np.unique(np.rint(mean / 16)))  # tonal levels are lost
    sigma = np.sqrt(7.52**2 * (RAMP * EXPOSURE * 1e-6 + 9))
    # Beyond the noise there is half a step of at most 256 on these values.
    assert (abs(values - mean) < 6 * sigma + 128).all()


@pytest.mark.parametrize(
    ("base", "rough", "worst"),
    [(4096, 500, 8), (8000, 1500, 16), (4096, 3000, 32), (4096, 7000, 64), (4096, 40000, 256),
     (50000, 4000, 64), (57000, 4000, 64)],
)  # fmt: skip
def test_compression_loses_half_a_step_of_the_quantiser_that_fits(base, rough, worst):
    rng = np.random.default_rng(1)
    image = (base + rng.integers(0, rough, (64, 256))).astype(np.uint16)
    with standin.plugged():
        from picamera2.request import Helpers

        back = Helpers.decompress(None, compress(image)).view(np.uint16)
    error = abs(back.astype(int) - image)
    assert worst // 2 < error.max() <= worst


def test_a_neighbourhood_of_any_contrast_survives_compression():
    """No word overflows: the worst step is half of 512, whatever stands side by side."""
    rng = np.random.default_rng(2)
    levels = np.array([0, 2048, 4096, 7168, 12000, 26000, 26700, 40000, 65535])
    image = rng.choice(levels, (64, 256)).astype(np.uint16)
    with standin.plugged():
        from picamera2.request import Helpers

        back = Helpers.decompress(None, compress(image)).view(np.uint16)
    assert abs(back.astype(int) - np.maximum(image, 2048)).max() <= 256


@pytest.mark.parametrize(
    ("hflip", "vflip", "rotation", "order"),
    [
        (0, 0, 0, "RGGB"),
        (1, 0, 0, "GRBG"),
        (0, 1, 0, "GBRG"),
        (1, 1, 0, "BGGR"),
        (0, 0, 180, "BGGR"),
        (1, 0, 180, "GBRG"),
    ],
)
def test_flips_mirror_the_picture_and_its_colour_filters(hflip, vflip, rotation, order):
    red = np.where((Y % 2 == 0) & (X % 2 == 0), 4e4, 0.0) * (X + 2 * Y < WIDTH)
    with standin.plugged(board(lambda state: red, rotation=rotation)), picamera() as camera:
        from libcamera import Transform

        turn = Transform(hflip=hflip, vflip=vflip)
        granted = configured(camera, exposure=EXPOSURE, transform=turn)
        camera.start()
        values, _ = taken(camera, granted)
    assert granted["format"] == f"S{order}12"
    row, column = divmod(order.index("R"), 2)
    lit = values > 256 + 90  # 400 e- give 188 DN
    assert lit[row::2, column::2].sum() == lit.sum() > 0
    upside = bool(vflip) != (rotation == 180)
    mirrored = bool(hflip) != (rotation == 180)
    expected = (red > 0)[:: -1 if upside else 1, :: -1 if mirrored else 1]
    assert (lit == expected).all()


def test_binning_averages_pixels_of_the_same_colour():
    colours = np.array([[1.0, 2.0], [3.0, 4.0]])
    flux = np.tile(colours, (4, 6)) + np.kron(np.arange(24.0).reshape(4, 6), np.ones((2, 2))) * 10
    mode = Mode((6, 4), 12, (0, 0, 12, 8), 1e-5, 10)
    binned = read_window(flux, mode, mono=False)
    # The top-left output block averages the 2 x 2 input blocks 0, 1, 6 and 7.
    np.testing.assert_allclose(binned[:2, :2], colours + 10 * (0 + 1 + 6 + 7) / 4)
    np.testing.assert_allclose(
        read_window(flux, mode, mono=True)[0, :2], [2.5 + 0, 2.5 + 10]
    )  # a block each


@pytest.mark.parametrize(("gain", "level"), [(1.0, 256 + 0.47 * 4000), (4.0, 4095)])
def test_full_well_bounds_the_charge_and_the_white_level_the_values(gain, level):
    sensor = replace(SMALL, full_well=4000.0)
    with standin.plugged(board(lambda state: 1e9, sensor=sensor)), picamera() as camera:
        granted = configured(camera, exposure=EXPOSURE, gain=gain)
        camera.start()
        values, _ = taken(camera, granted)
    assert np.unique(values).tolist() == [round(level)]


def test_main_stream_shows_the_scene_and_saves_as_jpeg(tmp_path):
    from PIL import Image

    scene = np.where(X < WIDTH // 2, 0.0, 1e5)
    with standin.plugged(board(lambda state: scene)), picamera() as camera:
        configured(camera, exposure=EXPOSURE)
        camera.start()
        picture = camera.capture_array("main")
        camera.capture_file(tmp_path / "picture.jpg")
    assert picture.shape == (48, 64, 3)
    assert picture[:, :30].mean() < 30  # read noise through the gamma curve
    assert picture[:, 34:].mean() > 100
    with Image.open(tmp_path / "picture.jpg") as image:
        assert image.size == (64, 48)
        assert np.asarray(image)[:, 34:].mean() > 100


@pytest.mark.parametrize("name", ["XBGR8888", "XRGB8888", "RGB888", "BGR888"])
def test_main_formats_put_red_where_their_name_says(name):
    red = np.where((Y % 2 == 0) & (X % 2 == 0), 1e5, 0.0)
    with standin.plugged(board(lambda state: red)), picamera() as camera:
        camera.configure(camera.create_preview_configuration({"size": (40, 30), "format": name}))
        camera.start()
        image = camera.capture_image("main").convert("RGB")  # by picamera2's own table
    r, g, b = np.asarray(image).reshape(-1, 3).mean(axis=0)
    assert r > 150 > 60 > max(g, b)


def test_low_resolution_yuv_is_grey_for_a_grey_scene():
    with standin.plugged(board(lambda state: 5e4)), picamera() as camera:
        configuration = camera.create_preview_configuration(
            {"size": (64, 48)}, lores={"size": (40, 30)}, controls={"ColourGains": (1.0, 1.0)}
        )
        camera.configure(configuration)
        camera.start()
        planes = camera.capture_array("lores")
    assert planes.shape[0] == 45
    luma, chroma = planes[:30, :40], planes[30:].reshape(30, -1)[:, :20]
    assert luma.std() < 10 < luma.mean()
    assert abs(chroma.mean() - 128) < 1
