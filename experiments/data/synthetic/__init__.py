"""Synthetic faces: people who do not exist, rendered with exact landmarks.

- `faces`: `SyntheticFaces`, the population, its pictures and their cache; `sheet`: contact sheets.
- `identity`: what a person is; `shot`: what differs between two pictures of one person.
- `layout`: feature curves; `head`, `hair`, `parts`: surfaces; `skin`, `eyes`: their colours.
- `raster`, `lighting`, `noise`, `backdrop`, `camera`: graphics; `render`: one picture.

Lengths are in face widths, in a head frame with its origin midway between the eyes, x to the
viewer's right, y down and z towards the viewer.
"""

from experiments.data.synthetic.faces import RENDERER, RenderedFaces, SyntheticFaces
from experiments.data.synthetic.sheet import contact_sheet

__all__ = ["RENDERER", "RenderedFaces", "SyntheticFaces", "contact_sheet"]
