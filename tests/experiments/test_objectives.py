"""Terms of the objective: what moves them, and that their gradients are those of finite steps."""

import math

import pytest
import torch

from experiments.cameras import Maker
from experiments.joint import mask_stage
from experiments.objectives import (
    HeatmapTerm,
    IdentityTerm,
    InversionTerm,
    ManufacturabilityTerm,
    MaskView,
    Objective,
    ReferencePsfTerm,
    RegionMaskTerm,
    ScenePower,
    SimilarityTerm,
    StepView,
)
from experiments.scene import Scenes, generator_for, load_scenes, network_view, observe
from experiments.stages import MaskSchedule
from experiments.training import seed_everything
from optics import Sensor
from optics.imaging import resize
from tests.experiments.tiny_codesign import (
    REFERENCE,
    SIZE,
    rough,
    tiny_camera,
    tiny_crops,
    tiny_regressor,
    tiny_setting,
)

TERMS = {
    "heatmap": HeatmapTerm,
    "identity": IdentityTerm,
    "inversion": InversionTerm,
    "manufacture": ManufacturabilityTerm,
    "region": RegionMaskTerm,
    "similarity": SimilarityTerm,
    "ssim": lambda weight: SimilarityTerm(weight=weight, measure="ssim"),
    "reference": ReferencePsfTerm,
}
OF_NETWORK = ("heatmap", "region")  # what reaches the regressor


@pytest.fixture(scope="module")
def power():
    return ScenePower.measure(load_scenes(tiny_crops(), range(12)))


def sure_regressor():
    """A network with narrow maps: sums of flat ones are clamped at 1 by the region term."""
    regressor = tiny_regressor()
    regressor.head.weight.data *= 60
    return regressor


def sees(camera, regressor, psf=None):
    """One step's view, and the identity loss replaced by something smooth in the measurement."""
    psf = camera.psf([REFERENCE])[0] if psf is None else psf
    scenes = load_scenes(tiny_crops(), range(3))
    sources = [generator_for("view", i) for i in range(3)]
    seen = network_view(observe(camera, psf, scenes, REFERENCE, sources), SIZE)
    return StepView(
        camera=camera,
        psf=psf,
        scenes=scenes,
        measurement=seen,
        heatmaps=regressor(seen),
        identity_loss=seen.std((2, 3)).mean(),
        identity_chance=2.0,
    )


# gradients


@pytest.mark.parametrize("name", TERMS)
def test_every_term_moves_the_mask(name, power):
    camera, regressor = rough(tiny_camera()), sure_regressor()
    term = TERMS[name](weight=1.0)
    term.prepare(camera, power, REFERENCE)
    value = term(sees(camera, regressor))
    assert value.shape == ()
    value.backward()
    for key, parameter in camera.mask.named_parameters():
        if key == "log_spread" and name == "manufacture":
            continue  # the smooth carrier is no disorder; its light stays in the window or not
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", TERMS)
def test_only_the_landmark_terms_move_the_regressor(name, power):
    camera, regressor = rough(tiny_camera()), sure_regressor()
    term = TERMS[name](weight=1.0)
    term.prepare(camera, power, REFERENCE)
    term(sees(camera, regressor)).backward()
    gradients = [p.grad for p in regressor.parameters()]
    if name not in OF_NETWORK:
        assert all(g is None for g in gradients)
        return
    assert all(g.isfinite().all() and g.abs().max() > 0 for g in gradients)


@pytest.mark.parametrize("name", ["inversion", "manufacture", "reference"])
def test_gradients_of_mask_terms_are_those_of_finite_steps(name, power):
    camera = rough(tiny_camera(double=True))
    mask = camera.mask
    mask.turns.data = mask.turns.data.double()
    term = TERMS[name](weight=1.0)
    term.prepare(camera, power, REFERENCE)

    def value():
        return term(MaskView(camera, camera.psf([REFERENCE])[0])).double()

    gradient = dict(zip(("s", "t"), torch.autograd.grad(value(), (mask.log_spread, mask.turns)),
                        strict=True))  # fmt: skip
    way = torch.randn(mask.turns.shape, generator=torch.Generator().manual_seed(1)).double()
    for key, parameter, along in (
        ("s", mask.log_spread, torch.ones((), dtype=torch.float64)),
        ("t", mask.turns, way),
    ):
        step, kept = 1e-5, parameter.data.clone()
        values = []
        for sign in (1, -1):
            parameter.data = kept + sign * step * along
            values.append(value().detach())
        parameter.data = kept
        found = (values[0] - values[1]) / (2 * step)
        # 1e-10 of curvature; the term's spectra and noise are kept in float32 (6e-8 / 1e-5 of
        # a value of order 1 would be 6e-3, but they are constants: only their product is rounded)
        torch.testing.assert_close((gradient[key] * along).sum(), found, rtol=1e-4, atol=1e-7)


