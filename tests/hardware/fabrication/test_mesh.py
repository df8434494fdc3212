"""Solids: closed, upright, of the volume of the map; read by trimesh."""

import time
from dataclasses import replace

import numpy as np
import pytest
import trimesh

from hardware.errors import HardwareError
from hardware.fabrication.mesh import Stl, ThreeMf
from hardware.fabrication.resampling import coarsen
from tests.hardware.fabrication.designs import blazed, design_of

BOTH = [Stl, ThreeMf]


def smooth():
    return replace(blazed(), pixelated=False)


def load(file):
    mesh = trimesh.load_mesh(file)
    return mesh.to_mesh() if isinstance(mesh, trimesh.Scene) else mesh


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("design", [blazed(), smooth()], ids=["flat cells", "smooth"])
def test_heights_come_back_from_a_closed_solid(kind, design, tmp_path):
    target = kind(base_thickness=20e-6)
    written = target.write(design, tmp_path)
    trip = target.compare(design, target.read(tmp_path, written))
    assert trip.exact
    ground = design.height - design.height.min()
    assert np.abs(target.meant(design).height - ground).max() <= 0.5 * trip.step * (1 + 1e-6)
    mesh = load(written.files[0])
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.euler_number == 2  # one body without holes
    assert mesh.volume == pytest.approx(written.notes["volume_mm3"], rel=1e-9)


@pytest.mark.parametrize("kind", BOTH)
def test_the_volume_of_flat_cells_is_heights_times_area(kind, tmp_path):
    # A base as thin as the relief, so that the relief counts for half of the volume.
    design = blazed()
    written = kind(base_thickness=1e-6).write(design, tmp_path)
    heights = (design.height - design.height.min()).sum() * (4e-6) ** 2
    wanted = (heights + 1e-6 * 40 * 56 * (4e-6) ** 2) * 1e9
    # leaning walls are symmetric; where four cells meet the cut of a quadrilateral counts, on
    # (2 percent)^2 of a cell, and single precision moves a line by 1e-8 of the map at random
    assert load(written.files[0]).volume == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("kind", BOTH)
def test_the_volume_under_a_smooth_surface_is_the_integral_of_a_plane(kind, tmp_path):
    """A plane is what triangles make exactly: mean height times the area between the samples."""
    y, x = np.mgrid[:30, :41].astype(float)
    design = replace(design_of(1e-8 * x + 3e-8 * y), pixelated=False)
    mesh = load(kind(base_thickness=2e-6).write(design, tmp_path).files[0])
    wanted = (design.height.mean() + 2e-6) * 29 * 40 * (4e-6) ** 2 * 1e9
    assert mesh.volume == pytest.approx(wanted, rel=1e-6)  # single precision of single vertices


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("pixelated", [True, False])
def test_the_letter_stands_upright_with_y_up(kind, pixelated, tmp_path):
    letter = np.zeros((40, 56))
    letter[4:16, 6:8] = letter[4:6, 6:14] = letter[8:10, 6:12] = 1e-6
    design = replace(blazed(), height=letter, pixelated=pixelated)
    top = load(kind().write(design, tmp_path).files[0]).vertices
    high = top[top[:, 2] > 0.5e-3]
    column, row = high[:, 0] / 4e-3 + 28, 20 - high[:, 1] / 4e-3  # y up
    wanted = {(r, c) for r, c in zip(*np.nonzero(letter), strict=True)}
    assert set(zip(np.floor(row).astype(int), np.floor(column).astype(int), strict=True)) == wanted
    assert top[:, 2].min() == pytest.approx(-0.5)  # the base, in millimetres


