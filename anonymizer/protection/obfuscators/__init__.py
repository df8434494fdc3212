"""Obfuscators: what hides a face without any key, alone or as the cover of a protection.

- `obfuscator`: the common interface; `sampling`: how pixels are averaged, right or as published
- `blur`, `pixelate`, `median`: filters; `names`: the same by their published names
- `tiles`, `choice`: several obfuscators in one
- `sticker`, `swap`: another face in its place
"""

from anonymizer.protection.obfuscators.blur import GaussianBlur
from anonymizer.protection.obfuscators.choice import Choice
from anonymizer.protection.obfuscators.median import MedianBlur
from anonymizer.protection.obfuscators.names import named
from anonymizer.protection.obfuscators.obfuscator import Obfuscator
from anonymizer.protection.obfuscators.pixelate import Pixelate
from anonymizer.protection.obfuscators.sampling import AreaSampling, LegacySampling, Sampling
from anonymizer.protection.obfuscators.sticker import Sticker, cartoon_faces
from anonymizer.protection.obfuscators.swap import FaceSwap, Swapper
from anonymizer.protection.obfuscators.tiles import HybridTiles, Tiling

__all__ = [
    "AreaSampling",
    "Choice",
    "FaceSwap",
    "GaussianBlur",
    "HybridTiles",
    "LegacySampling",
    "MedianBlur",
    "Obfuscator",
    "Pixelate",
    "Sampling",
    "Sticker",
    "Swapper",
    "Tiling",
    "cartoon_faces",
    "named",
]
