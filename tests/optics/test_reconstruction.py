"""Reconstruction: the camera is linear and known, and scenes come back as far as it tells."""

import numpy as np
import pytest
import tifffile
import torch

from optics import blur
from optics.reconstruction import (
    CroppedBlur,
    admm_tv,
    fista,
    relative_residual,
    richardson_lucy,
)
from tests.shared_data import shared

SIZE = (24, 30)


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spots(count=12, side=15, seed=0):
    """PSF of a few sharp points (3, side, side): what a diffuser makes."""
    psf = torch.zeros(3, side * side, dtype=torch.float64)
    order = torch.randperm(side * side, generator=torch.Generator().manual_seed(seed))[:count]
    psf[:, order] = random(3, count, seed=seed) + 0.2
    return (psf / psf.sum(-1, keepdim=True)).reshape(3, side, side)


def blocks(size=SIZE):
    """Two flat surfaces on black (1, 3, H, W)."""
    scene = torch.zeros(1, 3, *size, dtype=torch.float64)
    scene[..., 6:15, 5:14] = 0.8
    scene[..., 10:20, 18:26] = 0.4
    return scene


def variation(scene):
    return float(scene.diff(dim=-1).abs().sum() + scene.diff(dim=-2).abs().sum())


@pytest.mark.parametrize("margin", [0, 4])
def test_the_camera_is_the_blur_of_scenes_cropped(margin):
    camera = CroppedBlur(spots(), SIZE, margin)
    scene = random(2, 3, *camera.scene_size)
    whole = blur(scene, camera.psf)
    part = whole[..., margin : margin + SIZE[0], margin : margin + SIZE[1]]
    torch.testing.assert_close(camera(scene), part, rtol=0, atol=1e-12)


@pytest.mark.parametrize("margin", [0, 4])
def test_the_adjoint_is_that_of_autograd(margin):
    camera = CroppedBlur(spots(), SIZE, margin)
    scene = random(1, 3, *camera.scene_size).requires_grad_(True)
    measurement = random(1, 3, *SIZE, seed=1)
    (expected,) = torch.autograd.grad(camera(scene), scene, measurement)
    torch.testing.assert_close(camera.adjoint(measurement), expected, rtol=0, atol=1e-12)


RECONSTRUCTIONS = {
    "fista": lambda y, camera: fista(y, camera, steps=300),
    "richardson_lucy": lambda y, camera: richardson_lucy(y, camera, steps=1000),
    "admm_tv": lambda y, camera: admm_tv(y, camera, weight=1e-4, steps=300),
}


@pytest.mark.parametrize("name", RECONSTRUCTIONS)
def test_a_scene_without_noise_comes_back(name):
    camera, scene = CroppedBlur(spots(), SIZE), blocks()
    found = RECONSTRUCTIONS[name](camera(scene), camera)
    assert float(found.min()) >= 0
    assert float((found - scene).norm() / scene.norm()) < 0.05
    assert relative_residual(camera, found, camera(scene)) < 2e-3


def test_acceleration_gets_further_in_as_many_steps():
    """FISTA's bound falls with the square of the steps, that of plain gradients with them."""
    camera = CroppedBlur(spots(), SIZE)
    seen, residuals = camera(blocks()), []
    fista(seen, camera, steps=60, watch=lambda step, rest: residuals.append(rest))
    assert residuals[0] == pytest.approx(1)
    slope = 1 / camera.otf.abs().square().amax((-2, -1))[:, None, None]
    plain = torch.zeros_like(blocks())
    for _ in range(59):
        plain = (plain - slope * camera.adjoint(camera(plain) - seen)).clamp(min=0)
    assert residuals[-1] < 0.5 * relative_residual(camera, plain, seen)


def test_expectation_maximisation_keeps_the_light_that_was_counted():
    camera = CroppedBlur(spots(), SIZE, 3)
    counts = torch.poisson(200 * camera(random(1, 3, *camera.scene_size)),
                           generator=torch.Generator().manual_seed(0))  # fmt: skip
    for steps in (1, 7):
        found = richardson_lucy(counts, camera, steps=steps)
        torch.testing.assert_close(camera(found).sum((-2, -1)), counts.sum((-2, -1)))


