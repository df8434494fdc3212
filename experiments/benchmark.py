"""Time our optics beside plain torch and other libraries, or check its accuracy anchors.

`optics` needs a quiet machine; libraries that are installed take part (pip install -e .[peers]).
`accuracy` ends with exit code 1 where an anchor does not hold.

    ./lab benchmark
    ./lab benchmark optics cases=[psf_512x3,propagate_1024] rounds=9
    ./lab benchmark accuracy
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from experiments.benchmarks import accuracy, judging, showing, timing
from experiments.benchmarks.scenes import CASES
from experiments.launch import run_job
from experiments.report.sheet import write_sheet
from experiments.settings import Settings, SettingsError
from experiments.store import save_json

log = logging.getLogger(__name__)


def main(settings: Settings, run: Path) -> int:
    """Measure and report; return how many anchors fail."""
    return measure_accuracy(run) if settings["what"] == "accuracy" else compare(settings, run)


def compare(settings: Settings, run: Path) -> int:
    """Time every contestant on every case."""
    device = torch.device(settings["device"])
    if settings["keep_memory"]:
        timing.keep_freed_memory()
    metrics: dict[str, float | None] = {}
    tables, found = {}, {}
    for name in settings["cases"]:
        case = CASES[name]
        rows = judging.judge(
            case,
            scale=settings["scale"],
            rounds=settings["rounds"],
            threads=settings["threads"],
            device=device,
            memory_too=settings["memory"],
        )
        found[name] = rows
        metrics |= judging.metrics(name, rows)
        tables[name] = judging.record(case, rows)
        table = showing.speed_table(case, rows)
        log.info("\n".join(["", f"{name}: {case.title}", *showing.lines(table), table.note]))
    save_json(run / "metrics.json", metrics)
    save_json(run / "table.json", tables)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    setting = f"{where}, {settings['threads']} threads, medians of {settings['rounds']} rounds."
    if settings["scale"] != 1:
        setting += f" Sizes are {settings['scale']:g} of the full ones: times mean little."
    sheet = showing.speed_sheet(found, setting)
    log.info("\n".join(["", *showing.lines(sheet.sections[0].tables[0])]))
    write_sheet(run, sheet)
    return 0


def measure_accuracy(run: Path) -> int:
    """Compute every anchor in float64 and float32."""
    found = []
    for item in accuracy.measure_all():
        found.append(item)
        log.info("%s %s", item.key, "ok" if item.ok else f"FAILED {item.reason}".rstrip())
    save_json(run / "metrics.json", accuracy.metrics(found))
    sheet = showing.accuracy_sheet(found)
    log.info("\n".join(["", *showing.lines(showing.accuracy_table(found)), "", sheet.headline]))
    write_sheet(run, sheet)
    return sum(not item.ok for item in found)


def check(settings: Settings) -> None:
    """Refuse settings that cannot work, before anything is written."""
    if settings["what"] not in ("optics", "accuracy"):
        raise SettingsError(f"what = {settings['what']}, expected optics or accuracy")
    if unknown := [name for name in settings["cases"] if name not in CASES]:
        raise SettingsError(f"cases = {unknown}, expected some of {', '.join(CASES)}")
    if not 0 < settings["scale"] <= 1:
        raise SettingsError(f"scale = {settings['scale']:g}, expected a fraction of the full size")
    for name in ("rounds", "threads"):
        if settings[name] < 1:
            raise SettingsError(f"{name} = {settings[name]}, expected 1 or more")
    if settings["device"] not in ("cpu", "cuda"):
        raise SettingsError(f"device = {settings['device']}, expected cpu or cuda")
    if settings["device"] == "cuda" and not torch.cuda.is_available():
        raise SettingsError("device = cuda: torch sees no GPU here; use device=cpu")


def command(arguments: Sequence[str] | None = None) -> None:
    """Run the job as the command line says, and exit; 1 where an anchor fails.

    The run itself is finished then: what it found is in its folder.
    """
    failures: list[int] = []

    def job(settings: Settings, run: Path) -> None:
        failures.append(main(settings, run))

    try:
        run_job("benchmark", job, check=check, arguments=arguments)
    except SystemExit as end:
        sys.exit(end.code or int(any(failures)))


if __name__ == "__main__":
    command()
