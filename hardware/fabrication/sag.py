"""Plain tables of the surface in metres: CSV, matrix, npz or HDF5, for any other program.

Rows of a matrix and of an array run down (towards +y), columns to the right (+x); (0, 0) is the
middle of the map.
"""

import ast
import math
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import h5py
import numpy as np

from hardware.errors import HardwareError
from hardware.fabrication.design import HeightMap, Map, MaskDesign, positions
from hardware.fabrication.target import Estimate, Plain, Target, Written

_ENDINGS = {"csv": ".csv", "matrix": ".txt", "npz": ".npz", "hdf5": ".h5"}
_BYTES = {"csv": 46, "matrix": 16, "npz": 8, "hdf5": 8}  # of one height
_DIGITS = 9  # behind the point of a number in exponential form
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip file knows


@dataclass(frozen=True)
class Sag(Target):
    """Table of heights.

    Attributes
    ----------
    format : {"csv", "matrix", "npz", "hdf5"}
        "csv" has a line ``x_m,y_m,height_m`` for every sample, "matrix" a line for every row of
        the map; npz and HDF5 hold the arrays ``x_m``, ``y_m`` and ``height_m`` in double precision.
    """

    name: ClassVar[str] = "sag"

    format: Literal["csv", "matrix", "npz", "hdf5"] = "hdf5"

    def __post_init__(self) -> None:
        if self.format not in _ENDINGS:
            raise ValueError(f"format = {self.format!r}: one of {', '.join(_ENDINGS)} is needed")

    def meant(self, design: MaskDesign) -> HeightMap:
        return HeightMap(design.height, design.spacing)

    def step(self, design: MaskDesign) -> float:
        largest = float(np.abs(design.height).max())
        if self.format in ("npz", "hdf5"):
            return float(np.spacing(largest))
        return 10.0 ** (math.floor(math.log10(largest)) - _DIGITS) if largest else 1e-18

    def estimate(self, design: MaskDesign) -> Estimate:
        size = design.height.size * _BYTES[self.format]
        remark = ""
        if size > 1 << 28 and self.format in ("csv", "matrix"):
            remark = f"{size / 1e6:.0f} MB of text: 'hdf5' or 'npz' are smaller and exact"
        return Estimate(size, design.height.size, remark)

    def write(self, design: MaskDesign, folder: Path) -> Written:
        path = folder / f"{design.name}{_ENDINGS[self.format]}"
        {"csv": _csv, "matrix": _matrix, "npz": _npz, "hdf5": _hdf5}[self.format](path, design)
        notes: dict[str, Plain] = {
            "orientation": "x to the right with the columns, y down with the rows, 0 in the middle",
            "unit": "metre",
            "sign": "height is positive towards more material",
            "rows": design.shape[0],
            "columns": design.shape[1],
            "pitch_m": design.spacing,
        }
        return Written([path], notes)

    def read(self, folder: Path, written: Written) -> HeightMap:
        path = folder / written.files[0].name
        try:
            x, y, height = {
                "csv": _read_csv,
                "matrix": _read_matrix,
                "npz": _read_npz,
                "hdf5": _read_hdf5,
            }[self.format](path)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise HardwareError(f"{path}: cannot be read as {self.format} ({error})") from error
        if height.shape != (len(y), len(x)) or min(height.shape) < 2:
            raise HardwareError(
                f"{path}: {height.shape} heights for {len(y)} rows and {len(x)} columns"
            )
        spacing = (x[-1] - x[0]) / (len(x) - 1)
        # a thousandth of a cell: far above the digits in the file, far below a shifted sample
        for axis in (x, y):
            wanted = positions(len(axis), spacing)
            if not np.allclose(axis, wanted, rtol=0, atol=1e-3 * abs(spacing)):
                raise HardwareError(f"{path}: samples are not evenly spaced about the middle")
        return HeightMap(height, float(spacing))


def _csv(path: Path, design: MaskDesign) -> None:
    x, y = design.axes()
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write("x_m,y_m,height_m\n")
        starts = [f"{value:.{_DIGITS}e}" for value in x]
        for position, row in zip(y, design.height, strict=True):
            pattern = f",{position:.{_DIGITS}e},%.{_DIGITS}e\n".join([*starts, ""])
            file.write(pattern % tuple(row))


