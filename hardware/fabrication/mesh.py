"""Closed solids for printers and for people with a viewer: STL and 3MF, in millimetres.

A pixelated map becomes flat cells with leaning walls (`block_solid`), a smooth one a surface
through its samples. z = 0 is the lowest point of the relief, so that its heights keep all digits;
the base lies below.
"""

import math
import struct
import zipfile
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
import trimesh

from hardware.errors import HardwareError
from hardware.fabrication.design import HeightMap, Map, MaskDesign
from hardware.fabrication.resampling import averaged, coarsen
from hardware.fabrication.solid import Solid, block_solid, smooth_solid
from hardware.fabrication.target import Estimate, Plain, Target, Written

#: Most triangles of one file; an STL of as many has 500 MB, and its reader wants some GB.
MOST_TRIANGLES = 10_000_000
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip file knows


@dataclass(frozen=True)
class Mesh(Target):
    """What STL and 3MF have in common.

    Attributes
    ----------
    base_thickness : float
        Material below the lowest point of the relief [m].
    most : int
        Most vertices along a side of a file, 8 or more; a flat cell takes two. Larger maps are
        averaged if `tiles` is 1.
    tiles : int
        Pieces along each side, one file each, which keep every sample; they share their borders.
    wall : float
        Width of the walls between flat cells, as a part of a cell, 0.005 to 0.5.
    """

    base_thickness: float = 0.5e-3
    most: int = 1024
    tiles: int = 1
    wall: float = 0.02

    def __post_init__(self) -> None:
        if not 1e-6 <= self.base_thickness <= 0.1:
            raise ValueError(
                f"base_thickness = {self.base_thickness:g} m: 1e-6 to 0.1 m are allowed"
            )
        if self.most < 8:
            raise ValueError(f"most = {self.most}: at least 8 vertices on a side are needed")
        if not 1 <= self.tiles <= 64:
            raise ValueError(f"tiles = {self.tiles}: 1 to 64 pieces along a side are allowed")
        if not 0.005 <= self.wall <= 0.5:
            raise ValueError(f"wall = {self.wall:g}: 0.005 to 0.5 of a cell are allowed")

    @abstractmethod
    def _round(self, millimetres: Map) -> Map:
        """Round as the format does [mm]."""

    @abstractmethod
    def _save(self, path: Path, solid: Solid) -> None:
        """Write one file."""

    @property
    @abstractmethod
    def _ending(self) -> str: ...

    @property
    @abstractmethod
    def _bytes(self) -> int:
        """Size of a file for each of its triangles."""

    def meant(self, design: MaskDesign) -> HeightMap:
        grid = self._grid(design)
        height = self._round((grid.height - grid.height.min()) * 1e3)
        return HeightMap(height * 1e-3, grid.spacing)

    def estimate(self, design: MaskDesign) -> Estimate:
        grid = self._grid(design)
        count = self._triangles(design, max(grid.shape)) * self.tiles**2
        return Estimate(count * self._bytes, count, self._resampled(design, grid))

    def write(self, design: MaskDesign, folder: Path) -> Written:
        grid = self.meant(design)
        files = []
        volume = 0.0
        for row, rows in enumerate(self._pieces(design, grid.shape[0])):
            for column, columns in enumerate(self._pieces(design, grid.shape[1])):
                solid = self._solid(design, grid, rows, columns)
                place = f"_r{row}_c{column}" if self.tiles > 1 else ""
                files.append(folder / f"{design.name}{place}{self._ending}")
                self._save(files[-1], solid)
                volume += solid.volume
        notes: dict[str, Plain] = {
            "unit": "millimetre",
            "orientation": "x right, y up, z out of the relief towards the viewer",
            "zero": "z = 0 is the lowest point of the relief, the base lies below it",
            "base_thickness_mm": self.base_thickness * 1e3,
            "rows": grid.shape[0],
            "columns": grid.shape[1],
            "pitch_mm": grid.spacing * 1e3,
            "volume_mm3": volume,
            "surface": (
                f"flat cells; walls between them lean over {self.wall * grid.spacing * 1e9:.3g} nm"
                if design.pixelated
                else "samples are vertices: the solid ends half a sample before the map"
            ),
            "tiles": self.tiles,
        }
        if remark := self._resampled(design, grid):
            notes["resampled"] = remark
        return Written(files, notes)

    def read(self, folder: Path, written: Written) -> HeightMap:
        rows, columns, pitch, thickness, surface = (
            written.notes[key]
            for key in ("rows", "columns", "pitch_mm", "base_thickness_mm", "surface")
        )
        if not (isinstance(rows, int) and isinstance(columns, int) and isinstance(pitch, float)):
            raise HardwareError("the notes of the mesh lack rows, columns or pitch_mm")
        flat = str(surface).startswith("flat")
        lowest, highest = np.full((rows, columns), np.inf), np.full((rows, columns), -np.inf)
        for file in written.files:
            vertices = _vertices(folder / file.name)
            top = vertices[vertices[:, 2] > -float(str(thickness)) / 2]
            number = []
            for axis, size in ((-top[:, 1], rows), (top[:, 0], columns)):
                if flat:  # the outermost vertices lie on the border of two cells: step inwards
                    inner = np.clip(axis, axis.min() + pitch / 2, axis.max() - pitch / 2)
                    place = np.floor(inner / pitch + size / 2)
                else:
                    place = np.rint(axis / pitch + (size - 1) / 2)
                if place.min() < 0 or place.max() >= size:
                    raise HardwareError(f"{file}: vertices lie outside the map")
                number.append(place.astype(np.int64))
            np.minimum.at(lowest, tuple(number), top[:, 2])
            np.maximum.at(highest, tuple(number), top[:, 2])
        if not np.array_equal(lowest, highest):
            bad = int((lowest != highest).sum())
            raise HardwareError(f"{folder}: {bad} cells have no vertex, or some of unequal height")
        return HeightMap(lowest * 1e-3, pitch * 1e-3)

    def _limit(self, design: MaskDesign) -> int:
        """Most samples on a side of one file."""
        return self.most // 2 if design.pixelated else self.most

    def _triangles(self, design: MaskDesign, longest: int) -> int:
        """Triangles of a file of the largest piece, as if the map were square."""
        steps = math.ceil(longest / self.tiles) * (2 if design.pixelated else 1) - 1
        return 2 * steps**2 + 12 * steps

    def _grid(self, design: MaskDesign) -> HeightMap:
        """Map after averaging, if any; refuses what no program opens."""
        limit, longest = self._limit(design), max(design.shape)
        if self.tiles > 1 and min(design.shape) < 4 * self.tiles:
            raise ValueError(
                f"tiles = {self.tiles}: pieces of a map of {design.shape} samples would have less "
                f"than 4 on a side; use at most {max(1, min(design.shape) // 4)}"
            )
        if self.tiles > 1 and math.ceil(longest / self.tiles) > limit:
            raise ValueError(
                f"tiles = {self.tiles}: pieces of {math.ceil(longest / self.tiles)} samples on a "
                f"side are above the {limit} that most = {self.most} allows; use tiles = "
                f"{math.ceil(longest / limit)}, or tiles = 1 to average"
            )
        count = self._triangles(design, min(longest, limit * self.tiles))
        if count > MOST_TRIANGLES:
            side = math.isqrt(MOST_TRIANGLES // 2) - 3
            raise ValueError(
                f"most = {self.most}: {count / 1e6:.0f} million triangles in a file, "
                f"{count * self._bytes / 1e6:.0f} MB; {MOST_TRIANGLES / 1e6:.0f} million are "
                f"allowed: use most = {side // 256 * 256}, and tiles for a larger map"
            )
        return coarsen(design, limit if self.tiles == 1 else longest)

    def _resampled(self, design: MaskDesign, grid: HeightMap) -> str:
        if grid.shape == design.shape:
            return ""
        tiles = math.ceil(max(design.shape) / self._limit(design))
        return (
            f"{averaged(design, grid)}, jumps of a wrapped relief with them; tiles = {tiles} keeps "
            f"every cell"
        )

    def _pieces(self, design: MaskDesign, size: int) -> list[slice]:
        """List the samples of every piece along a side; smooth pieces share a sample."""
        shared = 0 if design.pixelated else 1
        edges = [round(i * (size - shared) / self.tiles) for i in range(self.tiles + 1)]
        return [slice(low, high + shared) for low, high in pairwise(edges)]

    def _solid(self, design: MaskDesign, grid: HeightMap, rows: slice, columns: slice) -> Solid:
        """One piece in millimetres, rounded as in the file."""
        x, y = (axis * 1e3 for axis in grid.axes())
        height, bottom = grid.height[rows, columns] * 1e3, -self.base_thickness * 1e3
        if design.pixelated:
            solid = block_solid(height, x[columns], y[rows], bottom, self.wall)
        else:
            solid = smooth_solid(height, x[columns], y[rows], bottom)
        across, down = self._round(solid.x), self._round(solid.y)
        if np.diff(across).min() <= 0 or np.diff(down).max() >= 0:
            raise ValueError(
                f"wall = {self.wall:g}: {self.wall * grid.spacing * 1e9:.3g} nm are lost in the "
                f"digits of the format on a map of {grid.size[0] * 1e3:.4g} mm; use a wider wall"
            )
        return Solid(across, down, self._round(solid.z), float(self._round(np.array(bottom))))


@dataclass(frozen=True)
class Stl(Mesh):
    """Binary STL; the format has no unit, its header says millimetres."""

    name: ClassVar[str] = "stl"
    units: ClassVar[Mapping[str, str]] = {"wall": "ratio"}

    @property
    def _ending(self) -> str:
        return ".stl"

    @property
    def _bytes(self) -> int:
        return 50

    def step(self, design: MaskDesign) -> float:
        # single precision has its coarsest step at the highest point
        return float(np.spacing(np.float32(max(self.meant(design).height.max() * 1e3, 1e-9)))) / 1e3

    def _round(self, millimetres: Map) -> Map:
        return millimetres.astype(np.float32).astype(np.float64)

    def _save(self, path: Path, solid: Solid) -> None:
        record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("spare", "<u2")])
        vertices = np.concatenate(list(solid.vertices())).astype(np.float32)
        with path.open("wb") as file:
            file.write(b"Height map, unit millimetre".ljust(80, b" "))
            file.write(struct.pack("<I", solid.triangles))
            for faces in solid.faces():
                block = np.zeros(len(faces), record)
                block["corners"] = corners = vertices[faces]
                first, second, third = corners.astype(np.float64).transpose(1, 0, 2)
                normal = np.cross(second - first, third - first)
                normal /= np.linalg.norm(normal, axis=1, keepdims=True)
                block["normal"] = normal
                file.write(block.tobytes())


