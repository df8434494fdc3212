"""The cameras of a run, judged on the same people, kept, and gathered for the report."""

import copy
from collections.abc import Mapping
from pathlib import Path

import torch

from experiments.cameras import LEARNED
from experiments.data.crops import FaceCrops
from experiments.described import load_scene_power
from experiments.design import Codesign
from experiments.evaluation import clear_numbers
from experiments.evidence import Finished, collect
from experiments.protocol import Metrics, TestSet
from experiments.store import load_tensors, read_json, save_arrays, save_json


def judge_cameras(
    work: Codesign,
    test: FaceCrops,
    tuning: FaceCrops,
    out: Path,
    strengths: Mapping[str, float] | None,
    *,
    beside: Mapping[str, Codesign] | None = None,
) -> Metrics:
    """Judge every camera on `test`; results per camera are kept and not made again.

    Parameters
    ----------
    work : Codesign
        The run.
    test, tuning : FaceCrops
        People on whom it is measured, and other people on whom the inversion is tuned.
    out : Path
        Where results are kept.
    strengths : mapping of str to float, optional
        Regularisation of the inversion by camera and suffix, instead of tuning.
    beside : mapping of str to Codesign, optional
        Runs whose learned camera is judged as well, by the names it gets here.
    """
    held, other = work.test_sets(test, tuning, work.protocol)
    metrics: Metrics = {}
    used: dict[str, float] = {}
    finished: dict[str, Finished] = {}
    cameras = {name: (work, name) for name in (LEARNED, *work.baselines)}
    cameras |= {name: (own, LEARNED) for name, own in (beside or {}).items()}
    for name, (own, camera) in cameras.items():
        finished[name] = Finished(own.static(camera), own.regressor(camera))
        path = out / "evaluations" / f"{name}.json"
        if not path.exists():
            chosen = _of_camera(strengths, name)
            save_json(path, own.judge(camera, held, other, work.protocol, chosen))
        found = read_json(path)
        prefix = "" if name == LEARNED else f"{name}/"
        metrics |= {prefix + key: value for key, value in found.items()}
        used |= {
            f"{name}/{k.removeprefix('inversion_strength')}": v
            for k, v in found.items()
            if k.startswith("inversion_strength")  # not those of other distances
        }
    clear = copy.deepcopy(work.clear)
    clear.load_state_dict(load_tensors(work.run / "regressor_clear.safetensors")[0])
    metrics |= clear_numbers(clear.eval(), work.pool, held, work.protocol.batch)
    metrics |= _counts(held)
    save_json(out / "inversion_strengths.json", used)
    save_json(out / "metrics.json", metrics)
    save_json(out / "data.json", held.crops.source)
    power = load_scene_power(work.run / "scene_power.npz")
    evidence = collect(finished, held, work.protocol, power, strengths=used)
    save_arrays(out / "evidence.npz", evidence)
    return metrics


def _of_camera(strengths: Mapping[str, float] | None, name: str) -> dict[str, float] | None:
    if strengths is None:
        return None
    return {k.split("/", 1)[1]: v for k, v in strengths.items() if k.startswith(f"{name}/")}


def _counts(test: TestSet) -> Metrics:
    people = test.crops.person
    named = people[people >= 0]
    counts = torch.from_numpy(named).bincount() if len(named) else torch.zeros(0)
    return {
        "n_images_test": float(len(people)),
        "n_people_test": float((counts > 0).sum()),
        "n_genuine": float((counts * (counts - 1)).sum()),
        "n_impostor": float(len(named) ** 2 - (counts**2).sum()),
    }
