"""Reads pickles of integer arrays and plain containers, and calls nothing that the pickle names.

A pickle is a program: whoever wrote it chooses the functions that the reader calls. Here the few names that numpy's
pickles hold lead to stand-ins of this file, and every other name is refused: a file of unknown origin can be read.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np


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
    return {text(key): value.array if isinstance(value, _Array) else value for key, value in data.items()}


def text(value: Any) -> str:
    """A str from a str or from the bytes that a Python 2 str comes as."""
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


class _RefusedError(Exception):
    """The pickle names something that is not admitted."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        try:
            return _ADMITTED[f"{module.replace('numpy.core', 'numpy._core')}.{name}"]
        except KeyError:
            raise _RefusedError(f"refused to load {module}.{name}: only arrays and plain containers are read") from None


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
