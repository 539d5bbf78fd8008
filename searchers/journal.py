"""The lines of the journal as plain data: what an operation of Optuna's has, and how a damaged line shows. No Optuna.

A line is a JSON object. Its last key is a checksum of those before it, which Optuna reads over: a flipped bit would
otherwise pass as another result. Lines of earlier releases have none.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

CREATE_STUDY, STUDY_FACT, STUDY_SYSTEM, CREATE_TRIAL, STATE, EPOCH, FACT, SYSTEM = 0, 2, 3, 4, 6, 7, 8, 9
"""Numbers of the operations that a search writes."""
RUNNING, COMPLETE, PRUNED, FAIL = 0, 1, 2, 3
"""Numbers of the states of a trial."""
CHECKSUM = "crc"
_SEALED = re.compile(rb',"crc":(\d{1,10})\}\s*')
_KNOBS = ("params", "distributions")


def checksum(entry: Mapping[str, Any]) -> int:
    """Of an entry as Optuna writes it, without its own."""
    return zlib.crc32(_plain(entry))


def seal(entry: Mapping[str, Any]) -> bytes:
    """The line of an entry, checksum and line end included."""
    return _plain({**entry, CHECKSUM: checksum(entry)}) + b"\n"


def parse(line: bytes) -> dict[str, Any]:
    """The entry in a line, without its checksum.

    Raises:
        ValueError: why it is none.
    """
    check_seal(line)
    try:
        entry = json.loads(line)
    except RecursionError:
        raise ValueError("it nests too deep") from None
    except ValueError:
        raise ValueError("it is empty" if not line.strip(b"\0 \r\n") else "it is no JSON") from None
    if not isinstance(entry, dict):
        raise ValueError("it is no JSON object")
    entry.pop(CHECKSUM, None)
    _check(entry)
    return entry


def check_seal(line: bytes) -> None:
    """Raises ValueError for a line whose checksum is not that of its content."""
    start = line.rfind(b',"crc":')
    sealed = _SEALED.fullmatch(line, start) if start >= 0 else None
    if sealed is not None and zlib.crc32(line[:start] + b"}") != int(sealed[1]):
        raise ValueError("its checksum is not that of its content")


def first_problem(content: bytes) -> str:
    """Which line of many is damaged and why; empty where none is."""
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            parse(line)
        except ValueError as error:
            return f"line {number}: {error}"
    return ""


def check_seals(content: bytes) -> None:
    """Raises ValueError for the first line that `check_seal` refuses; one that is still being written is left out."""
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            check_seal(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None


def _plain(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode()


def _check(entry: Mapping[str, Any]) -> None:
    operation = entry.get("op_code")
    if type(operation) is not int or operation not in _FIELDS:  # True is equal to 1
        raise ValueError(f"op_code {operation!r} is none that a search writes")
    for field, allows in (_ALWAYS | _FIELDS[operation]).items():
        if field not in entry or not allows(entry[field]):
            raise ValueError(f"{field} is {entry.get(field)!r:.60}" if field in entry else f"{field} is missing")
    ended = entry.get("datetime_complete")
    if operation == STATE and entry["state"] != RUNNING and (ended is None or not _moment(ended)):
        raise ValueError("an end without its time")


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _state(value: Any) -> bool:
    return _index(value) and value <= FAIL


def _moment(value: Any) -> bool:
    try:
        return value is None or bool(datetime.fromisoformat(value))
    except (TypeError, ValueError):
        return False


def _values(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(map(_number, value)))


def _mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _one(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1


def _errors(value: Any) -> bool:
    return isinstance(value, dict) and all(key.isdecimal() and _number(error) for key, error in value.items())


_ALWAYS: dict[str, Callable[[Any], bool]] = {"worker_id": lambda value: isinstance(value, str)}
_FIELDS: dict[Any, dict[str, Callable[[Any], bool]]] = {
    CREATE_STUDY: {
        "study_name": lambda value: isinstance(value, str),
        "directions": lambda value: isinstance(value, list) and bool(value) and all(map(_state, value)),
    },
    STUDY_FACT: {"study_id": _index, "user_attr": _one},
    STUDY_SYSTEM: {"study_id": _index, "system_attr": _one},
    CREATE_TRIAL: {
        "study_id": _index,
        "datetime_start": _moment,
        "state": _state,
        "value": lambda value: value is None or _number(value),
        "values": _values,
        "distributions": _mapping,
        "params": _mapping,
        "user_attrs": _mapping,
        "system_attrs": _mapping,
        "intermediate_values": _errors,
    },
    STATE: {"trial_id": _index, "state": _state, "values": _values},
    EPOCH: {"trial_id": _index, "step": _index, "intermediate_value": _number},
    FACT: {"trial_id": _index, "user_attr": _one},
    SYSTEM: {"trial_id": _index, "system_attr": _one},
}
"""What each operation has, and whether a value may stand there."""
