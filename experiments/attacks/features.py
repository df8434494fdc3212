"""Feature maps: what a server that shall recognise a face can draw of it, and who else can.

The server has the key and sees the obfuscated face and its feature maps in order. Whoever listens
sees the maps shuffled by a key he does not have, but knows the client's network: he can tell by
their statistics which cell is which, and put them back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional

from anonymizer.colour import decode_srgb, encode_srgb
from anonymizer.metrics import mean_over_people
from anonymizer.protection.compensated import Compensation
from experiments.attacks.defence import ProtectionDefence, draw_keys
from experiments.attacks.trial import Attack, Outcome, Trial, numbers
from experiments.data.crops import FaceCrops
from experiments.judging import limit
from experiments.protocol import Metrics, TestSet
from experiments.sampling import Batches, derive_seed
from experiments.scene import Scenes, generator_for, load_scenes, reframe
from experiments.stages import Schedule
from experiments.training import descend

_BLOCK = 7  # side of the cells that are shuffled
_LEAST = 1e-3  # variance that no cell falls below, of its range squared


class FeatureDecoder(nn.Module):
    """An obfuscated face and its feature maps in, a face out, linear light.

    Parameters
    ----------
    channels : sequence of int
        Of the maps.
    width : int
        Channels that each map is brought to.
    """

    def __init__(self, channels: Sequence[int], width: int = 24) -> None:
        super().__init__()
        if width < 8 or width % 8:
            raise ValueError(f"width = {width}, expected a multiple of 8")
        self.enter = nn.ModuleList(nn.Conv2d(count, width, 1) for count in channels)
        inside = 12 + width * len(channels)
        self.body = nn.Sequential(
            nn.Conv2d(inside, 2 * width, 3, padding=1),
            nn.GroupNorm(8, 2 * width),
            nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.GroupNorm(8, 2 * width),
            nn.ReLU(),
            nn.Conv2d(2 * width, 12, 3, padding=1),
        )

    def forward(self, obfuscated: Tensor, taps: Sequence[Tensor]) -> Tensor:
        """Return faces (B, 3, 112, 112) in [0, 1]."""
        base = functional.pixel_unshuffle(encode_srgb(obfuscated), 2)
        side = base.shape[-2:]
        maps = [
            functional.interpolate(layer(tap), side, mode="bilinear", align_corners=False)
            for layer, tap in zip(self.enter, taps, strict=True)
        ]
        change = self.body(torch.cat((base, *maps), 1))
        out: Tensor = decode_srgb(functional.pixel_shuffle(base + change, 2).clamp(0, 1))
        return out


@dataclass(frozen=True)
class Messages:
    """What is sent of faces, as an attacker unpacks it.

    Attributes
    ----------
    clear, obfuscated : Tensor
        (N, 3, 112, 112) linear light.
    taps : sequence of Tensor
        (N, C, H, W) each: feature maps as numbers of 0 to 1, in order or not; of the channels
        that are sent.
    """

    clear: Tensor
    obfuscated: Tensor
    taps: Sequence[Tensor]

    def rows(self, chosen: Tensor) -> "Messages":
        """Return those of the faces `chosen`."""
        return Messages(
            self.clear[chosen], self.obfuscated[chosen], [tap[chosen] for tap in self.taps]
        )


class FeatureMaps(Attack):
    """Draw faces from the messages of PRO-Face C, then let public recognisers look.

    Conditions: "with_key" is the server; "no_key" learns to read maps that stay shuffled;
    "put_back" puts the cells of each message back by their statistics and reads them as the
    server would. "cells_put_back" is the share of cells that came to their own place.

    Parameters
    ----------
    training : Schedule
        Of each network.
    pictures : int
        Messages of other people learned from, at most.
    width : int
        Of the network, as for `FeatureDecoder`.
    identity : float
        Weight of what the strongest recogniser misses.
    """

    actor = "A4"

    def __init__(
        self, training: Schedule, pictures: int = 400, width: int = 24, identity: float = 0.5
    ) -> None:
        if pictures < 8 or not identity >= 0:
            raise ValueError(f"pictures = {pictures}, identity = {identity:g}: at least 8 and 0")
        FeatureDecoder((1,), width)
        self.training, self.pictures = training, pictures
        self.width, self.identity = width, identity

    def budget(self) -> dict[str, Any]:
        """Return steps and pictures."""
        steps, batch = self.training.steps, self.training.batch
        return {
            "steps": steps,
            "pictures_shown": steps * batch,
            "different_pictures": self.pictures,
        }

    def run(self, trial: Trial, name: str) -> Outcome:
        """Learn from `learn`, measure once on `test`."""
        defence = trial.defence
        if not (
            isinstance(defence, ProtectionDefence) and isinstance(defence.network, Compensation)
        ):
            return Outcome(reason="the defence sends no feature maps")
        crops = limit(trial.learn, self.pictures)
        learned = {
            known: _collect(trial, defence, defence.network, crops, known=known)
            for known in (True, False)
        }
        networks = {
            known: self._train(trial, messages, f"{name}_{known}")
            for known, messages in learned.items()
        }
        cells = CellStatistics.learn(learned[True].taps)
        conditions: dict[str, Metrics] = {}
        pictures: dict[str, Tensor] = {}
        for condition, known in (("with_key", True), ("no_key", False), ("put_back", True)):
            reader = _Reader(trial, defence, defence.network, networks[known], cells, condition)
            conditions[condition] = reader.numbers()
            pictures[condition] = reader.pictures()
        return Outcome(conditions, pictures=pictures)

    def _train(self, trial: Trial, messages: Messages, name: str) -> FeatureDecoder:
        seed = derive_seed(trial.seed, name)
        torch.manual_seed(seed)
        channels = [tap.shape[1] for tap in messages.taps]
        network = FeatureDecoder(channels, self.width).to(trial.device)
        plan, count = self.training, len(messages.clear)
        optimizer = torch.optim.Adam(network.parameters(), lr=plan.learning_rate)
        batches = Batches(count, min(plan.batch, count), seed=seed)
        for step in range(plan.steps):
            some = messages.rows(batches.next())
            for group in optimizer.param_groups:
                group["lr"] = plan.learning_rate * plan.pace(step)
            found = network(some.obfuscated, some.taps)
            loss = (encode_srgb(found) - encode_srgb(some.clear)).abs().mean()
            if self.identity:
                loss = loss + self.identity * _missed(trial, found, some.clear)
            descend(loss, optimizer, step=step, max_norm=5.0)
        return network.requires_grad_(False).eval()


def _missed(trial: Trial, found: Tensor, clear: Tensor) -> Tensor:
    """Return what the strongest recogniser misses of upright face squares."""
    reader = trial.pool[trial.strongest]
    with torch.no_grad():
        wanted = reader(clear)
    out: Tensor = 1 - (reader(found) * wanted).sum(1).mean()
    return out


# Cells


@dataclass(frozen=True)
class CellStatistics:
    """How the cells of each map look in other people's messages: independent normal values.

    Attributes
    ----------
    means, variances : sequence of Tensor
        (M, 49) each.
    """

    means: Sequence[Tensor]
    variances: Sequence[Tensor]

    @classmethod
    def learn(cls, taps: Sequence[Tensor]) -> "CellStatistics":
        """Learn from maps in order (N, C, H, W)."""
        cells = [to_cells(tap) for tap in taps]
        return cls(
            [one.mean(0) for one in cells],
            [one.var(0, unbiased=False).clamp(min=_LEAST) for one in cells],
        )

    def put_back(self, taps: Sequence[Tensor]) -> list[Tensor]:
        """Return shuffled maps of one face (1, C, H, W) in the likeliest order.

        The most likely assignment of all cells to all places at once.

        References
        ----------
        H. W. Kuhn, "The Hungarian method for the assignment problem", Nav. Res. Logist. Q. 2, 83
        (1955).
        """
        out = []
        for tap, mean, variance in zip(taps, self.means, self.variances, strict=True):
            cells = to_cells(tap)[0]
            sure = 1 / variance
            constant = (mean.square() * sure + variance.log()).sum(1)
            cost = sure @ cells.square().T - 2 * (mean * sure) @ cells.T + constant[:, None]
            _, chosen = linear_sum_assignment(cost.cpu().double().numpy())
            ordered = cells[torch.from_numpy(chosen).to(cells.device)]
            out.append(from_cells(ordered[None], tap.shape))
        return out


def to_cells(tap: Tensor) -> Tensor:
    """Return maps (N, C, H, W) as cells (N, M, 49): the channels of each block of 7 x 7."""
    count, channels, high, wide = tap.shape
    split = tap.reshape(count, channels, high // _BLOCK, _BLOCK, wide // _BLOCK, _BLOCK)
    return split.permute(0, 2, 4, 1, 3, 5).reshape(count, -1, _BLOCK**2)


def from_cells(cells: Tensor, shape: torch.Size) -> Tensor:
    """Return cells as maps of `shape` (N, C, H, W)."""
    count, channels, high, wide = shape
    split = cells.reshape(count, high // _BLOCK, wide // _BLOCK, channels, _BLOCK, _BLOCK)
    return split.permute(0, 3, 1, 4, 2, 5).reshape(shape)


# Messages


@torch.no_grad()
def unpacked(
    network: Compensation, squares: Tensor, noise: Sequence[torch.Generator], *, known: bool
) -> Messages:
    """Send faces (B, 3, 112, 112), and unpack the messages with the right keys or wrong ones."""
    codec, parts = network.codec, []
    for square, (right, wrong) in zip(
        squares, ((draw_keys([g])[0], draw_keys([g])[0]) for g in noise), strict=True
    ):
        message = network.encode(square[None], right, ["attack"])[0]
        obfuscated, taps = network.decode(message, right if known else wrong, "attack")
        parts.append((obfuscated, taps))
    taps, top = [], 2**codec.bits - 1
    for i in range(len(codec.shapes)):
        keep, low, high = (codec.get_buffer(f"{what}_{i}") for what in ("keep", "low", "high"))
        values = torch.cat([one[i] for _, one in parts])[:, keep]
        low, high = low[keep, None, None], high[keep, None, None]
        taps.append(((values - low) / (high - low) * top).round() / top)
    return Messages(squares, torch.cat([one for one, _ in parts]), taps)


def _collect(
    trial: Trial,
    defence: ProtectionDefence,
    network: Compensation,
    crops: FaceCrops,
    *,
    known: bool,
) -> Messages:
    """Return messages of all pictures of `crops`."""
    parts = []
    for start in range(0, len(crops), trial.batch):
        rows = np.arange(start, min(start + trial.batch, len(crops)))
        noise = [generator_for(trial.seed, "messages", int(row)) for row in rows]
        scenes = reframe(load_scenes(crops, rows), trial.framing, noise).to(trial.device)
        parts.append(unpacked(network, defence.squares(scenes), noise, known=known))
    return Messages(
        torch.cat([one.clear for one in parts]),
        torch.cat([one.obfuscated for one in parts]),
        [torch.cat(maps) for maps in zip(*(one.taps for one in parts), strict=True)],
    )


@dataclass(frozen=True)
class _Reader:
    """Draws the faces of the test people from their messages."""

    trial: Trial
    defence: ProtectionDefence
    sender: Compensation
    network: FeatureDecoder
    cells: CellStatistics
    condition: str

    @torch.no_grad()
    def read(self, people: TestSet, rows: NDArray[np.int64]) -> tuple[Tensor, Scenes, list[float]]:
        """Return pictures (B, 3, S, S) with drawn faces, and the cells in their places."""
        faces = self.trial.faces(people, rows, "messages")
        squares = self.defence.squares(faces.scenes)
        known = self.condition == "with_key"
        messages = unpacked(self.sender, squares, faces.noise, known=known)
        placed: list[float] = []
        if self.condition == "put_back":
            again = self.trial.faces(people, rows, "messages")  # the same keys once more
            true = unpacked(self.sender, squares, again.noise, known=True)
            back = [
                self.cells.put_back([tap[i : i + 1] for tap in messages.taps])
                for i in range(len(rows))
            ]
            placed = [
                _in_place([tap[i : i + 1] for tap in true.taps], one) for i, one in enumerate(back)
            ]
            taps = [torch.cat(maps) for maps in zip(*back, strict=True)]
            messages = replace(messages, taps=taps)
        drawn = self.network(messages.obfuscated, messages.taps)
        return self.defence.paste(drawn, faces.scenes), faces.scenes, placed

    def numbers(self) -> Metrics:
        """Return what the recognisers find."""
        trial = self.trial
        rows_of: dict[str, list[Tensor]] = {name: [] for name in trial.pool}
        placed: list[float] = []
        for rows in trial.held.batches(trial.batch):
            shown, scenes, found = self.read(trial.held, rows)
            placed += found
            for name, look in trial.lookers().items():
                rows_of[name].append(look(shown, scenes.landmarks).cpu())
        out = numbers(trial.verify({name: torch.cat(parts) for name, parts in rows_of.items()}))
        if placed:
            share = mean_over_people(placed, trial.held.crops.person, seed=trial.seed)
            out |= {
                "cells_put_back": share.value,
                "cells_put_back_lo": share.low,
                "cells_put_back_hi": share.high,
                "cells_put_back_n": len(placed),
            }
        return out

    def pictures(self) -> Tensor:
        """Return the drawn faces of the pictures that are kept."""
        return self.read(self.trial.held, self.trial.shown)[0].cpu()


def _in_place(true: Sequence[Tensor], found: Sequence[Tensor]) -> float:
    """Return the share of the cells that are where they belong, to the last number."""
    same = [
        (to_cells(a) - to_cells(b)).abs().amax(-1).flatten() < 1e-6
        for a, b in zip(true, found, strict=True)
    ]
    return float(torch.cat(same).double().mean())
