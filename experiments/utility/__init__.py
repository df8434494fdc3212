"""What is still possible with pictures that hide who is on them, all with one protocol.

- `utility`: what every measure of utility shares
- `reading`: landmark networks, a camera's own or one of clear pictures
- `landmarks`: points, direction of the head, mouth and eyes, as far as they can be read
- `detection`: faces found where they are
- `likeness`: how far pictures, and sets of them, are from clear ones
- `recognition`: one person's protected pictures told from another's, where that is wanted
- `downstream`: networks trained on what is shown, at work on clear pictures

Every number has its 95 % interval over people (`_lo`, `_hi`) and what it was counted over (`_n`);
beside it stands the same of clear pictures (`_clear`). What cannot be measured is None, with its
reason (`_reason`). A new measure is a class here and a file in ``configs/utility``.
"""

from experiments.utility.detection import Detection
from experiments.utility.downstream import Downstream
from experiments.utility.landmarks import Landmarks
from experiments.utility.likeness import Distributions, Likeness
from experiments.utility.recognition import Recognition
from experiments.utility.utility import Utility

__all__ = [
    "Detection",
    "Distributions",
    "Downstream",
    "Landmarks",
    "Likeness",
    "Recognition",
    "Utility",
]
