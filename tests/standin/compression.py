"""PISP_COMP1: eight pixels in eight bytes, with a loss that grows with the signal.

The inverse of the decompressor in picamera2's ``Helpers.decompress``: pixels of one colour go in
fours into a 32-bit word, even columns into the first and odd columns into the second word of a
pair. Two bits choose the quantiser; the finest one that can hold the four pixels is taken.
How the hardware rounds is not public, so an encoder of its kind, not its bits, is reproduced.
"""

import numpy as np

OFFSET = 2048  # black is lowered by this much before the quantiser [DN16]


def _fine(value: np.ndarray, mode: int) -> np.ndarray:
    """Return the codes of quantiser 0 (16 DN, then 32), 1 (64) or 2 (128)."""
    if mode:
        return (value + (32 << (mode - 1))) >> (5 + mode)
    return np.where(value < 5120, (value + 8) >> 4, ((value + 16) >> 5) + 160)


def _coarse(value: np.ndarray) -> np.ndarray:
    """Return the codes of quantiser 3 (256 DN, then 512), at most 175."""
    low = (value + 128) >> 8
    return np.where(low < 94, low, np.minimum(((value + 256) >> 9) + 47, 175))


def _packed_fine(codes: np.ndarray, mode: int) -> tuple[np.ndarray, np.ndarray]:
    """Return words of four codes (4, ...), and where they can be held.

    The two middle pixels are the reference (9 bits) and a difference (7 bits); each outer one is
    a difference (7 bits) to its neighbour, from a base that stays within range.
    """
    q0, q1, q2, q3 = codes
    low = np.minimum(q1, q2)
    far = mode * low >= 768  # there the second pixel is told from 448 - 64 on
    field0 = np.where(far, q1, low)
    field1 = np.where(far, q2 - 384, q2 - q1 + 64)
    field2 = q0 - np.minimum(1536 >> mode, np.maximum(q1 - 64, 0))
    field3 = q3 - np.minimum(1536 >> mode, np.maximum(q2 - 64, 0))
    fits = (codes <= 511).all(0)
    for part in (field1, field2, field3):
        fits &= (part >= 0) & (part < 128)
    word = mode | field0 << 2 | field1 << 11 | field2 << 18 | field3 << 25
    return word, fits


def _packed_coarse(codes: np.ndarray) -> np.ndarray:
    """Return words of four 0..175 codes (4, ...), two to every 15 bits."""
    q0, q1, q2, q3 = codes

    def pair(a, b):
        return (a & 15) | (b + 176 * (a >> 4)) << 4

    return 3 | pair(q0, q1) << 2 | pair(q2, q3) << 17


def compress(image: np.ndarray) -> np.ndarray:
    """Return the compressed rows of a picture.

    Parameters
    ----------
    image : ndarray of uint16, shape (H, W)
        Left-justified values [DN16]; W is a multiple of 8.

    Returns
    -------
    ndarray of uint8, shape (H, W)
    """
    height, width = image.shape
    words = np.empty((height, width // 8, 2), np.int32)
    for top in range(0, height, 16):  # bands that stay in the processor's cache
        band = image[top : top + 16]
        value = np.maximum(band.astype(np.int32) - OFFSET, 0)
        fours = value.reshape(len(band), width // 8, 4, 2).transpose(2, 0, 1, 3).copy()
        best = _packed_coarse(_coarse(fours))
        for mode in (2, 1, 0):
            fine, fits = _packed_fine(_fine(fours, mode), mode)
            best = np.where(fits, fine, best)
        words[top : top + 16] = best
    return words.view(np.uint8).reshape(height, width)
