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
        manifest = json.loads(path.read_text("utf-8"))
        if not isinstance(manifest, dict) or not isinstance(manifest.get("populace"), dict):
            raise ValueError("it has no 'populace' entry")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a manifest of populace: {error}") from None
    return manifest


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
