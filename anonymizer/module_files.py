"""Read the tensors of files into which a whole PyTorch module was pickled.

Such a file names classes of a program that is not here, and would run code of its choice if it
were unpickled. Here its opcodes are interpreted instead: classes stay names, calls stay records
of their arguments, nothing is imported and nothing is called. What comes out is tensors.

Both containers are read: the zip of PyTorch 1.6 and later, and the pickles in a row before it.
"""

import math
import os
import pickletools
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from anonymizer.checkpoints import WeightsError

_MAGIC = 0x1950A86A20F9469CFC6C  # opens the pickles in a row
_DEEPEST = 64  # modules within modules
_TYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


@dataclass(frozen=True)
class _Name:
    """A class or function by its name; never looked up."""

    full: str


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True)
class _Strided:
    """A tensor whose numbers are still in the file."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(eq=False)
class _Record:
    """An object: what it was made from, and the state it was given."""

    made_by: Any
    arguments: Any
    state: dict[Any, Any] = field(default_factory=dict)


_MARK = object()


def read_module_state(path: Path) -> dict[str, Tensor]:
    """Return the parameters and buffers of a pickled module by their names in it.

    A module that lies in a dictionary is found by its key, which is no part of the names. Nor is
    "module", which wraps what was trained on several devices.

    Raises
    ------
    WeightsError
        If the file is no such file, is damaged, or holds no module.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            content, numbers = _read_zip(file) if zipped else _read_row(file)
            state = {
                name: _build(tensor, numbers)
                for name, tensor in _walk(_find_module(content), "", 0)
            }
    except (OSError, EOFError, zipfile.BadZipFile) as error:
        raise WeightsError(f"weights {path} cannot be read: {error}") from error
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise WeightsError(
            f"weights {path}: no pickled module of tensors ({error}); a file of plain tensors is "
            f"read by read_state"
        ) from error
    if not state:
        raise WeightsError(f"weights {path}: the module in it has no tensors")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def _read_zip(file: IO[bytes]) -> tuple[Any, dict[str, bytes]]:
    with zipfile.ZipFile(file) as archive:
        (index,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        content, storages = _interpret(BytesIO(_member(archive, index)))
        folder = index.removesuffix("data.pkl") + "data/"
        return content, {key: _member(archive, folder + key) for key in storages}


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed, which PyTorch never does")
    return archive.read(name)


def _read_row(file: IO[bytes]) -> tuple[Any, dict[str, bytes]]:
    if _interpret(file)[0] != _MAGIC:
        raise ValueError("it does not begin as PyTorch's files do")
    for _ in range(2):  # version, machine
        _interpret(file)
    content, storages = _interpret(file)
    size = os.fstat(file.fileno()).st_size  # more than that is in no storage, whatever it says
    numbers = {}
    for key in _interpret(file)[0]:
        count = int.from_bytes(file.read(8), "little")
        if count != storages[key].count:
            raise ValueError(f"storage {key} has {count} numbers, expected {storages[key].count}")
        numbers[key] = file.read(min(count * storages[key].dtype.itemsize, size))
    return content, numbers


def _interpret(file: IO[bytes]) -> tuple[Any, dict[str, _Storage]]:
    """Return the value that one pickle describes, and the storages it refers to."""
    machine = _Machine()
    for opcode, argument, _ in pickletools.genops(file):
        machine.step(opcode.name, argument)
    return machine.stack.pop(), machine.storages


class _Machine:
    """The stack of the pickle format, with none of its calls."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: list[Any] | dict[int, Any] = {}
        self.storages: dict[str, _Storage] = {}

    def step(self, name: str, argument: Any) -> None:
        """Carry out one opcode."""
        stack = self.stack
        match name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                stack.append(_MARK)
            case "POP":
                stack.pop()
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(name == "NEWTRUE")
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST" | "EMPTY_SET":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "TUPLE":
                stack.append(tuple(self._since_mark()))
            case "APPEND" | "SETITEM" | "APPENDS" | "SETITEMS" | "ADDITEMS":
                self._extend(name)
            case "BINPUT" | "LONG_BINPUT" | "PUT" | "MEMOIZE":
                self.memo[len(self.memo) if argument is None else int(argument)] = stack[-1]
            case "BINGET" | "LONG_BINGET" | "GET":
                stack.append(self.memo[int(argument)])
            case "GLOBAL":
                stack.append(_Name(str(argument).replace(" ", ".")))
            case "STACK_GLOBAL":
                stack[-2:] = [_Name(f"{stack[-2]}.{stack[-1]}")]
            case "REDUCE" | "NEWOBJ":
                stack[-2:] = [_record(stack[-2], stack[-1])]
            case "BUILD":
                self._build()
            case "BINPERSID":
                stack.append(self._persistent(stack.pop()))
            case _ if argument is not None:  # a literal: number, text, bytes
                stack.append(argument)
            case _:
                raise ValueError(f"opcode {name} has no place in it")

    def _since_mark(self) -> list[Any]:
        start = max(i for i, value in enumerate(self.stack) if value is _MARK)
        items = self.stack[start + 1 :]
        del self.stack[start:]
        return items

    def _extend(self, name: str) -> None:
        if name.endswith("S"):
            items = self._since_mark()
        else:
            count = 2 if name == "SETITEM" else 1
            items = self.stack[-count:]
            del self.stack[-count:]
        target = self.stack[-1]
        if isinstance(target, dict):
            target.update(zip(items[::2], items[1::2], strict=True))
        elif isinstance(target, list):
            target.extend(items)

    def _build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, _Record) and isinstance(state, dict):
            target.state.update(state)

    def _persistent(self, reference: Any) -> Any:
        if reference[0] == "module":  # a class with its source text
            return reference[1]
        _, kind, key, _, count = reference[:5]
        dtype = _TYPES[kind.full.rpartition(".")[2]]
        self.storages[str(key)] = _Storage(str(key), dtype, int(count))
        return self.storages[str(key)]


def _record(function: Any, arguments: Any) -> Any:
    name = function.full if isinstance(function, _Name) else ""
    match name:
        case "collections.OrderedDict":
            return dict(arguments[0]) if arguments else {}
        case "builtins.set" | "__builtin__.set":
            return list(arguments[0]) if arguments else []
        case "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2":
            storage, offset, shape, strides = arguments[:4]
            return _Strided(storage, int(offset), tuple(shape), tuple(strides))
        case "torch._utils._rebuild_parameter":
            return arguments[0]
    return _Record(function, arguments)


def _find_module(content: Any) -> _Record:
    values = content.values() if isinstance(content, dict) else [content]
    for value in values:
        if isinstance(value, _Record) and "_modules" in value.state:
            return value
    raise ValueError("there is no module in it")


def _walk(module: _Record, prefix: str, depth: int) -> Iterator[tuple[str, _Strided]]:
    if depth > _DEEPEST:
        raise ValueError(f"modules lie more than {_DEEPEST} deep in each other")
    unsaved = module.state.get("_non_persistent_buffers_set") or ()
    for kind in ("_parameters", "_buffers"):
        for name, tensor in module.state[kind].items():
            if tensor is not None and name not in unsaved:
                yield f"{prefix}{name}", tensor
    for name, inner in module.state["_modules"].items():
        if inner is not None:
            yield from _walk(inner, f"{prefix}{name}.", depth + 1)


def _build(tensor: _Strided, numbers: dict[str, bytes]) -> Tensor:
    storage = tensor.storage
    data = numbers[storage.key]
    if len(data) != storage.count * storage.dtype.itemsize:
        raise ValueError(f"{len(data)} bytes for {storage.count} numbers of {storage.dtype}")
    if math.prod(tensor.shape) > storage.count:
        raise ValueError(f"shape {tensor.shape} of {storage.count} numbers")
    if math.prod(tensor.shape) == 0:
        return torch.zeros(tensor.shape, dtype=storage.dtype)
    flat = torch.frombuffer(bytearray(data), dtype=storage.dtype)
    return flat.as_strided(tensor.shape, tensor.strides, tensor.offset).clone()
