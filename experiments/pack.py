"""Pack what other jobs read of a finished run: a few megabytes, to be given to others.

Of a camera: the mask, PSFs, landmark networks, people, spectrum, numbers and settings. Of an
anonymizer: its networks, people, numbers and settings. Left out are checkpoints, evidence,
attackers and the baselines that are not asked for. Networks and mask are kept with 16 bits, PSFs
with 12 significant ones; `metrics.json` says what that changed. The runs that come with the
program (`run=shipped`, `run=shipped_published`) are such folders, below `experiments/shipped`.

    ./lab pack run=latest                          a camera, into packed/ of the run folder
    ./lab pack run=latest cameras=[]               the learned camera alone
    ./lab pack anonymizer run=latest behind=shipped
    ./lab attack camera design=runs/pack/latest/packed
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anonymizer.stargan import Anonymizer
from experiments.bench_rig import MASK, design_of_run
from experiments.cameras import LEARNED
from experiments.finished_anonymizer import CAMERA_RUN, PEOPLE, WEIGHTS
from experiments.launch import find_run, run_job
from experiments.runs import CONFIG, RECORD, config_of
from experiments.settings import Settings, SettingsError
from experiments.store import (
    ArtifactError,
    atomic_write,
    load_arrays,
    load_tensors,
    read_json,
    save_arrays,
    save_json,
    save_tensors,
    write_manifest,
)

_HERE = {"run": None, "resume": False}  #: settings of one call, on the machine where it was
SIGNIFICANT = 12  #: bits of the PSFs that are kept, the leading one among them
_OF_CAMERA = ("metrics.jsonl", "data.json", PEOPLE)
_BY_CAMERA = ("inversion_strengths.json", "metrics.json")  #: their keys begin with a camera
_OF_ANONYMIZER = ("metrics.json", "terms.json", PEOPLE)

log = logging.getLogger(__name__)


def main(settings: Settings, run: Path) -> None:
    """Pack the run, and say what the smaller numbers change."""
    folder = run / settings["name"]
    if settings["what"] == "camera":
        source = find_run("codesign", str(settings["run"]))
        refined = settings["refined"]
        fine_tuned = None if refined is None else find_run("codesign", str(refined))
        metrics = pack_camera(source, folder, settings["cameras"], fine_tuned)
    else:
        source = find_run("anonymize", str(settings["run"]))
        metrics = pack_anonymizer(source, folder, settings["behind"])
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    save_json(run / "metrics.json", metrics | {"bytes": float(size)})
    log.info("%s: %.1f MB", folder, size / 1e6)
    for name, value in metrics.items():
        log.info("%-24s %.3g", name, value)


def pack_camera(
    source: Path, folder: Path, cameras: Sequence[str], refined: Path | None = None
) -> dict[str, float]:
    """Write the packed camera of the co-design run `source` to the new `folder`.

    Parameters
    ----------
    source : Path
        Finished co-design run.
    folder : Path
        To be made.
    cameras : sequence of str
        Baselines that are kept beside the learned camera.
    refined : Path, optional
        Run that went on with the landmark network behind the same mask (`freeze=mask`); its
        network and its landmark errors stand for those of the learned camera.

    Returns
    -------
    dict
        `height_change_rms` [m], most of it whole turns of cells that were about to wrap, and
        `psf_change`, the share of the light that lands on other
        pixels through the packed mask, in focus, in the worst colour.
    """
    config = config_of(source)
    kept = {name: config["baselines"][name] for name in cameras}
    config |= {"baselines": kept, "trade_off": []}
    learned = source if refined is None else refined
    _pack_tensors(source, folder, "regressor_clear.safetensors")
    for name in (LEARNED, *kept):
        path = f"cameras/{name}/regressor.safetensors"
        _pack_tensors(learned if name == LEARNED else source, folder, path)
    for name in (LEARNED, *kept):
        arrays = load_arrays(source / "cameras" / name / "psfs.npz")
        arrays["psfs"] = significant(arrays["psfs"], SIGNIFICANT)
        save_arrays(folder / "cameras" / name / "psfs.npz", arrays)
    save_arrays(folder / "scene_power.npz", load_arrays(source / "scene_power.npz"))
    tensors, notes = load_tensors(source / MASK)
    del tensors["height"]  # follows from the parameters
    save_tensors(folder / MASK, {n: _halved(n, t) for n, t in tensors.items()}, notes)
    for name in _BY_CAMERA:
        numbers = read_json(source / name)
        if refined is not None:
            own = read_json(refined / name)
            numbers |= {k: v for k, v in own.items() if k in numbers and "landmark" in k}
        dropped = tuple(f"{n}/" for n in config_of(source)["baselines"] if n not in kept)
        numbers = {k: v for k, v in numbers.items() if not k.startswith(dropped)}
        save_json(folder / name, numbers)
    record = read_json(source / RECORD)
    if refined is not None:
        record["continued_by"] = _command(read_json(refined / RECORD))
    _finish(source, folder, config, record, _OF_CAMERA)
    return _changes(source, folder)


def pack_anonymizer(source: Path, folder: Path, behind: str | None) -> dict[str, float]:
    """Write the packed anonymizer of the run `source` to the new `folder`.

    Parameters
    ----------
    source : Path
        Finished run of the anonymizer.
    folder : Path
        To be made.
    behind : str or None
        Run of its camera, as those who read the folder shall find it; None: as it was.

    Returns
    -------
    dict
        `parameters`, their number.
    """
    record = read_json(source / RECORD)
    if behind is not None:  # a run that was continued no longer says
        others = [line for line in record["overrides"] if not line.startswith("run=")]
        record["overrides"] = [f"run={behind}", *others]
    network = Anonymizer.load(source / WEIGHTS)
    _, notes = load_tensors(source / WEIGHTS)
    notes = {"people": notes.get("people", ""), "command": _command(record)}
    atomic_write(folder / WEIGHTS, network.to_bytes(notes, half=True))
    camera = read_json(source / CAMERA_RUN) if behind is None else {"folder": behind}
    save_json(folder / CAMERA_RUN, camera)
    _finish(source, folder, config_of(source), record, _OF_ANONYMIZER)
    return {"parameters": float(sum(p.numel() for p in network.parameters()))}


def significant(values: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Return float32 `values` rounded to `bits` significant bits, which compress well."""
    lost = 24 - bits  # of the fraction's 24 bits, one of which is not stored
    whole = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    rounded = (whole + (1 << (lost - 1))) >> lost << lost
    return rounded.astype(np.uint32).view(np.float32)


