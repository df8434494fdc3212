"""Spectral tables from files."""

import pytest

from experiments.composing import compose
from experiments.data.errors import DataError
from experiments.settings import build, to_si
from experiments.spectral_files import read_bands
from optics import TableBand

GOOD = (
    "# made up\nWavelength [nm], Red, green, BLUE\n400, 0, 1, 2\n500, 1, 1, 0.5\n\n620, 2, 0, 0\n"
)


def written(folder, text, name="table.csv"):
    file = folder / name
    file.write_text(text, "utf-8")
    return file


def test_a_table_is_read_in_metres(tmp_path):
    red, green, blue = read_bands(written(tmp_path, GOOD))
    assert red == TableBand([400 * 1e-9, 500 * 1e-9, 620 * 1e-9], [0, 1, 2])
    assert green.values == (1, 1, 0)
    assert blue.values == (2, 0.5, 0)


@pytest.mark.parametrize(("separator", "unit", "scale"), [(";", "(um)", 1e-3), ("\t", "[m]", 1e-9)])
def test_units_and_separators(tmp_path, separator, unit, scale):
    rows = [f"{n * scale:.12g}{separator}{v}" for n, v in ((400, 1), (550, 3), (700, 0))]
    text = "\n".join([f"lambda {unit}{separator}response", *rows])
    (band,) = read_bands(written(tmp_path, text), columns=["response"])
    assert band.wavelengths == pytest.approx((400e-9, 550e-9, 700e-9), rel=1e-12)
    assert band.values == (1, 3, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("[nm]", ""), r"name it 'wavelength \[nm\]' .* there are 'Wavelength', 'Red'"),
        (GOOD.replace("[nm]", "[s]"), "no column gives the wavelength with its unit"),
        (GOOD.replace("green", "red"), "2 columns are called 'red'"),
        (GOOD.replace("green", "gruen"), "0 columns are called 'green'"),
        (GOOD.replace("500, 1", "500, x"), r"line 4: '500, x, 1, 0.5' does not hold a number"),
        (GOOD.replace("620, 2, 0, 0", "620"), "line 6: '620' does not hold"),
        (GOOD.replace("620", "420"), "4.2e-07 m follows 5e-07 m"),
        (GOOD.replace("620, 2", "620, -2"), "values: -2 at 6.2e-07 m"),
        (GOOD.replace("400", "4"), "wavelength = 4e-09 m is outside"),
        ("wavelength [nm], red\n", "holds 1 lines"),
    ],
)
def test_bad_tables_are_refused_by_name(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_bands(written(tmp_path, text, "bad.csv"))


def test_a_missing_file_and_one_that_is_no_text_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"none.csv cannot be read"):
        read_bands(tmp_path / "none.csv")
    (tmp_path / "picture.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DataError, match=r"picture.csv cannot be read as text"):
        read_bands(tmp_path / "picture.csv")


def test_a_config_reads_the_file_or_makes_the_table(tmp_path):
    file = written(tmp_path, GOOD)
    settings = to_si(compose("codesign", ["sensor=imx477_file", f"sensor.bands.file={file}"]))
    sensor = build(settings["sensor"])
    assert sensor.bands[0].values == (0, 1, 2)
    made = build(to_si(compose("codesign", ["sensor=imx477_table"]))["sensor"])
    assert made.bands[1].shortest == pytest.approx(390e-9)
    assert made.pixel_pitch == 1.55e-6
