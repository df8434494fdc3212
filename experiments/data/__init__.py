"""Face crops for training and testing: readers, the crop store and splits of people.

- `crops`: `FaceCrops`, what every job receives; `crop_store`: the folder it is kept in.
- `splits`: train, attacker and test people, checked against leaks.
- `pictures`: safe decoding of photographs; `photographs`: from a layout to crops.
- `layouts`: one file for each way data sets are laid out on disk.
- `synthetic`: rendered faces.
"""

from experiments.data.crop_store import build_store, open_store
from experiments.data.crops import FaceCrops, Rows, Shard
from experiments.data.errors import DataError
from experiments.data.splits import check_disjoint, split_people

__all__ = [
    "DataError",
    "FaceCrops",
    "Rows",
    "Shard",
    "build_store",
    "check_disjoint",
    "open_store",
    "split_people",
]
