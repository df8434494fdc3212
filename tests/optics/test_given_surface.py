"""A surface from outside does in a camera what the mask did that it was taken from."""

import pytest
import torch

from optics import Fabricated, Fabrication, GivenSurface, WrappedRelief
from tests.optics.cameras import small_camera


def relief():
    return WrappedRelief(aperture_diameter=1e-3, cell=8e-6, spread=4e-3, cut=2.5)


def copy_of(mask):
    return GivenSurface(
        mask.height().detach(),
        cell=mask.cell,
        material=mask.material.name,
        design_wavelength=mask.design_wavelength,
        wrap_height=mask.wrap_height,
    )


def test_its_psf_is_that_of_the_mask_it_was_taken_from():
    mask = relief()
    camera = small_camera(mask)
    other = camera.replace(mask=copy_of(mask))
    wave = torch.tensor([450e-9, 600e-9], dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(camera.spot(1.5, wave), other.spot(1.5, wave))


def test_levels_are_spread_over_its_wrap():
    mask = relief()
    assert mask.wrap_height > 2 * mask.turn_height  # several waves, or this proves nothing
    process = Fabrication(levels=8)
    made = [Fabricated(m, fabrication=process).height().detach() for m in (mask, copy_of(mask))]
    assert torch.equal(*made)
    assert len(made[0].unique()) <= 8


@pytest.mark.parametrize("shape", [(4, 5), (4,), (2, 4, 4)])
def test_a_map_that_is_not_square_is_refused(shape):
    with pytest.raises(ValueError, match="square"):
        GivenSurface(torch.zeros(shape), cell=1e-6)


def test_gaps_are_refused():
    height = torch.zeros(4, 4)
    height[1, 2] = torch.nan
    with pytest.raises(ValueError, match="gaps"):
        GivenSurface(height, cell=1e-6)
