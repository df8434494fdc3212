"""Train a small face recogniser on pictures of known people, and verify it on other people.

The bundled weights are `./lab recognize` with its own defaults, on the synthetic faces.

    ./lab recognize
    ./lab recognize data=folder data.root=photos training.steps=20000
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

from anonymizer.alignment import align_faces
from anonymizer.recognition import Recognizer
from anonymizer.recognition.protocol import verify
from experiments.adversary import embed_clear, paired_rows
from experiments.checkpoints import Stateful, TrainingState
from experiments.data.crops import FaceCrops
from experiments.distributed import distributed
from experiments.judging import join, open_crops
from experiments.launch import run_job
from experiments.sampling import Batches, derive_seed
from experiments.scene import generator_for, load_scenes, reframe
from experiments.settings import Settings, SettingsError, build
from experiments.stages import Schedule
from experiments.store import save_json, save_tensors
from experiments.training import Stage, descend, fit

log = logging.getLogger(__name__)


class CosineHead(nn.Module):
    """One unit vector per person, with a margin on the true one.

    References
    ----------
    H. Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018, eq. 4.
    """

    def __init__(self, people: int, dimension: int, *, margin: float, scale: float) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(people, dimension) * 0.01)
        self.margin, self.scale = margin, scale

    def forward(self, embeddings: Tensor, people: Tensor) -> Tensor:
        """Cross entropy of unit `embeddings` (B, D) against `people` (B,)."""
        cosines = embeddings @ functional.normalize(self.centres).T
        cosines = cosines - self.margin * functional.one_hot(people, len(self.centres))
        return functional.cross_entropy(self.scale * cosines, people)


def training_stage(
    network: Recognizer, head: CosineHead, crops: FaceCrops, settings: Settings
) -> Stage:
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
        loss: Tensor = head(network(align_faces(light, kept)), people)
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
    """Train on three quarters and more of the people, verify on the rest."""
    torch.manual_seed(settings["seed"])
    crops = open_crops(settings["data"], settings)
    parts = crops.split()
    learn = join(parts["train"], parts["attacker"])
    learn = learn.subset(paired_rows(learn.person))
    network: Recognizer = build(settings["network"])
    people = len(np.unique(learn.person))
    head = CosineHead(
        people, network.dimension, margin=settings["cosine_margin"], scale=settings["scale"]
    )
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
    for name in ("data", "network", "framing", "training"):
        build(settings[name])
    if not 0 <= settings["cosine_margin"] < 1 or not settings["scale"] > 0:
        raise SettingsError(
            f"cosine_margin = {settings['cosine_margin']}, scale = {settings['scale']}: "
            f"0 <= cosine_margin < 1 and "
            f"scale > 0 are needed"
        )


if __name__ == "__main__":
    run_job("recognize", main, check=check)
