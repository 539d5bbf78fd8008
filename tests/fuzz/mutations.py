"""Inputs for fuzzing: valid files with bytes changed, valid data with values changed, and data made up."""

from __future__ import annotations

import copy
import json
import math
import pickle
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from tests.journals import unsealed

_CHANGES = 6
"""At most, of one content."""
_MAGIC = (
    b"\x00", b"\xff", b"\x7f" * 4, b"\xff" * 8, b"-1", b"99999999999999999999", b"1e999", b".nan", b"[", b"{", b"'",
    b'"', b": ", b"- ", b"*a", b"&a ", b"!!int ", b"<<: ", b"\n", b"\xc3\x28", b"\xe2\x80\xae", b"../../", b",,,",
    b"null", b"true", b"dense", b"0.5G", b"log", b"()",
)  # fmt: skip
_INSTRUCTIONS = (
    *(bytes([code]) for code in pickle._Unpickler.dispatch), *(bytes([code]) for code in b"(((}])tuesRb0N"),
    b"cnumpy\ndtype\n", b"cnumpy\nndarray\n", b"cnumpy._core.multiarray\n_reconstruct\n", b"c_codecs\nencode\n",
    b"cnumpy._core.numeric\n_frombuffer\n", b"cos\nsystem\n", b"U\x02u1", b"U\x04data", b"X\x06\0\0\0labels", b"K\x03",
    b"M\0\x0c", b"J\xff\xff\xff\xff", b"q\x00", b"h\x00", b"r\xff\xff\xff\x7f", b"\x8a\x08" + b"\xff" * 8, b"\x94",
    b"B\x03\0\0\0abc", b"B\xff\xff\xff\x7fabc", b"X\x06\0\0\0latin1", b"I1\n", b"L" + b"9" * 5000 + b"L\n", b"F1e999\n",
    b"h\x00h\x00\x86q\x00", b"K\x01K\x03\x86", b"\x96" + b"\xff" * 7 + b"\x7f",
)  # fmt: skip
"""Of pickles: all of them, and some with what follows them."""

WORDS = (
    "dense", "log", "harmonic", "regular", "group", "split", "0.5G", "0G", "1e9G", "99999999999999999999", "-1", "",
    "dilated(4, 2)", "dilated(0.5G, 99999999999)", "shuffle(0)", "shuffle(3)", "random(1, 0.5)", "random(seed=-1, p=2)",
    "random(1, nan)", "plain", "bottleneck", "cifar", "imagenet", "categorical", "integer", "float", "<script>",
    "../../x", "\x1b[31m", "\u202e", "é", "a" * 300, "null", "1" * 5000, "cifar_b",
)  # fmt: skip
_EXTREME = (2**31, 2**63, 10**18, 10**99, 10**400, -(10**18), 0.1, -0.5, 1e300, 5e-324, math.inf, -math.inf, math.nan)
scalars = st.one_of(
    st.sampled_from(WORDS),
    st.integers(-3, 70),
    st.sampled_from(_EXTREME),
    st.floats(),
    st.booleans(),
    st.none(),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.integers(0, 3), inner, max_size=4)
    ),
    max_leaves=12,
)


seeds = st.integers(0, 2**64 - 1)
changes = st.tuples(st.integers(0, 999), seeds)
"""Which file of a folder, and how it is changed; see `changed_file`."""


def texts(valid: Sequence[Any]) -> st.SearchStrategy[bytes]:
    """YAML of valid data with values or bytes changed, and of data made up."""
    written = [_dumped(data) for data in valid]
    return st.one_of(
        st.builds(change_bytes, st.sampled_from(written), seeds),
        st.builds(change_values, st.sampled_from(list(valid)), seeds).map(_dumped),
        st.builds(change_values, st.sampled_from(list(valid)), seeds, values).map(_dumped),
    )


def changed_file(path: Path, content: bytes, seed: int) -> bytes:
    """Another content for a file: values changed where it has some, or bytes."""
    if seed % 2 and path.suffix == ".yaml":
        return _dumped(change_values(yaml.safe_load(content), seed))
    if seed % 2 and path.suffix == ".journal":
        lines = unsealed(content).splitlines()
        at = seed // 2 % len(lines)
        lines[at] = json.dumps(change_values(json.loads(lines[at]), seed)).encode()
        return b"\n".join(lines) + b"\n"
    return change_bytes(unsealed(content) if path.suffix == ".journal" else content, seed)


def change_bytes(content: bytes, seed: int) -> bytes:
    """With some bytes changed, taken out, doubled or put in."""
    rng, made = random.Random(seed), bytearray(content)
    for _ in range(min(rng.randint(1, _CHANGES), rng.randint(1, _CHANGES))):
        at, length = rng.randrange(len(made) + 1), rng.choice((1, 1, 2, 4, 16, 200))
        match rng.randrange(6):
            case 0 if at < len(made):
                made[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(made):
                made[at] = rng.randrange(256)
            case 2:
                del made[at : at + length]
            case 3:
                made[at:at] = rng.choice(_MAGIC)
            case 4:
                made[at : at + length] = rng.choice(_MAGIC)
            case 5:
                made[at:at] = made[at : at + length] * rng.choice((1, 2, 50))
    return bytes(made)


def change_values(data: Any, seed: int, first: Any = None) -> Any:
    """With values near their own or of any kind in their place, keys taken out, or others added."""
    rng, made = random.Random(seed), copy.deepcopy(data)
    for value in (first, None, None)[: rng.randint(1, 3)]:
        holder, key = rng.choice(list(_places(made)) or [(None, None)])
        if holder is None:
            return value
        new = _near(holder[key], rng) if value is None else value
        match rng.randrange(6):
            case 0 if isinstance(holder, dict):
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[rng.choice(WORDS)] = new
            case 2 if isinstance(holder, list):
                holder.insert(key, new)
            case _:
                holder[key] = new
    return made


def _near(value: Any, rng: random.Random) -> Any:
    """A value that may well be allowed in place of another, or one that hardly is."""
    if rng.random() < 0.5:
        return rng.choice((*WORDS, *_EXTREME, [], {}, [value], {"a": value}, [[value, 1]], None, True))
    match value:
        case bool():
            return not value
        case int() | float():
            return rng.choice((value + 1, value - 1, 2 * value, value // 2, -value, str(value), 0, 1, 4, 8))
        case str():
            return rng.choice((value[1:], value + value, value.upper(), *WORDS[:6], *WORDS[19:26]))
        case _:
            return value


def program(seed: int) -> bytes:
    """A pickle of random instructions."""
    rng = random.Random(seed)
    return (
        b"\x80\x04}"
        + b"".join(rng.choice(_INSTRUCTIONS) for _ in range(rng.randint(1, 24)))
        + rng.choice((b".", b"s.", b"u."))
    )


def _places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Each value below, as the collection that holds it and its key there."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield data, key
        yield from _places(value)


def _dumped(data: Any) -> bytes:
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode()
