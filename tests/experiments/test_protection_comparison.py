"""The table of all methods: the same people, every method, nothing made up."""

import csv

import pytest
import torch

from anonymizer.protection.obfuscation import Obfuscation
from anonymizer.protection.obfuscators import Pixelate
from experiments import protection_comparison as comparison
from experiments.protecting import Method
from experiments.store import read_json
from tests.experiments.protecting_doubles import Scramble, method
from tests.experiments.test_protection_evaluation import Colours, crops


@pytest.fixture
def compared(monkeypatch, tmp_path):
    """Run folder of a comparison of two methods on a few made-up people."""

    class Fake:
        def split(self):
            return {"test": crops()}

    monkeypatch.setattr(comparison, "open_crops", lambda *_: Fake())
    monkeypatch.setattr(comparison, "build_pool", lambda *_: {"colours": Colours()})
    coarse = Method(Obfuscation(Pixelate(6)), 48, bytes(32), bytes(32), torch.device("cpu"))
    settings = {"data": {}, "pictures": 12, "seed": 0, "wrong_keys": 5}
    methods = {"scramble": (method(Scramble(48)), 1.3), "coarse": (coarse, 1.3)}
    comparison.compare(settings, methods, tmp_path)
    return tmp_path


def test_the_table_holds_the_numbers_of_every_method(compared):
    numbers = read_json(compared / "metrics.json")
    with (compared / comparison.TABLE).open(newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert list(rows) == list(numbers) == ["scramble", "coarse"]
    for name, row in rows.items():
        for column in comparison.COLUMNS:
            found = numbers[name].get(column)
            assert row[column] == ("" if found is None else str(found)), (name, column)
        assert row["verification_auc"]  # a misnamed column would be empty
        assert row["verification_auc_lo"]


def test_a_method_that_recovers_is_measured_by_itself_and_others_by_their_vault(compared):
    numbers = read_json(compared / "metrics.json")
    assert numbers["scramble"]["vault"] == "flow"
    assert numbers["scramble"]["recovered_psnr"] > 50
    assert numbers["coarse"]["vault"] == "aead"
    assert numbers["coarse"]["recovered_psnr"] is None


def test_the_page_shows_every_method(compared):
    page = (compared / "report.html").read_text()
    assert "2 methods on the same people" in page
    for name in ("scramble", "coarse"):
        assert (compared / f"figures/faces_{name}.png").exists()
