"""List where the names of the stand-in differ from those of the real libcamera.

``python surface.py`` describes the stand-in in a process of its own, looks every name up in the
libcamera of this one, prints the differences, and exits with 1 where one is not in `KNOWN`.
Compared are the existence of names, members and values of enumerations, types of controls and
properties, and how many arguments a function takes.
"""

import ast
import inspect
import json
import os
import re
import subprocess
import sys
import textwrap
from enum import Enum
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
MODULES = PROJECT / "tests" / "standin" / "modules"

#: What only the stand-in has, and why that does no harm.
KNOWN = {
    **dict.fromkeys(
        ("Camera.board", "Camera.error", "Camera.faults", "Camera.records"),
        "what tests ask of the camera behind the interface",
    ),
    **dict.fromkeys(
        ("CameraManager.completed", "CameraManager.rest", "CameraManager.wake"),
        "how the camera reaches its manager",
    ),
    **dict.fromkeys(
        ("CameraConfiguration.mode", "CameraConfiguration.flips", "CameraConfiguration.cfa"),
        "what the camera reads out of a configuration",
    ),
    "FrameBuffer.fill": "how the camera writes a frame",
    "Request.controls": "how the camera reads controls; libcamera keeps them from Python",
    "StreamConfiguration.is_raw": "how the camera tells its streams apart",
    "PixelFormat.name": "its only field; libcamera's are fourcc and modifier",
    "FrameMetadata.Status.Startup": "libcamera has it, and its bindings no name for it",
}
#: What libcamera has since 0.5; Raspberry Pi OS has a newer one.
NEWER = {
    "controls.AeState",
    "controls.AeStateEnum",
    "controls.AnalogueGainMode",
    "controls.ExposureTimeMode",
    "controls.FrameWallClock",
}


def described(module):
    """Return {name: facts} of the public names of a module with libcamera's layout."""
    facts = {}
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isclass(thing):
            _describe_class(name, thing, facts)
    for path in ("controls", "controls.draft", "properties", "properties.draft"):
        space = module
        for part in path.split("."):
            space = getattr(space, part)
        for name, thing in vars(space).items():
            if type(thing).__name__ == "ControlId":
                facts[f"{path}.{name}"] = {"type": str(thing.type).rpartition(".")[2]}
            elif name in getattr(space, "__all__", vars(space)) and inspect.isclass(thing):
                _describe_class(f"{path}.{name}", thing, facts)
    return facts


def _describe_class(path, kind, facts):
    facts[path] = {}
    if issubclass(kind, Enum):
        facts.update({f"{path}.{m.name}": {"value": int(m.value)} for m in kind})
        return
    names = {name for name in vars(kind) if not name.startswith("_")}
    names |= set(getattr(kind, "__dataclass_fields__", ())) | _assigned(kind)
    for name in sorted(names):
        thing = inspect.getattr_static(kind, name, None)
        if inspect.isclass(thing):
            _describe_class(f"{path}.{name}", thing, facts)
            continue
        facts[f"{path}.{name}"] = {}
        if inspect.isroutine(thing):
            plain = getattr(kind, name)
            facts[f"{path}.{name}"] = {"takes": _taken(plain, bound=inspect.ismethod(plain))}


def _assigned(kind):
    """Return the public attributes that a class gives its instances in ``__init__``."""
    if "__init__" not in vars(kind) or hasattr(kind, "__dataclass_fields__"):
        return set()
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind.__init__)))
    stored = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    return {
        node.attr
        for node in stored
        if isinstance(node.ctx, ast.Store) and not node.attr.startswith("_")
    }


def _taken(function, *, bound):
    """Return the least and the most arguments of a Python function, without self."""
    parameters = list(inspect.signature(function).parameters.values())[0 if bound else 1 :]
    return [sum(p.default is p.empty for p in parameters), len(parameters)]


def documented(function):
    """Return the least and most arguments of each signature in a binding's docstring."""
    found = []
    for inside in re.findall(r"^(?:\d+\. )?\w+\((.*)\) -> ", function.__doc__ or "", re.MULTILINE):
        parameters, depth = [""], 0
        for letter in inside:
            depth += (letter in "[({") - (letter in "])}")
            if letter == "," and not depth:
                parameters.append("")
            else:
                parameters[-1] += letter
        kept = [p for p in parameters if p.strip() and not p.strip().startswith("self")]
        found.append([sum(" = " not in p for p in kept), len(kept)])
    return found


def differences(facts, library):
    """Yield (name, what differs) of the described stand-in against the real library."""
    for path, fact in facts.items():
        thing = library
        try:
            for part in path.split("."):
                thing = getattr(thing, part)
        except AttributeError:
            if path.rpartition(".")[0] not in facts or "." not in path or _has(path, library):
                yield path, "is not in libcamera"
            continue
        if "value" in fact and int(thing) != fact["value"]:
            yield path, f"is {fact['value']}, in libcamera {int(thing)}"
        if "type" in fact and thing.type.name != fact["type"]:
            yield path, f"is of type {fact['type']}, in libcamera {thing.type.name}"
        if "takes" in fact and (real := documented(thing)):
            least, most = fact["takes"]
            if not any(low <= least and most <= high for low, high in real):
                yield path, f"takes {least} to {most} arguments, in libcamera {real}"


def _has(path, library):
    """Whether libcamera has what a missing name would be in: else that was told already."""
    thing = library
    for part in path.split(".")[:-1]:
        thing = getattr(thing, part, None)
    return thing is not None


def main():
    """Compare, and print."""
    import libcamera

    if sys.argv[1:] == ["describe"]:
        print(json.dumps(described(libcamera)))  # noqa: T201
        return 0
    paths = os.pathsep.join([str(MODULES), str(PROJECT)])
    told = subprocess.run(
        [sys.executable, __file__, "describe"],
        env={**os.environ, "PYTHONPATH": paths},
        check=True,
        capture_output=True,
        text=True,
    )
    facts = json.loads(told.stdout)
    version = libcamera.CameraManager.singleton().version
    known = KNOWN | (dict.fromkeys(NEWER, "newer than 0.4") if version.startswith("v0.4.") else {})
    found = dict(differences(facts, libcamera))
    for path, what in found.items():
        print(f"{path} {what}" + (f" (known: {known[path]})" if path in known else ""))  # noqa: T201
    new = sorted(set(found) - set(known))
    counts = f"{len(facts)} names, {len(found)} differ, {len(new)} of them not known"
    print(f"libcamera {version}: {counts}")  # noqa: T201
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main())
