from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.datasets import restricted_pickle

ARRAYS = (
    np.arange(24, dtype=np.uint8).reshape(4, 6),
    np.asfortranarray(np.arange(24, dtype=np.uint8).reshape(4, 6)),
    np.arange(6, dtype=np.int64),
    np.arange(6, dtype=">u2"),
)


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.flags.f_contiguous}")
def test_arrays_and_containers_of_every_protocol(protocol: int, array: np.ndarray) -> None:
    content = {"data": array, b"labels": [1, 2, 300], "names": ["a", b"b"], "more": {"x": (None, True, 1.5)}}
    loaded = restricted_pickle.loads(pickle.dumps(content, protocol), "file")
    assert loaded.pop("data").tolist() == array.tolist()
    assert loaded == {"labels": [1, 2, 300], "names": ["a", b"b"], "more": {"x": (None, True, 1.5)}}


def test_arrays_of_the_older_numpy() -> None:
    content = pickle.dumps({"data": ARRAYS[0]}, 2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert restricted_pickle.loads(content, "file")["data"].tolist() == ARRAYS[0].tolist()


def test_strings_of_python_2() -> None:
    assert restricted_pickle.loads(b"}U\x04dataU\x03\x00\xe9As.", "file") == {"data": b"\x00\xe9A"}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_command_is_refused_and_not_run(protocol: int, tmp_path: Path) -> None:
    content = pickle.dumps({"data": Evil(f"touch {tmp_path / 'ran'}")}, protocol)
    with pytest.raises(ValueError, match=r"^file: refused to load (posix|nt)\.system: only arrays and plain"):
        restricted_pickle.loads(content, "file")
    assert not (tmp_path / "ran").exists()
    pickle.loads(content)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (OrderedDict(a=1), r"file: refused to load collections\.OrderedDict"),
        (Path("a"), r"file: refused to load pathlib\."),
        (np.array([1.5]), "file: refused an array of float64: only arrays of integers are read"),
        (np.array([object]), "file: refused an array of object"),
        (np.zeros(1, [("x", "u1")]), r"file: refused an array of \|?V1"),
        (np.uint8(3), r"file: refused to load numpy\._core\.multiarray\.scalar"),
    ],
)
def test_everything_else_is_refused(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        restricted_pickle.loads(pickle.dumps({"data": value}, 4), "file")


def test_other_encodings_are_refused() -> None:
    content = b"\x80\x02}X\x01\x00\x00\x00ac_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86Rs."
    with pytest.raises(ValueError, match="file: refused the encoding 'rot13': only latin1 is read"):
        restricted_pickle.loads(content, "file")


@pytest.mark.parametrize("kept", [0, 1, 10, 100, -1])
def test_truncated(kept: int) -> None:
    content = pickle.dumps({"data": ARRAYS[0], "labels": list(range(100))}, 2)
    with pytest.raises(ValueError, match=r"^file: truncated, or no pickle of arrays and plain containers"):
        restricted_pickle.loads(content[:kept], "file")


@pytest.mark.parametrize(
    "array_state",
    [
        (1, (5, 6), "u1", False, b"short"),
        (1, (2**60,), "u1", False, b"short"),
        (1, "x", "u1", False, b"short"),
        ("odd",),
    ],
)
def test_arrays_that_contradict_themselves(array_state: tuple[Any, ...]) -> None:
    class Array:
        def __reduce__(self) -> tuple[Any, ...]:
            state = tuple(np.dtype(value) if value == "u1" else value for value in array_state)
            return np.zeros(0, np.uint8).__reduce__()[0], (np.ndarray, (0,), b"b"), state

    with pytest.raises(ValueError, match=r"^file: truncated, or no pickle"):
        restricted_pickle.loads(pickle.dumps({"data": Array()}, 2), "file")


def test_no_dictionary() -> None:
    with pytest.raises(ValueError, match=r"^file: must hold a dictionary, got list"):
        restricted_pickle.loads(pickle.dumps([1]), "file")


def nested(levels: int) -> bytes:
    """A tuple of twice the same tuple of twice the same tuple ...: small, and never done hashing or printing."""
    return b")" + b"".join(b"q%ch%c\x86" % (level, level) for level in range(levels))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"]r\xff\xff\xff\x7f.", "must hold a dictionary, got list"),  # a memo of 16 GB
        (b"}" + nested(60) + b"Ns.", "text is needed, got tuple"),
        (b"}(" + nested(60) + b"Nu.", "text is needed, got tuple"),
        (b"(" + nested(60) + b"Nd.", "text is needed, got tuple"),
        (b"}X\x04\x00\x00\x00data(cnumpy\ndtype\n(" + nested(60) + b"tRs.", "text is needed, got tuple"),
        (b"}\x96\xff\xff\xff\xff\xff\xff\xff\x7fabc.", "truncated"),  # an array of bytes of 8 EB
        (b"}cnumpy\nndarray\n}X\x0c\x00\x00\x00__setstate__Nsb.", "refused to set attributes of type"),
        (b"}c_codecs\nencode\n}X\x01\x00\x00\x00aNsb.", "refused to set attributes of function"),
        (b"}\x82\x01.", "truncated, or no pickle"),  # what copyreg has registered
        (b"Pname\n.", "truncated, or no pickle"),
        (b"}cnumpy\ndtype\n)\x81.", "truncated, or no pickle"),
        (b"}cnumpy._core.numeric\n_frombuffer\n(B\x01\x00\x00\x00acnumpy\ndtype\n(X\x02\x00\x00\x00u1tR" + nested(60)
         + b"X\x01\x00\x00\x00CtR.", "of a shape that is none"),
    ],
)  # fmt: skip
def test_what_would_take_all_memory_or_all_time_or_reach_into_the_reader(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^file: .*{reason}"):
        restricted_pickle.loads(b"\x80\x04" + content, "file")


def test_the_stand_ins_stay_as_they_are() -> None:
    assert "__setstate__" in vars(restricted_pickle._Array)
    assert vars(restricted_pickle._encode) == {}
