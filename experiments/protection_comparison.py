"""All methods side by side: one table and one page, on the same people.

A method that recovers by its key is measured as such (flow), the others with their originals
encrypted in the vault (aead); every method can have the latter.
"""

import csv
import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anonymizer.vault import Mode
from experiments.judging import build_pool, open_crops
from experiments.protecting import Method
from experiments.protection_evaluation import Judged, judge
from experiments.report.protection_sheet import comparison_sheet
from experiments.report.sheet import write_sheet
from experiments.settings import Settings
from experiments.store import atomic_write, save_json

TABLE = "table.csv"
COLUMNS = (
    "vault", "protected_psnr", "protected_ssim", "recovered_psnr", "recovered_psnr_png8",
    "wrong_key_acceptance", "wrong_key_acceptance_file", "protected_acceptance",
    "wrong_key_structure", "protected_structure", "n_wrong_keys",
    "verification_auc", "verification_auc_lo",
    "verification_auc_hi", "verification_eer", "verification_eer_lo", "verification_eer_hi",
    "verification_tar_0.01", "verification_tar_0.01_lo", "verification_tar_0.01_hi",
    "key_bits", "key_search_seconds", "bytes_sent", "ms_per_image", "n_images", "n_people",
    "recogniser",
)  # fmt: skip

log = logging.getLogger(__name__)


def compare(settings: Settings, methods: Mapping[str, tuple[Method, float]], run: Path) -> None:
    """Measure methods on the test people of `data`, and write the table and its page.

    Parameters
    ----------
    settings : Settings
        Of the job.
    methods : mapping of str to (Method, float)
        By name: the method, and the side of its face squares in sides of a recogniser's crop.
    run : Path
        Run folder.
    """
    test = open_crops(settings["data"], settings).split()["test"]
    pool = build_pool(settings)
    found: dict[str, Judged] = {}
    for name, (method, frame) in methods.items():
        vault: Mode = "flow" if method.network.capabilities.recoverable else "aead"
        log.info("%s, vault %s", name, vault)
        one = judge(settings, method, frame, test, pool, vault)
        found[name] = Judged({"vault": vault, **one.numbers}, one.columns)
        numbers = {key: judged.numbers for key, judged in found.items()}
        save_json(run / "metrics.json", numbers)
        atomic_write(run / TABLE, _csv(numbers).encode())
    write_sheet(
        run, comparison_sheet({key: (one.numbers, one.columns) for key, one in found.items()})
    )


def _csv(numbers: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table; what a method does not have is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("method", *COLUMNS))
    for name, own in numbers.items():
        writer.writerow((name, *(own.get(column) for column in COLUMNS)))
    return text.getvalue()
