"""Sphinx configuration; `./lab docs` builds the pages into docs/_build/html.

Neither the build nor a reader needs a network: equations become MathML, which browsers show by
themselves, and there are no links to the references of other projects.
"""

import re
import sys
from pathlib import Path

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxTranslator
from sphinx.util.logging import getLogger

sys.path.insert(0, str(Path(__file__).parent))

import figures
import pages

project = "Veilens"
copyright = "the Veilens authors, Apache-2.0"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.viewcode", "numpydoc"]
exclude_patterns = ["_build"]

html_title = "Veilens"
html_theme = "alabaster"
html_theme_options = {
    "description": "Cameras whose optics hide faces",
    "fixed_sidebar": True,
    "page_width": "1080px",
    "sidebar_width": "230px",
}
html_static_path = ["style"]
html_css_files = ["veilens.css"]
html_copy_source = False
html_math_renderer = "mathml"

smartquotes = False  # signs stay as they are typed
default_role = "py:obj"  # `name` in a docstring is a link if the name is known
nitpicky = True
nitpick_ignore_regex = [
    ("py:obj", r"(?s).*"),  # parameters and symbols are written `name` as well
    (
        "py:.*",
        r"(abc|collections|cryptography|datetime|gdstk|http|io|numpy|omegaconf|onnxruntime|pathlib"
        r"|socket|torch|types)\..*",
    ),
    ("py:class", r"calibration\.bayer\.T|.*\.Strength"),  # type variables
    ("py:class", "Tensor"),  # quoted, where a module loads without torch
    ("py:class", r"experiments\..*"),  # jobs are documented in parts
]

autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
numpydoc_show_class_members = False  # automodule documents them
autosummary_generate = False  # numpydoc brings it along; it would read pages of modules now gone

_log = getLogger(__name__)
_PLAIN_BIG = re.compile(r"\\(big|Big|bigg|Bigg)(?![A-Za-z])")  # docutils knows \bigl, \bigr
_MAP_LINE = re.compile(r"[\w{},]+(\.py|/)? {2,}\S")


def keep_file_maps(
    _app: Sphinx, what: str, _name: str, _object: object, _options: object, lines: list[str]
) -> None:
    """Set the map of files in a package's docstring as it was typed, in columns."""
    if what != "module":
        return
    blocks = "\n".join(lines).split("\n\n")
    for place, block in enumerate(blocks):
        if all(_MAP_LINE.match(line) for line in block.strip("\n").split("\n")):
            blocks[place] = "::\n\n" + "\n".join(f"    {line}" for line in block.split("\n"))
    lines[:] = "\n\n".join(blocks).split("\n")


def hide_factories(
    _app: Sphinx, _what: str, _name: str, _object: object, _options: object, text: str, back: str
) -> tuple[str, str] | None:
    """Write the default of a dataclass field made anew each time as `...`, which is Python."""
    return (text.replace("<factory>", "..."), back) if text and "<factory>" in text else None


def _mathml(translator: SphinxTranslator, node: nodes.Element) -> None:
    block = isinstance(node, nodes.math_block)
    text = _PLAIN_BIG.sub(r"\\\1l", node.astext())
    try:
        translator.body.append(tex2mathml(text, as_block=block))
    except MathError as error:
        _log.warning("%s: %s", error, node.astext(), location=node)
    raise nodes.SkipNode


def prepare(app: Sphinx) -> None:
    """Write the drawing and the reference pages beside the pages written by hand."""
    source = Path(app.srcdir)
    figures.draw_conventions(source / "conventions.svg")
    pages.write(source / "reference")


def setup(app: Sphinx) -> None:
    """Register what this project adds to Sphinx."""
    app.add_html_math_renderer("mathml", (_mathml, None), (_mathml, None))
    app.connect("builder-inited", prepare)
    app.connect("autodoc-process-docstring", keep_file_maps)
    app.connect("autodoc-process-signature", hide_factories)
