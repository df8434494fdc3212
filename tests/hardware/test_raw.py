"""Raw buffers: every format that the receivers of a Raspberry Pi grant, and what is refused."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.errors import FrameError, HardwareError, LossyFormatError
from hardware.frames import BAYER
from hardware.raw import decode, raw_format
from tests.standin.pipelines import encode_raw


def padded(mosaic, name, bits, padding=0):
    """Return a buffer (H, stride) as the stand-in's receiver writes it, with rubbish behind rows.

    The rubbish would show if padding were taken for pixels.
    """
    needed = raw_format(name).row_bytes(mosaic.shape[1])
    rows = encode_raw(mosaic, name, bits, needed + padding)
    rows[:, needed:] = 0xA5
    return rows


@pytest.mark.parametrize(
    ("name", "values", "wire"),
    [  # MIPI CSI-2: high bytes of the pixels first, then their low bits, first pixel lowest
        ("SRGGB12_CSI2P", [0xABC, 0x123], [0xAB, 0x12, 0x3C]),
        ("R10_CSI2P", [0x3FF, 0x001, 0x2AA, 0x100], [0xFF, 0x00, 0xAA, 0x40, 0b00_10_01_11]),
        ("Y12", [0xABC, 0x123], [0xBC, 0x0A, 0x23, 0x01]),
        ("R8", [0xAB, 0x01], [0xAB, 0x01]),
    ],
)
def test_bytes_of_the_wire_become_the_values_of_the_standard(name, values, wire):
    rows = np.array([wire], np.uint8)
    assert decode(rows, raw_format(name), (1, len(values)), len(wire)).tolist() == [values]


@settings(max_examples=40, deadline=None)
@given(
    depth=st.sampled_from([10, 12]),
    packed=st.booleans(),
    height=st.integers(1, 37),
    groups=st.integers(1, 9),
    padding=st.integers(0, 20).map(lambda n: 2 * n),
    seed=st.integers(0, 99),
)
def test_what_a_receiver_writes_is_read_back(depth, packed, height, groups, padding, seed):
    mosaic = np.random.default_rng(seed).integers(0, 2**depth, (height, 4 * groups), np.uint16)
    name = f"SGBRG{depth}" + "_CSI2P" * packed
    rows = padded(mosaic, name, depth, padding)
    back = decode(rows, raw_format(name), mosaic.shape, rows.shape[1], depth)
    assert back.dtype == np.uint16
    assert np.array_equal(back, mosaic)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_values_at_the_high_end_of_16_bits_come_down_by_the_bits_of_the_sensor(bits):
    mosaic = np.random.default_rng(0).integers(0, 2**bits, (6, 8)).astype(np.uint16)
    rows = padded(mosaic, "SRGGB16", bits, padding=48)
    assert np.array_equal(decode(rows, raw_format("SRGGB16"), (6, 8), 64, bits), mosaic)


@pytest.mark.parametrize("cfa", BAYER)
@pytest.mark.parametrize("ending", ["8", "10", "12", "14", "16", "10_CSI2P", "12_CSI2P"])
def test_the_order_of_the_colours_is_that_of_the_name(cfa, ending):
    assert raw_format(f"S{cfa}{ending}").cfa == cfa


@pytest.mark.parametrize("name", ["R8", "R10", "R12", "R16", "R10_CSI2P", "Y8", "Y10", "Y12P"])
def test_a_sensor_without_colours_has_none(name):
    assert raw_format(name).cfa == ""


@pytest.mark.parametrize("name", ["RGGB_PISP_COMP1", "MONO_PISP_COMP1", "GBRG_PISP_COMP2"])
def test_a_lossy_format_is_refused_with_what_to_ask_for(name):
    with pytest.raises(LossyFormatError, match="ask for an unpacked format"):
        raw_format(name)


@pytest.mark.parametrize("name", ["YUV420", "MJPEG", "SRGBG12", "SRGGB11", "SRGGB14_CSI2P", ""])
def test_what_is_not_known_is_not_guessed(name):
    with pytest.raises(HardwareError, match="is not known"):
        raw_format(name)


@pytest.mark.parametrize(
    ("name", "shape", "stride", "size", "said"),
    [
        ("SRGGB12", (4, 8), 14, 64, "stride = 14 bytes: a row of 8 pixels of SRGGB12 has 16"),
        ("SRGGB12", (4, 8), 17, 68, "stride = 17"),
        ("SRGGB12_CSI2P", (4, 8), 11, 64, "has 12"),
        ("SRGGB12", (4, 8), 16, 63, "buffer has 63 bytes, but 4 rows of 16 have 64"),
        ("SRGGB10_CSI2P", (4, 6), 16, 64, "multiple of 4 pixels"),
    ],
)
def test_a_short_buffer_or_a_wrong_stride_is_no_frame(name, shape, stride, size, said):
    with pytest.raises(FrameError, match=said):
        decode(np.zeros(size, np.uint8), raw_format(name), shape, stride)


@pytest.mark.parametrize("bits", [0, 17])
def test_bits_that_the_format_cannot_hold_are_an_argument_error(bits):
    with pytest.raises(ValueError, match=f"bits = {bits}, expected 1 to 16"):
        decode(np.zeros((1, 4), np.uint8), raw_format("R16"), (1, 2), 4, bits)


@pytest.mark.parametrize("name", ["SRGGB12", "SRGGB16", "SRGGB12_CSI2P", "R8"])
def test_values_do_not_change_when_the_camera_writes_the_buffer_again(name):
    buffer = np.full(4 * 64, 7, np.uint8)
    form = raw_format(name)
    values = decode(buffer, form, (4, 32), 64, 8 if name == "R8" else 12)
    before = values.copy()
    buffer[:] = 200
    assert np.array_equal(values, before)
    assert values.flags.c_contiguous


def test_what_follows_the_last_row_is_ignored():
    mosaic = np.arange(32, dtype=np.uint16).reshape(4, 8)
    buffer = np.concatenate([padded(mosaic, "R12", 12).ravel(), np.full(99, 255, np.uint8)])
    assert np.array_equal(decode(buffer, raw_format("R12"), (4, 8), 16), mosaic)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SRGGB12_CSI2P", "SRGGB10_CSI2P", "SRGGB12", "SRGGB16"])
def test_twelve_megapixels_take_a_fraction_of_a_frame(name):
    """At ten frames per second; measured 5 to 30 ms on a desktop processor, a Pi is 3 to 5 slower.

    Processor time, not time on the clock: other tests may run beside.
    """
    form, shape = raw_format(name), (3040, 4056)
    stride = -(-form.row_bytes(4056) // 32) * 32
    rows = np.random.default_rng(0).integers(0, 256, (3040, stride), np.uint8)
    begun = time.process_time()
    for _ in range(3):
        decode(rows, form, shape, stride, 12 if form.depth != 10 else 10)
    assert (time.process_time() - begun) / 3 < 0.1