@dataclass(frozen=True)
class ThreeMf(Mesh):
    """3MF core specification 1.3: XML in a zip file, with its unit; numbers to 0.01 nm."""

    name: ClassVar[str] = "3mf"
    units: ClassVar[Mapping[str, str]] = {"wall": "ratio"}

    @property
    def _ending(self) -> str:
        return ".3mf"

    @property
    def _bytes(self) -> int:
        return 9  # after compression: 8 to 9 on reliefs of two million triangles

    def step(self, design: MaskDesign) -> float:
        return 1e-11

    def _round(self, millimetres: Map) -> Map:
        return np.round(millimetres, 8)

    def _save(self, path: Path, solid: Solid) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, text in (("[Content_Types].xml", _TYPES), ("_rels/.rels", _RELATIONS)):
                archive.writestr(_member(member), text)
            with archive.open(_member("3D/3dmodel.model"), "w", force_zip64=True) as file:
                file.write(_HEAD)
                for vertices in solid.vertices():
                    line = '<vertex x="%.8f" y="%.8f" z="%.8f"/>\n' * len(vertices)
                    file.write((line % tuple(vertices.ravel().tolist())).encode())
                file.write(b"</vertices>\n<triangles>\n")
                for faces in solid.faces():
                    line = '<triangle v1="%d" v2="%d" v3="%d"/>\n' * len(faces)
                    file.write((line % tuple(faces.ravel().tolist())).encode())
                file.write(_TAIL)


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, _EPOCH)
    member.compress_type = zipfile.ZIP_DEFLATED
    return member


