"""Deformable mirror: the surface that the commands make, limits, damping, and the files."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from hardware.errors import HardwareError
from hardware.fabrication.influence import (
    damped_commands,
    gaussian_actuators,
    read_influence,
)
from hardware.fabrication.mirror import Mirror
from optics.masks import GaussianActuators
from optics.zernike import zernike_at
from tests.hardware.fabrication.designs import blazed, design_of


def design(amplitudes, size=(80, 100)):
    """Surface of Noll modes 1 to J [m RMS], drawn by `optics`, for a mirror (index 3)."""
    y, x = ((np.arange(n) - (n - 1) / 2) / 40 for n in size)
    a = torch.tensor(amplitudes, dtype=torch.float64)
    height = zernike_at(a, torch.tensor(y)[:, None], torch.tensor(x)[None, :]).numpy()
    return replace(design_of(height), index=3.0, pixelated=False)


def modes(*pairs):
    out = np.zeros(15)
    for j, value in pairs:
        out[j - 1] = value
    return out


def test_amplitudes_of_a_mirror_design_are_its_own(tmp_path):
    a = np.random.default_rng(5).normal(size=15) * 2e-8
    written = Mirror().write(design(a), tmp_path)
    with written.files[0].open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["noll"]) for row in rows] == list(range(2, 16))
    found = [float(row["amplitude_rms_nm"]) for row in rows]
    np.testing.assert_allclose(found, a[1:] * 1e9, atol=1e-9)  # an exact combination
    assert written.notes["not_in_modes_rms_nm"] < 1e-9


def test_a_transparent_mask_becomes_half_its_path_difference(tmp_path):
    """Glass of index 1.5: 0.5 of the height is path, a mirror makes it with 0.25 of the height."""
    glass = replace(design(modes((4, 1e-7))), index=1.5)
    found = Mirror(modes=(4,)).write(glass, tmp_path).notes["amplitude_rms_nm"]
    np.testing.assert_allclose(found, [25.0], rtol=1e-12)


def test_the_surface_made_is_the_surface_wanted_within_its_residual(tmp_path):
    wanted = design(modes((2, 8e-8), (5, 5e-8), (7, -4e-8), (8, 6e-8), (11, 3e-8)))
    target = Mirror(damping=0.001)
    written = target.write(wanted, tmp_path)
    found = target.read(tmp_path, written)
    assert target.compare(wanted, found).exact
    assert written.notes["clipped"] == 0
    x = (np.arange(64) - 31.5) / 32
    a = torch.tensor(modes((2, 8e-8), (5, 5e-8), (7, -4e-8), (8, 6e-8), (11, 3e-8)))
    line = torch.tensor(x)
    meant = zernike_at(a, line[:, None], line[None, :]).numpy()
    inside = np.hypot(x[None, :], x[:, None]) <= 1
    error = (found.height - meant)[inside]
    error -= error.mean()
    rms = float(np.sqrt((error**2).mean()))
    assert written.notes["residual_rms_nm"] == pytest.approx(rms * 1e9, rel=1e-6)
    # smooth modes by 12 actuators across with 15 percent coupling: a few percent of 125 nm ripple
    assert rms < 0.05 * float(meant[inside].std())
    assert found.spacing == pytest.approx(wanted.diameter / 64)


def test_the_letter_stands_upright_on_a_fine_mirror(tmp_path):
    letter = np.zeros((80, 100))
    letter[25:55, 35:40] = letter[25:30, 35:55] = letter[37:42, 35:50] = 2e-8
    shown = replace(design_of(letter), index=3.0)
    target = Mirror(modes=range(2, 200), actuators=32, damping=0.001)
    found = target.read(tmp_path, target.write(shown, tmp_path)).height
    views = {
        (flip, turn): np.corrcoef(
            found.ravel(),
            np.rot90(np.flip(_square(letter), 1) if flip else _square(letter), turn).ravel(),
        )[0, 1]
        for flip in (False, True)
        for turn in range(4)
    }
    assert max(views, key=views.get) == (False, 0)
    assert views[False, 0] > 0.75  # 198 modes blur strokes of a sixteenth of the pupil


def _square(letter):
    """Middle 80 x 80 cells on 64 x 64 samples."""
    at = ((np.arange(64) + 0.5) * 80 / 64).astype(int)
    return letter[:, 10:90][np.ix_(at, at)]


def test_actuators_are_those_of_the_simulated_mirror():
    influence = gaussian_actuators(9, 0.2, 2e-6, 48)
    y, x = np.mgrid[-1:1:9j, -1:1:9j]
    near = np.flatnonzero(np.hypot(x, y) <= 1 + 0.75 / 4)
    assert len(influence.surfaces) == len(near) == 69
    simulated = GaussianActuators(across=9, coupling=0.2)
    for own, place in [(0, near[0]), (17, near[17]), (68, near[68])]:
        poke = torch.zeros(81)
        poke[place] = 1.0
        wanted = simulated.surface(poke, 48, 2.0).numpy()
        np.testing.assert_allclose(influence.surfaces[own], wanted, atol=1e-6)  # poke in float32
    assert (influence.highest == 1e-6).all()
    assert (influence.lowest == -1e-6).all()


def test_a_mirror_out_of_stroke_stops_at_its_limits_and_the_others_help():
    influence = gaussian_actuators(8, 0.15, 1e-6, 48)
    x = influence.axis()
    tilt = np.broadcast_to(2 * 0.42e-6 * x[None, :], (48, 48))[influence.pupil]
    commands, clipped = damped_commands(influence, tilt, 0.001)
    assert clipped > 0
    assert np.abs(commands).max() == pytest.approx(0.5e-6, rel=1e-12)
    free, _ = damped_commands(
        replace(influence, lowest=influence.lowest * 9, highest=influence.highest * 9),
        tilt,
        0.001 / 9,
    )
    cut = np.clip(free, influence.lowest, influence.highest)

    def error(c):
        return float(((influence.matrix() @ c - tilt) ** 2).sum())

    assert error(commands) < error(cut)


def test_damping_keeps_what_the_mirror_hardly_sees_small():
    """Two actuators with all but the same surface: their difference is hardly seen."""
    influence = gaussian_actuators(6, 0.15, 4e-6, 32)
    other = influence.surfaces[:1] * (1 + 1e-4 * influence.axis())
    twin = np.concatenate([influence.surfaces, other])
    limit = np.full(len(twin), 1.0)
    doubled = replace(influence, surfaces=twin, lowest=-limit, highest=limit)
    noise = np.random.default_rng(6).normal(size=int(influence.pupil.sum())) * 1e-8
    plain, _ = damped_commands(doubled, noise, 0.0)
    damped, _ = damped_commands(doubled, noise, 0.01)
    assert np.abs(plain).max() > 100 * np.abs(damped).max()


def test_without_damping_an_attainable_surface_is_attained():
    influence = gaussian_actuators(7, 0.15, 4e-6, 48)
    rng = np.random.default_rng(7)
    wanted = rng.normal(size=len(influence.lowest)) * 2e-7
    found, clipped = damped_commands(influence, influence.matrix() @ wanted, 0.0)
    assert clipped == 0
    difference = influence.matrix() @ (found - wanted)
    assert np.abs(difference).max() < 1e-12  # of 1e-7: normal equations square the condition


def measured(path):
    """Mirror in volts, biased: 0 to 150 V, with different gains."""
    base = gaussian_actuators(7, 0.25, 1.0, 40)
    gain = 2e-8 * (1 + 0.2 * np.sin(np.arange(len(base.lowest))))
    np.savez(
        path, influence_m=base.surfaces * gain[:, None, None], lowest=0.0, highest=150.0, unit="V"
    )
    return path


def test_a_measured_mirror_gets_volts_about_its_middle(tmp_path):
    target = Mirror(influence=measured(tmp_path / "m.npz"), modes=range(2, 12), damping=1e-3)
    wanted = design(modes((4, 6e-8), (6, -5e-8)))
    out = tmp_path / "out"
    out.mkdir()
    written = target.write(wanted, out)
    assert target.compare(wanted, target.read(out, written)).exact
    report = json.loads(written.files[2].read_text())
    volts = np.array(report["command_V"])
    assert ((volts >= 0) & (volts <= 150)).all()
    assert report["unit"] == "V"
    flat = target.write(replace(wanted, height=np.zeros(wanted.shape), name="flat"), out)
    rows = csv.DictReader(flat.files[1].read_text().splitlines())
    # a millionth of the range, rounded
    np.testing.assert_allclose([float(row["command_V"]) for row in rows], 75, atol=0.76e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"influence_m": np.zeros((3, 9, 10))}, "shape"),
        ({"influence_m": np.full((3, 9, 9), np.nan)}, "not finite"),
        ({"lowest": 200.0}, "not below"),
        ({"highest": np.ones(7)}, "broadcast|shape"),
        ({"unit": "V/m"}, "unit"),
        ({"unit": None}, "unit"),
    ],
)
def test_an_influence_file_that_does_not_fit_is_refused(changes, message, tmp_path):
    arrays = {"influence_m": np.ones((3, 9, 9)), "lowest": 0.0, "highest": 1.0, "unit": "V"}
    arrays = {k: v for k, v in (arrays | changes).items() if v is not None}
    np.savez(tmp_path / "m.npz", **arrays)
    with pytest.raises(HardwareError, match=message):
        read_influence(tmp_path / "m.npz", 32)


def test_a_linear_influence_is_interpolated_exactly(tmp_path):
    x = (np.arange(20) - 9.5) / 10
    ramp = np.broadcast_to(x, (1, 20, 20)) * 1e-6
    np.savez(tmp_path / "m.npz", influence_m=ramp, lowest=0.0, highest=1.0, unit="V")
    found = read_influence(tmp_path / "m.npz", 32)
    inner = slice(2, -2)  # the outermost cells have no neighbour to interpolate with
    np.testing.assert_allclose(found.surfaces[0, 5, inner], found.axis()[inner] * 1e-6, atol=1e-18)
    np.testing.assert_allclose(np.ptp(found.surfaces[0], axis=0), 0, atol=1e-18)


def test_a_wrapped_relief_is_said_to_be_none_for_a_mirror():
    remark = Mirror().estimate(blazed()).remark
    assert "none of the 14 modes" in remark


def test_tampered_commands_are_noticed(tmp_path):
    wanted = design(modes((4, 6e-8)))
    target = Mirror()
    written = target.write(wanted, tmp_path)
    lines = written.files[1].read_text().splitlines()
    written.files[1].write_text("\n".join([*lines[:-1], "0,1e-9"]) + "\n")
    with pytest.raises(HardwareError, match="differ"):
        target.read(tmp_path, written)
    written.files[1].write_text("actuator,command_V\n0,1\n")
    with pytest.raises(HardwareError, match="cannot be read"):
        target.read(tmp_path, written)


@pytest.mark.parametrize(
    "options",
    [
        {"modes": (1, 2)},
        {"modes": ()},
        {"modes": (4, 4)},
        {"actuators": 2},
        {"coupling": 1.0},
        {"max_stroke": 3.5},
        {"damping": -1.0},
        {"samples": 4},
    ],
)
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Mirror(**options)


def test_the_same_design_gives_the_same_bytes(tmp_path):
    texts = []
    for name in "ab":
        (tmp_path / name).mkdir()
        wanted = design(modes((4, 6e-8), (9, 2e-8)))
        texts.append([f.read_bytes() for f in Mirror().write(wanted, tmp_path / name).files])
    assert texts[0] == texts[1]
