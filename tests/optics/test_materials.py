"""Refractive indices against catalogue values."""

import pytest
import torch

from optics.lenses.thin import ThinLens
from optics.materials import MATERIALS, material

D, F, C = 587.5618e-9, 486.1327e-9, 656.2725e-9  # Fraunhofer lines of a glass catalogue
VISIBLE = torch.linspace(401e-9, 700e-9, 61, dtype=torch.float64)


def test_fused_silica_at_three_wavelengths():
    n = material("fused_silica").index(torch.tensor([640e-9, 550e-9, 440e-9], dtype=torch.float64))
    expected = torch.tensor([1.45681, 1.45991, 1.46635], dtype=torch.float64)
    # the expected values are printed to 1e-5
    torch.testing.assert_close(n, expected, rtol=0, atol=1e-5)


def test_n_bk7_has_the_catalogue_index_and_abbe_number():
    n_d, n_f, n_c = (float(material("n_bk7").index(w)) for w in (D, F, C))
    assert n_d == pytest.approx(1.51680, abs=1e-5)  # printed to 1e-5
    assert (n_d - 1) / (n_f - n_c) == pytest.approx(64.17, abs=0.01)  # printed to 0.01


def test_focal_shift_of_a_singlet_is_the_focal_length_over_the_abbe_number():
    lens = ThinLens(focal_length=0.1, material="n_bk7", design_wavelength=D)
    blue, yellow, red = (1 / lens.power(torch.tensor([F, D, C], dtype=torch.float64))).tolist()
    assert yellow == pytest.approx(0.1, rel=1e-12)
    # f_C - f_F = f / V up to the square of the dispersion, 1 / V**2 ~ 2e-4 of f / V * V
    assert red - blue == pytest.approx(0.1 / 64.17, rel=1e-2)


def test_an_achromat_has_one_power_for_all_wavelengths():
    lens = ThinLens(focal_length=16e-3)
    assert lens.power(VISIBLE).unique().tolist() == [1 / 16e-3]


@pytest.mark.parametrize("name", sorted(MATERIALS))
def test_transparent_solids_disperse_normally(name):
    n = material(name).index(VISIBLE)
    assert n.dtype == torch.float64
    assert 1.39 < float(n.min()) < float(n.max()) < 1.60  # silicones to optical adhesives
    assert bool((torch.diff(n) < 0).all())  # blue is bent more than red


@pytest.mark.parametrize(
    ("name", "n_d"),
    # PMMA 1.4914 (Sultanova 2009), PDMS 1.43 (the samples of Schneider 2009; other makers quote
    # 1.41), NOA 61 1.56 (data sheet), IP-S 1.506 (Gissibl 2017)
    [("pmma", 1.4914), ("pdms", 1.43), ("noa61", 1.560), ("ip_s", 1.506)],
)
def test_mask_materials_have_their_published_index(name, n_d):
    # data sheets quote two to three decimals and batches differ in the third
    assert float(material(name).index(D)) == pytest.approx(n_d, abs=3e-3)


@pytest.mark.parametrize("wavelength", [100e-9, 5e-6])
def test_a_wavelength_outside_the_measured_span_is_refused(wavelength):
    with pytest.raises(ValueError, match=r"outside \[2.1e-07, 3.7e-06\] m, where .* fused_silica"):
        material("fused_silica").index(torch.tensor([550e-9, wavelength]))


def test_an_unknown_material_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'quartz', known are fused_silica, ip_s, n_bk7"):
        material("quartz")


def test_index_has_the_shape_of_the_wavelengths_and_a_gradient():
    wave = torch.tensor([[450e-9, 550e-9, 650e-9]], dtype=torch.float64, requires_grad=True)
    n = material("ip_s").index(wave)
    (slope,) = torch.autograd.grad(n.sum(), wave)
    step = 1e-12
    finite = (material("ip_s").index(wave + step) - material("ip_s").index(wave - step)) / 2 / step
    assert n.shape == (1, 3)
    # rounding of n, 1e-16, over the step of 1e-12 on a slope of 1e5 per metre
    torch.testing.assert_close(slope, finite, rtol=5e-3, atol=0)
