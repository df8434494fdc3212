"""Protection of photographs that were already taken: the digital stack.

- `method`: what every method can be asked for
"""

from anonymizer.protection.method import Capabilities, Protection

__all__ = ["Capabilities", "Protection"]
