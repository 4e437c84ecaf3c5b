"""The staging folder beside a target: part files, a receipt for each finished block, and a lock. Killed at any moment, what has a
receipt is whole; a resumed run with the same plan goes on from there."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import Interrupted, InvalidData, UserError
from ..files import write_atomic


@dataclass(frozen=True)
class Stage:
    target: Path

    @property
    def path(self) -> Path:
        return self.target.parent / f".{self.target.name}.populace"

    def check(self) -> None:
        """Refuse a target that exists or could not be made. Writes nothing."""
        target = self.target
        if target.is_dir() and not target.is_symlink() and not any(target.iterdir()):
            pass
        elif os.path.lexists(target):
            raise UserError(
                f"target {target} exists already; nothing is overwritten. Remove it, or choose another with --to."
            )
        parent = target.parent
        while not parent.exists() and parent != parent.parent:
            parent = parent.parent
        if not parent.is_dir():
            raise UserError(f"target {target} cannot be written: {parent} is not a folder")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise UserError(f"target {target} cannot be written: no permission in {parent}")

    @contextmanager
    def opened(self, fingerprint: str, resume: bool) -> Iterator[None]:
        """Hold the stage for one run. It stays on disk when the process dies or is interrupted, and goes when the run fails, with the
        folders that were made for it."""
        if not resume and self.path.exists() and not self._held():
            shutil.rmtree(self.path)
        new = [p for p in self.target.parents if not p.exists()]
        self.path.mkdir(parents=True, exist_ok=True)
        with open(self.path / "lock", "a+") as lock:
            if not _try_lock(lock):
                raise UserError(f"target {self.target} is being written by another run")
            plan = self.path / "plan.json"
            if plan.exists():
                found = json.loads(plan.read_text("utf-8"))["fingerprint"]
                if found != fingerprint:
                    raise UserError(
                        f"--resume: the interrupted run in {self.path} has another plan (domain, size, seed, dates, scenarios, "
                        "settings or version differ). Resume it as it was, or run without --resume to start afresh."
                    )
            else:
                self.put(plan, json.dumps({"fingerprint": fingerprint}).encode())
            try:
                yield
            except Interrupted:
                raise
            except (UserError, InvalidData):
                self.discard()
                for folder in new:
                    with suppress(OSError):  # something else was put there meanwhile
                        folder.rmdir()
                raise
        self.discard()

    def discard(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def receipt(self, index: int) -> dict[str, Any] | None:
        """What a finished block left behind, or None."""
        path = self.path / "done" / f"{index:06d}.json"
        return json.loads(path.read_text("utf-8")) if path.exists() else None

    def sign(self, index: int, receipt: Mapping[str, Any]) -> None:
        self.put(self.path / "done" / f"{index:06d}.json", json.dumps(receipt, sort_keys=True).encode())

    def put(self, path: Path, content: bytes | Callable[[Path], None]) -> None:
        """Write a file of the stage. Drafts lie apart, so that what a killed process left of one is never published."""
        write_atomic(path, content, self.path / "drafts")

    def put_part(self, table: str, index: int, suffix: str, write: Callable[[Path], None]) -> Path:
        path = self.path / "parts" / table / f"part-{index:05d}.{suffix}"
        self.put(path, write)
        return path

    def parts(self, table: str, suffix: str) -> list[Path]:
        return sorted((self.path / "parts" / table).glob(f"part-*.{suffix}"))

    def _held(self) -> bool:
        try:
            with open(self.path / "lock", "a+") as lock:
                return not _try_lock(lock)
        except OSError:
            return False


def read_manifest(path: Path) -> Mapping[str, Any] | None:
    """The manifest at a path, or None where there is none. Raises UserError if the file is not one of populace."""
    if not path.is_file():
        return None
    try:
        return parse_manifest(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a manifest of populace: {error}") from None


def parse_manifest(text: str) -> Mapping[str, Any]:
    """A manifest from its text, with what others rely on in place. Raises ValueError for anything else."""
    try:
        manifest = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    body = manifest.get("populace") if isinstance(manifest, dict) else None
    if not isinstance(body, dict):
        raise ValueError("it has no 'populace' entry")
    tables = body.get("tables", {})
    if not isinstance(tables, dict) or not all(
        isinstance(t, dict) and {"rows", "digest"} <= t.keys() for t in tables.values()
    ):
        raise ValueError("its 'tables' are not a mapping to 'rows' and 'digest'")
    return manifest


def publish_folder(made: Path, target: Path) -> None:
    """Let a finished folder appear under its final name. Raises UserError if something stands there by now."""
    try:
        os.rename(made, target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise UserError(
                f"target {target} came to exist while this run was at work; nothing was overwritten"
            ) from None
        raise


def _try_lock(file: Any) -> bool:
    try:
        import fcntl
    except ImportError:  # no such lock on this platform: two runs to one target are then the user's to avoid
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
