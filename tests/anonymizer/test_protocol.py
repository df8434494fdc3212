"""The verification protocol against closed forms and simulated truth."""

import math

import numpy as np
import pytest

from anonymizer.recognition import auc, verify, worst_case


def phi(x):
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def faces(people, pictures, spread, seed, dimension=16):
    """Return unit embeddings that scatter about one direction each person, and their labels."""
    rng = np.random.default_rng(seed)
    centre = np.repeat(rng.normal(size=(people, dimension)), pictures, axis=0)
    x = centre + spread * rng.normal(size=centre.shape)
    return x / np.linalg.norm(x, axis=1, keepdims=True), np.repeat(np.arange(people), pictures)


def all_pairs(x, person, **kwargs):
    image = np.arange(len(x))
    return verify(
        x,
        x,
        probe_person=person,
        gallery_person=person,
        probe_image=image,
        gallery_image=image,
        **kwargs,
    )


@pytest.mark.parametrize("d", [0.0, 1.0, 2.5])
def test_auc_of_two_unit_gaussians(d):
    rng = np.random.default_rng(3)
    found = auc(rng.normal(d, 1, 40_000), rng.normal(0, 1, 50_000))
    # standard error of a Mann-Whitney estimate is below 0.5 / sqrt(40 000) = 0.0025
    assert found == pytest.approx(phi(d / math.sqrt(2)), abs=0.006)


def test_auc_counts_ties_half():
    assert auc([0.5, 0.5], [0.5, 0.1]) == (0.5 + 1 + 0.5 + 1) / 4


def test_operating_points_of_a_case_counted_by_hand():
    """Two people in the plane: genuine cosines 0.8 and 0.6, impostor 0, 0.6, 0.28 and 0.8."""
    x = [[1, 0], [0.8, 0.6], [0, 1], [0.8, 0.6]]
    person = [0, 0, 1, 1]
    result = all_pairs(x, person, false_accepts=(0.25,), resamples=0)
    # genuine {0.8, 0.6}, impostor {0, 0.8, 0.6, 1}, each twice: both directions
    assert (result.n_genuine, result.n_impostor, result.n_people) == (4, 8, 2)
    assert result.auc.value == pytest.approx((2.5 + 1.5) / 8)
    # thresholds 0.8 and 0.6 give |FAR - FRR| = 0 at 0.8: FAR 2/4, FRR 1/2
    assert result.eer.value == pytest.approx(0.5)
    assert result.tar == {}  # 8 impostors cannot support a rate of 0.25


def test_tar_uses_the_smallest_threshold_that_keeps_the_rate():
    """Impostor scores in steps: TAR jumps where the definition says, without interpolation."""
    people = 12
    angle = np.repeat(np.linspace(0, np.pi / 2, people), 2)
    angle[1::2] += 0.01
    x = np.stack((np.cos(angle), np.sin(angle)), axis=1)
    person = np.repeat(np.arange(people), 2)
    result = all_pairs(x, person, false_accepts=(0.1,), resamples=0)
    scores = x @ x.T
    impostor = scores[person[:, None] != person[None]]
    genuine = np.full(2 * people, math.cos(0.01))
    threshold = min(t for t in np.unique(scores) if (impostor >= t).mean() <= 0.1)
    assert result.tar[0.1].value == pytest.approx((genuine >= threshold - 1e-12).mean())


def test_embeddings_without_identity_are_at_chance():
    x, _ = faces(240, 1, 1.0, seed=5)
    result = all_pairs(x, np.repeat(np.arange(60), 4))
    assert result.auc.value == pytest.approx(0.5, abs=0.04)  # about three standard errors
    assert result.auc.low < 0.5 < result.auc.high
    assert result.eer.value == pytest.approx(0.5, abs=0.04)
    assert result.rank1 == pytest.approx(result.rank1_chance, abs=0.04)


def test_perfect_embeddings_reach_the_ends_of_the_scale():
    x, person = faces(60, 3, 0.0, seed=1)
    result = all_pairs(x, person, false_accepts=(0.01,))
    assert (result.auc.value, result.auc.low, result.auc.high) == (1, 1, 1)
    assert (result.eer.value, result.tar[0.01].value, result.rank1) == (0, 1, 1)


