"""Train a small face recogniser on pictures of known people, and verify it on other people.

The bundled weights are `./lab recognize` with its own defaults, on the synthetic faces. With
`verify` nothing is trained: published recognisers are judged on a list of pairs. `serve`, `client`
and `trial` are recognition of obfuscated faces by another process (PRO-Face C).

    ./lab recognize
    ./lab recognize data=folder data.root=photos head=arcface training.steps=20000
    ./lab recognize verify
    ./lab recognize verify recognizers@pool=photographs pairs=lfw pairs.root=aligned
    ./lab recognize serve service.key_file=token
    ./lab recognize client service.key_file=token service.ask=info
    ./lab recognize trial
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from anonymizer.alignment import align_faces
from anonymizer.recognition import Head, Recognizer
from anonymizer.recognition.protocol import verify
from experiments.adversary import embed_clear, paired_rows
from experiments.checkpoints import Stateful, TrainingState
from experiments.data.crops import FaceCrops
from experiments.distributed import distributed
from experiments.judging import join, open_crops
from experiments.launch import run_job
from experiments.recognition_service import ask, check_service, serve
from experiments.sampling import Batches, derive_seed
from experiments.scene import generator_for, load_scenes, reframe
from experiments.service_trial import check_trial, trial
from experiments.settings import Settings, SettingsError, build
from experiments.stages import Schedule
from experiments.store import save_json, save_tensors
from experiments.training import Stage, descend, fit
from experiments.verifying import verify_on_pairs

log = logging.getLogger(__name__)


def training_stage(network: Recognizer, head: Head, crops: FaceCrops, settings: Settings) -> Stage:
    """Stage "recognizer": one epoch after another over the people of `crops`."""
    plan: Schedule = build(settings["training"])
    framing = build(settings["framing"])
    processes = distributed(settings["device"])
    label = np.unique(crops.person, return_inverse=True)[1]
    batches = Batches(
        len(crops),
        min(plan.batch, len(crops)),
        seed=derive_seed(settings["seed"], "recognizer"),
        processes=processes,
    )
    parameters = [*network.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=plan.learning_rate, weight_decay=5e-4)
    scheduler = LambdaLR(optimizer, plan.pace)

    def step(done: int) -> Mapping[str, Tensor]:
        rows = batches.next()
        sources = [generator_for(settings["seed"], "recognizer", done, int(r)) for r in rows]
        scenes = reframe(load_scenes(crops, rows.numpy()), framing, sources).to(processes.device)
        gains = torch.stack([torch.rand(1, 1, 1, generator=g) for g in sources])
        light = (scenes.light * (0.7 + 0.6 * gains.to(scenes.light))).clamp(0, 1)
        # landmarks stay as stored: what the framing moves is an aligner's error to get used to
        kept = torch.from_numpy(crops.landmarks[rows.numpy()]).to(light)
        people = torch.from_numpy(label[rows.numpy()]).to(processes.device)
        loss: Tensor = head(network.unnormalised(align_faces(light, kept)), people)
        descend(loss, optimizer, step=done, max_norm=5.0)
        scheduler.step()
        return {"identity": loss}

    others: dict[str, Stateful] = {
        "optimizer": optimizer,
        "scheduler": scheduler,
        "batches": batches,
    }
    return Stage("recognizer", step, TrainingState({"network": network, "head": head}, others))


def main(settings: Settings, run: Path) -> None:
    """Do what the word says."""
    _WORDS[settings["what"]](settings, run)


def train(settings: Settings, run: Path) -> None:
    """Train on three quarters and more of the people, verify on the rest."""
    torch.manual_seed(settings["seed"])
    crops = open_crops(settings["data"], settings)
    parts = crops.split()
    learn = join(parts["train"], parts["attacker"])
    learn = learn.subset(paired_rows(learn.person))
    network: Recognizer = build(settings["network"])
    people = len(np.unique(learn.person))
    head: Head = build(settings["head"])(people, network.dimension)
    log.info("%d pictures of %d people", len(learn), people)
    plan: Schedule = build(settings["training"])
    stage = training_stage(network, head, learn, settings)
    fit(
        stage,
        plan.steps,
        folder=run,
        seed=settings["seed"],
        checkpoint_every=settings["checkpoint_every"],
        log_every=settings["log_every"],
        progress=settings["progress"],
    )
    network.eval().requires_grad_(False)
    save_tensors(run / "recognizer.safetensors", network.state_dict(), {"data": str(people)})
    test = parts["test"]
    vectors = embed_clear(network, test).numpy()
    image = np.arange(len(test))
    found = verify(
        vectors,
        vectors,
        probe_person=test.person,
        gallery_person=test.person,
        probe_image=image,
        gallery_image=image,
    )
    save_json(run / "metrics.json", found.flat())
    log.info(
        "AUC %.4f [%.4f, %.4f] on %d people never seen",
        found.auc.value,
        found.auc.low,
        found.auc.high,
        found.n_people,
    )


def check(settings: Settings) -> None:
    """Refuse settings that cannot work, before anything is written."""
    if settings["what"] == "verify":
        build(settings["pairs"])
        if settings["verify_batch"] < 1:
            raise SettingsError(f"verify_batch = {settings['verify_batch']}, expected 1 or more")
        return
    if settings["what"] not in _WORDS:
        raise SettingsError(f"what = {settings['what']!r}, expected one of {', '.join(_WORDS)}")
    if settings["what"] in ("serve", "client", "trial"):
        check_service(settings)
        check_trial(settings)
        return
    for name in ("data", "network", "framing", "training"):
        build(settings[name])
    build(settings["head"])(2, 2)  # its own settings; people and dimension come later


_WORDS = {
    "train": train,
    "verify": verify_on_pairs,
    "serve": serve,
    "client": ask,
    "trial": trial,
}

if __name__ == "__main__":
    run_job("recognize", main, check=check)
