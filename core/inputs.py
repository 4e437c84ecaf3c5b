"""What a user hands to a domain besides priors: folders of files of their own (`--modules DIR`), and names that choose among them.

A domain lists what it takes in `Domain.inputs`, and `Domain.extend` makes the domain that it is with them: wider code lists, further steps.
From there on nothing in the core knows of inputs: a plan holds the extended domain, and says by a hash what made it so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UserError

if TYPE_CHECKING:
    from .domain import Domain

MAX_FILES, MAX_BYTES = 10_000, 1 << 28


@dataclass(frozen=True)
class Input:
    """One thing that a domain takes: a folder of files, or names."""

    doc: str
    folder: bool = True
    shipped: Mapping[str, Path] = field(default_factory=dict)
    """Names that stand for folders that come with populace."""


def extend(domain: Domain, given: Mapping[str, Any]) -> tuple[Domain, dict[str, Any]]:
    """The domain with the user's inputs, and what a plan says of them: a folder's SHA-256 over names and contents, names as they are.

    A folder is given as a path, names as a list. Raises UserError for an input that the domain does not take, a folder that cannot be read,
    and whatever the domain finds wrong in it.
    """
    if not given:
        return domain, {}
    values: dict[str, Any] = {}
    said: dict[str, Any] = {}
    for name, value in sorted(given.items()):
        if name not in domain.inputs:
            takes = ", ".join(f"--{n}" for n in domain.inputs) or "no inputs"
            raise UserError(f"--{name}: {domain.name} does not take it (it takes {takes})")
        if domain.inputs[name].folder:
            if not isinstance(value, str | Path):
                raise UserError(f"--{name} is {value!r}, expected a folder")
            values[name] = domain.inputs[name].shipped.get(str(value), Path(value))
            said[name] = fingerprint(values[name], f"--{name}")
        else:
            names = [value] if isinstance(value, str) else value
            if not isinstance(names, list | tuple) or not names or not all(isinstance(n, str) and n for n in names):
                raise UserError(f"--{name} is {value!r}, expected names")
            values[name] = said[name] = list(dict.fromkeys(names))
    assert domain.extend is not None
    return domain.extend(domain, values), said


def fingerprint(folder: Path, place: str) -> str:
    """SHA-256 of a folder: of each file's name within it and content, in order of names."""
    if not folder.is_dir():
        raise UserError(f"{place} {folder}: {'is not a folder' if folder.exists() else 'there is no such folder'}")
    total, whole = 0, hashlib.sha256()
    try:
        files = sorted((f.relative_to(folder).as_posix(), f) for f in folder.rglob("*") if f.is_file())
        if len(files) > MAX_FILES:
            raise UserError(f"{place} {folder}: holds {len(files):,} files, at most {MAX_FILES:,} are read")
        for name, file in files:
            total += file.stat().st_size
            if total > MAX_BYTES:
                raise UserError(f"{place} {folder}: holds more than {MAX_BYTES >> 20} MiB")
            whole.update(f"{name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    except OSError as error:
        raise UserError(f"{place} {error.filename or folder}: cannot be read: {error.strerror}") from None
    return whole.hexdigest()
