"""Pictures and clips as pixels: exact, without metadata, and refused with one reason."""

import contextlib
import io

import av
import numpy as np
import pytest
from PIL import Image

from experiments.data.errors import DataError
from experiments.data.pictures import BadPicture, PictureLimits
from experiments.picture_sources import (
    ClipReader,
    ClipWriter,
    is_clip,
    list_source,
    png_bytes,
    read_picture,
)

LIMITS = PictureLimits()


def noise(shape=(34, 50), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def write_clip(path, frames, times):
    with path.open("wb") as file:
        clip = ClipWriter(file, frames[0].shape[:2])
        for time, pixels in zip(times, frames, strict=True):
            clip.add(time, pixels)
        clip.close()


def test_clips_keep_every_pixel_and_their_times(tmp_path):
    frames, times = [noise(seed=i) for i in range(4)], [0.0, 0.04, 0.1, 0.5]
    write_clip(tmp_path / "a.mkv", frames, times)
    with ClipReader(tmp_path / "a.mkv", LIMITS) as clip:
        found = list(clip)
    assert [time for time, _ in found] == pytest.approx(times, abs=1e-3)
    for (_, pixels), expected in zip(found, frames, strict=True):
        np.testing.assert_array_equal(pixels, expected)


def test_a_picture_file_holds_pixels_alone():
    content = png_bytes(noise())
    kinds = []
    place = 8
    while place < len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        kinds.append(content[place + 4 : place + 8])
        place += size + 12
    assert set(kinds) == {b"IHDR", b"IDAT", b"IEND"}
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), noise())


def test_folders_are_listed_in_order_without_hidden_files(tmp_path):
    for name in ("b.png", "a.jpg", ".hidden", "deep/c.png", ".git/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    names = [str(path.relative_to(tmp_path)) for path in list_source(tmp_path)]
    assert names == ["a.jpg", "b.png", "deep/c.png"]
    assert list_source(tmp_path / "b.png") == [tmp_path / "b.png"]


def test_missing_and_empty_sources_are_named(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        list_source(tmp_path / "none")
    with pytest.raises(DataError, match="holds no files"):
        list_source(tmp_path)


def test_what_is_no_clip_or_too_large_is_refused(tmp_path):
    text = tmp_path / "a.mp4"
    text.write_text("no clip")
    with pytest.raises(BadPicture, match=r"a\.mp4: FFmpeg finds no pictures"):
        ClipReader(text, LIMITS)
    write_clip(tmp_path / "b.mkv", [noise()], [0.0])
    with pytest.raises(BadPicture, match="50 x 34 px"):
        ClipReader(tmp_path / "b.mkv", PictureLimits(max_pixels=1000))


def test_a_clip_cut_short_yields_whole_frames_or_one_reason(tmp_path):
    path = tmp_path / "a.mkv"
    frames = [noise(seed=i) for i in range(3)]
    write_clip(path, frames, [0.0, 0.1, 0.2])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    seen = []
    with contextlib.suppress(BadPicture), ClipReader(path, LIMITS) as clip:
        seen.extend(pixels for _, pixels in clip)
    assert len(seen) < 3
    for pixels, expected in zip(seen, frames, strict=False):
        np.testing.assert_array_equal(pixels, expected)


def test_clips_are_told_by_their_extension(tmp_path):
    assert is_clip(tmp_path / "A.MP4")
    assert not is_clip(tmp_path / "a.png")


def test_sound_and_titles_of_a_clip_are_not_copied(tmp_path):
    source = tmp_path / "s.mkv"
    container = av.open(str(source), "w")
    container.metadata["title"] = "CANARY"
    stream = container.add_stream("ffv1", rate=10)
    stream.width, stream.height, stream.pix_fmt = 50, 34, "bgr0"
    frame = av.VideoFrame.from_ndarray(noise(), format="rgb24").reformat(format="bgr0")
    for packet in [*stream.encode(frame), *stream.encode()]:
        container.mux(packet)
    container.close()
    assert b"CANARY" in source.read_bytes()
    with ClipReader(source, LIMITS) as clip:
        write_clip(tmp_path / "t.mkv", [pixels for _, pixels in clip], [0.0])
    assert b"CANARY" not in (tmp_path / "t.mkv").read_bytes()


def test_pictures_are_read_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise()).save(tmp_path / "a.png", exif=exif)
    pixels = read_picture(tmp_path / "a.png", LIMITS)
    np.testing.assert_array_equal(pixels, np.rot90(noise(), -1))
