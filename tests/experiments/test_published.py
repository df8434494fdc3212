"""The settings of published comparisons fit the jobs that their first lines name."""

import re
from pathlib import Path

import pytest

import configs
from experiments.composing import compose
from experiments.settings import to_si

FILES = sorted((Path(configs.__file__).parent / "experiment").glob("*/*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_fits_the_commands_at_its_head(path):
    head = [line for line in path.read_text("utf-8").splitlines() if line.startswith("#   ./lab")]
    commands = [line for line in head if f"experiment={path.parent.name}/{path.stem}" in line]
    assert commands
    for line in commands:
        given = re.sub(r"<[^>]*>|\.\.\.", "somewhere", line.removeprefix("#   ./lab "))
        job, *words = given.partition("  ")[0].split()
        words = [f"what={word}" if "=" not in word else word for word in words]
        settings = to_si(compose(job, words))
        plain = to_si(
            compose(
                job, [w for w in words if not w.startswith(("experiment", "data.", "inception"))]
            )
        )
        assert settings != plain
