"""One stage: the anonymizer against its discriminator, through the camera of a co-design run.

Per step the sources are recorded once, their outputs with all kinds of styles are made in one
go, the discriminator descends on them, and then the generator, against the moved discriminator,
on the same outputs. All draws depend on (seed, step, picture) alone.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from anonymizer.stargan import Anonymizer, Discriminator
from anonymizer.stargan.doors import Input
from anonymizer.stargan.generator import Masks
from anonymizer.stargan.losses import gradient_penalty, score_loss
from anonymizer.stargan.recipe import Recipe, StyleKind
from anonymizer.stargan.terms import Judges, Pass, Sources, View
from experiments.checkpoints import Stateful, TrainingState
from experiments.health import Watch, gradient_norm, spread
from experiments.observer import Observer
from experiments.sampling import Batches
from experiments.scene import generator_for
from experiments.settings import Settings, build
from experiments.stages import Batch, Schedule, Setting, shuffled
from experiments.style_sources import Lenders, People, draw_lenders
from experiments.training import Stage, autocast, descend, moving_average

NAME = "anonymizer"


@dataclass(frozen=True)
class Trainee:
    """The networks of one training.

    Attributes
    ----------
    anonymizer : Anonymizer
    discriminator : Discriminator
    average : AveragedModel
        Moving average of the anonymizer, the one that is kept.
    judges : Judges
        Frozen networks that the terms ask.
    """

    anonymizer: Anonymizer
    discriminator: Discriminator
    average: AveragedModel
    judges: Judges

    @property
    def averaged(self) -> Anonymizer:
        """The anonymizer with averaged weights."""
        module = self.average.module
        if not isinstance(module, Anonymizer):
            raise TypeError(f"the moving average holds a {type(module).__name__}")
        return module


def build_recipe(node: Mapping[str, Any]) -> Recipe:
    """Recipe that the settings describe."""
    parts = {
        part: {name: build(entry) for name, entry in node[part].items()}
        for part in ("passes", "terms")
    }
    rest = Settings({k: v for k, v in node.items() if k not in parts}, getattr(node, "path", ""))
    recipe: Recipe = build(rest, **parts)
    return recipe


def make_trainee(
    anonymizer: Anonymizer, discriminator: Discriminator, judges: Judges, recipe: Recipe
) -> Trainee:
    """Put the networks together, with an average that starts from the initialised weights."""
    average = moving_average(copy.deepcopy(anonymizer), recipe.average)
    return Trainee(anonymizer, discriminator, average.requires_grad_(False), judges)


def anonymizer_stage(
    trainee: Trainee,
    recipe: Recipe,
    observer: Observer,
    people: People,
    plan: Schedule,
    setting: Setting,
) -> Stage:
    """Stage "anonymizer"."""
    batches = shuffled(len(people.crops), plan, setting, NAME)
    duel = _Duel(trainee, recipe, observer, people, setting, batches, plan.learning_rate)
    modules: dict[str, nn.Module] = {
        "anonymizer": trainee.anonymizer,
        "discriminator": trainee.discriminator,
        "average": trainee.average,
    }
    others: dict[str, Stateful] = {
        "maker": duel.maker,
        "critic": duel.critic,
        "batches": batches,
    }
    return Stage(NAME, duel.step, TrainingState(modules, others))


class _Duel:
    """Both optimisers and what one step does."""

    def __init__(
        self, trainee: Trainee, recipe: Recipe, observer: Observer, people: People,
        setting: Setting, batches: Batches, rate: float,
    ) -> None:  # fmt: skip
        self.trainee, self.recipe, self.observer = trainee, recipe, observer
        self.people, self.setting, self.batches = people, setting, batches
        groups = recipe.groups(trainee.anonymizer, rate)
        judged: list[dict[str, Any]] = [
            {"params": list(trainee.discriminator.parameters()), "lr": rate}
        ]
        self.maker, self.critic = (
            torch.optim.Adam(group, betas=recipe.betas, weight_decay=recipe.weight_decay)
            for group in (groups, judged)
        )
        self.watch = Watch()

    def step(self, done: int) -> Mapping[str, Tensor]:
        """Do one step and return all terms and the values that tell how the duel stands."""
        batch = self.setting.batch(self.people.crops, self.batches.next(), NAME, done)
        view = self._view(batch, done)
        real, domain = self._real(view)
        terms, health = self._discriminate(view, real, domain, done)
        with autocast(self.setting.processes.device):
            parts = self.recipe.generator_terms(view)
        total = torch.stack([value.float() for value in parts.values()]).sum()
        descend(total, self.maker, step=done)
        self.trainee.average.update_parameters(self.trainee.anonymizer)
        health |= {
            "gradient/generator": gradient_norm(self.trainee.anonymizer.parameters()),
            "health/spread": spread(next(iter(view.passes.values())).output.detach()),
            "health/spread_real": spread(real),
        }
        if self.setting.processes.first:
            self.watch.update(done, health)
        return {"total": total, **parts, **terms, **health}

    def _discriminate(
        self, view: View, real: Tensor, domain: Tensor, done: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Let the discriminator descend; return its terms, and how often it was right."""
        discriminator, recipe = self.trainee.discriminator, self.recipe
        made = list(view.passes.values())
        pictures = torch.cat((real, *(p.output.detach() for p in made)))
        scores = discriminator(pictures, torch.cat((domain, *(p.domain for p in made))))
        on_real, on_fake = scores[: len(real)], scores[len(real) :]
        terms = {"discriminator": score_loss(on_real, real=True) + score_loss(on_fake, real=False)}
        if recipe.penalty and done % recipe.penalty_every == 0:
            r1 = gradient_penalty(lambda x: discriminator(x, domain), real)
            terms["penalty"] = recipe.penalty * recipe.penalty_every * r1
        descend(torch.stack(list(terms.values())).sum(), self.critic, step=done)
        return terms, {
            "health/real": (on_real > 0).float().mean(),
            "health/fake": (on_fake < 0).float().mean(),
            "gradient/discriminator": gradient_norm(discriminator.parameters()),
        }

    def _view(self, batch: Batch, done: int) -> View:
        """Record the sources and make all outputs."""
        anonymizer, setting, scenes = self.trainee.anonymizer, self.setting, batch.scenes
        distance = setting.distance(generator_for(setting.seed, NAME, done))
        distance = self.observer.nearest_to(distance)
        seen = self.observer.look(batch, distance, anonymizer.size)
        rows = batch.rows.cpu()
        domain = torch.from_numpy(self.people.domain[rows.numpy()]).to(scenes.light.device)
        noise = [torch.rand(seen.measurement.shape[1:], generator=g) for g in batch.sources]
        with autocast(setting.processes.device):
            entering = anonymizer.door(seen.measurement, seen.heatmaps)
            passes = self._passes(entering, rows, done)
        return View(
            step=done,
            sources=Sources(
                light=scenes.light,
                landmarks=scenes.landmarks,
                measurement=seen.measurement,
                heatmaps=seen.heatmaps,
                input=entering,
                domain=domain,
            ),
            passes=passes,
            anonymizer=anonymizer,
            discriminator=self.trainee.discriminator,
            judges=self.trainee.judges,
            see_again=seen.see_again,
            draws=torch.stack(noise).to(scenes.light.device),
        )

    def _passes(self, entering: Input, rows: Tensor, done: int) -> dict[str, Pass]:
        """Make the outputs of all passes, at once."""
        anonymizer, kinds = self.trainee.anonymizer, self.recipe.passes
        lenders = {name: self._lenders(kind, rows, name, done) for name, kind in kinds.items()}
        styles = []
        for name, kind in kinds.items():
            with torch.set_grad_enabled(kind.trains):
                styles.append(lenders[name].style(anonymizer))
        together = _repeated(entering, len(kinds))
        outputs = anonymizer.generator(together.picture, torch.cat(styles), together.masks)
        passes = {}
        for (name, kind), style, output in zip(
            kinds.items(), styles, outputs.float().chunk(len(kinds)), strict=True
        ):
            lent = lenders[name]
            others = kind.source == "references"
            passes[name] = Pass(
                output=output,
                style=style,
                domain=lent.domain,
                twin=self._twin(entering, kind, rows, name, done) if kind.twin else None,
                references=lent.light if others else None,
                reference_landmarks=lent.landmarks if others else None,
            )
        return passes

    @torch.no_grad()
    def _twin(self, entering: Input, kind: StyleKind, rows: Tensor, name: str, done: int) -> Tensor:
        anonymizer = self.trainee.anonymizer
        style = self._lenders(kind, rows, f"{name} twin", done).style(anonymizer)
        out: Tensor = anonymizer.generator(entering.picture, style, entering.masks).float()
        return out

    def _lenders(self, kind: StyleKind, rows: Tensor, name: str, done: int) -> Lenders:
        seed, framing = self.setting.seed, self.setting.framing
        sources = [generator_for(seed, NAME, name, done, int(row)) for row in rows]
        return draw_lenders(kind, self.people, rows, self.trainee.anonymizer, framing, sources)

    def _real(self, view: View) -> tuple[Tensor, Tensor]:
        """Return what the discriminator is shown as pictures, and their domains."""
        encode = view.anonymizer.door.encode
        if self.recipe.real == "sources":
            return encode(view.sources.light), view.sources.domain
        shown = view.passes[self.recipe.with_references[0]]
        if shown.references is None:
            raise ValueError("real = references, but the pass has none")
        return encode(shown.references[:, 0]), shown.domain


def _repeated(entering: Input, count: int) -> Input:
    """Repeat what the generator gets, once for each pass."""
    masks = entering.masks
    if masks is not None:
        masks = Masks(*(mask.repeat(count, 1, 1, 1) for mask in masks))
    return Input(entering.picture.repeat(count, 1, 1, 1), masks)
