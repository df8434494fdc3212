"""Panels of liquid crystal: the phase that light gets is the phase that was asked for."""

import numpy as np
import pytest
from PIL import Image

from hardware.clock import SimulatedClock
from hardware.errors import HardwareError
from hardware.modulators import SimulatedSlm
from hardware.modulators.response import TURN, proportional, read_response

SHAPE = (24, 40)


def slm(**options):
    given = {"wavelength": 540e-9, "clock": SimulatedClock()} | options
    return SimulatedSlm(SHAPE, 8e-6, **given)


def error(modulator, phase, wavelength):
    """Largest distance around the circle from a phase to what stands [rad]."""
    off = modulator.phase(wavelength) - phase
    return float(np.abs(np.mod(off + np.pi, TURN) - np.pi).max())


def some_phase(seed=0):
    return np.random.default_rng(seed).uniform(-30, 30, SHAPE)


@pytest.mark.parametrize("bits", [1, 2, 8, 10, 16])
def test_phases_come_back_within_half_a_grey(bits):
    modulator = slm(bits=bits)
    modulator.show(some_phase(), 540e-9)
    found = error(modulator, some_phase(), 540e-9)
    assert 0.9 * np.pi / 2**bits < found <= np.pi / 2**bits * (1 + 1e-9)
    assert modulator.quantisation_error(540e-9) == pytest.approx(np.pi / 2**bits)


@pytest.mark.parametrize(("wavelength", "greys"), [(450e-9, 181), (540e-9, 217), (620e-9, 250)])
def test_the_turn_follows_the_wavelength(wavelength, greys):
    modulator = slm(turn_grey=217)
    modulator.show(some_phase(), wavelength)
    assert modulator.greys(some_phase(), wavelength).max() == greys - 1
    found = error(modulator, some_phase(), wavelength)
    worst = modulator.quantisation_error(wavelength)
    assert 0.9 * worst < found <= worst * (1 + 1e-9)


def test_a_wavelength_with_less_than_a_turn_is_refused_with_the_longest():
    modulator = slm(turn_grey=217)
    with pytest.raises(ValueError, match=r"640 nm.*6\.23 rad.*one turn") as raised:
        modulator.show(some_phase(), 640e-9)
    assert "use 637 nm or less" in str(raised.value)
    assert modulator.shown == ""
    modulator.show(some_phase(), 637.0e-9)  # 540 * 256 / 217 = 637.05
    with pytest.raises(ValueError, match="less than one turn"):
        slm().greys(some_phase(), 541e-9)


@pytest.mark.parametrize("falling", [False, True])
def test_a_measured_response_is_inverted(falling, tmp_path):
    grey = np.linspace(3, 250, 12)
    phase = 8.0 * ((grey - 3) / 247) ** 1.3 + 0.4
    shown = phase[::-1] if falling else phase
    rows = "".join(f"{g},{p}\n" for g, p in zip(grey, shown, strict=True))
    (tmp_path / "lut.csv").write_text("grey,phase_rad\n" + rows)
    modulator = slm(lut=tmp_path / "lut.csv")
    for wavelength in (540e-9, 600e-9):
        greys = modulator.greys(some_phase(), wavelength)
        made = np.interp(greys, grey, shown) * (540e-9 / wavelength)
        off = np.abs(np.mod(made - some_phase() + np.pi, TURN) - np.pi).max()
        assert off <= modulator.quantisation_error(wavelength) * (1 + 1e-9)
    with pytest.raises(ValueError, match=r"750 nm.*5\.76 rad"):  # 8 rad * 540 / 750
        modulator.greys(some_phase(), 750e-9)


def test_a_table_that_turns_back_or_does_not_fit_is_refused(tmp_path):
    path = tmp_path / "lut.csv"
    path.write_text("grey,phase_rad\n0,0\n100,4\n255,3\n")
    with pytest.raises(HardwareError, match="phase_rad = 3 follows 4"):
        read_response(path, 8)
    path.write_text("grey,phase_rad\n0,0\n300,7\n")
    with pytest.raises(HardwareError, match="8 bits hold 0 to 255"):
        read_response(path, 8)


def test_the_nearest_phase_is_looked_for_around_the_circle():
    response = proportional(2).first_turn()  # 0, 90, 180, 270 degrees
    asked = np.deg2rad(np.array([[-40.0, 40.0, 50.0, 314.0, 316.0, 725.0]]))
    np.testing.assert_array_equal(response.greys[response.nearest(asked)], [[0, 0, 1, 3, 0, 0]])