def test_alternating_directions_end_below_what_least_squares_leave():
    """Of the objective with edges, at the weight that was asked for."""
    camera = CroppedBlur(spots(), SIZE)
    noise = torch.randn(
        1, 3, *SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    seen, weight = camera(blocks()) + 0.02 * noise, 0.05

    def objective(scene):
        w = weight * float(camera.adjoint(seen).std())
        return 0.5 * float((camera(scene) - seen).square().sum()) + w * variation(scene)

    found, other = admm_tv(seen, camera, weight=weight), fista(seen, camera)
    assert objective(found) < 0.7 * objective(other)
    assert objective(found) < objective(blocks())  # what minimises it is not the truth
    for scale in (0.97, 1.03):
        assert objective(found) < objective(scale * found)
    error = [float((one - blocks()).norm()) for one in (found, other)]
    assert error[0] < 0.6 * error[1]
    flatter = admm_tv(seen, camera, weight=10 * weight)
    assert variation(flatter) < 0.9 * variation(found)


def test_light_from_beyond_the_sensor_needs_a_margin():
    wide = CroppedBlur(spots(), SIZE, 6)
    seen = wide(random(1, 3, *wide.scene_size))
    narrow = CroppedBlur(spots(), SIZE)
    rests = [relative_residual(c, fista(seen, c, steps=200), seen) for c in (wide, narrow)]
    assert rests[0] < 0.1 * rests[1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CroppedBlur(torch.ones(3, 4, 5), SIZE), "odd sides"),
        (lambda: CroppedBlur(torch.zeros(3, 5, 5), SIZE), "every colour needs light"),
        (lambda: CroppedBlur(spots(), SIZE, -1), "margin = -1"),
        (lambda: fista(torch.ones(1, 3, 9, 9), CroppedBlur(spots(), SIZE)), r"\(B, 3, 24, 30\)"),
        (
            lambda: fista(torch.full((1, 3, *SIZE), torch.nan), CroppedBlur(spots(), SIZE)),
            "not finite",
        ),
        (
            lambda: admm_tv(blocks(), CroppedBlur(spots(), SIZE), weight=0.0),
            "weight = 0",
        ),
    ],
)
def test_what_cannot_be_reconstructed_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def diffusercam():
    """PSF (1, h, w) and raw (1, 1, H, W) of the tutorial's camera, binned, background taken off."""
    folder = shared("data/hardware/diffusercam_tutorial")
    psf, raw = (
        tifffile.imread(folder / f"{name}.tif").astype(np.float64)
        for name in ("psf_sample", "rawdata_hand_sample")
    )
    background = np.mean(psf[:10, :10])  # the light of the PSF does not reach this corner
    psf, raw = ((image - background).reshape(150, 8, 200, 8).mean((1, 3)) for image in (psf, raw))
    psf = np.pad(psf, ((0, 1), (0, 1)))  # an odd number of pixels
    psf, raw = (torch.from_numpy(image).float() for image in (psf / psf.sum(), raw / raw.max()))
    return psf[None], raw[None, None]


def test_a_measured_hand_is_explained_to_one_per_cent_by_the_measured_psf_alone():
    psf, raw = diffusercam()
    camera = CroppedBlur(psf, (150, 200), 40)
    found = fista(raw, camera, steps=150)
    assert relative_residual(camera, found, raw) < 0.01
    # a hand: a small part of the field is far brighter than the rest
    field = camera.crop(camera.pad(found).roll(tuple(n // 2 for n in psf.shape[-2:]), (-2, -1)))
    assert float((field > 0.3 * field.max()).double().mean()) < 0.1
    # the light that is left is not explained by any PSF: this one upside down leaves more
    turned = CroppedBlur(psf.flip(-2), (150, 200), 40)
    assert relative_residual(turned, fista(raw, turned, steps=150), raw) > 0.03