def test_gradient_of_the_heatmap_term_is_that_of_finite_steps():
    regressor = tiny_regressor().double()
    scenes = load_scenes(tiny_crops(), range(2))
    seen = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).double()
    seen.requires_grad_(True)

    def value(picture):
        return HeatmapTerm().compare(regressor(picture), scenes.landmarks.double(), SIZE)

    way = torch.randn(seen.shape, generator=torch.Generator().manual_seed(1)).double()
    gradient = (torch.autograd.grad(value(seen), seen)[0] * way).sum()
    step = 1e-6
    with torch.no_grad():
        found = (value(seen + step * way) - value(seen - step * way)) / (2 * step)
    # 2e-10 from rounding a value of 10 to 1e-16 / 1e-6 and 1e-12 of curvature; ReLUs may flip
    torch.testing.assert_close(gradient, found, rtol=1e-5, atol=1e-8)


# identity


def test_identity_term_is_zero_at_chance_and_one_for_a_recogniser_that_knows_everybody():
    view = sees(tiny_camera(), tiny_regressor())
    for loss, expected in ((2.0, 0.0), (3.5, 0.0), (1.0, 0.5), (0.0, 1.0)):
        changed = StepView(**{**vars(view), "identity_loss": torch.tensor(loss)})
        assert IdentityTerm(weight=1.0)(changed).item() == expected


def test_identity_term_without_an_adversary_says_so():
    view = sees(tiny_camera(), tiny_regressor())
    with pytest.raises(ValueError, match="needs an adversary"):
        IdentityTerm(weight=1.0)(StepView(**{**vars(view), "identity_loss": None}))


# inversion


def ring(camera, window=21):
    """PSF of sigma = 3 px: no frequency of the band above 3 % contrast."""
    grid = torch.arange(window) - window // 2
    line = torch.exp(-(grid**2) / (2 * 3.0**2))
    psf = line[:, None] * line[None, :]
    return (psf / psf.sum()).expand(3, -1, -1)


def inversion(camera, power, psf=None, **options):
    term = InversionTerm(**options)
    term.prepare(camera, power, REFERENCE)
    psf = camera.psf([REFERENCE])[0] if psf is None else psf
    return term(MaskView(camera, psf)).item()


def test_a_dead_band_leaves_nothing_to_invert(power):
    camera = tiny_camera()
    point = torch.zeros(3, 21, 21)
    point[:, 10, 10] = 1.0
    sharp = inversion(camera, power, point)
    blurred = inversion(camera, power, ring(camera))
    assert blurred < 0.5 * sharp


def test_only_the_band_counts(power):
    """Two PSFs that differ at the pixel's own frequency alone are equal below it."""
    camera = tiny_camera()
    fine = torch.zeros(3, 21, 21)
    fine[:, 10, 10] = 1.0
    coarse = torch.zeros(3, 21, 21)
    coarse[:, 10, 9:12] = torch.tensor([0.05, 0.9, 0.05])
    low = {"low": 1.0, "high": 2.0}
    assert inversion(camera, power, coarse, **low) == pytest.approx(
        inversion(camera, power, fine, **low), rel=2e-3  # 1 - 0.1 (1 - cos(2 pi 2 / 30)) = 0.991
    )  # fmt: skip
    high = {"low": 10.0, "high": 15.0}
    assert inversion(camera, power, coarse, **high) < inversion(camera, power, fine, **high) - 0.1


def test_more_frames_leave_more_to_invert(power):
    camera = tiny_camera()
    bits = [inversion(camera, power, frames=f) for f in (1, 4, 16, 10000)]
    assert bits == sorted(bits)
    # where light is plenty, four times the frames are one bit per frequency
    point = torch.zeros(3, 21, 21)
    point[:, 10, 10] = 1.0
    many = [inversion(camera, power, point, frames=f, low=3, high=6) for f in (10**6, 4 * 10**6)]
    assert many[1] - many[0] == pytest.approx(1.0, abs=0.01)


def test_more_light_leaves_more_to_invert(power):
    bits = [
        inversion(tiny_camera(sensor=Sensor(binning=32, white_fraction=w)), power)
        for w in (0.01, 0.1, 0.9)
    ]
    assert bits[0] < bits[1] < bits[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 5.0, "high": 4.0}, "low = 5, high = 4: 0 < low < high"),
        ({"frames": 0}, "frames = 0: at least 1"),
    ],
)
def test_a_band_or_a_number_of_frames_that_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        InversionTerm(**options)


# expected spectrum


def waves(size, cycles=4.0):
    """Pictures of a wave of so many cycles per face width, as an ideal pixel grid samples it."""
    x = (torch.arange(size) + 0.5) / size * 1.7
    light = 0.5 + 0.3 * torch.sin(2 * math.pi * cycles * x) * torch.exp(-((x - 0.85) ** 2) / 0.1)
    light = light.expand(1, 3, size, size)
    return Scenes(light, torch.zeros(1, 68, 2), torch.full((1, 3), 0.5), 1.7)


