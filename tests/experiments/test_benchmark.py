"""The benchmark job: what it measures is right, what it writes is complete; never how fast."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from experiments import benchmark
from experiments.benchmarks import accuracy, contestants, judging, memory, timing
from experiments.benchmarks.contestants import Absent, Contestant, Work
from experiments.benchmarks.scenes import CASES, PsfScene
from experiments.store import read_json, verify

CPU = torch.device("cpu")
SCALE = 0.0625
NUMBERS = {
    "ms_forward", "ms_backward", "ratio_to_best_right_peer", "ratio_to_plain_torch",
    "relative_error", "gradient_error", "peak_mib",
}  # fmt: skip
QUICK = ["rounds=1", "memory=false", "keep_memory=false", "threads=1", f"scale={SCALE}"]
#: Minutes of float64 reference or large planes; the others take well under a second.
SLOW = {"psf_16_depths", "psf_16_depths_gradient"}


@pytest.fixture
def lab(tmp_path, monkeypatch, capsys):
    """Run the job in an empty folder; return exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmark"])

    def call(*words):
        with pytest.raises(SystemExit) as end:
            benchmark.command(words)
        return end.value.code or 0, *capsys.readouterr()

    return call


def folder(output):
    return Path(output.splitlines()[-1])


# The answers


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_ours_and_the_answer_agree_in_output_and_gradient(case):
    """Two computations that share no code."""
    scene = case.make(SCALE)
    work = contestants.present()[contestants.OURS].works(case.kind, scene, CPU)[""]
    error, gradient = judging._errors(work, scene.answer)
    # single precision: 1e-7 per operation, a few hundred of them add up at random
    assert error < 1e-6
    assert gradient < 1e-5


