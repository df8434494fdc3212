"""Stages of the co-design: one step can be made again anywhere, on any number of processes."""

import copy
import math

import pytest
import torch

from experiments.adversary import Attacker, embed_clear
from experiments.cameras import Maker
from experiments.joint import Design, joint_stage, mask_stage, start_average
from experiments.objectives import (
    HeatmapTerm,
    IdentityTerm,
    InversionTerm,
    ManufacturabilityTerm,
    Objective,
    ScenePower,
)
from experiments.scene import generator_for, load_scenes
from experiments.stages import (
    JointSchedule,
    MaskSchedule,
    Schedule,
    StaticCamera,
    attacker_stage,
    baseline_stage,
    clear_stage,
)
from experiments.store import load_tensors
from optics import MultilevelRelief
from tests.experiments.test_distributed import start_two
from tests.experiments.tiny_codesign import (
    REFERENCE,
    TinyRecognizer,
    rough,
    tiny_camera,
    tiny_crops,
    tiny_regressor,
    tiny_setting,
)
from tests.experiments.two_designs import alone, design_as


def static(camera, distances=(0.75, 1.5, 3.0)):
    with torch.no_grad():
        psfs = camera.psf(distances)
    return StaticCamera(camera, dict(zip(distances, psfs, strict=True)))


def enrolled(crops):
    recognizer = TinyRecognizer()
    attacker = Attacker(recognizer)
    attacker.enrol(embed_clear(recognizer, crops), torch.from_numpy(crops.person))
    return attacker


def joint(every=2, steps=8, crops=None):
    crops = crops or tiny_crops()
    camera, regressor = rough(tiny_camera()), tiny_regressor()
    terms = {
        "landmarks": HeatmapTerm(),
        "identity": IdentityTerm(weight=1.0),
        "inversion": InversionTerm(),
        "manufacture": ManufacturabilityTerm(),
    }
    objective = Objective(terms=terms)
    power = ScenePower.measure(load_scenes(crops, range(len(crops))))
    objective.prepare(camera, power, REFERENCE)
    design = Design(
        Maker(camera, camera), regressor, start_average(regressor), objective, enrolled(crops)
    )
    plan = JointSchedule(steps=steps, batch=4, learning_rate=1e-3)
    pace = MaskSchedule(steps=0, nodes=1, every=every)
    return design, joint_stage(design, crops, plan, pace, tiny_setting(), name="joint")


def weights(module):
    return torch.cat([p.detach().double().flatten() for p in module.parameters()])


# processes


def test_two_processes_learn_what_one_learns(tmp_path):
    """Mask, regressor, adversary and averages, in float64, on the same global batches."""
    assert start_two(design_as, tmp_path / "two") == [0, 0]
    one = alone(tmp_path / "one")
    for stage, prefix in (("joint", ""), ("clear", "clear/")):
        path = tmp_path / f"two/checkpoints/{stage}/step_000003/weights.safetensors"
        together, _ = load_tensors(path)
        assert len(together) > 10
        for name, value in together.items():
            # sums in another order: 1e-15, which Adam's first steps turn into signs only where a
            # gradient is that small; the learning rates are 1e-3 to 2e-3
            torch.testing.assert_close(one[prefix + name], value, rtol=0, atol=1e-6)


def test_a_step_depends_on_its_number_alone():
    """No hidden draws from the global generators."""
    runs = []
    for seed in (1, 2):
        _, stage = joint()
        torch.manual_seed(seed)
        stage.step(0)
        torch.rand(7)
        stage.step(1)
        runs.append(torch.cat([weights(m) for m in stage.state.modules.values()]))
    assert torch.equal(*runs)


# what moves


def test_the_mask_rests_between_its_moves():
    design, stage = joint(every=3)
    before = weights(design.maker.design.mask)
    moved = []
    for step in range(6):
        terms = stage.step(step)
        now = weights(design.maker.design.mask)
        moved.append(not torch.equal(now, before))
        assert ("inversion" in terms) == moved[-1]
        before = now
    assert moved == [False, False, True, False, False, True]


def test_every_step_moves_regressor_average_and_adversary():
    design, stage = joint()
    for step in range(3):
        before = [weights(m) for m in (design.regressor, design.average, design.attacker)]
        terms = stage.step(step)
        after = [weights(m) for m in (design.regressor, design.average, design.attacker)]
        assert all(not torch.equal(a, b) for a, b in zip(after, before, strict=True))
        assert all(value.isfinite() for value in terms.values())