def test_a_picture_is_never_compared_with_itself():
    """Identical probe and gallery of people with one picture each leave nothing genuine."""
    x, person = faces(10, 1, 0.5, seed=2)
    with pytest.raises(ValueError, match="0 genuine and 90 impostor"):
        all_pairs(x, person)


def test_rates_that_the_impostors_cannot_support_are_left_out():
    x, person = faces(20, 3, 1.0, seed=4)  # 60 * 57 = 3420 impostors: down to 30 / 3420 = 0.9 %
    assert set(all_pairs(x, person, resamples=0).tar) == {0.1, 0.01}


def test_interval_covers_the_truth_about_as_often_as_it_says():
    """In 60 simulated studies of 30 people, the 95 % interval holds the value of all people."""
    population, person = faces(250, 4, 2.0, seed=99)
    truth = all_pairs(population, person, resamples=0).auc.value
    hits = 0
    for seed in range(60):
        result = all_pairs(*faces(30, 4, 2.0, seed=seed), resamples=250)
        hits += result.auc.low <= truth <= result.auc.high
    # binomial: 95 % of 60 is 57 with a standard deviation of 1.7
    assert 52 <= hits <= 60


def test_interval_narrows_with_the_number_of_people():
    few, many = (all_pairs(*faces(n, 3, 2.0, seed=7)).auc for n in (20, 80))
    assert many.high - many.low < 0.75 * (few.high - few.low)  # 1/sqrt(4) = 0.5 in the mean


def test_copies_of_the_same_pictures_add_no_certainty():
    """The trap of resampling pairs: sixteen times the pairs would shrink the interval."""
    x, person = faces(20, 3, 2.0, seed=7)
    once = all_pairs(x, person)
    image = np.repeat(np.arange(len(x)), 4)
    labels = {"probe_person": np.repeat(person, 4), "gallery_person": np.repeat(person, 4)}
    copies = np.repeat(x, 4, axis=0)
    often = verify(copies, copies, probe_image=image, gallery_image=image, **labels)
    assert often.n_genuine == 16 * once.n_genuine
    assert often.auc.value == pytest.approx(once.auc.value)
    # score levels are quantiles, which move a little with the number of scores
    assert often.auc.low == pytest.approx(once.auc.low, abs=0.005)
    assert often.auc.high == pytest.approx(once.auc.high, abs=0.005)


def test_value_on_the_score_grid_does_not_bias_the_interval():
    result = all_pairs(*faces(40, 4, 1.5, seed=11))
    middle = (result.auc.low + result.auc.high) / 2
    assert result.auc.value == pytest.approx(middle, abs=0.3 * (result.auc.high - result.auc.low))


def test_same_seed_same_interval():
    x, person = faces(15, 3, 1.0, seed=0)
    assert all_pairs(x, person, seed=3) == all_pairs(x, person, seed=3)


def test_worst_case_is_the_recogniser_with_the_largest_auc():
    weak, strong = (all_pairs(*faces(20, 3, s, seed=0), resamples=0) for s in (4.0, 0.5))
    assert worst_case({"weak": weak, "strong": strong}) == "strong"


def test_flat_names():
    flat = all_pairs(*faces(30, 4, 1.0, seed=0)).flat()
    assert {"auc", "auc_lo", "auc_hi", "tar_0.01_hi", "rank1", "n_impostor"} <= flat.keys()
    assert flat["auc_lo"] <= flat["auc"] <= flat["auc_hi"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"probe_person": [0, 0, -1, 1]}, "unknown people"),
        ({"probe_person": [0, 1]}, "expected integers .4,."),
        ({"probes": np.ones((4, 2))}, "normalise"),
        ({"probes": np.full((4, 2), np.nan)}, "normalise"),
    ],
)
def test_wrong_input_is_refused(change, text):
    x = np.tile([1.0, 0.0], (4, 1))
    arguments = {"probes": x, "gallery": x, "probe_person": [0, 0, 1, 1]}
    arguments |= {"gallery_person": [0, 0, 1, 1], "probe_image": range(4)}
    arguments |= {"gallery_image": range(4)} | change
    probes, gallery = arguments.pop("probes"), arguments.pop("gallery")
    with pytest.raises(ValueError, match=text):
        verify(probes, gallery, **arguments)
