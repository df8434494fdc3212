"""The reference: builds without a warning, leaves no public name out, and its example runs."""

import doctest
import importlib
import importlib.util
import inspect
import pkgutil
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

pytestmark = pytest.mark.timeout(300)  # the one build may meet a busy machine


def load(name):
    """Import docs/<name>.py, which belongs to no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages():
    pytest.importorskip("numpydoc", reason="sphinx and numpydoc come with ./lab docs")
    return load("pages")


@pytest.fixture(scope="module")
def built(pages, tmp_path_factory):
    """Build a copy, so that pages somebody reads meanwhile stay as they are."""
    folder = tmp_path_factory.mktemp("site")
    made = shutil.ignore_patterns("_build", "reference", "conventions.svg", "__pycache__")
    shutil.copytree(DOCS, folder / "docs", ignore=made)
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q"]
    done = subprocess.run(
        [*command, folder / "docs", folder / "html"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done, folder / "html"


def test_pages_build_without_a_warning(built):
    done, _ = built
    assert done.returncode == 0, done.stderr


def public_modules(name):
    package = importlib.import_module(name)
    yield package
    for entry in pkgutil.walk_packages(package.__path__, f"{name}."):
        if "._" not in entry.name:
            yield importlib.import_module(entry.name)


@pytest.mark.parametrize("library", ["optics", "anonymizer"])
def test_no_public_name_is_missing(built, library):
    _, html = built
    text = "".join(page.read_text("utf-8") for page in html.glob("reference/*.html"))
    ids = set(re.findall(r'id="([\w.]+)"', text))
    ends = {name.rpartition(".")[2] for name in ids if name.startswith(f"{library}.")}
    missing = set()
    for module in public_modules(library):
        if f"module-{module.__name__}" not in text:
            missing.add(module.__name__)
        for name in getattr(module, "__all__", []):
            if name not in ends:  # a constant needs a comment that starts with "#:"
                missing.add(f"{module.__name__}.{name}")
        for name, thing in inspect.getmembers(module):
            own = getattr(thing, "__module__", None) == module.__name__
            made_here = own and (inspect.isclass(thing) or inspect.isfunction(thing))
            if made_here and not name.startswith("_") and f"{module.__name__}.{name}" not in ids:
                missing.add(f"{module.__name__}.{name}")
    assert not missing


def test_the_conventions_come_first_with_their_drawing(built):
    _, html = built
    index = (html / "index.html").read_text("utf-8")
    links = re.findall(r'class="toctree-l1"><a [^>]*href="([^"]+)"', index)
    assert links[0] == "conventions.html"
    assert 'src="_images/conventions.svg"' in (html / "conventions.html").read_text("utf-8")
    assert (html / "_images" / "conventions.svg").stat().st_size > 1000


def test_pages_need_no_network(built):
    _, html = built
    for page in html.rglob("*.html"):
        sources = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(\w+:)?//', page.read_text())
        assert not sources, page.name


def test_equations_are_mathml(built):
    _, html = built
    page = (html / "reference" / "optics.masks.html").read_text("utf-8")
    assert "<mfrac>" in page  # 2 pi / lambda, in the law of the masks
    assert "\\frac" not in page


def test_maps_of_files_keep_their_columns(built):
    _, html = built
    page = (html / "reference" / "optics.html").read_text("utf-8")
    shown = re.search(r"<pre>(.*?)</pre>", page, re.DOTALL).group(1)
    typed = importlib.import_module("optics").__doc__.split("\n\n")[1]
    assert unescape(re.sub(r"<[^>]+>", "", shown)).strip() == typed.strip()


def test_a_new_module_gets_its_place_without_an_edit(pages, tmp_path, monkeypatch):
    files = {
        "glow/__init__.py": '"""Light."""\nfrom glow.lamps.led import Led\n__all__ = ["Led"]\n',
        "glow/beam.py": '"""Beams."""\n',
        "glow/_private.py": "",
        "glow/lamps/__init__.py": '"""Lamps."""\n',
        "glow/lamps/led.py": '"""LEDs."""\nclass Led:\n    """A diode."""\n',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(pages, "LIBRARIES", {"glow": "lamps"})
    monkeypatch.setattr(pages, "JOBS", ())
    found = pages.texts()
    assert sorted(found) == ["experiments.rst", "glow.beam.rst", "glow.lamps.rst", "glow.rst"]
    assert found["glow.rst"].index("glow.lamps`") < found["glow.rst"].index("glow.beam`")
    assert "`Led <glow.lamps.led.Led>`\n     - A diode." in found["glow.rst"]
    assert ".. automodule:: glow.lamps.led" in found["glow.lamps.rst"]


def test_pages_of_modules_that_are_gone_disappear(pages, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "texts", lambda: {"kept.rst": "kept", "changed.rst": "new"})
    for name, text in {"kept.rst": "kept", "changed.rst": "old", "gone.rst": "gone"}.items():
        (tmp_path / name).write_text(text)
    before = (tmp_path / "kept.rst").stat().st_mtime_ns
    pages.write(tmp_path)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == pages.texts()
    assert (tmp_path / "kept.rst").stat().st_mtime_ns == before  # or all is built each time


def test_the_drawing_is_the_same_every_time(tmp_path):
    figures = load("figures")
    for name in ("a.svg", "b.svg"):
        figures.draw_conventions(tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_the_example_of_the_first_page_runs():
    result = doctest.testfile(str(DOCS / "index.rst"), module_relative=False)
    assert result.attempted > 0
    assert result.failed == 0