@pytest.mark.parametrize("kind", BOTH)
def test_a_chessboard_is_closed(kind, tmp_path):
    """Vertical walls would have edges with four triangles here."""
    board = design_of((np.indices((12, 17)).sum(axis=0) % 2) * 1e-6)
    mesh = load(kind().write(board, tmp_path).files[0])
    assert mesh.is_watertight
    assert mesh.euler_number == 2


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("pixelated", [True, False])
def test_tiles_keep_every_sample_and_the_volume(kind, pixelated, tmp_path):
    design = replace(blazed(41, 57), pixelated=pixelated)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    one = kind().write(design, whole)
    target = kind(most=48, tiles=3)
    written = target.write(design, parts)
    assert len(written.files) == 9
    assert target.compare(design, target.read(parts, written)).exact
    volume = sum(load(file).volume for file in written.files)
    assert volume == pytest.approx(load(one.files[0]).volume, rel=1e-6)
    # upper left piece: left of and above the middle
    assert (load(written.files[0]).centroid[:2] * (-1, 1) > 0.02).all()


@pytest.mark.parametrize(("pixelated", "shape"), [(True, (10, 14)), (False, (20, 28))])
def test_a_large_map_is_averaged_and_says_so(pixelated, shape, tmp_path):
    design = replace(blazed(), pixelated=pixelated)
    target = Stl(most=28)
    written = target.write(design, tmp_path)
    found = target.read(tmp_path, written)
    assert found.shape == shape
    wanted = coarsen(design, shape[1]).height
    np.testing.assert_allclose(found.height, wanted - wanted.min(), atol=1e-13)  # single precision
    tiles = "tiles = 4" if pixelated else "tiles = 2"
    assert tiles in str(written.notes["resampled"])
    assert tiles in target.estimate(design).remark


def test_an_estimate_counts_at_least_the_triangles_there_are(tmp_path):
    for kind in BOTH:
        design = replace(blazed(), height=blazed().height[:, :40])  # square: no slack for a side
        guess = kind().estimate(design)
        (file,) = kind().write(design, tmp_path).files
        assert len(load(file).faces) <= guess.items <= 1.02 * len(load(file).faces)
    stl = Stl().write(design, tmp_path).files[0].stat().st_size
    assert stl == pytest.approx(Stl().estimate(design).size, rel=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"most": 8192}, "use most = 2048"), ({"tiles": 2, "most": 16}, "use tiles = 7")],
)
def test_absurd_counts_are_refused_with_what_works(options, message):
    design = blazed() if "tiles" in options else design_of(np.zeros((4096, 4100)))
    with pytest.raises(ValueError, match=message):
        Stl(**options).estimate(design)
    if "tiles" in options:
        assert Stl(most=16, tiles=7).estimate(design).items > 0
    else:
        assert Stl(most=2048).estimate(design).items > 0


def test_an_open_mesh_is_refused(tmp_path):
    written = Stl().write(blazed(), tmp_path)
    raw = bytearray(written.files[0].read_bytes())
    raw[84 + 50 * 7 + 12 : 84 + 50 * 7 + 48] = bytes(36)
    written.files[0].write_bytes(raw)
    with pytest.raises(HardwareError, match="not closed"):
        Stl().read(tmp_path, written)


@pytest.mark.parametrize("kind", BOTH)
def test_no_mesh_at_all_is_refused(kind, tmp_path):
    written = kind().write(blazed(), tmp_path)
    written.files[0].write_bytes(b"PK nothing")
    with pytest.raises(HardwareError):
        kind().read(tmp_path, written)


@pytest.mark.parametrize("kind", BOTH)
def test_the_same_design_gives_the_same_bytes_on_another_day(kind, tmp_path, monkeypatch):
    found = []
    for day in (0, 1):
        folder = tmp_path / str(day)
        folder.mkdir()
        monkeypatch.setattr(time, "time", lambda day=day: 1.7e9 + 86400.0 * day)
        found.append(kind().write(blazed(), folder).files[0].read_bytes())
    assert found[0] == found[1]


def test_a_3mf_says_millimetre(tmp_path):
    assert load(ThreeMf().write(blazed(), tmp_path).files[0]).units in ("millimeter", "mm")


@pytest.mark.parametrize(
    "options", [{"base_thickness": 0.5}, {"most": 4}, {"tiles": 0}, {"wall": 0.0}, {"tiles": 30}]
)
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Stl(**options).estimate(blazed())
