"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .errors import UserError


def check_place(path: str | os.PathLike[str], what: str) -> None:
    """Raise UserError, before any work starts, if a file could not be written there."""
    folder = Path(path).parent
    if not folder.is_dir():
        raise UserError(f"{what} {path}: cannot be written: there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise UserError(f"{what} {path}: cannot be written: no permission in {folder}")
    if Path(path).is_dir():
        raise UserError(f"{what} {path}: cannot be written: it is a folder")


def write_whole(path: str | os.PathLike[str], content: bytes, what: str) -> Path:
    """Write a file so that no reader ever sees half of it. Raises UserError if it cannot be written."""
    place = Path(path)
    try:
        handle, part = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(part, 0o644)
            os.replace(part, place)
        except OSError:
            Path(part).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserError(f"{what} {path}: cannot be written: {error.strerror}") from None
    return place