@pytest.fixture
def flatness(tmp_path):
    """A bowl of three waves at 540 nm, wrapped to 8 bits as makers deliver it."""
    y, x = (np.linspace(-1, 1, n) for n in SHAPE)
    turns = 1.5 * (x[None, :] ** 2 + y[:, None] ** 2) + 0.2 * x[None, :]
    path = tmp_path / "flat.png"
    Image.fromarray(np.uint8(np.round(turns * 256).astype(int) % 256)).save(path)
    return path, turns * TURN


@pytest.mark.parametrize("wavelength", [540e-9, 480e-9])
def test_a_correction_makes_the_panel_flat_at_other_wavelengths_too(flatness, wavelength):
    path, bowl = flatness
    modulator = slm(turn_grey=217, correction=path)
    modulator.show(np.zeros(SHAPE), wavelength)
    worst = modulator.quantisation_error(wavelength)
    assert error(modulator, 0.0, wavelength) <= worst * (1 + 1e-9)
    # and the greys are those of the bowl itself, which has no jumps
    made = modulator.greys(np.zeros(SHAPE), wavelength) * (TURN / 217) * (540e-9 / wavelength)
    off = np.mod(made - bowl * 540e-9 / wavelength + np.pi, TURN) - np.pi
    piston = np.angle(np.exp(1j * off).mean())  # whole turns at 540 nm are parts of others here
    off = np.mod(off - piston + np.pi, TURN) - np.pi
    assert np.abs(off).max() <= 2 * worst + np.pi / 256


def test_a_correction_of_another_wavelength_is_scaled_by_it(flatness):
    path, bowl = flatness
    modulator = slm(turn_grey=217, correction=path, correction_wavelength=600e-9)
    made = modulator.greys(np.zeros(SHAPE), 540e-9) * (TURN / 217)
    off = np.mod(made - bowl * 600 / 540 + np.pi, TURN) - np.pi
    piston = np.angle(np.exp(1j * off).mean())
    off = np.mod(off - piston + np.pi, TURN) - np.pi
    assert np.abs(off).max() <= 2 * np.pi / 217 + np.pi / 256


def test_a_correction_that_cannot_be_unwrapped_serves_its_own_wavelength_alone(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, SHAPE).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    modulator = slm(turn_grey=217, correction=tmp_path / "noise.png")
    modulator.show(some_phase(), 540e-9)
    assert error(modulator, some_phase(), 540e-9) <= np.pi / 217 * (1 + 1e-9)
    with pytest.raises(ValueError, match="cannot be unwrapped"):
        modulator.show(some_phase(), 500e-9)


def test_the_old_phase_stands_until_the_panel_has_settled():
    clock = SimulatedClock()
    modulator = slm(settle=0.2, clock=clock)
    modulator.show(np.full(SHAPE, 1.0), 540e-9)
    assert clock.now() == pytest.approx(0.2)
    before = modulator.phase(540e-9)
    modulator._display(np.full(SHAPE, 3.0), 540e-9)  # not waited for
    np.testing.assert_array_equal(modulator.phase(540e-9), before)
    clock.sleep(0.1)
    np.testing.assert_allclose(modulator.phase(540e-9), 2.0, atol=0.03)
    clock.sleep(0.1)
    np.testing.assert_allclose(modulator.phase(540e-9), 3.0, atol=0.0124)


def test_digests_tell_pictures_apart_and_blank_and_close_forget():
    modulator = slm()
    first = modulator.show(some_phase(0), 540e-9)
    assert modulator.show(some_phase(1), 540e-9) != first
    assert modulator.show(some_phase(0) + TURN, 540e-9) == first
    modulator.blank()
    assert modulator.shown == ""
    assert not modulator.phase(540e-9).any()
    modulator.show(some_phase(0), 540e-9)
    with modulator:
        pass
    assert modulator.shown == ""
    modulator.close()


@pytest.mark.parametrize(
    ("phase", "wavelength", "message"),
    [
        (np.zeros((40, 24)), 540e-9, r"\(40, 24\), expected \(24, 40\)"),
        (np.full(SHAPE, np.nan), 540e-9, "not numbers"),
        (np.zeros(SHAPE), 540.0, "550e-9"),
    ],
)
def test_what_is_no_phase_is_refused(phase, wavelength, message):
    with pytest.raises(ValueError, match=message):
        slm().show(phase, wavelength)


@pytest.mark.parametrize(
    "options",
    [
        {"bits": 0},
        {"bits": 17},
        {"turn_grey": 1},
        {"turn_grey": 257},
        {"wavelength": 540.0},
        {"turn_grey": 200, "lut": "x.csv"},
    ],
)
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        slm(**options)
