"""A plausible processed picture: colours from 2 x 2 blocks, white balance, gamma, nearest pixel.

No denoising, sharpening, shading or colour matrix; the whole window of the mode is stretched to
the size asked for.
"""

import numpy as np

CHANNELS = {  # name -> memory order of red, green, blue and an opaque fourth byte
    "BGR888": (0, 1, 2),
    "RGB888": (2, 1, 0),
    "XBGR8888": (0, 1, 2, 3),
    "XRGB8888": (2, 1, 0, 3),
}
FORMATS = (*CHANNELS, "YUV420")


def row_bytes(name: str, width: int) -> int:
    """Return the bytes of one row before padding (of the luma plane for YUV420)."""
    return width * (1 if name == "YUV420" else len(CHANNELS[name]))


def frame_bytes(name: str, stride: int, height: int) -> int:
    """Return the bytes of a frame."""
    return stride * height * 3 // 2 if name == "YUV420" else stride * height


def rgb_of(mosaic, cfa: str, size, black: float, white: float, colour_gains) -> np.ndarray:
    """Return the mosaic as uint8 (H, W, 3) of `size` (width, height)."""
    width, height = size
    rows = np.arange(height) * (mosaic.shape[0] // 2) // height * 2
    columns = np.arange(width) * (mosaic.shape[1] // 2) // width * 2

    def site(index):
        return mosaic[np.ix_(rows + index // 2, columns + index % 2)].astype(np.float32)

    if cfa:
        greens = [site(i) for i, colour in enumerate(cfa) if colour == "G"]
        red, blue = site(cfa.index("R")) - black, site(cfa.index("B")) - black
        planes = [red * colour_gains[0], sum(greens) / 2 - black, blue * colour_gains[1]]
    else:
        planes = [site(0) - black] * 3
    linear = np.stack(planes, axis=-1) / (white - black)
    return (255 * linear.clip(0, 1) ** (1 / 2.2) + 0.5).astype(np.uint8)


def encode_processed(rgb: np.ndarray, name: str, stride: int) -> np.ndarray:
    """Return the bytes of a frame (1-D uint8) for the picture `rgb` (H, W, 3)."""
    height, width, _ = rgb.shape
    if name != "YUV420":
        opaque = np.full((height, width, 1), 255, np.uint8)
        pixels = np.concatenate([rgb, opaque], axis=-1)[..., list(CHANNELS[name])]
        out = np.zeros((height, stride), np.uint8)
        out[:, : row_bytes(name, width)] = pixels.reshape(height, -1)
        return out.ravel()
    red, green, blue = np.moveaxis(rgb.astype(np.float32), -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    y = np.zeros((height, stride), np.uint8)
    y[:, :width] = luma + 0.5
    chroma = []
    for colour, factor in ((blue, 0.564), (red, 0.713)):
        plane = np.full((height // 2, stride // 2), 128, np.uint8)
        plane[:, : width // 2] = (128 + factor * (colour - luma)[::2, ::2]).clip(0, 255)
        chroma.append(plane.ravel())
    return np.concatenate([y.ravel(), *chroma])
