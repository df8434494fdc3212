"""What the two camera receivers of a Raspberry Pi make of a raw request.

The older one (VC4: Pi 4 and before) writes what the sensor sent, unpacked and right-justified or
packed as on the CSI-2 wire. The newer one (PiSP: Pi 5) writes 16 bits left-justified, or 8 bits
per pixel with a lossy compression when a packed format is asked for.
"""

from dataclasses import dataclass

import numpy as np

from tests.standin.compression import compress


@dataclass(frozen=True)
class Pipeline:
    """A receiver: its name, the alignment of its rows [bytes], and where its cameras hang."""

    name: str
    row_alignment: int
    bus: str

    def granted(self, asked: str, cfa: str, bits: int) -> str:
        """Return the raw format that the pipeline grants for the one `asked`.

        Parameters
        ----------
        asked : str
            Format of the request; only whether it is packed matters.
        cfa : str
            Colour filter order after the flips; "" for a monochrome sensor.
        bits : int
            Bits per pixel of the sensor mode.
        """
        packed = asked.endswith(("_CSI2P", "_PISP_COMP1"))
        letters = f"S{cfa}" if cfa else "R"
        if self.name == "vc4":
            return f"{letters}{bits}_CSI2P" if packed else f"{letters}{bits}"
        return f"{cfa or 'MONO'}_PISP_COMP1" if packed else f"{letters}16"

    def stride(self, row_bytes: int) -> int:
        """Return the bytes from one row to the next."""
        return -(-row_bytes // self.row_alignment) * self.row_alignment


VC4 = Pipeline("vc4", 32, "/base/soc/i2c0mux/i2c@1")
PISP = Pipeline("pisp", 64, "/base/axi/pcie@1000120000/rp1/i2c@88000")


def raw_row_bytes(name: str, width: int) -> int:
    """Return the bytes of one row of `width` pixels, before padding."""
    if name.endswith("_PISP_COMP1"):
        return -(-width // 8) * 8
    if name.endswith("10_CSI2P"):
        return width * 5 // 4
    if name.endswith("12_CSI2P"):
        return width * 3 // 2
    return width * 2


def encode_raw(mosaic: np.ndarray, name: str, bits: int, stride: int) -> np.ndarray:
    """Return a frame as the receiver writes it.

    Parameters
    ----------
    mosaic : ndarray of uint16, shape (H, W)
        Sensor values, right-justified [DN].
    name : str
        Granted format.
    bits : int
        Bits per pixel of `mosaic`.
    stride : int
        Bytes from one row to the next.

    Returns
    -------
    ndarray of uint8, shape (H, stride)
    """
    height, width = mosaic.shape
    out = np.zeros((height, stride), np.uint8)
    if name.endswith("_PISP_COMP1"):
        padded = np.zeros((height, raw_row_bytes(name, width)), np.uint16)
        padded[:, :width] = mosaic << (16 - bits)
        out[:, : padded.shape[1]] = compress(padded)
    elif name.endswith("12_CSI2P"):
        even, odd = mosaic[:, 0::2], mosaic[:, 1::2]
        out[:, 0 : width * 3 // 2 : 3] = even >> 4
        out[:, 1 : width * 3 // 2 : 3] = odd >> 4
        out[:, 2 : width * 3 // 2 : 3] = (even & 15) | (odd & 15) << 4
    elif name.endswith("10_CSI2P"):
        end = width * 5 // 4
        for i in range(4):
            out[:, i:end:5] = mosaic[:, i::4] >> 2
            out[:, 4:end:5] |= ((mosaic[:, i::4] & 3) << 2 * i).astype(np.uint8)
    else:
        shift = 16 - bits if name.endswith("16") else 0
        out.view(np.uint16)[:, :width] = mosaic << shift
    return out
