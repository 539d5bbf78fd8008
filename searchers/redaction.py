"""Keeps passwords and keys out of what a command writes and prints, wherever they stood in its settings by mistake."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
_NAME = r"(?:api_?key|access_?key|passwords?|passwd|secret|token|credentials?)"
_KEY = re.compile(rf"(?:^|[._-]|(?<=[a-z])(?=[A-Z])){_NAME}$", re.IGNORECASE)
_SETTING = re.compile(rf"(\b(?:[\w.]*[._-])?{_NAME}\s*[=:]\s*)(?!//)[^\s,;&'\"]+", re.IGNORECASE)
_QUOTED = re.compile(rf"('[+~]*(?:[\w.]*[._-])?{_NAME}=)[^']+(?=')", re.IGNORECASE)
_IN_URL = re.compile(r"(://[^/\s:@]*):[^/\s]+(?=@)")
_VARIABLES = ("WANDB_API_KEY", "RAY_AUTH_TOKEN", "PGPASSWORD")
_SHORTEST = 6
"""Characters of a variable's value below which it is too common to be looked for."""


def redacted(data: Any) -> Any:
    """Plain data without the values of keys that are called like a secret, and with `redacted_text` for text."""
    if isinstance(data, Mapping):
        return {key: HIDDEN if _is_secret(key, value) else redacted(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [redacted(value) for value in data]
    return redacted_text(data) if isinstance(data, str) else data


def redacted_text(text: str) -> str:
    """The text with `***` for the password of a URL, what follows `password=`, and the keys in the environment."""
    for name in _VARIABLES:
        value = os.environ.get(name, "")
        if len(value) >= _SHORTEST:
            text = text.replace(value, HIDDEN)
    for pattern, shown in ((_IN_URL, rf"\1:{HIDDEN}"), (_QUOTED, rf"\1{HIDDEN}"), (_SETTING, rf"\1{HIDDEN}")):
        text = pattern.sub(shown, text)
    return text


def _is_secret(key: Any, value: Any) -> bool:
    return isinstance(value, (str, int)) and value != "" and isinstance(key, str) and _KEY.search(key) is not None
