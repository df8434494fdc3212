"""A Raspberry Pi's installation, made for real: old numpy, no torch, and the agent at work."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import venv
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

from hardware.agent import open_remote

ROOT = Path(__file__).parents[3]
IMPORTS = """
import importlib, pkgutil, sys
import hardware
for found in pkgutil.walk_packages(hardware.__path__, "hardware."):
    if not found.name.startswith("hardware.fabrication"):
        importlib.import_module(found.name)
for job in ("agent", "capture", "pi"):
    importlib.import_module(f"experiments.{job}")
import numpy
assert numpy.__version__ == "1.24.4", numpy.__version__
assert not {"torch", "matplotlib", "scipy", "jinja2", "PIL", "h5py"} & set(sys.modules)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """An interpreter with what ./lab pi installs, above the oldest numpy that is supported."""
    if sys.version_info >= (3, 12):
        pytest.skip("numpy 1.24 needs Python 3.11")
    folder = tmp_path_factory.mktemp("bare") / "venv"
    venv.create(folder, with_pip=True)
    program = folder / "bin/python"
    loader = SourceFileLoader("lab_starter", str(ROOT / "lab"))
    starter = importlib.util.module_from_spec(
        importlib.util.spec_from_loader("lab_starter", loader)
    )
    loader.exec_module(starter)
    needs = starter.PI_NEEDS
    pip = [program, "-m", "pip", "install", "--quiet", "--retries=1"]
    done = subprocess.run([*pip, "numpy==1.24.4", *needs], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"needs a package index: {done.stderr[-200:]!r}")
    subprocess.run([*pip, "--no-deps", "-e", ROOT], check=True)
    return program


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_everything_a_pi_runs_imports_without_torch(python, tmp_path):
    done = subprocess.run(
        [python, "-W", "error", "-c", IMPORTS], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_agent_works_there_and_takes_a_session(python, tmp_path):
    agent = [python, "-m", "experiments.agent", "port=0"]
    with subprocess.Popen(agent, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        try:
            process.stdout.readline()  # of the log
            url = process.stdout.readline().strip()
            address, token = re.fullmatch(r"(http://\S+)/#token=(\S+)", url).groups()
            with open_remote(address, token) as rig:
                rig.home()
                assert rig.camera.capture(0.001).confirmed
            capture = [python, "-m", "experiments.capture", "rig=remote", "plan=psf_quick",
                       f"rig.port={address.rpartition(':')[2]}", "progress=false"]  # fmt: skip
            environment = {**os.environ, "VEILENS_TOKEN": token}
            done = subprocess.run(
                capture, cwd=tmp_path, env=environment, capture_output=True, check=False
            )
            assert done.returncode == 0, done.stderr.decode()
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)
            assert process.returncode == 0
        finally:
            process.kill()
    assert len(list((tmp_path / "runs/capture/latest/frames").glob("*.tif"))) > 100
