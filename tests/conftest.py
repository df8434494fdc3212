"""Set-up shared by all tests: one thread, so that times and results do not depend on the load."""

import importlib.util

import pytest


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    if importlib.util.find_spec("torch"):  # a Raspberry Pi has none, and tests its hardware alone
        import torch

        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """Run folder of a tiny co-design run that nothing interrupted; its faces are in ../cache."""
    from tests.experiments.processes import start
    from tests.experiments.tiny_codesign import quick, run

    folder = tmp_path_factory.mktemp("codesign")
    process = start(run, folder, [*quick(), "cache=cache", "hydra.run.dir=whole"])
    process.join(100)
    assert process.exitcode == 0
    return folder / "whole"
