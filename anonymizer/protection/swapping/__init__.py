"""Published networks that swap identities, for the obfuscator `FaceSwap`.

- `swappers`: their common interface and their files
- `aei_net`, `simswap`: the generators; `identities`: the recognisers they listen to
"""

from anonymizer.protection.swapping.swappers import (
    FaceShifter,
    SimSwap,
    load_faceshifter,
    load_simswap,
)

__all__ = ["FaceShifter", "SimSwap", "load_faceshifter", "load_simswap"]
