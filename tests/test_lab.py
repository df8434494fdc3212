"""The starter: lists the jobs, and repairs an installation that was interrupted."""

import importlib.util
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """The starter as a module, for a project in an empty folder; `pip` only notes its calls."""
    loader = SourceFileLoader("lab_starter", str(ROOT / "lab"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("lab_starter", loader))
    loader.exec_module(module)
    (tmp_path / "pyproject.toml").write_text("[project]")
    (tmp_path / "constraints.txt").write_text("torch==2.13.0")
    venv = tmp_path / ".venv"
    for name, value in {
        "ROOT": tmp_path,
        "VENV": venv,
        "PYTHON": venv / "bin/python",
        "STAMP": venv / "lab-installed",
        "UNFINISHED": venv / "lab-unfinished",
        "PI": venv / "lab-pi",
    }.items():
        monkeypatch.setattr(module, name, value)
    module.made, module.installs = [], []
    monkeypatch.setattr(module.venv, "create", lambda *a, **k: module.made.append(a))
    monkeypatch.setattr(module, "pip", lambda *a, **k: module.installs.append(a))
    return module


def test_the_first_call_installs_and_the_second_does_not(lab):
    lab.prepare()
    assert len(lab.made) == 1
    assert [call[-1] for call in lab.installs] == ["torch", ".[dev]"]
    lab.prepare()
    assert len(lab.installs) == 2


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_requirement_is_installed(lab, name):
    lab.prepare()
    (lab.ROOT / name).write_text("changed")
    lab.prepare()
    assert len(lab.installs) == 4


def test_an_interrupted_installation_is_started_afresh(lab, monkeypatch):
    def interrupted(*arguments, **_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(lab, "pip", interrupted)
        with pytest.raises(KeyboardInterrupt):
            lab.prepare()
    (lab.VENV / "half-written").touch()
    lab.prepare()
    assert not (lab.VENV / "half-written").exists()
    assert lab.STAMP.exists()
    assert not lab.UNFINISHED.exists()


def test_torch_from_pypi_is_a_choice(lab, monkeypatch):
    monkeypatch.setenv("LAB_TORCH", "pypi")
    lab.prepare()
    assert [call[-1] for call in lab.installs] == [".[dev]"]


def test_a_raspberry_pi_gets_no_torch_and_keeps_its_numpy(lab, monkeypatch):
    made = []
    monkeypatch.setattr(lab.venv, "create", lambda *a, **k: made.append(k))
    monkeypatch.setattr(lab, "system_numpy", lambda: "numpy==1.24.2")
    assert lab.is_pi("pi")
    lab.prepare_pi()
    assert made == [{"with_pip": True, "system_site_packages": True}]
    needs, project = lab.installs
    assert needs[-1] == "numpy==1.24.2"
    assert not any("torch" in word for word in needs)
    assert project == ("--no-deps", "-e", ".")
    lab.PYTHON.parent.mkdir()
    lab.PYTHON.touch()
    lab.prepare_pi()
    assert len(lab.installs) == 2
    (lab.ROOT / "pyproject.toml").write_text("changed")
    lab.prepare_pi()
    assert len(lab.installs) == 4
    assert len(made) == 1


def test_a_raspberry_pi_stays_one(lab, monkeypatch):
    assert not lab.is_pi("agent")
    monkeypatch.setattr(lab, "system_numpy", lambda: "numpy==1.24.2")
    lab.prepare_pi()
    assert lab.is_pi("agent")


def test_an_interrupted_raspberry_pi_stays_one(lab, monkeypatch):
    def interrupted(*arguments, **_):
        raise KeyboardInterrupt

    monkeypatch.setattr(lab, "system_numpy", lambda: "numpy==1.24.2")
    monkeypatch.setattr(lab, "pip", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lab.prepare_pi()
    assert lab.is_pi("agent")


def test_a_whole_installation_is_not_turned_into_that_of_a_raspberry_pi(lab):
    lab.prepare()
    assert not lab.is_pi("pi")


def test_what_the_reference_needs_is_installed_once(lab, monkeypatch):
    monkeypatch.setattr(lab, "PYTHON", sys.executable)
    lab.complete("docs", "no_such_module")
    assert lab.installs == [("-cconstraints.txt", "-e", ".[docs]")]
    lab.complete("docs", "json")
    assert len(lab.installs) == 1


def test_a_job_is_a_module_with_a_config(lab):
    for folder, name in [("experiments", "glow.py"), ("experiments", "store.py"), ("configs", "x")]:
        (lab.ROOT / folder).mkdir(exist_ok=True)
        (lab.ROOT / folder / name).write_text('"""Let it glow.\n\nMore."""\n')
    (lab.ROOT / "configs" / "glow.yaml").touch()
    assert lab.commands()["glow"] == ("experiments.glow", "Let it glow.")
    assert sorted(lab.commands()) == ["docs", "glow", "test"]


@pytest.mark.parametrize(("words", "code"), [([], 0), (["help"], 0), (["nonsense"], 1)])
def test_commands_are_listed(words, code):
    done = subprocess.run(
        [sys.executable, str(ROOT / "lab"), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert "  test " in done.stdout + done.stderr
