"""Attacks that undo the lens: its PSF known exactly, nearly, or not at all.

They need a camera; a protection without a PSF is not attacked. Regularisation is chosen on the
tuning people, by what the strongest recogniser finds.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from experiments.attacks.defence import CameraDefence
from experiments.attacks.recognising import FRAMES, check_frames
from experiments.attacks.trial import Attack, Look, Outcome, Trial, numbers
from experiments.inversion import Inversion, psnr
from experiments.protocol import Metrics, TestSet
from experiments.scene import Scenes, generator_for, network_view
from optics import blur
from optics.reconstruction import CroppedBlur, admm_tv, richardson_lucy


class Deconvolution(Attack):
    """Undo the lens, then let public recognisers look.

    Parameters
    ----------
    strengths : sequence of float
        Regularisations tried on the tuning people; what they are is the method's own affair.
    frames : sequence of int
        Shots averaged.
    errors : sequence of float
        Relative errors of the PSF that the attacker has, norm over norm; 0 is exact.
    guesses : sequence of float
        Widths of Gaussians that an attacker tries who knows no PSF, standard deviations in face
        crops; none leaves that attacker out.
    """

    actor = "A2"
    kind: ClassVar[type[Inversion]]

    def __init__(
        self,
        strengths: Sequence[float],
        frames: Sequence[int] = FRAMES,
        errors: Sequence[float] = (0.0,),
        guesses: Sequence[float] = (),
    ) -> None:
        if not strengths or min(strengths) <= 0:
            raise ValueError(f"strengths = {list(strengths)}: one positive number or more")
        if min(errors, default=-1) < 0 or min(guesses, default=1) <= 0:
            raise ValueError(
                f"errors = {list(errors)}, guesses = {list(guesses)}: one error or more, zero or "
                f"positive, and positive widths"
            )
        self.strengths, self.frames = tuple(strengths), check_frames(frames)
        self.errors, self.guesses = tuple(errors), tuple(guesses)

    def budget(self) -> dict[str, Any]:
        """Return frames, and how many inversions are tried."""
        tries = len(self.strengths) * (len(self.errors) + len(self.guesses))
        return {"frames": list(self.frames), "inversions_tried": tries}

    def run(self, trial: Trial, name: str) -> Outcome:
        """Attack with every PSF and every number of shots."""
        camera = trial.defence
        if not isinstance(camera, CameraDefence):
            return Outcome(reason="the defence has no PSF that could be undone")
        conditions: dict[str, Metrics] = {}
        chosen: dict[str, float] = {}
        pictures: dict[str, Tensor] = {}
        for frames in self.frames:
            for knowledge, psfs in self._believed(camera, trial.seed).items():
                tries = [
                    (camera.inversion(frames, psf, self.kind), strength)
                    for psf in psfs
                    for strength in self.strengths
                ]
                inverter, strength = self._chosen(trial, tries)
                key = f"{knowledge}_frames_{frames}"
                found, decibels = _probes(trial, inverter, trial.held, trial.lookers(), strength)
                conditions[key] = numbers(trial.verify(found)) | {"psnr": decibels}
                chosen[key] = strength
                light = inverter.restore(trial.held, trial.shown, trial.device, strength)
                pictures[key] = light.cpu()
        return Outcome(conditions, chosen, pictures=pictures)

    def _believed(self, camera: CameraDefence, seed: int) -> dict[str, list[Tensor]]:
        """Return the PSFs that an attacker may take for the true one, by what he knows."""
        psf = camera.psf()
        out = {
            "exact" if error == 0 else f"error_{error:g}": [disturbed(psf, error, seed)]
            for error in self.errors
        }
        if self.guesses:
            pixels = camera.inversion(1, psf).pixels
            out["unknown"] = [gaussian_like(psf, width * pixels) for width in self.guesses]
        return out

    def _chosen(
        self, trial: Trial, tries: Sequence[tuple[Inversion, float]]
    ) -> tuple[Inversion, float]:
        """Return inversion and strength with which most is found of the tuning people."""
        if len(tries) == 1:
            return tries[0]
        name = trial.strongest
        looker = {name: trial.lookers()[name]}
        found = [
            trial.tuned(_probes(trial, inverter, trial.tuning, looker, strength)[0])
            for inverter, strength in tries
        ]
        return tries[found.index(max(found))]


@torch.no_grad()
def _probes(
    trial: Trial,
    inverter: Inversion,
    people: TestSet,
    lookers: Mapping[str, Look],
    strength: float,
) -> tuple[dict[str, Tensor], float]:
    """Return embeddings of inverted measurements by recogniser, and their mean PSNR [dB]."""
    rows_of: dict[str, list[Tensor]] = {name: [] for name in lookers}
    decibels = []
    for rows in people.batches(trial.batch):
        scenes = people.scenes(rows, trial.device)
        light = inverter.invert(inverter.measure(people, rows, scenes), scenes, strength)
        decibels.append(psnr(light, scenes.light).cpu())
        for name, look in lookers.items():
            rows_of[name].append(look(light, scenes.landmarks).cpu())
    found = {name: torch.cat(parts) for name, parts in rows_of.items()}
    return found, float(torch.cat(decibels).mean())


def disturbed(psf: Tensor, error: float, seed: int) -> Tensor:
    """Return a PSF (3, h, w) as an attacker measures it whose relative error is `error`.

    Every sample errs in proportion to itself, so no light appears where there is none; the energy
    stays. The same seed gives the same directions for all errors.
    """
    if error == 0:
        return psf
    draw = torch.randn(psf.shape, generator=generator_for(seed, "psf error")).to(psf)
    wrong = psf * draw
    wrong = wrong - psf * wrong.sum((-2, -1), keepdim=True) / psf.sum((-2, -1), keepdim=True)
    scale = float(psf.norm() / wrong.norm())
    return psf + error * scale * wrong


def gaussian_like(psf: Tensor, width: float) -> Tensor:
    """Return a Gaussian (3, h, w) of standard deviation `width` [px], of the energy of `psf`."""
    sides = [torch.arange(n, dtype=psf.dtype) - (n - 1) / 2 for n in psf.shape[-2:]]
    y, x = torch.meshgrid(*sides, indexing="ij")
    spot = torch.exp(-(x.square() + y.square()) / (2 * width**2)).to(psf)
    return spot / spot.sum() * psf.sum((-2, -1), keepdim=True)


class Wiener(Deconvolution):
    """The best linear inversion; strengths are noise powers relative to the true one."""

    kind = Inversion


class _Iterative(Inversion):
    """Inversions of non-negative light; what the backdrop adds within the picture is known."""

    def invert(self, measured: Tensor, scenes: Scenes, strength: float) -> Tensor:
        side, reach = self.pixels, self.psf.shape[-1]
        whole = side + reach - 1
        psf = self.assumed.to(measured)
        level = scenes.surround[:, :, None, None].expand(-1, -1, side, side).contiguous()
        # the scene alone, dark beyond its crop
        seen = measured[..., :whole, :whole] + blur(level, psf, extent="full")
        light = self.solve(seen, CroppedBlur(psf, (whole, whole)), strength)
        first = reach // 2
        inner = light[..., first : first + side, first : first + side]
        return network_view(inner, scenes.size).clamp(0, 1)

    def solve(self, seen: Tensor, camera: CroppedBlur, strength: float) -> Tensor:
        """Return the scene (B, 3, N, N) of a measurement (B, 3, N, N)."""
        raise NotImplementedError


class _RichardsonLucy(_Iterative):
    def solve(self, seen: Tensor, camera: CroppedBlur, strength: float) -> Tensor:
        return richardson_lucy(seen, camera, steps=round(strength))


class _AdmmTv(_Iterative):
    def solve(self, seen: Tensor, camera: CroppedBlur, strength: float) -> Tensor:
        return admm_tv(seen, camera, weight=strength, steps=60)


class RichardsonLucy(Deconvolution):
    """Maximum likelihood for photon noise; strengths are iterations, more regularise less."""

    kind = _RichardsonLucy


class AdmmTv(Deconvolution):
    """Least squares with sparse edges; strengths are weights of the edges."""

    kind = _AdmmTv
