"""Progress of long work: a bar of tqdm where it is installed, in notebooks too."""

from __future__ import annotations

import importlib
import logging
import sys
from typing import Any

logger = logging.getLogger("wellspring")


def _bars() -> Any:
    try:
        return importlib.import_module("tqdm.auto").tqdm
    except ImportError:
        return None


class Progress:
    """Shows the stages of some work, one after another. Nothing is shown where nobody looks at standard error."""

    def __init__(self, show: bool | None = None) -> None:
        watched = "ipykernel" in sys.modules or sys.stderr.isatty()
        self._bars = _bars() if (watched if show is None else show) else None
        self._bar: Any = None

    def begin(self, stage: str, total: int | None, unit: str) -> None:
        self.end()
        if self._bars is not None:
            is_bytes = unit == "bytes"
            self._bar = self._bars(
                desc=stage, total=total, unit="B" if is_bytes else f" {unit}", unit_scale=is_bytes, leave=False
            )

    def advance(self, by: int) -> None:
        if self._bar is not None:
            self._bar.update(by)

    def reach(self, done: int) -> None:
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def status(self, words: str) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(words)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def note(self, message: str) -> None:
        logger.warning("%s", message)
