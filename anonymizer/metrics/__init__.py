"""What anonymized faces are worth: the formulas, and the network of FID and KID.

- `boxes`: detections of source and output side by side, as published and corrected
- `pose`: direction of a head from its landmarks
- `distributions`: Frechet and kernel distance of two sets of features
- `inception`: Inception-v3 from a local file
- `jitter`: unrest of landmarks over time
- `intervals`: 95 % intervals over people
"""

from anonymizer.metrics.boxes import (
    box_distance,
    box_overlap,
    eye_error,
    landmark_distance,
)
from anonymizer.metrics.distributions import frechet_distance, kernel_distance
from anonymizer.metrics.inception import Inception, load_inception
from anonymizer.metrics.intervals import mean_over_people, over_people
from anonymizer.metrics.jitter import temporal_jitter
from anonymizer.metrics.pose import head_pose

__all__ = [
    "Inception",
    "box_distance",
    "box_overlap",
    "eye_error",
    "frechet_distance",
    "head_pose",
    "kernel_distance",
    "landmark_distance",
    "load_inception",
    "mean_over_people",
    "over_people",
    "temporal_jitter",
]
