"""Attacks that undo the lens: its PSF known exactly, nearly, or not at all.

They need a camera; a protection without a PSF is not attacked. Regularisation is chosen on the
tuning people, by what the strongest recogniser finds.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from experiments.attacks.defence import CameraDefence
from experiments.attacks.dynamic import PerShotCamera
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
    exposures : sequence of float or None
        Light that the shots are taken with, scene white on a binned pixel; None is the camera's
        own [e-].

    Notes
    -----
    Before a camera with another mask for every shot the attacker knows all masks, but not which
    one a shot was taken through ("unknown_masks"), or knows that too ("known_masks", by the best
    linear inversion alone). `errors` and `guesses` are for cameras with one mask.
    """

    actor = "A2"
    kind: type[Inversion]

    def __init__(
        self,
        strengths: Sequence[float],
        frames: Sequence[int] = FRAMES,
        errors: Sequence[float] = (0.0,),
        guesses: Sequence[float] = (),
        exposures: Sequence[float | None] = (None,),
    ) -> None:
        if not strengths or min(strengths) <= 0:
            raise ValueError(f"strengths = {list(strengths)}: one positive number or more")
        if min(errors, default=-1) < 0 or min(guesses, default=1) <= 0:
            raise ValueError(
                f"errors = {list(errors)}, guesses = {list(guesses)}: one error or more, zero or "
                f"positive, and positive widths"
            )
        if not exposures or any(e is not None and not e > 0 for e in exposures):
            raise ValueError(
                f"exposures = {list(exposures)}: one or more, each null for the camera's own or "
                f"positive electrons per binned pixel"
            )
        self.exposures = tuple(exposures)
        self.strengths, self.frames = tuple(strengths), check_frames(frames)
        self.errors, self.guesses = tuple(errors), tuple(guesses)

    def budget(self) -> dict[str, Any]:
        """Return frames, exposures, and how many inversions are tried."""
        tries = len(self.strengths) * (len(self.errors) + len(self.guesses))
        out: dict[str, Any] = {"frames": list(self.frames), "inversions_tried": tries}
        return out if self.exposures == (None,) else out | {"exposures_e": list(self.exposures)}

    def run(self, trial: Trial, name: str) -> Outcome:
        """Attack with every PSF and every number of shots."""
        camera = trial.defence
        if not isinstance(camera, CameraDefence):
            return Outcome(reason="the defence has no PSF that could be undone")
        conditions: dict[str, Metrics] = {}
        chosen: dict[str, float] = {}
        pictures: dict[str, Tensor] = {}
        for exposure, frames in itertools.product(self.exposures, self.frames):
            for knowledge, inverters in self._known(camera, frames, exposure, trial.seed).items():
                tries = [(one, strength) for one in inverters for strength in self.strengths]
                inverter, strength = self._chosen(trial, tries)
                key = f"{knowledge}_frames{inverter.suffix}"
                found, decibels = _probes(trial, inverter, trial.held, trial.lookers(), strength)
                white = camera.fixed.camera.sensor.binned_white_electrons
                conditions[key] = numbers(trial.verify(found)) | {
                    "psnr": decibels,
                    "frames": frames,
                    "exposure_e": white if exposure is None else exposure,
                }
                chosen[key] = strength
                light = inverter.restore(trial.held, trial.shown, trial.device, strength)
                pictures[key] = light.cpu()
        return Outcome(conditions, chosen, pictures=pictures)

    def _known(
        self, camera: CameraDefence, frames: int, exposure: float | None, seed: int
    ) -> dict[str, list[Inversion]]:
        """Return the inversions that an attacker may try, by what he knows."""
        psf = camera.psf()
        if isinstance(camera, PerShotCamera):
            out = {"unknown_masks": [camera.inversion(frames, psf, self.kind, exposure)]}
            if self.kind is Inversion:
                out["known_masks"] = [camera.informed(frames, exposure)]
            return out
        believed = {
            "exact" if error == 0 else f"error_{error:g}": [disturbed(psf, error, seed)]
            for error in self.errors
        }
        if self.guesses:
            pixels = camera.inversion(1, psf).pixels
            believed["unknown"] = [gaussian_like(psf, width * pixels) for width in self.guesses]
        return {
            knowledge: [camera.inversion(frames, one, self.kind, exposure) for one in psfs]
            for knowledge, psfs in believed.items()
        }

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
        light = inverter.attempt(people, rows, scenes, strength)
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
