"""Revocable templates: comparisons survive, old and stolen ones do not."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from anonymizer.recognition import Gallery, RotatedTemplate, SignTemplate, linkability
from anonymizer.recognition.templates import rotate

KEY, OTHER = bytes(range(32)), bytes(32)
KINDS = [RotatedTemplate(), SignTemplate()]


def embeddings(people, pictures, dimension=128, spread=0.6, seed=0):
    """Unit vectors (people, pictures, D); two of one person have a cosine of about 0.73."""
    source = torch.Generator().manual_seed(seed)
    centre = torch.randn(people, 1, dimension, generator=source)
    x = centre + spread * torch.randn(people, pictures, dimension, generator=source)
    return F.normalize(x, dim=-1)


def test_rotation_keeps_every_length_and_angle():
    x = embeddings(5, 4).flatten(0, 1).double()
    y = rotate(x, KEY)
    torch.testing.assert_close(y @ y.T, x @ x.T, rtol=0, atol=1e-12)
    assert (y * x).sum(dim=1).abs().max() < 0.5  # and is not the identity


def test_rotation_follows_the_key_alone():
    x = embeddings(3, 1).flatten(0, 1)
    assert torch.equal(rotate(x, KEY), rotate(x, KEY))
    assert not torch.allclose(rotate(x, KEY), rotate(x, OTHER))


def test_rotation_spreads_one_component_over_all():
    """Under signs and permutations alone the largest component would give a person away."""
    y = rotate(torch.eye(128), KEY)
    assert y.abs().max() < 5 / 128**0.5  # Gaussian of that deviation, 16 384 draws: 4.2


def test_signs_differ_in_proportion_to_the_angle():
    x = embeddings(400, 2, dimension=512, spread=0.6)
    template = SignTemplate()
    a, b = (template.protect(x[:, i], KEY) for i in range(2))
    found = template.compare(a, b).diagonal().float()
    cosine = (x[:, 0] * x[:, 1]).sum(dim=1)
    # 512 signs: the share is known to 0.02, its cosine to 0.05; the mean of 400 to 0.003
    assert (found - cosine).mean().abs() < 0.01
    assert (found - cosine).std() < 0.06
    assert a.dtype == torch.bool


@pytest.mark.parametrize("template", KINDS, ids=["rotated", "signs"])
def test_people_are_told_apart_as_before(template):
    x = embeddings(25, 2)
    gallery = Gallery(template, KEY)
    for i in range(25):
        gallery.enrol(f"p{i}", x[i, :1])
    right = [gallery.search(x[i, 1], threshold=-1.0)[0].person == f"p{i}" for i in range(25)]
    assert all(right)


@pytest.mark.parametrize("template", KINDS, ids=["rotated", "signs"])
def test_renewed_template_no_longer_matches_the_old_one(template):
    x = embeddings(1, 3)[0]
    gallery = Gallery(template, KEY)
    old = gallery.enrol("ada", x[:1])
    new = gallery.enrol("ada", x[1:2])
    assert gallery.score("ada", x[2]) > 0.5
    # two random directions in 128 dimensions: deviation 0.09, of signs 0.14
    assert template.compare(old[None], new[None]).abs() < 0.45


@pytest.mark.parametrize("template", KINDS, ids=["rotated", "signs"])
def test_templates_under_different_keys_cannot_be_linked(template):
    """Two deployments; every person in both. The same scores under one key link everybody."""
    x = embeddings(250, 2)
    a, b = template.protect(x[:, 0], KEY), template.protect(x[:, 1], OTHER)
    own = torch.eye(250, dtype=torch.bool)

    def link(p, q):
        scores = template.compare(p, q).double().numpy()
        return linkability(scores[own], scores[~own], shuffles=100, seed=1)

    apart = link(a, b)
    assert not apart.linkable
    assert apart.excess < 0.05
    assert link(a, template.protect(x[:, 1], KEY)).histogram > 0.95


def test_sizes_of_components_link_nothing_either():
    """Sorted sizes survive any change of signs and order; a true rotation hides them."""
    x = embeddings(250, 2)
    # one strong component each makes the sizes telling
    x = F.normalize(x + 0.5 * F.one_hot(torch.arange(250) % 128, 128)[:, None], dim=-1)
    own = torch.eye(250, dtype=torch.bool)

    def link(p, q):
        p, q = (F.normalize(v.abs().sort(dim=1).values, dim=1) for v in (p, q))
        scores = (p @ q.T).double().numpy()
        return linkability(scores[own], scores[~own], shuffles=100, seed=1)

    shuffled = x[:, 1][:, torch.randperm(128, generator=torch.Generator().manual_seed(0))]
    assert link(x[:, 0], shuffled).linkable
    assert not link(rotate(x[:, 0], KEY), rotate(x[:, 1], OTHER)).linkable


def test_people_of_one_gallery_have_keys_of_their_own():
    x = embeddings(1, 1)[0]
    gallery = Gallery(RotatedTemplate(), KEY)
    a, b = gallery.enrol("ada", x), gallery.enrol("bob", x)
    assert (a @ b).abs() < 0.45


def test_several_pictures_make_one_better_template():
    x = embeddings(40, 9, spread=1.5)
    one, many = Gallery(RotatedTemplate(), KEY), Gallery(RotatedTemplate(), KEY)
    for i in range(40):
        one.enrol(str(i), x[i, :1])
        many.enrol(str(i), x[i, :8])
    found = [np.mean([g.score(str(i), x[i, 8]) for i in range(40)]) for g in (one, many)]
    assert found[1] > found[0] + 0.1


def test_search_returns_the_best_above_the_threshold_first():
    x = embeddings(6, 2)
    gallery = Gallery(RotatedTemplate(), KEY)
    for i in range(6):
        gallery.enrol(str(i), x[i, :1])
    found = gallery.search(x[2, 1], threshold=-1.0, most=3)
    assert [f.score for f in found] == sorted((f.score for f in found), reverse=True)
    assert (len(found), found[0].person) == (3, "2")
    assert gallery.search(x[2, 1], threshold=0.999) == []


def test_revoked_person_is_forgotten_and_counted_on():
    x = embeddings(1, 1)[0]
    gallery = Gallery(RotatedTemplate(), KEY)
    old = gallery.enrol("ada", x)
    gallery.revoke("ada")
    assert gallery.people == ()
    with pytest.raises(ValueError, match="'ada' is not enrolled"):
        gallery.score("ada", x[0])
    assert (gallery.enrol("ada", x) @ old).abs() < 0.45


@pytest.mark.parametrize("shape", [(1, 100), (128,), (0, 128)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="expected"):
        Gallery(RotatedTemplate(), KEY).enrol("ada", torch.ones(shape))
