"""Two processes on halves of a batch are one process on the whole."""

import socket

import pytest
import torch

from experiments.distributed import Processes, agreed_time, average_gradients, distributed
from experiments.sampling import Batches
from experiments.store import load_tensors, read_json, read_jsonl
from tests.experiments.processes import start
from tests.experiments.tiny_distributed import shine_as, train, train_as

CPU = torch.device("cpu")


def start_two(target, *arguments):
    """Run `target` as two processes, with the variables that torchrun would set."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [start(target, common | {"RANK": str(rank)}, *arguments) for rank in range(2)]
    for process in ranks:
        process.join(60)
    return [process.exitcode for process in ranks]


def test_two_processes_equal_one(tmp_path):
    assert start_two(train_as, tmp_path / "two", 6) == [0, 0]
    alone = train(tmp_path / "one", 6)
    path = tmp_path / "two/checkpoints/s/step_000012/weights.safetensors"
    together, _ = load_tensors(path)
    for name, value in alone.state_dict().items():
        # Sums are taken in another order: a few rounding errors of 1e-16, amplified by Adam.
        torch.testing.assert_close(together[f"average/{name}"], value, rtol=0, atol=1e-12)
    one, two = (read_jsonl(tmp_path / name / "metrics.jsonl") for name in ("one", "two"))
    assert [r["step"] for r in two] == list(range(1, 13))  # one writer
    assert [r["loss/error"] for r in two] == pytest.approx([r["loss/error"] for r in one])


def test_shares_are_disjoint_and_make_up_the_batch():
    whole = Batches(10, 4, seed=1).next()
    shares = [Batches(10, 4, seed=1, processes=Processes(r, 2, CPU)).next() for r in range(2)]
    assert [len(share) for share in shares] == [2, 2]
    assert sorted(torch.cat(shares).tolist()) == sorted(whole.tolist())


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(ValueError, match="batch = 5 cannot be shared equally by 2 processes"):
        Batches(10, 5, seed=1, processes=Processes(0, 2, CPU))
    with pytest.raises(ValueError, match="batch = 3 cannot be shared"):
        Processes(0, 2, CPU).share(torch.zeros(3, 1))


def test_one_process_needs_no_set_up():
    assert distributed("cpu") == Processes(0, 1, CPU)
    weight = torch.nn.Parameter(torch.zeros(3))
    weight.grad = torch.ones(3)
    average_gradients([weight])
    assert torch.equal(weight.grad, torch.ones(3))
    assert agreed_time().tzinfo is not None


def test_an_unknown_device_is_refused():
    with pytest.raises(ValueError, match="device = 'gpu', expected auto, cpu or cuda"):
        distributed("gpu")


def test_every_epoch_shows_every_example_once_in_an_order_of_its_own():
    batches = Batches(8, 4, seed=3)
    epochs = [torch.cat([batches.next(), batches.next()]) for _ in range(3)]
    assert all(sorted(order.tolist()) == list(range(8)) for order in epochs)
    assert len({tuple(order.tolist()) for order in epochs}) == 3


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match="batch = 9, but there are 8 examples"):
        Batches(8, 9, seed=0)


def test_a_job_of_two_processes_has_one_folder_and_one_writer(tmp_path):
    assert start_two(shine_as, tmp_path) == [0, 0]
    (folder,) = (p for p in (tmp_path / "runs/shine").iterdir() if not p.is_symlink())
    assert read_json(folder / "run.json")["state"] == "finished"
    assert (tmp_path / "runs/shine/latest").resolve() == folder
