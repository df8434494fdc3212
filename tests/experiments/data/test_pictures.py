"""Files of every kind: the right picture, or one sentence with the file's name."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from experiments.data.pictures import (
    BadPicture,
    PictureLimits,
    decode_picture,
    read_picture_file,
)
from tests.experiments.data.photographs_fakes import encoded, ramp, save

LIMITS = PictureLimits()


def decode(data, name="a.png", limits=LIMITS):
    return decode_picture(data, name, limits)


def refuse(data, name="a.png", limits=LIMITS):
    """Return the error, which must begin with the file and be one line."""
    with pytest.raises(BadPicture) as caught:
        decode_picture(data, name, limits)
    message = str(caught.value)
    assert message.startswith(f"{name}: ")
    assert "\n" not in message
    return caught.value


def png(width, height, bits, colour_type, rows):
    """Return a PNG made by hand; Pillow writes no 16-bit colour."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def deep_png(values, colour_type):
    """Return a 16-bit PNG of values (H, W) or (H, W, C)."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(values.shape[1], values.shape[0], 16, colour_type, rows)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_return_the_pixels(kind):
    image = ramp()
    picture = decode(encoded(image, kind), f"a.{kind.lower()}")
    np.testing.assert_array_equal(picture.pixels, image)
    assert picture.notes == ()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats_return_nearly_the_pixels(kind):
    picture = decode(encoded(ramp(), kind, quality=95), f"a.{kind.lower()}")
    # quality 95 on smooth ramps: a few levels, more at the wrap-around of the third channel
    assert np.abs(picture.pixels.astype(int) - ramp()).mean() < 4


def test_zero_bytes():
    assert refuse(b"").kind == "empty"


def test_one_byte():
    assert refuse(b"\xff").kind == "not a picture"


def test_a_large_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "big.jpg"
    with path.open("wb") as file:
        file.truncate(3 * 2**30)  # sparse: takes no room
    tracemalloc.start()
    with pytest.raises(BadPicture, match=r"big\.jpg: the file has 3072\.0 MiB, at most 64 MiB"):
        read_picture_file(path, path.name, LIMITS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP", "PPM", "progressive"])
def test_a_file_cut_short_anywhere_is_refused_or_whole(kind):
    """Never a face that is grey below the cut; only trailing bytes without pixels may miss."""
    options = {"progressive": True} if kind == "progressive" else {}
    data = encoded(ramp(), "JPEG" if options else kind, **options)
    whole = decode(data).pixels
    refused = 0
    for offset in np.linspace(1, len(data) - 1, 100).astype(int):
        try:
            np.testing.assert_array_equal(decode(data[:offset]).pixels, whole)
        except BadPicture as error:
            assert error.kind in {"damaged", "not a picture"}  # noqa: PT017
            refused += 1
    assert refused >= (60 if kind == "PNG" else 90)  # a ramp packs so well that trailers count


def test_a_byte_changed_in_a_png_is_noticed():
    data = bytearray(encoded(ramp()))
    data[len(data) // 2] ^= 0x10
    assert refuse(bytes(data)).kind == "damaged"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (b"\n <HTML><body>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"%PDF-1.7 ....", "PDF"),
        (b"PK\x03\x04........", "ZIP"),
        (b"\0\0\0\x18ftypheic....", "HEIC"),
        (bytes(5000), "not written to the end"),
        (b"\x93NUMPY\x01\x00", "NumPy"),
    ],
)
def test_other_files_are_named_for_what_they_are(data, what):
    error = refuse(data, "face.png")
    assert error.kind == "not a picture"
    assert what in error.reason


def test_the_content_decides_not_the_extension():
    picture = decode(encoded(ramp()), "a.jpg")
    np.testing.assert_array_equal(picture.pixels, ramp())
    assert picture.notes == ("other extension",)


def test_grey_becomes_three_equal_channels():
    grey = ramp()[..., 0]
    picture = decode(encoded(grey))
    np.testing.assert_array_equal(picture.pixels, np.repeat(grey[..., None], 3, axis=2))
    assert picture.notes == ("grey",)


def test_sixteen_bit_grey_png_is_scaled():
    deep = np.linspace(0, 65535, 48 * 64).astype(np.uint16).reshape(48, 64)
    picture = decode(deep_png(deep, 0))
    np.testing.assert_array_equal(picture.pixels[..., 1], np.rint(deep / 257).astype(np.uint8))
    assert "16 bit" in picture.notes


@pytest.mark.parametrize("colour_type", [2, 6])
def test_sixteen_bit_colour_png_is_scaled(colour_type):
    channels = {2: 3, 6: 4}[colour_type]
    deep = np.full((20, 32, channels), 65535, np.uint16)
    deep[..., :3] = np.linspace(0, 65535, 20 * 32 * 3).astype(np.uint16).reshape(20, 32, 3)
    picture = decode(deep_png(deep, colour_type))
    # the high byte is v // 256, within one level of v / 257
    np.testing.assert_allclose(picture.pixels, deep[..., :3] / 257, rtol=0, atol=1)


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bit_grey_tiff_is_scaled_in_both_byte_orders(order):
    deep = np.linspace(0, 65535, 20 * 32).astype(np.uint16).reshape(20, 32)
    magic, payload = (
        (b"II*\0", deep.astype("<u2")) if order == "<" else (b"MM\0*", deep.astype(">u2"))
    )

    def tag(number, kind, value):
        packed = (
            struct.pack(order + "H", value) + b"\0\0"
            if kind == 3
            else struct.pack(order + "I", value)
        )
        return struct.pack(order + "HHI", number, kind, 1) + packed

    tags = [(256, 3, 32), (257, 3, 20), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 8)]
    tags += [(277, 3, 1), (278, 3, 20), (279, 4, payload.nbytes)]
    directory = struct.pack(order + "H", len(tags)) + b"".join(tag(*t) for t in tags) + bytes(4)
    data = magic + struct.pack(order + "I", 8 + payload.nbytes) + payload.tobytes() + directory
    picture = decode(data, "a.tif")
    np.testing.assert_array_equal(picture.pixels[..., 0], np.rint(deep / 257).astype(np.uint8))


def test_sixteen_bit_pgm_is_scaled():
    deep = np.linspace(0, 65535, 20 * 32).astype(">u2").reshape(20, 32)
    picture = decode(b"P5 32 20 65535\n" + deep.tobytes(), "a.pgm")
    np.testing.assert_array_equal(picture.pixels[..., 0], np.rint(deep / 257).astype(np.uint8))


def test_thirty_two_bit_values_are_refused():
    error = refuse(encoded(Image.fromarray(np.ones((20, 32), np.float32)), "TIFF"), "a.tif")
    assert error.kind == "32 bit"


def test_cmyk_jpeg_becomes_rgb():
    flat = Image.new("RGB", (32, 24), (200, 60, 30)).convert("CMYK")
    picture = decode(encoded(flat, "JPEG", quality=95), "a.jpg")
    assert "CMYK" in picture.notes
    # JPEG at quality 95 moves a flat colour by a level or two
    np.testing.assert_allclose(picture.pixels.reshape(-1, 3).mean(axis=0), (200, 60, 30), atol=3)


def test_transparent_parts_show_mid_grey():
    image = np.zeros((24, 32, 4), np.uint8)
    image[:, :16] = (250, 10, 20, 255)
    picture = decode(encoded(image))
    assert picture.pixels[0, 0].tolist() == [250, 10, 20]
    assert picture.pixels[0, 31].tolist() == [128, 128, 128]
    assert "transparent" in picture.notes


def test_palette_with_a_transparent_colour_shows_mid_grey():
    image = Image.new("P", (32, 24), 0)
    image.putpalette([250, 10, 20, 0, 200, 0])
    image.paste(1, (16, 0, 32, 24))
    picture = decode(encoded(image, transparency=1))
    assert picture.pixels[0, 0].tolist() == [250, 10, 20]
    assert picture.pixels[0, 31].tolist() == [128, 128, 128]


TURNED = {  # what the stored picture looks like so that the orientation makes it upright
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(TURNED[orientation](ramp()))
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    picture = decode(encoded(stored, kind, exif=exif, **options), f"a.{kind.lower()}")
    np.testing.assert_array_equal(picture.pixels, ramp())


def test_orientation_of_a_jpeg_equals_the_turned_copy():
    exif = Image.Exif()
    exif[0x0112] = 6
    noted = decode(encoded(ramp(), "JPEG", exif=exif), "a.jpg")
    plain = decode(encoded(ramp(), "JPEG"), "a.jpg")
    np.testing.assert_array_equal(noted.pixels, np.rot90(plain.pixels, -1))
    assert noted.notes == ("turned upright",)


def test_damaged_exif_does_not_cost_the_picture():
    data = encoded(ramp(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + bytes(8))
    assert decode(data, "a.jpg").pixels.shape == (48, 64, 3)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_several_frames_are_refused(kind):
    frames = [Image.fromarray(ramp(seed=i)) for i in range(3)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    error = refuse(data, "a.x")
    assert error.kind == "animated"
    assert "3 frames" in error.reason


def test_animated_gif_is_refused():
    frames = [Image.fromarray(ramp(seed=i)) for i in range(3)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert "GIF" in refuse(data, "a.png").reason


def test_a_jpeg_with_a_preview_is_its_first_frame():
    first, preview = Image.fromarray(ramp()), Image.fromarray(ramp(24, 32))
    data = encoded(first, "MPO", save_all=True, append_images=[preview], quality=95)
    assert decode(data, "a.jpg").pixels.shape == (48, 64, 3)


@pytest.mark.parametrize("side", [9000, 13000, 60000])
def test_a_decompression_bomb_is_refused_from_its_header(side):
    data = png(side, side, 8, 2, b"\0")
    tracemalloc.start()
    error = refuse(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.kind == "huge"
    assert peak < 2**20


def test_a_tiny_picture_is_refused_with_its_size():
    assert "12 x 40 px, at least 16 px" in refuse(encoded(ramp(40, 12))).reason


def test_noise_never_raises_anything_else():
    random = np.random.default_rng(0)
    seeds = [encoded(ramp(20, 24), kind) for kind in ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM")]
    for i in range(600):
        data = bytearray(seeds[i % len(seeds)])
        for place in random.integers(0, min(len(data), 200), 3):
            data[place] = random.integers(256)
        try:
            assert decode(bytes(data)).pixels.ndim == 3
        except BadPicture as error:
            assert error.reason  # noqa: PT017


def test_a_folder_or_nothing_is_not_a_file(tmp_path):
    with pytest.raises(BadPicture, match="not a regular file"):
        read_picture_file(tmp_path, "a.png", LIMITS)
    with pytest.raises(BadPicture, match=r"b\.png: there is no such file"):
        read_picture_file(tmp_path / "b.png", "b.png", LIMITS)


def test_a_file_comes_back_whole(tmp_path):
    path = save(tmp_path / "a.png", ramp())
    assert read_picture_file(path, "a.png", LIMITS) == path.read_bytes()


def test_limits_out_of_range_are_refused():
    with pytest.raises(ValueError, match="max_pixels = 500000000 px"):
        PictureLimits(max_pixels=500_000_000)
    with pytest.raises(ValueError, match="max_bytes = 0"):
        PictureLimits(max_bytes=0)


def test_pictures_with_an_odd_mode_are_converted():
    for mode in ("1", "LA", "RGBA", "P"):
        image = Image.fromarray(ramp()).convert(mode)
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        assert decode(buffer.getvalue()).pixels.shape == (48, 64, 3)
