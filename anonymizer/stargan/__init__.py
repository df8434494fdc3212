"""The anonymizer: a measurement, its landmarks and a style become a face.

- `anonymizer`: all of it as one object, and its file
- `doors`: what of a measurement reaches the generator; `masks`: what the landmarks make of it
- `generator`, `mapping`, `style_encoder`, `discriminator`: the networks; `widths`, `blocks`
- `references`: mixtures of references, and references that are refused
- `losses`, `terms`, `terms_veilens`, `terms_lopez`, `recipe`: what training minimises
- `flow`: optical flow, a frozen network that a term asks
- `published`: the authors' weight files
"""

from anonymizer.stargan.anonymizer import Anonymizer
from anonymizer.stargan.discriminator import Discriminator
from anonymizer.stargan.generator import Generator, Masks
from anonymizer.stargan.mapping import MappingNetwork
from anonymizer.stargan.style_encoder import StyleEncoder

__all__ = [
    "Anonymizer",
    "Discriminator",
    "Generator",
    "MappingNetwork",
    "Masks",
    "StyleEncoder",
]
