"""The anonymizer as one object: what it may know of a source, styles, and its file."""

import pytest
import torch

from anonymizer.alignment import CANONICAL68
from anonymizer.checkpoints import WeightsError
from anonymizer.regressors import CompactRegressor, Heatmaps
from anonymizer.stargan import Anonymizer
from anonymizer.stargan.doors import LimitedDoor, PublishedDoor
from anonymizer.stargan.references import likeness, mix_styles, mixture_weights, refuse_near
from tests.experiments.tiny_codesign import TinyRecognizer

SIDE = 64


def small(**changes):
    torch.manual_seed(0)
    settings = {"size": SIDE, "width": 1 / 32, "hidden": 16, "domains": 2} | changes
    return Anonymizer(**settings)


@pytest.fixture
def seen():
    """A measurement, and what a regressor reads off it."""
    torch.manual_seed(1)
    measurement = torch.rand(2, 3, SIDE, SIDE)
    with torch.no_grad():
        return measurement, CompactRegressor(widths=(8, 8)).eval()(measurement)


def test_limited_door_passes_landmarks_and_cell_means_and_nothing_else(seen):
    """Everything that keeps the cell means may happen to a measurement, and nothing changes."""
    measurement, heatmaps = seen
    network = small()
    cells = network.door.cells
    side = SIDE // cells
    noise = torch.rand_like(measurement)
    blocks = noise.reshape(2, 3, cells, side, cells, side)
    noise = (blocks - blocks.mean((3, 5), keepdim=True)).reshape_as(measurement)
    assert noise.abs().mean() > 0.2
    style = network.drawn_style(2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = network.anonymize(measurement, heatmaps, style)
        noisy = network.anonymize(measurement + noise, heatmaps, style)
        other = network.anonymize(measurement.flip(-1), heatmaps, style)
    torch.testing.assert_close(noisy, plain, atol=1e-4, rtol=0)  # rounding of the means
    assert (other - plain).abs().max() > 1e-3


def test_limited_door_forgets_all_of_the_heatmaps_but_the_coordinates(seen):
    measurement, heatmaps = seen
    door = LimitedDoor()
    shifted = type(heatmaps)(heatmaps.logits + 3.0, heatmaps.boundary * 0, heatmaps.size)
    one, two = (door(measurement, h).picture for h in (heatmaps, shifted))
    torch.testing.assert_close(one, two, atol=1e-4, rtol=0)  # rounding of the positions


def test_landmarks_of_another_input_size_land_at_the_same_place():
    """A regressor of 128 px and one of 64 px that mean the same place give the same maps."""
    measurement = torch.rand(1, 3, SIDE, SIDE)
    logits, boundary = torch.randn(1, 68, 16, 16), torch.zeros(1, 1, 16, 16)
    door = LimitedDoor()
    one, two = (door(measurement, Heatmaps(logits, boundary, s)).picture for s in (64, 128))
    torch.testing.assert_close(one, two, atol=1e-5, rtol=0)


def test_cells_must_divide_the_side(seen):
    with pytest.raises(ValueError, match="cells = 7 must divide the side of the pictures, 64"):
        LimitedDoor(cells=7)(*seen)


@pytest.mark.parametrize("door", [LimitedDoor(), PublishedDoor(), PublishedDoor(signed=True)])
def test_doors_decode_what_they_encode(door):
    light = torch.rand(2, 3, 8, 6)
    torch.testing.assert_close(door.decode(door.encode(light)), light, atol=1e-5, rtol=0)
    assert door.decode(torch.tensor([-5.0, 5.0])).tolist() == [0.0, 1.0]


def test_outputs_are_linear_light_and_differ_by_style(seen):
    network = small(door="published", high_pass=1.0)
    generator = torch.Generator().manual_seed(0)
    one, two = (network.drawn_style(1, generator, domain=1) for _ in range(2))
    with torch.no_grad():
        first, second = (network.anonymize(*seen, style) for style in (one, two))
    assert first.shape == (2, 3, SIDE, SIDE)
    assert first.amin() >= 0
    assert first.amax() <= 1
    assert (first - second).abs().mean() > 1e-3


def test_a_mixture_of_one_is_that_one():
    network = small()
    faces = torch.rand(3, 3, SIDE, SIDE)
    with torch.no_grad():
        styles = network.style_of(faces, 1)
        one = network.mixed_style(faces, torch.tensor([0.0, 1.0, 0.0]), 1)
        torch.testing.assert_close(one, styles[1:2])
        assert network.mixed_style(faces).shape == (1, 64)


def test_mixtures_keep_the_length_of_their_parts():
    styles = torch.eye(4)[None] * 2.0
    mixed = mix_styles(styles, torch.full((1, 4), 0.25))
    assert mixed.norm().item() == pytest.approx(2.0)
    with pytest.raises(ValueError, match=r"weights \(1, 3\), expected"):
        mix_styles(styles, torch.ones(1, 3))


def test_nobody_has_more_than_half_of_a_mixture_and_half_an_equal_share():
    weights = mixture_weights(2000, 4, torch.Generator().manual_seed(0))
    torch.testing.assert_close(weights.sum(1), torch.ones(2000))
    assert weights.max() <= 0.5 + 0.5 / 4
    assert weights.min() >= 0.5 / 4 - 1e-6
    # equal in the mean: standard error of a share is 0.1 / sqrt(2000)
    assert weights.mean(0).sub(0.25).abs().max() < 0.01


def test_a_reference_that_resembles_the_source_is_refused():
    torch.manual_seed(0)
    source = 0.5 + 0.5 * torch.rand(1, 3, SIDE, SIDE)
    faces = torch.cat((source, 0.98 * source, 0.02 * source))
    points = (CANONICAL68 * 36 + 31.5).expand(3, -1, -1)
    cosines = likeness(TinyRecognizer(), faces, points)[0, 1:]
    refuse_near(cosines[1:], limit=0.5)
    with pytest.raises(ValueError, match=r"reference 0 \(cosine .*\) resembles the source"):
        refuse_near(cosines, limit=0.5)
    with pytest.raises(ValueError, match="cosine nan"):
        refuse_near(torch.tensor([torch.nan]), limit=0.5)


def test_a_stored_anonymizer_makes_the_same_faces(tmp_path, seen):
    network = small(cells=4, style=32, latent=8)
    network.save(tmp_path / "a.safetensors", {"camera": "x"})
    again = Anonymizer.load(tmp_path / "a.safetensors")
    style = network.drawn_style(2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(network.anonymize(*seen, style), again.anonymize(*seen, style))
    assert not any(p.requires_grad for p in again.parameters())
    assert again.described == network.described


def test_sixteen_bits_halve_the_file_and_hardly_change_the_face(tmp_path, seen):
    network = small()
    network.save(tmp_path / "half.safetensors", half=True)
    assert len(network.to_bytes(half=True)) < 0.55 * len(network.to_bytes())
    again = Anonymizer.load(tmp_path / "half.safetensors")
    style = network.drawn_style(2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        difference = network.anonymize(*seen, style) - again.anonymize(*seen, style)
    assert difference.abs().mean() < 0.01  # 11 bits through some twenty layers


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"a\.safetensors is no anonymizer"):
        Anonymizer.load(tmp_path / "a.safetensors")


def test_arguments_that_do_not_fit_are_refused(seen):
    network = small()
    with pytest.raises(ValueError, match="domain = 2, expected 0 to 1"):
        network.drawn_style(1, torch.Generator(), domain=2)
    with pytest.raises(ValueError, match="door = 'open', expected one of limited, published"):
        small(door="open")
    with pytest.raises(ValueError, match=r"measurement is \(2, 3, 32, 64\), expected"):
        network.anonymize(seen[0][:, :, :32], seen[1], torch.zeros(1, 64))
