"""Set-up shared by all tests: one thread, so that times and results do not depend on the load."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)
