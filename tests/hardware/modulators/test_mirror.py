"""Deformable mirrors: modes are made, limits are told, hysteresis is taken out."""

import numpy as np
import pytest

from hardware.clock import SimulatedClock
from hardware.errors import EmergencyStopped, HardwareError, SettingsNotApplied
from hardware.fabrication.influence import gaussian_actuators
from hardware.fabrication.zernike_fit import noll_orders, zernike
from hardware.modulators import SimulatedMirror
from hardware.modulators.mirror import LAST_SWING, relaxing

INFLUENCE = gaussian_actuators(12, 0.15, 3.5e-6, 64)
PUPIL = INFLUENCE.pupil


def mirror(**options):
    given = {"hysteresis": 0.0, "swings": 0, "clock": SimulatedClock()} | options
    return SimulatedMirror(INFLUENCE, 10e-3, **given)


def surface(amplitudes):
    x = INFLUENCE.axis()
    total = sum(a * zernike(*noll_orders(j), x[None, :], x[:, None]) for j, a in amplitudes.items())
    return total * PUPIL


def rms(values):
    inside = values[PUPIL]
    return float(np.std(inside))


@pytest.mark.parametrize("j", range(2, 16))
def test_each_mode_is_made_within_the_error_it_tells(j):
    made = mirror()
    state = made.command({j: 50e-9})
    found = rms(made.surface() - surface({j: 50e-9}))
    assert found == pytest.approx(state.residual, rel=1e-6)
    assert state.wanted == pytest.approx(50e-9, rel=0.03)  # unit RMS, on 64 samples
    assert found < 0.08 * 50e-9
    assert state.clipped == 0


def test_modes_add_up_and_a_phase_is_twice_the_surface():
    wanted = {4: 60e-9, 7: -30e-9, 11: 20e-9}
    by_modes = mirror()
    by_modes.command(wanted)
    assert rms(by_modes.surface() - surface(wanted)) < 0.05 * rms(surface(wanted))
    by_phase = mirror()
    by_phase.show(surface(wanted) * (4 * np.pi / 540e-9), 540e-9)
    np.testing.assert_allclose(by_phase.surface(), by_modes.surface(), atol=1e-12)
    assert by_phase.shown


def test_beyond_the_stroke_is_refused_with_a_factor_that_fits():
    made = mirror()
    with pytest.raises(ValueError, match=r"actuators would end at their limits.*scale it by") as e:
        made.command({4: 2e-6})
    factor = float(str(e.value).split("scale it by ")[1].split(",")[0])
    assert made.shown == ""
    assert made.command({4: factor * 2e-6}).clipped == 0
    with pytest.raises(ValueError, match="limits"):
        made.command({4: 1.1 * factor * 2e-6})


def test_clipped_where_that_is_wanted_the_residual_is_that_of_the_surface():
    made = mirror(clip=True)
    state = made.command({4: 2e-6})
    assert state.clipped > 0
    assert rms(made.surface() - surface({4: 2e-6})) == pytest.approx(state.residual, rel=1e-6)
    assert state.residual > 0.05 * state.wanted
    assert (state.commands <= INFLUENCE.highest).all()
    assert (state.commands >= INFLUENCE.lowest).all()


def test_a_wrapped_phase_is_refused():
    """Whole turns are free on a panel, and impossible on a mirror."""
    ramp = np.linspace(0, 40 * np.pi, 64)[None, :] * np.ones((64, 1))
    with pytest.raises(ValueError, match="unwrap the phase"):
        mirror().show(np.mod(ramp, 2 * np.pi), 540e-9)


@pytest.mark.parametrize(("amplitudes", "message"), [({1: 1e-9}, "noll"), ({4: 1.0}, "1e-3 m")])
def test_modes_that_mean_nothing_are_refused(amplitudes, message):
    with pytest.raises(ValueError, match=message):
        mirror().command(amplitudes)


def test_nan_amplitudes_are_refused():
    with pytest.raises(ValueError, match="amplitude of mode 4"):
        mirror().command({4: float("nan")})


def histories(**options):
    """The same surface after two different pasts, and how far apart they are (RMS) [m]."""
    wanted, found = {4: 80e-9, 6: 50e-9}, []
    for past in ({4: 250e-9}, {4: -250e-9, 8: 60e-9}):
        made = mirror(hysteresis=0.14, **options)
        made.command(past)
        made.command(wanted)
        found.append(made.surface())
    return rms(found[0] - found[1]), found, surface(wanted)


