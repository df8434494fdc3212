"""Parts of a session are mixed only if rig and light are the same."""

import numpy as np
import pytest

from hardware.session.identity import (
    SessionChanged,
    drift,
    identity,
    refuse_changes,
    refuse_drift,
)
from tests.hardware.session.small import small_rig


def frames(count, noise=0, **scene):
    rig = small_rig(**({"width": 3.0, "slope": 0.0, "point_rate": 2e7} | scene))
    rig.camera._temporal = np.random.default_rng(noise)
    rig.light({"point": 1.0})
    return [rig.camera.capture(8e-3) for _ in range(count)]


@pytest.mark.parametrize("change", [-0.3, -0.05, 0.0, 0.04])
def test_a_change_of_the_light_is_measured(change):
    (stored,), fresh = frames(1), frames(2, 1, point_rate=2e7 * (1 + change))
    found = drift(stored, tuple(fresh))
    assert found.signal == pytest.approx(change, abs=5 * found.signal_noise)
    assert found.signal_noise < 0.005
    if abs(change) > 0.03:
        with pytest.raises(SessionChanged, match=r"the signal changed by [+-]\d+.\d%"):
            refuse_drift(found, "psf-01")
    else:
        refuse_drift(found, "psf-01")


def test_the_noise_is_that_of_the_measured_change():
    draws = [drift(*(lambda f: (f[0], (f[1], f[2])))(frames(3, noise))) for noise in range(60)]
    scatter = (sum(one.signal**2 for one in draws) / len(draws)) ** 0.5
    mean = sum(one.signal_noise for one in draws) / len(draws)
    shifts = [one.shift / one.shift_noise for one in draws]
    assert scatter == pytest.approx(mean, rel=0.4)  # 60 draws: 9 % on the scatter, 4 sigma
    assert max(shifts) < 4


def test_noise_alone_never_refuses():
    """A spot of a few hundred electrons, whose sum is uncertain by more than the limit."""
    for noise in range(60):
        one = frames(3, noise, point_rate=2e5)
        refuse_drift(drift(one[0], (one[1], one[2])), "psf-01")


def test_a_spot_that_moved_is_refused():
    (stored,), fresh = frames(1), frames(2, 1, centre=(40.0, 72.0))
    with pytest.raises(SessionChanged, match=r"moved by"):
        refuse_drift(drift(stored, tuple(fresh)), "psf-01")


def test_a_frame_without_signal_cannot_be_compared():
    dark = frames(3, point_rate=0.0)
    for frame in dark:
        frame.mosaic[:] = 256
    assert drift(dark[0], (dark[1], dark[2])) is None


def test_the_difference_between_rigs_is_named():
    first, second = small_rig(), small_rig(serial=3, name="other")
    granted = first.camera.configure()
    refuse_changes(identity(first, granted), identity(small_rig(), granted))
    with pytest.raises(SessionChanged, match=r"camera.serial: '0' -> '3'; rig: 'small' -> 'other'"):
        refuse_changes(identity(first, granted), identity(second, granted))