def _finish(
    source: Path,
    folder: Path,
    config: Mapping[str, Any],
    record: dict[str, Any],
    names: Sequence[str],
) -> None:
    """Write settings and record, copy the small files `names`, and list all."""
    for name in names:
        if (source / name).exists():
            atomic_write(folder / name, (source / name).read_bytes())
    record["versions"].pop("machine", None)
    record["overrides"] = _last(record["overrides"])
    record["command"] = _command(record)
    save_json(folder / CONFIG, dict(config) | {k: v for k, v in _HERE.items() if k in config})
    save_json(folder / RECORD, record)
    write_manifest(folder)


def _command(record: Mapping[str, Any]) -> str:
    """Return the command line that made a run."""
    words = (
        f"'{word}'" if set(word) & set(" []{}*~") else word for word in _last(record["overrides"])
    )
    return " ".join((f"./lab {record['job']}", *words))


def _last(overrides: Sequence[str]) -> list[str]:
    """Keep the last override of every key: a run that was continued lists the older ones too."""
    return list({line.partition("=")[0]: line for line in overrides}.values())


def _pack_tensors(source: Path, folder: Path, name: str) -> None:
    tensors, notes = load_tensors(source / name)
    save_tensors(folder / name, {n: _halved(n, tensor) for n, tensor in tensors.items()}, notes)


def _halved(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point() or tensor.numel() < 2:
        return tensor
    half = tensor.to(torch.float16)
    if not torch.isfinite(half).all():
        raise ArtifactError(f"tensor {name} holds values beyond 65504, which 16 bits cannot hold")
    return half


@torch.no_grad()
def _changes(source: Path, folder: Path) -> dict[str, float]:
    """Compare the packed mask with the one it was made of."""
    before, after = design_of_run(source), design_of_run(folder)
    height = (after.mask.height() - before.mask.height()).double()
    distance = before.focus_distance
    here, there = (camera.psf([distance])[0].double() for camera in (before, after))
    moved = (there - here).abs().sum((-2, -1)) / 2 / here.sum((-2, -1))
    return {
        "height_change_rms": float(height.square().mean().sqrt()),
        "psf_change": float(moved.max()),
    }


def check(settings: Settings) -> None:
    """Refuse what cannot be packed, before anything is written."""
    if settings["what"] not in ("camera", "anonymizer"):
        raise SettingsError(f"what = {settings['what']!r}, expected camera or anonymizer")
    if settings["run"] is None:
        raise SettingsError("run = null: name the run to pack, its folder or latest")
    name = settings["name"]
    if Path(name).name != name or name in ("", ".."):
        raise SettingsError(f"name = {name!r}: a plain name of a folder is needed, such as packed")
    if settings["what"] == "anonymizer":
        source = find_run("anonymize", str(settings["run"]))
        if settings["behind"] is not None:
            find_run("codesign", str(settings["behind"]))
        _refuse_missing(source, (WEIGHTS, CAMERA_RUN))
        return
    source = find_run("codesign", str(settings["run"]))
    known = list(config_of(source)["baselines"])
    if missing := [name for name in settings["cameras"] if name not in known]:
        raise SettingsError(
            f"cameras = {missing}: the run has {', '.join(known) or 'no baselines'}; name some of "
            f"them, or [] for the learned camera alone"
        )
    _refuse_missing(source, (MASK, "regressor_clear.safetensors"))
    if settings["refined"] is not None:
        refined = find_run("codesign", str(settings["refined"]))
        _refuse_missing(refined, (MASK, f"cameras/{LEARNED}/regressor.safetensors"))
        if not _same_mask(source, refined):
            raise SettingsError(
                f"refined = {settings['refined']}: it has another mask than run = "
                f"{settings['run']}; name a run of ./lab codesign freeze=mask run={settings['run']}"
            )


def _same_mask(one: Path, other: Path) -> bool:
    """Whether two runs have the same mask, as far as 16 bits tell."""
    first, second = (load_tensors(run / MASK)[0] for run in (one, other))
    kept = [name for name in first if name != "height"]
    return all(torch.equal(_halved(n, first[n]), _halved(n, second[n])) for n in kept)


def _refuse_missing(source: Path, names: Sequence[str]) -> None:
    record = read_json(source / RECORD)
    if record.get("state") != "finished":
        raise ArtifactError(
            f"run = {source}: it is {record.get('state')}, only a finished run can be packed; go "
            f"on with it by resume=true"
        )
    if missing := [name for name in names if not (source / name).is_file()]:
        raise ArtifactError(
            f"run = {source}: it holds no {missing[0]}; name a run that was trained, not one that "
            f"judged another"
        )


if __name__ == "__main__":
    run_job("pack", main, check=check)
