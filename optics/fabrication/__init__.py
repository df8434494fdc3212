"""What the making of a mask does to its surface, inside the loop and differentiable.

surface.py      one function per effect: rounding, minimum feature, overlay, blur, decentre
tolerances.py   `Fabrication` draws `Errors` and applies them to a height
fabricated.py   a mask as it came out, which any camera takes

Not modelled: side walls other than by the blur, roughness, etch rates that depend on the width of
a feature, shadowing, and a tilt of the whole plate, which is of second order in the angle.
"""

from optics.fabrication.fabricated import Fabricated
from optics.fabrication.tolerances import THERMAL, Errors, Fabrication, Thermal

__all__ = ["THERMAL", "Errors", "Fabricated", "Fabrication", "Thermal"]