def test_the_total_is_the_sum_of_the_terms():
    _, stage = joint(every=1)
    terms = stage.step(0)
    parts = sum(terms[n] for n in ("landmarks", "identity", "inversion", "manufacture"))
    torch.testing.assert_close(terms["total"].double(), parts.double(), rtol=1e-5, atol=1e-6)


def test_adversary_steps_are_beside_the_mask():
    """The adversary's own descents leave no gradient on the mask."""
    design, stage = joint(every=100)
    stage.step(0)
    parameters = design.maker.design.mask.parameters()
    assert all(p.grad is None or p.grad.abs().max() == 0 for p in parameters)


def test_the_mask_stage_needs_no_picture_and_alternates_distances(monkeypatch):
    camera = tiny_camera()
    objective = Objective(terms={"manufacture": ManufacturabilityTerm()})
    asked, real = [], camera.psf

    def psf(distances, **options):
        asked.extend(distances)
        return real(distances, **options)

    monkeypatch.setattr(camera, "psf", psf)
    plan = MaskSchedule(steps=6, nodes=1)
    stage = mask_stage(Maker(camera, camera), objective, plan, tiny_setting(), name="m")
    for step in range(6):
        stage.step(step)
    assert asked[0::2] == [REFERENCE] * 3
    assert all(0.75 <= d <= 3 for d in asked)
    assert len(set(asked[1::2])) == 3


def test_annealed_levels_get_steeper_over_both_stages_and_are_exact_in_the_end():
    small = {"aperture_diameter": 0.5e-3, "cell": 10e-6, "spread": 2e-3}
    mask = MultilevelRelief(levels=4, rounding="annealed", **small)
    camera = tiny_camera().replace(mask=mask, aperture_diameter=0.5e-3)
    maker = Maker(camera, camera)
    objective = Objective(terms={"manufacture": ManufacturabilityTerm()})
    seen = []
    plan = MaskSchedule(steps=3, nodes=1)
    alone = mask_stage(maker, objective, plan, tiny_setting(), name="m")
    for step in range(3):
        alone.step(step)
        seen.append(float(mask.steepness))
    regressor = tiny_regressor()
    design = Design(maker, regressor, start_average(regressor), objective, None)
    together = JointSchedule(steps=3, batch=2, learning_rate=1e-3)
    joint = joint_stage(design, tiny_crops(), together, plan, tiny_setting(), name="j")
    for step in range(3):
        joint.step(step)
        seen.append(float(mask.steepness))
    assert seen == sorted(set(seen))
    levels = mask.height() / mask.level_height
    assert (levels - levels.round()).abs().max() > 0.01  # still a slope between them
    levels = mask.eval().height() / mask.level_height
    assert (levels - levels.round()).abs().max() < 1e-9  # float64


def test_a_fixed_camera_learns_its_landmarks():
    crops, regressor = tiny_crops(), tiny_regressor()
    plan = Schedule(steps=40, batch=6, learning_rate=5e-3)
    fixed = static(tiny_camera())
    stage = baseline_stage("b", fixed, regressor, HeatmapTerm(), crops, plan, tiny_setting())
    values = [stage.step(step)["landmarks"].item() for step in range(40)]
    assert stage.name == "baseline_b"
    assert sum(values[-5:]) < 0.8 * sum(values[:5])


def test_the_clear_stage_learns_its_landmarks():
    plan = Schedule(steps=40, batch=6, learning_rate=5e-3)
    stage = clear_stage(tiny_regressor(), HeatmapTerm(), tiny_crops(), plan, tiny_setting())
    values = [stage.step(step)["landmarks"].item() for step in range(40)]
    assert sum(values[-5:]) < 0.8 * sum(values[:5])


def test_the_attacker_learns_through_a_fixed_camera():
    crops = tiny_crops(people=4, each=4)
    attacker = enrolled(crops)
    before = copy.deepcopy(attacker.probe.state_dict())
    plan = Schedule(steps=60, batch=8, learning_rate=2e-2)
    setting = tiny_setting()
    stage = attacker_stage("a", static(tiny_camera()), attacker, crops, plan, setting)
    values = [stage.step(step)["identity"].item() for step in range(60)]
    assert sum(values[-10:]) < 0.8 * sum(values[:10])
    assert not torch.equal(before["mix.weight"], attacker.probe.mix.weight)


def test_a_batch_larger_than_the_data_becomes_the_data():
    crops = tiny_crops(people=2, each=2)
    plan = Schedule(steps=1, batch=64, learning_rate=1e-3)
    stage = clear_stage(tiny_regressor(), HeatmapTerm(), crops, plan, tiny_setting())
    assert stage.step(0)["landmarks"].isfinite()


# draws


