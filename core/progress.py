"""Progress on work longer than a second: a bar on stderr, silent when it is not a terminal or the user asked for quiet."""

from __future__ import annotations

import sys
from typing import Any


class Progress:
    """A context in which `step()` counts finished blocks, tables or targets."""

    def __init__(self, what: str, steps: int, quiet: bool = False, done: int = 0, unit: str = "block") -> None:
        self._bar: Any = None
        # a closed standard error is None
        if not quiet and sys.stderr is not None and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=steps, initial=done, desc=what, unit=unit, delay=1, leave=False, file=sys.stderr)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def step(self, steps: int = 1, note: str = "") -> None:
        """Count on; the bar shows the note behind its time."""
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(steps)
