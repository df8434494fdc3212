"""Recognisers that learned from anonymized faces of other people: the strongest look at sources."""

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from anonymizer.recognition import Recognizer
from experiments.adversary import Attacker, embed_clear, paired_rows
from experiments.data.crops import FaceCrops
from experiments.described import build_setting
from experiments.distributed import Processes
from experiments.finished_anonymizer import FinishedAnonymizer
from experiments.scene import network_view
from experiments.settings import Settings, build
from experiments.stages import Batch, Schedule, Setting, attacker_stage
from experiments.store import save_tensors
from experiments.training import fit

_MOST = 96  # pictures on which a fine-tuned recogniser is compared with itself as it was
_BATCH = 32

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AnonymizingCamera:
    """A camera with the anonymizer behind it, as the attacker sees it.

    Attributes
    ----------
    finished : FinishedAnonymizer
    distance : float
        Of all faces, one that the camera knows [m].
    """

    finished: FinishedAnonymizer
    distance: float

    @torch.no_grad()
    def look(self, batch: Batch, generator: torch.Generator, favourite: float | None) -> Tensor:
        """Return outputs for `batch` (B, 3, S, S), each in a style of nobody."""
        network = self.finished.anonymizer
        seen = self.finished.observer.look(batch, self.distance, network.size)
        styles = network.drawn_style(len(seen.measurement), generator)
        made = network.anonymize(seen.measurement, seen.heatmaps, styles)
        return network_view(made, batch.scenes.size)


def retrain(
    name: str,
    recognizer: Recognizer,
    camera: AnonymizingCamera,
    crops: FaceCrops,
    settings: Settings,
    run: Path,
) -> Recognizer:
    """Fine-tune a recogniser on outputs for `crops`, people who are not judged.

    A recogniser that is worse at the people it learned from than before it learned is not taken:
    a failed attack must not pass for protection.
    """
    some = crops.subset(paired_rows(crops.person))
    device = camera.finished.device
    setting = build_setting(settings, Processes(0, 1, device))
    plan: Schedule = build(settings["attack"])
    gallery = embed_clear(recognizer, some).to(device)
    people = torch.from_numpy(some.person).to(device)
    before, after = (Attacker(recognizer).to(device) for _ in range(2))
    for attacker in (before, after):
        attacker.enrol(gallery, people)
    stage = attacker_stage(f"attacker_{name}", camera, after, some, plan, setting)
    fit(
        stage, plan.steps, folder=run, seed=settings["seed"],
        checkpoint_every=settings["checkpoint_every"], log_every=settings["log_every"],
        progress=settings["progress"],
    )  # fmt: skip
    was, now = (_loss(attacker, camera, some, setting) for attacker in (before, after))
    if now >= was:
        log.warning(
            "%s: fine-tuning did not help it (cross entropy %.3f, %.3f before); more attack.steps "
            "are needed before reid_source_auc_retrained means anything",
            name,
            now,
            was,
        )
        return recognizer
    probe = after.probe.requires_grad_(False).eval()
    save_tensors(run / "attackers" / f"{name}.safetensors", probe.state_dict(), {"of": name})
    return probe


@torch.no_grad()
def _loss(
    attacker: Attacker, camera: AnonymizingCamera, crops: FaceCrops, setting: Setting
) -> float:
    """Return the mean cross entropy on the same outputs for every attacker [nat]."""
    rows = torch.linspace(0, len(crops) - 1, min(_MOST, len(crops))).round().long()
    total = 0.0
    for number, part in enumerate(torch.split(rows, _BATCH)):
        batch = setting.batch(crops, part, "attack_loss", number)
        seen = camera.look(batch, batch.sources[0], None)
        total += len(part) * float(attacker(seen, batch.scenes.landmarks, batch.rows))
    return total / len(rows)