def _matrix(path: Path, design: MaskDesign) -> None:
    rows, columns = design.shape
    line = " ".join([f"%.{_DIGITS}e"] * columns) + "\n"
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write(f"# height_m, {rows} rows of {columns} columns\n")
        file.write("# first row: smallest y_m (upper edge); first column: smallest x_m (left)\n")
        file.write(f"# spacing_m {design.spacing!r}\n")
        file.writelines(line % tuple(row) for row in design.height)


def _npz(path: Path, design: MaskDesign) -> None:
    x, y = design.axes()
    # member by member with a date of its own: the bytes must not depend on today
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for key, values in {"x_m": x, "y_m": y, "height_m": design.height}.items():
            member = zipfile.ZipInfo(f"{key}.npy", _EPOCH)
            with archive.open(member, "w", force_zip64=True) as file:
                np.lib.format.write_array(
                    file, np.ascontiguousarray(values, "<f8"), allow_pickle=False
                )


def _hdf5(path: Path, design: MaskDesign) -> None:
    x, y = design.axes()
    with h5py.File(path, "w", libver="v110") as file:
        for key, values in {"x_m": x, "y_m": y, "height_m": design.height}.items():
            chunks = tuple(min(side, 256) for side in values.shape)
            data = file.create_dataset(
                key,
                data=values.astype("<f8"),
                chunks=chunks,
                shuffle=True,
                compression="gzip",
                compression_opts=1,
                track_times=False,
            )
            data.attrs["units"] = "m"
        file["height_m"].attrs["axes"] = "y_m, x_m"
        file["height_m"].attrs["spacing_m"] = design.spacing


def _read_csv(path: Path) -> tuple[Map, Map, Map]:
    with path.open(encoding="ascii") as file:
        if file.readline().strip() != "x_m,y_m,height_m":
            raise ValueError("the first line is not x_m,y_m,height_m")
        table = np.loadtxt(file, delimiter=",", dtype=np.float64, ndmin=2)
    x, column = np.unique(table[:, 0], return_inverse=True)
    y, row = np.unique(table[:, 1], return_inverse=True)
    height = np.full((len(y), len(x)), np.nan)
    height[row, column] = table[:, 2]
    if len(table) != height.size or np.isnan(height).any():
        raise ValueError(f"{len(table)} samples for {len(y)} rows and {len(x)} columns")
    return x, y, height


def _read_matrix(path: Path) -> tuple[Map, Map, Map]:
    spacing = math.nan
    with path.open(encoding="ascii") as file:
        for line in file:
            if not line.startswith("#"):
                break
            if line.startswith("# spacing_m "):
                spacing = float(line.split()[2])
    height = np.loadtxt(path, dtype=np.float64, ndmin=2)
    if not spacing > 0:
        raise ValueError("no line '# spacing_m ...'")
    y, x = (positions(n, spacing) for n in height.shape)
    return x, y, height


def _read_npz(path: Path) -> tuple[Map, Map, Map]:
    """Read the archive by the published layout of .npy files, version 1.0, without numpy.load."""
    out = []
    with zipfile.ZipFile(path) as archive:
        for key in ("x_m", "y_m", "height_m"):
            raw = archive.read(f"{key}.npy")
            if raw[:8] != b"\x93NUMPY\x01\x00":
                raise ValueError(f"{key}: no .npy file of version 1.0")
            (length,) = struct.unpack("<H", raw[8:10])
            header = ast.literal_eval(raw[10 : 10 + length].decode("latin-1"))
            if header["descr"] != "<f8" or header["fortran_order"]:
                raise ValueError(f"{key}: not little-endian doubles, row by row")
            values = np.frombuffer(raw, "<f8", offset=10 + length)
            out.append(values.reshape(header["shape"]).astype(np.float64))
    x, y, height = out
    return x, y, height


def _read_hdf5(path: Path) -> tuple[Map, Map, Map]:
    with h5py.File(path, "r") as file:
        for key in ("x_m", "y_m", "height_m"):
            if file[key].attrs["units"] != "m":
                raise ValueError(f"{key}: not in metres")
        x, y, height = (np.asarray(file[k][()], np.float64) for k in ("x_m", "y_m", "height_m"))
    return x, y, height
