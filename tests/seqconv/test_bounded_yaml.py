"""YAML that others wrote: whatever it holds, it is plain data or a refusal, and soon."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from seqconv import bounded_yaml
from seqconv.bounded_yaml import LARGEST, load
from seqconv.serialization import read_yaml


def laughs(lines: int) -> str:
    """Each line has ten aliases of the one before it."""
    names = [f"a{i}" for i in range(lines)]
    first = f"a0: &a0 [{', '.join('x' * 10)}]\n"
    return first + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in itertools.pairwise(names))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (laughs(9), "more than 1,000 values and keys, an alias counted as all that it stands for"),
        ("a: &a {b: 1}\n" + "\n".join(f"k{i}: {{<<: *a, c: *a}}" for i in range(200)), "more than 1,000 values"),
        ("[" + "1," * 1000 + "]", "more than 1,000 values"),
        ("&a [*a]", "an alias of what it stands in"),
        ("!!str &a {=: *a}", "an alias of what it stands in"),
        ("[" * 3000, "it nests deeper than 64 levels"),
        ("- " * 3000, "it nests deeper than 64 levels"),
        ("a: " + "9" * 5000, "a number of more than 100 characters"),
        ("a: 0x" + "f" * 5000, "a number of more than 100 characters"),
        ("a: " + ":".join(["1"] * 5000), "a number of more than 100 characters"),
        ("#" * (LARGEST + 1), "bytes are more than the 2,097,152 that are read"),
        ("a: 1\nb: {c: 1, d: 2, 'c': 3}", "the key c again"),
        ("a:\n- {1: 1, 0x1: 2}", "the key 0x1 again"),
        ("{yes: 1, true: 2}", "the key true again"),
        ("a: 2001-99-99", "month must be in 1..12"),
        ("a: !!int ''", "a value that is not what its form or tag says: string index out of range"),
        ("a: !!timestamp x", "a value that is not what its form or tag says: 'NoneType' object"),
        ("a: !!bool x", "a value that is not what its form or tag says: 'x'"),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor for the tag"),
        ("a: !!python/name:os.system", "could not determine a constructor for the tag"),
    ],
    ids=lambda value: value[:20],
)
def test_what_is_refused_is_refused_soon(
    text: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_yaml, "MOST", 1000)
    file = tmp_path / "file.yaml"
    file.write_text(text)
    began = time.process_time()
    with pytest.raises(ValueError) as caught:
        read_yaml(file)
    assert str(caught.value).startswith(f"{file}: not valid YAML: ")
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert time.process_time() - began < 10


def test_aliases_of_a_few_things_are_read() -> None:
    assert load(b"a: &a {k: [1, 2]}\nb: *a\nc: {<<: *a, x: 1}\n") == {
        "a": {"k": [1, 2]}, "b": {"k": [1, 2]}, "c": {"k": [1, 2], "x": 1},
    }  # fmt: skip


def test_what_our_own_files_come_to_is_read() -> None:
    assert load(b"[" * 60 + b"1" + b"]" * 60) is not None
    assert len(load(b"- {a: 1, b: text}\n" * 1000)) == 1000
    assert load(b"") is None
    assert load(b"a: " + b"x" * 100_000) == {"a": "x" * 100_000}
