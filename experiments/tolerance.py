"""How the numbers of a learned mask scatter when it is made.

Draws masks with the errors of a process, measures each of them, and ranks the errors: Monte
Carlo, one error at a time, first order by gradient, and the yield against the tolerances.

    ./lab tolerance run=latest                               the newest co-design run
    ./lab tolerance run=<folder> fabrication=greyscale
    ./lab tolerance run=latest fabrication.etch_scale=0.05 draws=200
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from anonymizer.heatmaps import normalised_mean_error
from experiments.cameras import LEARNED
from experiments.described import build_objective, load_scene_power, stored_settings
from experiments.design import Codesign
from experiments.judging import limit, open_parts
from experiments.launch import find_run, run_job
from experiments.objectives import InversionTerm
from experiments.objectives.terms import MaskView
from experiments.report.sheet import write_sheet
from experiments.report.tolerance_sheet import tolerance_sheet
from experiments.scene import FACE_WIDTH, generator_for, load_scenes, network_view, observe
from experiments.settings import Settings, SettingsError, build
from experiments.store import save_json
from experiments.tolerancing import (
    Bench,
    Measure,
    monte_carlo,
    scattering,
    sensitivities,
    yield_at,
)
from optics import Camera, Fabrication
from optics.quality import energy_inside, radial_mtf, register, rms_radius

log = logging.getLogger(__name__)


def main(settings: Settings, run: Path) -> None:
    """Analyse the mask of a finished run."""
    source = find_run("codesign", str(settings["run"]))
    work = Codesign(stored_settings(source, settings), source)
    fabrication: Fabrication = build(settings["fabrication"])
    distance = settings["distance"] or work.setting.reference
    camera = work.camera(LEARNED).requires_grad_(False)
    measures = design_measures(work, camera, distance, settings["nodes"], settings["band"])
    if settings["pictures"]:
        measures["landmark_nme"] = landmark_measure(work, distance, settings["pictures"])
    bench = Bench(camera, fabrication, distance, settings["nodes"], measures)
    seed, progress = settings["seed"], settings["progress"]

    design = bench.designed()
    nominal = bench.numbers(fabrication.nominal())
    values = monte_carlo(bench, settings["draws"], seed=seed, progress=progress)
    ranked = sensitivities(bench, settings["draws_alone"], seed=seed, progress=progress)
    by_scale = {
        float(scale): monte_carlo(
            bench, settings["draws_per_scale"], seed=seed + 1, scale=scale, progress=progress
        )
        for scale in settings["scales"]
    }
    allowed = settings["allowed"]
    yields = {
        scale: {
            name: yield_at(
                found[name], design[name], allowed=allowed,
                higher_is_better=measure.higher_is_better,
            )
            for name, measure in measures.items()
        }
        for scale, found in by_scale.items()
    }  # fmt: skip
    metrics: dict[str, float] = {}
    for name in measures:
        sample = torch.tensor(values[name], dtype=torch.float64)
        metrics |= {
            f"{name}/design": design[name],
            f"{name}/nominal": nominal[name],
            f"{name}/mean": float(sample.mean()),
            f"{name}/std": float(sample.std()),
            f"{name}/p05": float(sample.quantile(0.05)),
            f"{name}/p95": float(sample.quantile(0.95)),
        }
        for error, effects in ranked.items():
            metrics[f"{name}/{error}/first_order"] = effects[name].first_order
            metrics[f"{name}/{error}/alone"] = effects[name].alone
        for scale, shares in yields.items():
            metrics[f"{name}/yield_{scale:g}"] = shares[name]
    save_json(run / "metrics.json", metrics)
    save_json(run / "masks.json", {"values": values, "fabrication": str(fabrication)})
    psfs = example_psfs(bench, seed)
    sheet = tolerance_sheet(
        bench, values=values, design=design, nominal=nominal, ranked=ranked, yields=yields,
        allowed=allowed, psfs=psfs, source=source.name,
    )  # fmt: skip
    write_sheet(run, sheet)
    for name, measure in measures.items():
        low, high = metrics[f"{name}/p05"], metrics[f"{name}/p95"]
        log.info(
            "%-42s design %.4g, made %.4g [%.4g, %.4g]",
            measure.label, design[name], metrics[f"{name}/mean"], low, high,
        )  # fmt: skip


def design_measures(
    work: Codesign, camera: Camera, distance: float, nodes: int, band: Sequence[float]
) -> dict[str, Measure]:
    """Numbers of the PSF alone: what it hides, what it leaves, where the light goes."""
    face = camera.image_size(FACE_WIDTH, distance)
    cycles = torch.linspace(band[0], band[1], 12, dtype=torch.float64)
    with torch.no_grad():
        designed = camera.psf([distance], nodes=nodes)[0]
    objective = build_objective(work.settings)
    term = next((t for t in objective.terms.values() if isinstance(t, InversionTerm)), None)
    term = term or InversionTerm()
    term.prepare(camera, load_scene_power(work.run / "scene_power.npz"), distance)
    return {
        "bits": Measure(
            f"information left at {term.low:g} to {term.high:g} cycles per face [bit]",
            lambda made, psf: term(MaskView(made, psf)),
            higher_is_better=False,
        ),
        "landmark_mtf": Measure(
            f"MTF at {band[0]:g} to {band[1]:g} cycles per face",
            lambda made, psf: radial_mtf(psf, cycles / face).mean(),
            higher_is_better=True,
        ),
        "energy_inside": Measure(
            "energy inside the window",
            lambda made, psf: energy_inside(psf).mean(),
            higher_is_better=True,
        ),
        "spread": Measure(
            "spread of the PSF [face widths]",
            lambda made, psf: rms_radius(psf).mean() / face,
            higher_is_better=True,
        ),
        "departure": Measure(
            "difference to the designed PSF after registration [1]",
            lambda made, psf: register(psf, designed).difference.mean(),
            higher_is_better=False,
        ),
    }


def landmark_measure(work: Codesign, distance: float, pictures: int) -> Measure:
    """Landmark error of the run's own regressor, which never saw a mask with errors."""
    crops = limit(open_parts(work.settings).tuning, pictures)
    scenes = load_scenes(crops, range(len(crops))).to(work.processes.device)
    regressor = work.regressor(LEARNED)

    def value(made: Camera, psf: Tensor) -> Tensor:
        noise = [generator_for("tolerance", i) for i in range(len(crops))]
        seen = network_view(observe(made, psf, scenes, distance, noise), scenes.size)
        return normalised_mean_error(regressor(seen).landmarks(), scenes.landmarks).mean()

    return Measure("landmark error (NME)", value, higher_is_better=False)


