"""Test a Raspberry Pi: camera, ports, disk, clock, temperature, and what to do about each.

The starter has made .venv before, with the system's numpy and picamera2 and without torch; from
then on ./lab agent, ./lab capture and ./lab test tests/hardware work on this machine.

    ./lab pi
    ./lab pi index=1          the second camera
"""

import logging
import sys
from pathlib import Path

from experiments.launch import run_job
from experiments.selftest import Finding, camera_findings, machine_findings
from experiments.settings import Settings, SettingsError
from experiments.store import save_json
from hardware.errors import DeviceNotFound

log = logging.getLogger(__name__)


def main(settings: Settings, run: Path) -> None:
    """Test everything, print a table, and fail where something needed is missing."""
    findings = [
        *machine_findings(run, least_free=settings["free_disk"] * 1e9),
        *camera_findings(settings["index"]),
    ]
    sys.stdout.write(table(findings))
    metrics: dict[str, object] = {"failed": sum(f.failed for f in findings)}
    for finding in findings:
        metrics[f"{finding.name}/ok"] = finding.ok
        metrics |= {f"{finding.name}/{key}": value for key, value in finding.numbers.items()}
    save_json(run / "metrics.json", metrics)
    missing = [finding.name for finding in findings if finding.failed]
    if missing:
        raise DeviceNotFound(f"not ready: {', '.join(missing)}", hint="see the table above")


def table(findings: list[Finding]) -> str:
    """Return findings as lines of text, each that needs it with what to do."""
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        word = "ok" if finding.ok else "FAIL" if finding.needed else "note"
        lines.append(f"{word:4}  {finding.name:{width}}  {finding.text}")
        if not finding.ok and finding.remedy:
            lines.append(f"{'':{width + 8}}-> {finding.remedy}")
    return "\n".join(lines) + "\n"


def check(settings: Settings) -> None:
    """Refuse settings that cannot work."""
    if settings["what"] != "selftest":
        raise SettingsError(f"what = {settings['what']!r}: there is selftest")
    if not 0 <= settings["index"] <= 9:
        raise SettingsError(f"index = {settings['index']}, expected 0 to 9")
    if not 0 <= settings["free_disk"] <= 1e6:
        raise SettingsError(f"free_disk = {settings['free_disk']:g} GB, expected 0 to 1e6")


if __name__ == "__main__":
    run_job("pi", main, check=check)
