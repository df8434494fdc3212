"""Training goes on bit-exactly, whatever interrupted it, and never saves nonsense."""

import dataclasses
import json
import math
import os
import random
import signal
import time

import numpy as np
import pytest
import torch
from torch import nn

from experiments import checkpoints, training
from experiments.checkpoints import TrainingState, load_checkpoint, save_checkpoint
from experiments.store import ArtifactError, ResourceError, read_jsonl
from experiments.training import Stage, TrainingDiverged, TrainingStopped, descend, fit
from tests.experiments.processes import start
from tests.experiments.tiny import Tiny, train, train_unsynced

STEPS = 24


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch):
    """Do not wait for the disk: only a loss of power needs that, and no test makes one."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole"), STEPS)


def assert_identical(tiny, other):
    assert torch.equal(tiny.weights(), other.weights())  # bit for bit


@pytest.mark.parametrize("pause_at", [5, 13, 20])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, uninterrupted, pause_at):
    train(tmp_path, pause_at)
    assert_identical(train(tmp_path, STEPS), uninterrupted)


@pytest.mark.parametrize(
    "omitted",
    ["optimizer", "schedule", "batches", "average", "noise", "draws", "torch", "numpy", "python"],
)
def test_every_part_of_the_state_is_needed(tmp_path, uninterrupted, monkeypatch, omitted):
    """Leaving out any one state changes the result: none of them is decoration."""

    def without(tiny):
        state = tiny.state
        return TrainingState(
            {k: v for k, v in state.modules.items() if k != omitted},
            {k: v for k, v in state.others.items() if k != omitted},
            {k: v for k, v in state.generators.items() if k != omitted},
        )

    if omitted in ("torch", "numpy", "python"):
        whole = checkpoints._set_random_state

        def forgetful(state, saved):
            fresh = checkpoints._random_state(state)
            whole(state, {**saved, omitted: _through_json(fresh)[omitted]})

        monkeypatch.setattr(checkpoints, "_set_random_state", forgetful)
    for steps in (13, STEPS):
        tiny = Tiny()
        fit(Stage("tiny", tiny.step, without(tiny)), steps, folder=tmp_path, progress=False)
    assert not torch.equal(tiny.weights(), uninterrupted.weights())


def _through_json(value):
    tensors = {}
    return checkpoints._decode(checkpoints._encode(value, "", tensors), tensors)


def test_a_finished_stage_is_loaded_and_not_trained_again(tmp_path):
    first = train(tmp_path, 6)
    assert_identical(train(tmp_path, 6), first)
    assert [r["step"] for r in read_jsonl(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]


def test_lines_beyond_the_checkpoint_are_written_once(tmp_path):
    tiny = Tiny()
    real = tiny.step

    def failing(step):
        if step == 8:
            raise RuntimeError("power cut")
        return real(step)

    with pytest.raises(RuntimeError, match="power cut"):
        fit(
            Stage("tiny", failing, tiny.state),
            10,
            folder=tmp_path,
            checkpoint_every=5,
            log_every=1,
            progress=False,
        )
    assert len(read_jsonl(tmp_path / "metrics.jsonl")) == 8
    train(tmp_path, 10)
    assert [r["step"] for r in read_jsonl(tmp_path / "metrics.jsonl")] == list(range(1, 11))


def test_two_checkpoints_are_kept(tmp_path):
    train(tmp_path, 17)
    names = sorted(p.name for p in (tmp_path / "checkpoints/tiny").iterdir())
    assert names == ["step_000015", "step_000017"]


@pytest.mark.parametrize("name", ["weights.safetensors", "training.safetensors", "state.json"])
def test_a_flipped_bit_sends_back_to_the_checkpoint_before(tmp_path, uninterrupted, caplog, name):
    train(tmp_path, 15)
    path = tmp_path / "checkpoints/tiny/step_000015" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    assert_identical(train(tmp_path, STEPS), uninterrupted)
    assert "step_000015 is damaged" in caplog.text
    assert name in caplog.text


def test_no_sound_checkpoint_is_an_error_not_a_new_start(tmp_path):
    train(tmp_path, 3)
    (tmp_path / "checkpoints/tiny/step_000003/state.json").write_text("{")
    with pytest.raises(ArtifactError, match="remove that folder"):
        train(tmp_path, 5)


def test_a_checkpoint_of_another_model_is_refused_with_the_difference(tmp_path):
    save_checkpoint(tmp_path, TrainingState({"net": nn.Linear(3, 2)}), 4)
    with pytest.raises(ArtifactError, match=r"net/weight: stored \(2, 3\) float32.*\(5, 3\)"):
        load_checkpoint(tmp_path, TrainingState({"net": nn.Linear(3, 5)}))


def test_a_checkpoint_of_other_data_is_refused(tmp_path):
    tiny = Tiny()
    save_checkpoint(tmp_path, tiny.state, 4)
    tiny.batches.examples = 99
    with pytest.raises(ArtifactError, match="examples = 99, but the checkpoint was made with 23"):
        load_checkpoint(tmp_path, tiny.state)


def test_a_newer_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "FORMAT", 2)
    train(tmp_path, 2)
    monkeypatch.setattr(checkpoints, "FORMAT", 1)
    with pytest.raises(ArtifactError, match="format 2, this program reads 1"):
        train(tmp_path, 3)


@pytest.mark.parametrize("call", range(1, 9))
def test_a_full_disk_at_any_write_leaves_the_checkpoint_before_intact(
    tmp_path, uninterrupted, monkeypatch, call
):
    train(tmp_path, 10)
    calls = 0
    real = os.fsync

    def full(handle):
        nonlocal calls
        calls += 1
        if calls >= call:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(training, "_PAUSE", 0.0)
    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(training, "_cut_back", lambda *_: None)
    with pytest.raises((ResourceError, OSError)):
        train(tmp_path, 12, 1)
    monkeypatch.undo()
    names = sorted(p.name for p in (tmp_path / "checkpoints/tiny").iterdir())
    assert not [name for name in names if name.startswith(".")]
    assert_identical(train(tmp_path, STEPS), uninterrupted)


def test_saving_is_tried_again_when_the_disk_was_full_for_a_moment(tmp_path, monkeypatch, caplog):
    real, failures = training.save_checkpoint, [1, 1]

    def once_full(*arguments):
        if failures:
            failures.pop()
            raise ResourceError("disk full")
        return real(*arguments)

    monkeypatch.setattr(training, "_PAUSE", 0.0)
    monkeypatch.setattr(training, "save_checkpoint", once_full)
    train(tmp_path, 2)
    assert "attempt 2 of 3" in caplog.text
    assert (tmp_path / "checkpoints/tiny/step_000002").is_dir()


# Values that are not finite


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_named_before_the_optimizer_moves(tmp_path, value):
    net = nn.Linear(3, 2)
    before = net.weight.detach().clone()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)

    def step(number):
        training.check_finite({"good": torch.tensor(1.0), "bad": torch.tensor(value)}, number)
        descend(net.weight.sum(), optimizer, step=number)
        return {}

    with pytest.raises(TrainingDiverged, match=r"'bad' = -?(nan|inf) at step 0") as caught:
        fit(Stage("s", step, TrainingState({"net": net})), 3, folder=tmp_path, progress=False)
    assert (caught.value.term, caught.value.step) == ("loss term 'bad'", 0)
    assert torch.equal(net.weight, before)
    assert not list((tmp_path).glob("checkpoints/s/*"))


def test_a_gradient_that_is_not_finite_stops_before_the_optimizer_moves():
    weight = nn.Parameter(torch.zeros(3))
    loss = weight.sqrt().sum()  # finite, with an infinite slope
    with pytest.raises(TrainingDiverged, match="norm of the gradient = inf at step 7"):
        descend(loss, torch.optim.SGD([weight], 0.1), step=7)
    assert torch.equal(weight, torch.zeros(3))


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    net = nn.Linear(3, 2)

    def step(number):
        net.weight.data[0, 1] = math.nan
        return {"loss": torch.tensor(1.0)}

    with pytest.raises(TrainingDiverged, match=r"net\.weight"):
        fit(Stage("s", step, TrainingState({"net": net})), 3, folder=tmp_path, progress=False)
    assert not list((tmp_path).glob("checkpoints/s/*"))


def test_gradients_are_shortened_to_the_largest_norm():
    weight = nn.Parameter(torch.zeros(4))
    descend((3 * weight).sum(), torch.optim.SGD([weight], 1.0), step=0, max_norm=0.5)
    assert weight.norm().item() == pytest.approx(0.5, rel=1e-5)  # 1e-6 in the clip's denominator


def test_the_moving_average_follows_its_law():
    net = nn.Linear(1, 1, bias=False)
    average = training.moving_average(net, 0.9)
    net.weight.data.fill_(0.0)
    average.update_parameters(net)  # the first call copies
    net.weight.data.fill_(1.0)
    average.update_parameters(net)
    assert average.module.weight.item() == pytest.approx(0.1, abs=1e-7)


# Signals


def stop_with(number, during):
    """Return a step function that sends this process a signal while it works."""
    tiny = Tiny()
    real = tiny.step

    def step(done):
        if done == during:
            os.kill(os.getpid(), number)
        return real(done)

    return tiny, step


@pytest.mark.parametrize(("number", "terminated"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_a_signal_finishes_the_step_and_saves_it(tmp_path, uninterrupted, number, terminated):
    tiny, step = stop_with(number, during=7)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(TrainingStopped) as caught:
        fit(Stage("tiny", step, tiny.state), STEPS, folder=tmp_path, progress=False)
    assert (caught.value.step, caught.value.terminated) == (8, terminated)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert_identical(train(tmp_path, STEPS), uninterrupted)


def test_a_second_interrupt_stops_at_once(tmp_path):
    tiny = Tiny()

    def step(done):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("went on after the second interrupt")

    with pytest.raises(KeyboardInterrupt) as caught:
        fit(Stage("tiny", step, tiny.state), STEPS, folder=tmp_path, progress=False)
    assert not isinstance(caught.value, TrainingStopped)


def kill_and_go_on(folder, kills, seed):
    """Kill the program at random moments while it saves after every step; return its last step."""
    chance, place, done = random.Random(seed), folder / "checkpoints/tiny", 0
    for _ in range(kills):
        process = start(train_unsynced, folder, 40 * kills, 1)
        end = time.monotonic() + 60
        while newest(place) < done + 2:
            assert process.is_alive()
            assert time.monotonic() < end
            time.sleep(0.002)
        time.sleep(chance.uniform(0.0, 0.03))  # a step with its checkpoint takes about 0.02 s
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        done = newest(place)
    return done


def newest(place):
    return max((int(p.name[5:]) for p in place.glob("step_*")), default=0)


def test_killed_while_saving_it_goes_on_bit_for_bit(tmp_path, tmp_path_factory):
    done = kill_and_go_on(tmp_path, kills=6, seed=1)
    resumed = train(tmp_path, done + 5)
    assert_identical(resumed, train(tmp_path_factory.mktemp("whole"), done + 5, every=1000))


@pytest.mark.slow
def test_killed_twenty_times_while_saving_it_goes_on_bit_for_bit(tmp_path, tmp_path_factory):
    done = kill_and_go_on(tmp_path, kills=20, seed=2)
    resumed = train(tmp_path, done + 5)
    assert_identical(resumed, train(tmp_path_factory.mktemp("whole"), done + 5, every=1000))


def test_what_a_killed_writer_left_is_removed(tmp_path):
    place = tmp_path / "checkpoints/tiny"
    (place / ".step_000009.abcd.tmp").mkdir(parents=True)
    train(tmp_path, 2)
    assert [p.name for p in place.iterdir()] == ["step_000002"]


# State


def test_numbers_tensors_and_nested_containers_survive_json():
    value = {
        "a": (1, 2.5, None, True, "x"),
        3: [torch.arange(4), {"deep": torch.tensor(1.5, dtype=torch.float64)}],
        "huge": 2**127 - 1,
        "np": np.float64(0.1),
    }
    tensors = {}
    text = json.dumps(checkpoints._encode(value, "", tensors))
    back = checkpoints._decode(json.loads(text), tensors)
    assert back["a"] == value["a"]
    assert back["huge"] == value["huge"]
    assert back["np"] == 0.1
    assert torch.equal(back[3][0], torch.arange(4))
    assert back[3][1]["deep"].dtype == torch.float64


def test_a_state_that_cannot_be_stored_is_named():
    with pytest.raises(TypeError, match="/hook is a function"):
        checkpoints._encode({"hook": lambda: None}, "", {})


def test_stages_and_states_cannot_be_changed_by_mistake():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Stage("s", dict, TrainingState({})).name = "t"
