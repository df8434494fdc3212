"""Pickled modules: their tensors come out, their code never runs."""

import pickle
import zipfile
from contextlib import suppress

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from anonymizer.checkpoints import WeightsError
from anonymizer.module_files import read_module_state


class Branch(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(4)
        self.shared = nn.PReLU()
        self.register_buffer("mean", torch.arange(6.0).reshape(2, 3).T)  # not contiguous
        self.register_buffer("scratch", torch.zeros(2), persistent=False)
        self.register_buffer("none", None)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), Branch(), nn.Linear(4, 2).double())
        self.tied = self.body[0].weight
        self.absent = None


def save(content, path, zipped):
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrap", ["bare", "in a dictionary", "of several devices"])
def test_tensors_are_those_of_the_state_dict(tmp_path, zipped, wrap):
    network = Network()
    content = {
        "bare": network,
        "in a dictionary": {"epoch": 3, "model": network, "loss": 0.5},
        "of several devices": nn.DataParallel(network),
    }[wrap]
    state = read_module_state(save(content, tmp_path / "w.tar", zipped))
    wanted = network.state_dict()
    assert state.keys() == wanted.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=0)


class Touch:
    """Would make a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_in_the_file_is_ever_called(tmp_path, zipped):
    network = Network()
    network.trap = Touch(tmp_path / "made")
    path = save({"model": network, "trap": Touch(tmp_path / "made")}, tmp_path / "w.tar", zipped)
    assert read_module_state(path).keys() == Network().state_dict().keys()
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_files_without_a_module_are_refused(tmp_path, zipped):
    path = save({"a": torch.zeros(2)}, tmp_path / "w.pth", zipped)
    with pytest.raises(WeightsError, match=r"there is no module in it.*read_state"):
        read_module_state(path)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text").write_text("no weights")
    (tmp_path / "pickle").write_bytes(pickle.dumps({"a": 1}))
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("a", "b")
    for name in ("text", "pickle", "zip"):
        with pytest.raises(WeightsError, match=name):
            read_module_state(tmp_path / name)
    with pytest.raises(WeightsError, match="cannot be read"):
        read_module_state(tmp_path / "absent")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_files_are_refused_or_read_but_never_fail_otherwise(tmp_path_factory, data):
    """One byte changed, or the end cut off, in the part that holds the pickles."""
    folder = tmp_path_factory.getbasetemp()
    zipped = data.draw(st.booleans())
    content = bytearray(save(nn.PReLU(), folder / f"whole{zipped}", zipped).read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path = folder / "damaged"
    path.write_bytes(bytes(content))
    with suppress(WeightsError):
        state = read_module_state(path)
        assert all(isinstance(tensor, torch.Tensor) for tensor in state.values())