def example_psfs(bench: Bench, seed: int, count: int = 3) -> dict[str, Tensor]:
    """PSFs (3, h, w) of the design and of a few masks as made."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        out = {"as designed": bench.psf(bench.camera)}
        for number in range(1, count + 1):
            errors = bench.fabrication.draw(generator)
            out[f"mask {number} as made"] = bench.psf(bench.made(errors))
    return out


def check(settings: Settings) -> None:
    """Refuse settings that cannot work, before anything is written."""
    if settings["run"] is None:
        raise SettingsError("tolerance needs the run to analyse: run=latest or its folder")
    find_run("codesign", str(settings["run"]))
    fabrication: Fabrication = build(settings["fabrication"])
    if not scattering(fabrication):
        raise SettingsError(
            "fabrication: nothing scatters in this process; choose another, or give a tolerance "
            "such as fabrication.etch_scale=0.02"
        )
    for name in ("draws", "draws_alone", "draws_per_scale"):
        if settings[name] < 2:
            raise SettingsError(f"{name} = {settings[name]}: at least 2 are needed to scatter")
    if settings["pictures"] < 0 or settings["nodes"] < 3:
        raise SettingsError(
            f"pictures = {settings['pictures']}, nodes = {settings['nodes']}: pictures >= 0 and "
            f"nodes >= 3"
        )
    if settings["allowed"] <= 0 or min(settings["scales"], default=0.0) <= 0:
        raise SettingsError(
            f"allowed = {settings['allowed']}, scales = {settings['scales']}: positive numbers"
        )


if __name__ == "__main__":
    run_job("tolerance", main, check=check)