def test_distances_are_uniform_in_their_logarithm():
    setting, draw = tiny_setting(), generator_for("distances")
    logs = torch.tensor([math.log(setting.distance(draw)) for _ in range(4000)])
    low, high = math.log(0.75), math.log(3.0)
    assert low <= logs.min()
    assert logs.max() <= high
    # the mean of 4000 draws of deviation 0.4 is known to 0.006
    assert logs.mean().item() == pytest.approx((low + high) / 2, abs=0.025)
    assert logs.std().item() == pytest.approx((high - low) / 12**0.5, rel=0.04)


def test_the_grid_spans_the_range_evenly_in_its_logarithm():
    grid = tiny_setting().grid(3)
    assert grid == pytest.approx([0.75, 1.5, 3.0])


def test_half_of_the_looks_are_at_the_favourite_distance(monkeypatch):
    from experiments import stages

    seen = []
    monkeypatch.setattr(stages, "observe", lambda c, p, s, d, g: seen.append(d) or s.light)
    fixed = StaticCamera(tiny_camera(), {d: torch.zeros(3, 1, 1) for d in (0.75, 1.5, 3.0)})
    batch = tiny_setting().batch(tiny_crops(), torch.tensor([0]), "s", 0)
    draw = generator_for("looks")
    for _ in range(600):
        fixed.look(batch, draw, 1.5)
    # 1/2 + 1/2 x 1/3, to 2 deviations of 0.02
    assert seen.count(1.5) / 600 == pytest.approx(2 / 3, abs=0.06)
    assert min(seen.count(0.75), seen.count(3.0)) > 60


# schedules


def test_the_learning_rate_warms_up_and_ends_near_zero():
    plan = Schedule(steps=100, batch=1, learning_rate=1e-3)
    rates = [plan.pace(step) for step in range(100)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert max(rates) == pytest.approx(1.0, abs=2e-3)
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert 0 < rates[-1] < 5e-3


def test_heights_and_spread_have_rates_of_their_own():
    camera = tiny_camera()
    plan = MaskSchedule(steps=1, height_rate=3e-2, spread_rate=4e-3)
    heights, others = plan.groups(camera, 0.5)
    assert [p.shape for p in heights["params"]] == [camera.mask.turns.shape]
    assert (heights["lr"], others["lr"]) == (1.5e-2, 2e-3)
    assert [p.shape for p in others["params"]] == [()]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Schedule(steps=-1, batch=1, learning_rate=1e-3), "steps = -1"),
        (lambda: Schedule(steps=1, batch=0, learning_rate=1e-3), "batch = 0"),
        (lambda: Schedule(steps=1, batch=1, learning_rate=math.nan), "learning_rate = nan"),
        (lambda: MaskSchedule(steps=1, nodes=0), "nodes = 0"),
        (lambda: MaskSchedule(steps=1, every=0), "every = 0"),
        (lambda: MaskSchedule(steps=1, spread_rate=-1.0), "spread_rate = -1"),
        (lambda: JointSchedule(1, 1, 0.1, mask_scale=-1.0), "mask_scale = -1"),
        (lambda: JointSchedule(1, 1, 0.1, adversary_rate=-1.0), "adversary_rate = -1"),
        (lambda: JointSchedule(1, 1, 0.1, adversary_steps=0), "adversary_steps = 0"),
        (lambda: JointSchedule(-1, 1, 0.1), "steps = -1"),
        (lambda: tiny_setting(nearest=2.0), "nearest = 2 m, reference_distance = 1.5 m"),
        (lambda: tiny_setting(farthest=1.0), "farthest = 1 m"),
        (lambda: tiny_setting(nearest=-1.0), "nearest = -1 m"),
        (lambda: tiny_setting(field=-0.1), "field = -0.1"),
        (lambda: tiny_setting(field=1.0), "field = 1"),
    ],
)
def test_plans_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_field_points_fill_the_disc_evenly():
    setting = tiny_setting(field=0.2)
    generator = torch.Generator().manual_seed(0)
    points = torch.tensor([setting.field_point(generator) for _ in range(2000)])
    radius = points.norm(dim=1)
    assert float(radius.max()) <= 0.2
    # half of the points within 1 / sqrt 2 of the radius: 2000 draws scatter by 1.1 %
    assert float((radius < 0.2 / math.sqrt(2)).double().mean()) == pytest.approx(0.5, abs=0.045)
    # the mean of each coordinate scatters by 0.1 / sqrt(2000)
    assert points.mean(0).abs().max() < 4 * 0.1 / math.sqrt(2000)
    assert tiny_setting().field_point(generator) == (0.0, 0.0)