def _vertices(path: Path) -> Map:
    """Vertices of a closed mesh [mm], through trimesh."""
    try:
        mesh = trimesh.load_mesh(path)
    except Exception as error:  # trimesh and lxml raise whatever they meet
        raise HardwareError(f"{path}: cannot be read as a mesh ({error})") from error
    if isinstance(mesh, trimesh.Scene):
        mesh = mesh.to_mesh()
    if not (mesh.is_watertight and mesh.is_winding_consistent and mesh.volume > 0):
        raise HardwareError(f"{path}: the mesh is not closed, or inside out")
    return np.asarray(mesh.vertices, np.float64)


_TYPES = """<?xml version="1.0" encoding="UTF-8"?>
<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="model" ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/>
</Types>
"""
_RELATIONS = """<?xml version="1.0" encoding="UTF-8"?>
<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
<Relationship Target="/3D/3dmodel.model" Id="rel0"
 Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/>
</Relationships>
"""
_HEAD = b"""<?xml version="1.0" encoding="UTF-8"?>
<model unit="millimeter" xml:lang="en-US"
 xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02">
<resources><object id="1" type="model"><mesh>
<vertices>
"""
_TAIL = b"""</triangles>
</mesh></object></resources>
<build><item objectid="1"/></build>
</model>
"""
