"""Files that are there whole or not at all."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from pathlib import Path

from .errors import UserError


def as_pattern(path: str | os.PathLike[str]) -> str:
    """A path for a reader that takes patterns and URLs: it stands for this one file, whatever brackets, stars and colons are in it."""
    return glob.escape(os.path.abspath(path))


def check_place(path: str | os.PathLike[str], what: str) -> None:
    """Raise UserError, before any work starts, if a file could not be written there."""
    folder = Path(path).parent
    if not folder.is_dir():
        raise UserError(f"{what} {path}: cannot be written: there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise UserError(f"{what} {path}: cannot be written: no permission in {folder}")
    if Path(path).is_dir():
        raise UserError(f"{what} {path}: cannot be written: it is a folder")


def write_atomic(path: Path, content: bytes | Callable[[Path], None], drafts: Path | None = None) -> None:
    """Write a file under another name, then rename: it is whole or absent. `content` is bytes, or writes to the path it is given;
    `drafts` is where the draft lies meanwhile, on the same disk (beside the file, without)."""
    drafts = drafts or path.parent
    for folder in (path.parent, drafts):
        folder.mkdir(parents=True, exist_ok=True)
    draft = drafts / f".{path.name}.{os.getpid()}"
    try:
        if callable(content):
            content(draft)
        else:
            draft.write_bytes(content)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def write_whole(path: str | os.PathLike[str], content: bytes, what: str) -> Path:
    """Write a file that the user named. Raises UserError if it cannot be written."""
    check_place(path, what)
    try:
        write_atomic(Path(path), content)
    except OSError as error:
        raise UserError(f"{what} {path}: cannot be written: {error.strerror}") from None
    return Path(path)
