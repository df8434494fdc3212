"""InsightFace's packed test sets: LFW, CFP-FP, AgeDB-30, CALFW and CPLFW in one file each.

Such a `.bin` file is a pickle of two lists, the encoded pictures and, for each pair of them,
whether both show one person. A pickle is a program; here its opcodes are read one by one, and
those that only build lists of bytes and truth values are obeyed. Whatever could import, call or
fetch anything stops the reading.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.data.errors import DataError
from experiments.data.pairs.base import FacePairs, PairLayout

_MOST_BYTES = 2 * 2**30
_FOLDS = 10
_MARK = object()


@dataclass(frozen=True)
class PackedPairs(PairLayout):
    """One `.bin` file; folds are tenths of the list, people are not named."""

    def read(self) -> FacePairs:
        """Read the file; its pictures are the 112 px crops it was made with."""
        try:
            if self.root.stat().st_size > _MOST_BYTES:
                raise DataError(f"{self.root} has more than {_MOST_BYTES >> 30} GiB")
            content = read_plain_pickle(self.root.read_bytes())
        except OSError as error:
            raise DataError(
                f"{self.root} cannot be read: {error}; give it as pairs.root"
            ) from error
        except ValueError as error:
            raise DataError(f"{self.root} is not a packed test set: {error}") from error
        match content:
            case [list(pictures), list(same)] if (
                all(isinstance(p, bytes) for p in pictures)
                and all(isinstance(s, bool) for s in same)
                and len(pictures) == 2 * len(same) >= 2 * _FOLDS
            ):
                pass
            case _:
                raise DataError(
                    f"{self.root} holds something else than pictures and, for each two, whether "
                    f"they show one person"
                )
        count = len(same)
        people = np.arange(2 * count).reshape(-1, 2)
        people[np.array(same), 1] = people[np.array(same), 0]
        return FacePairs(
            [f"{self.root.name}, picture {i}" for i in range(2 * count)],
            pictures.__getitem__,
            pairs=np.arange(2 * count).reshape(-1, 2),
            same=np.array(same),
            fold=np.arange(count) * _FOLDS // count,
            people=people,
            named=False,
        )


def read_plain_pickle(data: bytes) -> Any:
    """Return lists, tuples, bytes and truth values of a pickle, without running it.

    Raises
    ------
    ValueError
        If it holds an opcode for anything else, or is damaged.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP" and len(stack) == 1:
                return stack.pop()
            if opcode.name in _IGNORED:
                continue
            if opcode.name in _VALUES:
                stack.append(_VALUES[opcode.name](argument))
            elif opcode.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
                memo[len(memo) if argument is None else int(argument)] = stack[-1]
            elif opcode.name in ("GET", "BINGET", "LONG_BINGET"):
                stack.append(memo[int(argument or 0)])
            elif opcode.name == "APPEND":
                item = stack.pop()
                _list(stack).append(item)
            elif opcode.name == "APPENDS":
                items = _since_mark(stack)
                _list(stack).extend(items)
            elif opcode.name in ("TUPLE", "LIST"):
                stack.append(_since_mark(stack))
            elif opcode.name in _TUPLES:
                items = [stack.pop() for _ in range(_TUPLES[opcode.name])]
                stack.append(items[::-1])
            else:
                raise ValueError(f"opcode {opcode.name}, which plain lists do not need")
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError(f"damaged ({error})") from error
    raise ValueError("damaged, it does not end")


def _list(stack: list[Any]) -> list[Any]:
    if not isinstance(stack[-1], list):
        raise ValueError("damaged, it appends to what is no list")
    return stack[-1]


def _since_mark(stack: list[Any]) -> list[Any]:
    items = []
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]


def _old_bytes(argument: Any) -> bytes:
    """Return a Python 2 string, which pickletools gives as text, byte by byte."""
    return argument if isinstance(argument, bytes) else str(argument).encode("latin-1")


_IGNORED = {"PROTO", "FRAME"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_VALUES: dict[str, Callable[[Any], Any]] = {
    "MARK": lambda _: _MARK,
    "EMPTY_LIST": lambda _: [],
    "EMPTY_TUPLE": lambda _: [],
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "INT": lambda argument: argument,  # protocol 0 writes truth values as "I01"
    "SHORT_BINBYTES": _old_bytes,
    "BINBYTES": _old_bytes,
    "BINBYTES8": _old_bytes,
    "SHORT_BINSTRING": _old_bytes,
    "BINSTRING": _old_bytes,
}
