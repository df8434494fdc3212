"""Each config of a published recogniser reads a file of that network's layout."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate

from anonymizer.checkpoints import hash_file
from tests.anonymizer.published import CONFIGS, group

NAMES = sorted(p.stem for p in (CONFIGS / "recognizer").glob("*.yaml") if "???" in p.read_text())
LIGHT = {"proface_mobilefacenet"}  # the others have 28 to 65 million weights


@pytest.mark.parametrize(
    "name", [n if n in LIGHT else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)
def test_config_reads_a_file_of_its_layout(name, tmp_path):
    config = group(f"recognizer={name}")
    torch.manual_seed(0)
    network = instantiate(config.network).eval()
    path = tmp_path / Path(config.file).name
    prefix = config.get("prefix", "")
    state = {prefix + k: v for k, v in network.state_dict().items()}
    if prefix:
        state = {"epoch": 1, "state_dict": {**state, "head.kernel": torch.ones(512, 2)}}
    elif path.name.startswith("Iter"):
        state = {"iters": 64000, "net_state_dict": state}
    torch.save(state, path)
    config.merge_with({"file": path.name, "sha256": hash_file(path), "search": [str(tmp_path)]})
    again = instantiate(config, _convert_="all")
    own = network.state_dict()
    assert all(torch.equal(t, own[k]) for k, t in again.state_dict().items())


def test_all_that_cannot_be_had_are_the_eight_of_the_literature():
    assert len(NAMES) == 8
    assert {group(f"recognizer={n}").network._target_.rpartition(".")[2] for n in NAMES} == {
        "MobileFaceNetProFace", "InceptionResNet", "IResNet50", "IResNet100", "AdaFace",
        "SphereFace",
    }  # fmt: skip
