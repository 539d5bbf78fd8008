"""Reads pickles of integer arrays and plain containers, and calls nothing that the pickle names.

A pickle is a program: whoever wrote it chooses the functions that the reader calls. Here the few names that numpy's
pickles hold lead to stand-ins of this file, and every other name is refused: a file of unknown origin can be read.

Python has its reader twice. The one in C keeps its memo in an array, of which nine bytes of a file can make one of
32 GB, and its instructions cannot be taken away; so this is the one in Python, with those instructions alone that such
a file needs.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

_INSTRUCTIONS = (
    "APPEND", "APPENDS", "BINBYTES", "BINBYTES8", "BINFLOAT", "BINGET", "BININT", "BININT1", "BININT2", "BINPUT",
    "BINSTRING", "BINUNICODE", "BINUNICODE8", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "FLOAT", "FRAME", "GET",
    "GLOBAL", "INT", "LIST", "LONG", "LONG1", "LONG4", "LONG_BINGET", "LONG_BINPUT", "MARK", "MEMOIZE", "NEWFALSE",
    "NEWTRUE", "NONE", "POP", "POP_MARK", "PROTO", "PUT", "REDUCE", "SHORT_BINBYTES", "SHORT_BINSTRING",
    "SHORT_BINUNICODE", "STACK_GLOBAL", "STOP", "STRING", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "UNICODE",
)  # fmt: skip
"""Those that are read as Python reads them; `_Unpickler` has its own way with five more."""


def loads(content: bytes, where: object) -> dict[str, Any]:
    """The dictionary in a pickle of protocol 0 to 5, with text for keys; Python 2's strings come as bytes.

    Raises:
        ValueError: a name that is not admitted, content that is cut short or no pickle, or that is no dictionary. It
            begins with `where`.
    """
    try:
        data = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except _RefusedError as error:
        raise ValueError(f"{where}: {error}") from None
    # A damaged pickle makes the machine raise nearly anything, MemoryError included.
    except Exception as error:
        raise ValueError(f"{where}: truncated, or no pickle of arrays and plain containers ({error})") from None
    if not isinstance(data, dict):
        raise ValueError(f"{where}: must hold a dictionary, got {type(data).__name__}")
    return {key: value.array if isinstance(value, _Array) else value for key, value in data.items()}


def text(value: Any) -> str:
    """A str from a str or from the bytes that a Python 2 str comes as.

    Raises:
        ValueError: anything else.
    """
    if not isinstance(value, (str, bytes)):
        raise ValueError(f"text is needed, got {type(value).__name__}")
    return value.decode("latin1") if isinstance(value, bytes) else value


class _RefusedError(Exception):
    """The pickle names something that is not admitted."""


class _Unpickler(pickle._Unpickler):
    stack: list[Any]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]
    pop_mark: Callable[[], list[Any]]

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        try:
            return _ADMITTED[f"{module.replace('numpy.core', 'numpy._core')}.{name}"]
        except KeyError:
            raise _RefusedError(f"refused to load {module}.{name}: only arrays and plain containers are read") from None

    def load_build(self) -> None:
        """Gives a stand-in its state; of anything else it would set attributes."""
        state = self.stack.pop()
        if not isinstance(self.stack[-1], (_Array, _Dtype)):
            raise _RefusedError(f"refused to set attributes of {type(self.stack[-1]).__name__}")
        self.stack[-1].__setstate__(state)

    def load_bytearray8(self) -> None:
        """Python's own makes room for the length that the file claims, before it looks whether that much follows."""
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(self.read(length))

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._put([key, value])

    def load_setitems(self) -> None:
        self._put(self.pop_mark())

    def load_dict(self) -> None:
        entries = self.pop_mark()
        self.append({})
        self._put(entries)

    def _put(self, entries: list[Any]) -> None:
        """Keys and values in turn. Text alone is a key: some small tuples take longer to hash than anyone waits."""
        for key, value in zip(entries[::2], entries[1::2], strict=True):
            self.stack[-1][text(key)] = value

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        **{code: pickle._Unpickler.dispatch[code] for code in (getattr(pickle, name)[0] for name in _INSTRUCTIONS)},
        pickle.BUILD[0]: load_build,
        pickle.BYTEARRAY8[0]: load_bytearray8,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.DICT[0]: load_dict,
    }


class _Dtype:
    """Stands in for numpy.dtype: integers alone."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.dtype = np.dtype(text(code))
        if self.dtype.kind not in "iu":
            raise _RefusedError(f"refused an array of {self.dtype}: only arrays of integers are read")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(text(state[1]))  # type: ignore[arg-type]


class _Array:
    """Stands in for numpy.ndarray."""

    array: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        self.array = _from_buffer(content, dtype, shape, "F" if fortran else "C").array


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _from_buffer(content: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    """How protocol 5 writes an array; `_Array.__setstate__` is how the earlier ones do."""
    if not isinstance(content, bytes) or type(shape) is not tuple or any(type(side) is not int for side in shape):
        raise ValueError("an array of something else than bytes, or of a shape that is none")
    result = _Array()
    result.array = np.frombuffer(content, dtype.dtype).reshape(shape, order=order)
    return result


def _encode(string: str, encoding: Any) -> bytes:
    """How Python 3 writes bytes in protocols 0 to 2."""
    if text(encoding) != "latin1":
        raise _RefusedError(f"refused the encoding {encoding!r}: only latin1 is read")
    return string.encode("latin1")


_ADMITTED: dict[str, Callable[..., Any]] = {
    "_codecs.encode": _encode,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy._core.numeric._frombuffer": _from_buffer,
    "numpy.dtype": _Dtype,
    "numpy.ndarray": _Array,
}
