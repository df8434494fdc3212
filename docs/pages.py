"""Reference pages, made by walking the packages: a new module needs no edit here."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from sphinx.pycode import ModuleAnalyzer

#: Libraries, each with the parts whose order a reader would expect; others follow by name.
LIBRARIES = {
    "optics": (
        "units grids materials zernike masks fabrication lenses propagation camera imaging sensor "
        "quality"
    ),
    "anonymizer": (
        "alignment detection teachers heatmaps regressors recognition stargan protection vault "
        "metrics perceptual checkpoints"
    ),
    "hardware": (
        "errors clock frames cameras motion lights modulators rig safety session agent serial_link "
        "raw dng storage fabrication"
    ),
    "calibration": (
        "errors noise psf edge target geometry relief twin retrieval compare measured_camera bench"
    ),
}

#: The modules of the jobs that are useful as a library.
JOBS = (
    "experiments.data",
    "experiments.data.synthetic.faces",
    "experiments.data.synthetic.sheet",
    "experiments.data.crops",
    "experiments.data.crop_store",
    "experiments.data.splits",
    "experiments.data.errors",
    "experiments.composing",
    "experiments.settings",
    "experiments.store",
    "experiments.evaluation",
    "experiments.protocol",
)


def children(package: ModuleType) -> list[ModuleType]:
    """Public modules and packages directly inside `package`."""
    found = pkgutil.iter_modules(getattr(package, "__path__", []), f"{package.__name__}.")
    names = [entry.name for entry in found if not entry.name.rpartition(".")[2].startswith("_")]
    return [importlib.import_module(name) for name in names]


def walk(package: ModuleType) -> Iterator[ModuleType]:
    """Yield `package` and every public module below it."""
    yield package
    for child in children(package):
        yield from walk(child)


def parts(library: ModuleType, order: str) -> list[ModuleType]:
    """Modules and packages directly inside `library`, those named in `order` first."""
    known = order.split()

    def place(part: ModuleType) -> tuple[int, str]:
        name = part.__name__.rpartition(".")[2]
        return (known.index(name) if name in known else len(known)), name

    return sorted(children(library), key=place)


def documented() -> list[ModuleType]:
    """Every module that has a place in the reference."""
    libraries = [module for name in LIBRARIES for module in walk(importlib.import_module(name))]
    return libraries + [importlib.import_module(name) for name in JOBS]


def home(package: ModuleType, name: str, modules: list[ModuleType]) -> str:
    """Full name of what `package` exports as `name`, where it is defined."""
    for module in modules:
        same = getattr(module, name, None) is getattr(package, name)
        if same and name in _definitions(module):
            return f"{module.__name__}.{name}"
    raise LookupError(f"{package.__name__}.{name} is defined in no module of the reference")


def _definitions(module: ModuleType) -> set[str]:
    names = set()
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def _comment(name: str) -> str:
    """Return the ``#:`` comment of a constant."""
    module, _, constant = name.rpartition(".")
    return " ".join(ModuleAnalyzer.for_module(module).find_attr_docs().get(("", constant), []))


def _title(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n\n"


def _automodule(module: ModuleType, *, members: bool = True) -> str:
    # a package documents what it defines itself; what it exports is documented where it is defined
    options = "   :ignore-module-all:\n" if members else "   :no-members:\n"
    return f".. automodule:: {module.__name__}\n{options}\n"


def _summary(module: ModuleType) -> str:
    return (inspect.getdoc(module) or "").partition("\n\n")[0].replace("\n", " ")


def _table(rows: list[tuple[str, str]]) -> str:
    lines = [".. list-table::", "   :widths: 30 70", "   :class: names", ""]
    for left, right in rows:
        lines += [f"   * - {left}", f"     - {right}".rstrip()]
    return "\n".join([*lines, "", ""])


def _exports(package: ModuleType, modules: list[ModuleType]) -> str:
    """Table of the names that can be imported from `package`."""
    rows = []
    for name in getattr(package, "__all__", []):
        found = home(package, name, modules)
        thing = getattr(package, name)
        about = inspect.getdoc(thing) if callable(thing) else _comment(found)
        rows.append((f":py:obj:`{name} <{found}>`", (about or "").partition("\n")[0]))
    return f"Import from ``{package.__name__}``:\n\n{_table(rows)}" if rows else ""


def _page(part: ModuleType, modules: list[ModuleType]) -> str:
    text = _title(part.__name__, "=") + _automodule(part) + _exports(part, modules)
    for module in list(walk(part))[1:]:
        text += _title(module.__name__, "-") + _automodule(module)
    return text


def _index(name: str, about: str, names: list[str], contents: str) -> str:
    toc = "\n".join(f"   {entry}" for entry in names)
    return f"{_title(name, '=')}{about}{contents}.. toctree::\n   :hidden:\n\n{toc}\n"


def texts() -> dict[str, str]:
    """Every page of the reference by its file name."""
    modules = documented()
    found: dict[str, str] = {}
    for name, order in LIBRARIES.items():
        library = importlib.import_module(name)
        members = parts(library, order)
        found |= {f"{part.__name__}.rst": _page(part, modules) for part in members}
        rows = [(f":doc:`{part.__name__}`", _summary(part)) for part in members]
        about = _automodule(library) + _exports(library, modules)
        contents = f"Contents:\n\n{_table(rows)}"
        found[f"{name}.rst"] = _index(name, about, [p.__name__ for p in members], contents)
    jobs = [importlib.import_module(name) for name in JOBS]
    for job in jobs:
        text = _title(job.__name__, "=") + _automodule(job) + _exports(job, modules)
        found[f"{job.__name__}.rst"] = text
    rows = [(f":doc:`{job.__name__}`", _summary(job)) for job in jobs]
    about = "The parts of the jobs that serve as a library.\n\n"
    found["experiments.rst"] = _index("experiments", about, list(JOBS), _table(rows))
    return found


def write(folder: Path) -> None:
    """Write the pages into `folder`, which holds nothing else; unchanged ones stay as they are."""
    folder.mkdir(exist_ok=True)
    wanted = texts()
    for old in folder.glob("*.rst"):
        if old.name not in wanted:
            old.unlink()
    for name, text in wanted.items():
        path = folder / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
