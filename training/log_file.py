"""The log of one training, beside its results."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def logged(file: Path) -> Iterator[logging.Logger]:
    """Inside, what `training` logs is appended to `file`, and with its traceback the exception that ends it."""
    handler = logging.FileHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log = logging.getLogger("training")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield log
    except Exception as error:
        log.exception("failed: %s", error)
        raise
    finally:
        log.removeHandler(handler)
        handler.close()