def test_expected_spectrum_is_independent_of_sampling():
    fine, coarse = (ScenePower.measure(waves(size)) for size in (128, 64))
    shared = coarse.cycles < 12
    assert shared.sum() > 15
    torch.testing.assert_close(fine.cycles[: len(coarse.cycles)], coarse.cycles)
    # peak values; the rest is spectral leakage of 1e-7 in float32
    expected = coarse.power[:, shared]
    torch.testing.assert_close(
        fine.power[:, : len(coarse.cycles)][:, shared], expected, rtol=1e-3, atol=1e-9
    )


def test_expected_spectrum_on_a_grid_is_that_of_pictures_on_it():
    """Parseval: the mean square of a padded picture is the sum of its expected spectrum."""
    scenes = load_scenes(tiny_crops(size=64), range(12))
    power = ScenePower.measure(scenes)
    small = resize(scenes.light - scenes.surround[:, :, None, None], (40, 40))
    size = 60
    expected = power.on_grid(pixels=40, size=size)
    padded = torch.fft.rfft2(small.double(), s=(size, size)).abs().square().mean(0) / size**2
    for low, high in ((1.5, 4.0), (4.0, 7.0)):
        cycles = torch.hypot(
            torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None, :]
        ) * (40 / 1.7)
        band = (cycles >= low) & (cycles < high)
        # the antialiasing filter of `resize` takes some of the upper band, rings are steps
        assert expected[:, band].mean() == pytest.approx(padded[:, band].mean().item(), rel=0.35)


# sums


def test_weights_scale_their_terms(power):
    camera, regressor = rough(tiny_camera()), tiny_regressor()
    view = sees(camera, regressor)
    values = []
    for weight in (1.0, 2.5):
        names = ("heatmap", "identity", "inversion", "manufacture", "region", "reference")
        objective = Objective(terms={name: TERMS[name](weight=weight) for name in names})
        objective.prepare(camera, power, REFERENCE)
        values.append((objective(view), objective.of_mask(view)))
    for one, more in zip(*values, strict=True):
        assert list(one) == list(more)
        for name, value in one.items():
            torch.testing.assert_close(2.5 * value, more[name])
    assert set(values[0][1]) == {"inversion", "manufacture", "reference"}


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_weights_that_reward_harm_are_refused(name, weight):
    with pytest.raises(ValueError, match=rf"weight = {weight:g}: zero or a positive number"):
        TERMS[name](weight=weight)


def test_a_term_of_weight_zero_asks_for_no_adversary():
    assert Objective(terms={"identity": IdentityTerm(weight=1.0)}).needs_adversary
    assert not Objective(terms={"identity": IdentityTerm(weight=0.0)}).needs_adversary
    assert not Objective(terms={"inversion": InversionTerm(weight=0.0)}).shapes_mask_alone


def test_an_objective_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one term"):
        Objective(terms={})


def test_likeness_of_a_picture_to_itself_is_one():
    view = sees(tiny_camera(), tiny_regressor())
    same = StepView(**{**vars(view), "measurement": view.scenes.light})
    for measure in ("mse", "ssim"):
        value = SimilarityTerm(measure=measure)(same)
        assert value.item() == pytest.approx(1.0, abs=1e-5)  # float32
    with pytest.raises(ValueError, match="measure = 'psnr', expected"):
        SimilarityTerm(measure="psnr")


def test_reference_term_is_zero_for_the_defocused_bare_lens(power):
    camera = tiny_camera()
    term = ReferencePsfTerm(focus_distance=0.3)
    with pytest.raises(ValueError, match=r"prepare\(\) was not called"):
        term(MaskView(camera, torch.ones(3, 21, 21)))
    term.prepare(camera, power, REFERENCE)
    assert term(MaskView(camera, 0.7 * term.reference)).item() == pytest.approx(0.0, abs=1e-6)


def test_light_outside_the_window_is_counted(power):
    camera = tiny_camera()  # smooth mask: no disorder
    psf = torch.full((3, 21, 21), 0.8 / 441)
    value = ManufacturabilityTerm(outside=3.0)(MaskView(camera, psf))
    assert value.item() == pytest.approx(0.6, rel=1e-5)


def test_the_mask_stage_lowers_what_inversion_recovers(power):
    seed_everything(0)
    camera = rough(tiny_camera(), 0.25)
    objective = Objective(terms={"inversion": InversionTerm(weight=1.0, frames=1)})
    objective.prepare(camera, power, REFERENCE)
    before = inversion(camera, power, frames=1)
    plan = MaskSchedule(steps=30, height_rate=2e-2, spread_rate=2e-2, nodes=2)
    stage = mask_stage(Maker(camera, camera), objective, plan, tiny_setting(), name="joint_mask")
    for step in range(plan.steps):
        stage.step(step)
    after = inversion(camera, power, frames=1)
    assert after < 0.9 * before
