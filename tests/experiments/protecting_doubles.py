"""A reversible protection whose every step is known, and pictures full of metadata."""

import io

import numpy as np
import torch
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin

from anonymizer.keystream import stream
from anonymizer.protection import Capabilities, Protection
from anonymizer.vault import Keyholder, Secret, key_file
from experiments.faces_in_pictures import to_light, to_pixels
from experiments.protecting import Method


class Scramble(Protection):
    """Adds the key's stream to the 8-bit values, modulo 256; its inverse takes it away again."""

    capabilities = Capabilities(keyed=True, recoverable=True, decoy=True, recognisable=False)

    def __init__(self, size=24):
        super().__init__()
        self.size = size

    def protect(self, images, keys=None):
        self.check(images, keys)
        return self._add(images, keys, 1)

    def recover(self, protected, keys):
        self.check(protected, keys)
        return self._add(protected, keys, -1)

    def _add(self, images, keys, sign):
        values = to_pixels(images).astype(np.int64)
        noise = [np.frombuffer(stream(key, values[0].size, "scramble"), np.uint8) for key in keys]
        noise = np.stack(noise).reshape(values.shape).astype(np.int64)
        return to_light(((values + sign * noise) % 256).astype(np.uint8))


class Fixed:
    """Finds faces where it is told, picture after picture."""

    def __init__(self, *squares):
        self.squares = list(squares)

    def __call__(self, pixels):
        return self.squares.pop(0) if len(self.squares) > 1 else self.squares[0]


def method(network=None, model=b"m" * 32):
    network = network or Scramble()
    return Method(network, network.size, model, b"c" * 32, torch.device("cpu"))


def holder():
    return Keyholder(Secret.from_key_file(key_file().encode()))


def picture(seed=0, shape=(64, 80)):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def with_canaries(folder):
    """Write a JPEG, a PNG and a TIFF with 40 canaries in all places there are; return them."""
    words = [f"KANARIE{number:02d}".encode() for number in range(40)]
    left = iter(words)

    def word():
        return next(left).decode()

    exif = Image.Exif()
    for tag in (0x010E, 0x010F, 0x0110, 0x0131, 0x013B, 0x8298, 0x013C, 0x9C9B, 0x9C9D):
        exif[tag] = word()
    details, place = exif.get_ifd(0x8769), exif.get_ifd(0x8825)
    for tag in (0xA420, 0xA430, 0xA431, 0xA433, 0xA434, 0xA435, 0x9003, 0x9286, 0x927C):
        details[tag] = word()
    for tag in (0x001D, 0x001B, 0x001C, 0x0012):
        place[tag] = word()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + next(left)
    thumbnail = io.BytesIO()
    Image.fromarray(picture(9, (16, 16))).save(thumbnail, "JPEG", comment=word())
    pixels = Image.fromarray(picture())
    pixels.save(
        folder / f"{word()}.jpg", "JPEG", exif=exif, icc_profile=profile, comment=word(),
        xmp=f"<x:xmpmeta>{word()}</x:xmpmeta>".encode(),
        extra=b"\xff\xed" + (len(thumbnail.getvalue()) + 2).to_bytes(2, "big")
        + thumbnail.getvalue(),
    )  # fmt: skip
    info = PngImagePlugin.PngInfo()
    for key in ("Author", "Comment", "GPS"):
        info.add_text(key, word())
    info.add_text("Zipped", word(), zip=False)
    info.add_itxt("XML:com.adobe.xmp", word())
    info.add(b"prVt", next(left))
    small = Image.Exif()
    small[0x013B] = word()
    pixels.save(
        folder / f"{word()}.png", pnginfo=info, exif=small,
        icc_profile=profile.replace(b"KANARIE22", next(left)),
    )  # fmt: skip
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag in (270, 271, 315):
        tags[tag] = word()
    rest = word()
    pixels.save(folder / "c.tif", tiffinfo=tags)
    with (folder / "c.tif").open("ab") as file:
        file.write(rest.encode())
    assert next(left, None) is None, "all 40 are placed"
    return words