def test_the_gradient_of_the_psf_answer_is_its_finite_difference():
    scene = PsfScene(24, 10, (550e-9, 640e-9), (0.0, 1.5))
    step = torch.randn(24, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values = []
    for sign in (-1, 1):
        moved = PsfScene(24, 10, (550e-9, 640e-9), (0.0, 1.5))
        moved.__dict__["height"] = scene.height + sign * 1e-10 * step
        values.append(float((moved.answer.output * moved.weights).sum()))
    slope = (values[1] - values[0]) / 2e-10
    # truncation: (k h)^2 / 6 with k h = 2 pi 0.46 1e-10 / 550e-9 ~ 5e-4
    assert float((scene.answer.gradient * step).sum()) == pytest.approx(slope, rel=1e-5)


def test_no_light_is_made_by_the_psf_answer():
    scene = CASES["psf_512x3"].make(0.5)  # a window of 0.26 mm
    inside = scene.answer.output.sum((-2, -1))
    assert bool((inside > 0.2).all())
    assert bool((inside < 1 + 1e-9).all())


@pytest.mark.parametrize("case", ["psf_512x3", "propagate_1024", "zernike_350"])
def test_poppy_agrees_with_the_answer(case):
    """poppy is always installed; it stands for the adapters."""
    scene = CASES[case].make(SCALE)
    work = contestants.present()["poppy"].works(CASES[case].kind, scene, CPU)["c128"]
    # exact but for free space, which is paraxial there: k z sin^4 / 8 of the narrow beam
    assert judging._errors(work, scene.answer)[0] < (1e-3 if "propagate" in case else 1e-11)


# Judging


class Steady(Contestant):
    """A peer that doubles its input, wrong by a given factor."""

    def __init__(self, name, factor, *, gradient=True):
        self.name, self.factor, self.gradient = name, factor, gradient

    def version(self):
        return "1"

    def psf(self, scene, device):
        answer = scene.answer
        return {
            "": Work(
                lambda: answer.output * self.factor,
                (lambda _: answer.gradient) if self.gradient else None,
            )
        }


def rows_of(monkeypatch, *guests):
    monkeypatch.setattr(judging, "everyone", lambda: iter(guests))
    return judging.judge(
        CASES["psf_512x3"], scale=SCALE, rounds=1, threads=1, device=CPU, memory_too=False
    )


def test_a_peer_that_is_two_percent_off_is_wrong_and_one_percent_is_right(monkeypatch):
    rows = rows_of(monkeypatch, Steady("far", 1.02), Steady("near", 1.0099))
    assert {row.contestant: row.right for row in rows} == {"far": False, "near": True}
    best = judging.best_right_peer(rows)
    assert isinstance(best, judging.Row)
    assert best.contestant == "near"


def test_a_ratio_is_their_time_over_ours():
    def row(name, forward, backward):
        return judging.Row(name, time=timing.Time(forward, backward), relative_error=1e-7)

    rows = [row(contestants.OURS, 1.0, 2.0), row("slow", 7.0, 5.0), row("plain torch", 5.0, 1.0)]
    found = judging.metrics("case", rows)
    assert found["case/ratio_to_best_right_peer"] == 4.0
    assert found["case/ratio_to_plain_torch"] == 2.0
    assert (found["case/ms_forward"], found["case/ms_backward"]) == (1e3, 2e3)


def test_without_a_right_gradient_there_is_a_reason_instead_of_a_ratio(monkeypatch):
    rows = rows_of(
        monkeypatch,
        Steady("far", 1.5),
        Steady("flat", 1.0, gradient=False),
        Absent("gone", "not installed"),
    )
    assert judging.metrics("c", rows)["c/ratio_to_best_right_peer"] is None
    reason = judging.record(CASES["psf_512x3"], rows)["ratio_reason"]
    for words in ("far: off by 50.0%", "flat: no gradient", "gone: not installed"):
        assert words in reason


def test_a_library_that_breaks_is_left_out_with_its_message(monkeypatch):
    class Broken(Steady):
        def psf(self, scene, device):
            raise RuntimeError("no plan for 32 points")

    rows = rows_of(monkeypatch, Broken("broken", 1.0), Steady("near", 1.0))
    assert [row.contestant for row in rows if row.time] == ["near"]
    assert "no plan for 32 points" in rows[-1].reason


def test_a_field_may_differ_by_a_constant_phase_but_not_by_a_factor():
    answer = torch.randn(5, 7, dtype=torch.complex128)
    turned = judging._same_phase(answer * complex(math.cos(2), math.sin(2)), answer)
    assert judging._distance(turned, answer) < 1e-14
    scaled = judging._same_phase(answer * 2.4e-7, answer)  # what scaled FFTs of torch do
    assert judging._distance(scaled, answer) == pytest.approx(1.0, abs=1e-6)


def test_contestants_take_turns():
    calls = []

    def work(name):
        return Work(lambda: calls.append(name), lambda _: calls.append(name.upper()))

    timing.compare({"a": work("a"), "b": work("b")}, rounds=2, device=CPU)
    one = ["a", "A", "a", "A", "b", "B", "b", "B"]  # a warm call, then the timed one
    assert calls == one + one


def test_threads_are_set_back():
    before = torch.get_num_threads()
    with timing.threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux only")
def test_peak_memory_sees_what_a_call_takes_and_frees():
    taken = subprocess.run(
        [sys.executable, "-c", _HOLD],
        env=os.environ | memory._PLAIN_MEMORY,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if taken.strip() == "None":
        pytest.skip("the kernel keeps its high-water mark")
    assert 60 < float(taken) < 80  # 64 MiB and a few pages


_HOLD = """
import torch
from experiments.benchmarks.contestants import Work
from experiments.benchmarks.memory import _peak
print(_peak(Work(lambda: torch.ones(16 * 2**20).sum(), None)))
"""


# The job


def test_a_small_run_writes_every_number_table_and_page(lab, monkeypatch):
    ours, plain, *_ = contestants.everyone()
    monkeypatch.setattr(judging, "everyone", lambda: iter([ours, plain, Absent("gone", "lost")]))
    code, output, errors = lab("optics", *QUICK, "cases=[psf_512x3,blur_uniform]")
    assert (code, errors) == (0, "")
    run = folder(output)
    metrics = read_json(run / "metrics.json")
    cases = ("psf_512x3", "blur_uniform")
    assert set(metrics) == {f"{case}/{number}" for case in cases for number in NUMBERS}
    for case in cases:
        assert 0 < metrics[f"{case}/ratio_to_plain_torch"] < math.inf
        assert metrics[f"{case}/relative_error"] < 1e-6
        assert metrics[f"{case}/gradient_error"] < 1e-5
        assert metrics[f"{case}/peak_mib"] is None
    tables = read_json(run / "table.json")
    shown = [row["contestant"] for row in tables["psf_512x3"]["rows"]]
    assert shown == ["ours", "plain torch", "gone"]
    assert "gone: lost" in tables["blur_uniform"]["ratio_reason"]
    page = (run / "report.html").read_text("utf-8")
    assert "plain torch" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "plain torch" in output
    verify(run)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fast"], "what = fast, expected optics or accuracy"),
        (["cases=[psf_5x3]"], "expected some of psf_512x3"),
        (["scale=0"], "scale = 0, expected a fraction"),
        (["rounds=0"], "rounds = 0, expected 1 or more"),
        (["device=tpu"], "device = tpu, expected cpu or cuda"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(lab, tmp_path, words, message):
    code, output, errors = lab(*words)
    assert (code, output) == (2, "")
    assert message in errors
    assert list(tmp_path.iterdir()) == []


def test_an_anchor_that_fails_is_told_and_ends_with_exit_code_one(lab, monkeypatch):
    found = {"good": lambda double: (0.5, 1.0), "bad": lambda double: (2.0 if double else 0.5, 1.0)}
    monkeypatch.setattr(accuracy, "anchors", lambda: found)
    code, output, errors = lab("accuracy")
    assert (code, errors) == (1, "")
    metrics = read_json(folder(output) / "metrics.json")
    assert metrics["bad/ok"] is False
    assert metrics["bad_float32/ok"] is True
    assert metrics["good_float32/error"] == 0.5
    assert read_json(folder(output) / "run.json")["state"] == "finished"
    assert "1 of 4 anchors fail" in output


def test_an_anchor_that_raises_or_is_not_a_number_has_failed(lab, monkeypatch):
    def broken(double):
        raise RuntimeError("out of light")

    monkeypatch.setattr(
        accuracy, "anchors", lambda: {"broken": broken, "nan": lambda double: (math.nan, 1.0)}
    )
    code, output, _ = lab("accuracy")
    assert code == 1
    metrics = read_json(folder(output) / "metrics.json")
    assert metrics["broken/error"] is None
    assert metrics["nan/ok"] is False
    assert "out of light" in output


# The anchors


@pytest.mark.parametrize("double", [True, False], ids=["float64", "float32"])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else [])
        for n in sorted(accuracy.anchors())
    ],
)
def test_every_anchor_holds(name, double):
    found = accuracy.measure(name, accuracy.anchors()[name], double=double)
    assert found.ok, f"{found.error:.3g}, may be {found.bar:.3g}; {found.reason}"