def test_the_past_shows_without_a_relax_cycle_and_is_erased_by_one():
    apart, _, wanted = histories(swings=0)
    assert apart > 0.05 * rms(wanted)
    apart, found, wanted = histories(swings=20)
    assert apart < 1e-15
    assert rms(found[0] - wanted) < 0.1 * rms(wanted)


def test_a_relax_cycle_begins_at_a_limit_shrinks_and_ends_below():
    low, high = np.full(3, -1.0), np.full(3, 1.0)
    target = np.array([-0.9, 0.0, 0.5])
    steps = np.array(list(relaxing(target, low, high, 20)))
    assert len(steps) == 20
    assert (np.abs(steps[0]) == 1).all()
    assert (np.diff(np.abs(steps - target), axis=0) <= 1e-12)[:, 1].all()
    assert (steps[-1] < target).all()
    np.testing.assert_allclose(steps[-1], target - LAST_SWING * 2)
    assert (np.sign(steps[1:, 1]) == -np.sign(steps[:-1, 1])).all()
    assert list(relaxing(target, low, high, 0)) == []
    assert (np.array(list(relaxing(target, low, high, 1))) == low).all()


def test_every_swing_is_given_its_time():
    clock = SimulatedClock()
    mirror(clock=clock, settle=0.01, swings=20).command({4: 10e-9})
    assert clock.now() == pytest.approx(0.21)


def test_the_hysteresis_opens_the_loop_by_what_it_says():
    made = mirror(hysteresis=0.2)
    high = INFLUENCE.highest

    def height(share):
        made._apply(high * share)
        weight = made._weight
        return (1 - 7 * weight) * made._part[0] + weight * made._plays[:, 0].sum()

    top = height(1.0)
    down = height(0.0)
    bottom = height(-1.0)
    up = height(0.0)
    assert (down - up) / (top - bottom) == pytest.approx(0.2)


def test_an_emergency_stop_is_rest_until_it_is_cleared():
    made = mirror()
    made.command({4: 50e-9})
    made.emergency_stop()
    assert rms(made.surface()) == 0
    assert made.shown == ""
    with pytest.raises(EmergencyStopped):
        made.command({4: 50e-9})
    assert rms(made.surface()) == 0
    made.clear()
    made.command({4: 50e-9})
    assert rms(made.surface()) > 40e-9


def test_a_stop_within_a_relax_cycle_ends_it():
    made = mirror(swings=20)
    send, sent = made._apply, []

    def apply(commands):
        sent.append(commands)
        if len(sent) == 5:
            made.emergency_stop()
        return send(commands)

    made._apply = apply
    with pytest.raises(EmergencyStopped):
        made.command({4: 50e-9})
    made._apply = send
    assert rms(made.surface()) == 0
    assert len(sent) <= 7  # the fifth, and rest


def test_close_is_rest():
    made = mirror()
    with made:
        made.command({4: 50e-9})
    assert rms(made.surface()) == 0
    assert made.shown == ""
    made.close()


def test_a_device_that_applies_other_commands_is_found_out():
    made = mirror(swings=0)
    made._apply = lambda commands: np.where(np.arange(len(commands)) == 3, 0.0, commands)
    with pytest.raises(SettingsNotApplied, match="actuator 3"):
        made.command({2: 100e-9})
    assert made.shown == ""


def test_an_influence_from_a_file_is_the_same_mirror(tmp_path):
    path = tmp_path / "influence.npz"
    np.savez(
        path,
        influence_m=INFLUENCE.surfaces,
        lowest=INFLUENCE.lowest,
        highest=INFLUENCE.highest,
        unit="m",
    )
    made = SimulatedMirror(path, 10e-3, hysteresis=0.0, clock=SimulatedClock())
    made.command({5: 50e-9})
    assert rms(made.surface() - surface({5: 50e-9})) < 3e-9
    with pytest.raises(HardwareError, match=r"none\.npz.*No such"):
        SimulatedMirror(tmp_path / "none.npz", 10e-3)


@pytest.mark.parametrize(
    "options",
    [{"damping": 2.0}, {"swings": -1}, {"samples": 8}, {"hysteresis": 0.9}, {"settle": 99.0}],
)
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        mirror(**options)
