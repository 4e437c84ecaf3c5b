"""The staging folder beside a target: part files, a receipt for each finished block, and a lock. Killed at any moment, what has a
receipt is whole; a resumed run with the same plan goes on from there."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import Interrupted, InvalidData, UserError
from ..files import write_atomic

REFUSALS = {
    errno.ENOSPC: "the disk is full",
    errno.EFBIG: "a file may not grow that large",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system can only be read",
    errno.EACCES: "no permission to write there",
    errno.EPERM: "no permission to write there",
    errno.EIO: "the disk fails",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EMFILE: "too many files are open",
}
"""What a system may answer to someone who writes, through no fault of the program."""


@dataclass(frozen=True)
class Stage:
    target: Path
    shown: str = ""
    """What messages call the target, where that is not its path."""

    @property
    def place(self) -> str:
        return self.shown or str(self.target)

    @property
    def path(self) -> Path:
        whole = Path(os.path.abspath(self.target))
        return whole.parent / f".{whole.name}.populace"

    def check(self) -> None:
        """Refuse a target that exists or could not be made. Writes nothing."""
        try:
            self._check()
        except (OSError, ValueError) as error:  # no permission to look, too long a name, a character that none may have
            raise UserError(f"target {self.target} cannot be written: {getattr(error, 'strerror', error)}") from None

    def _check(self) -> None:
        target = self.target
        if "\0" in str(target):
            raise ValueError("no name may hold a null character")
        str(target).encode()  # a name in another encoding than the system's: libraries cannot write there
        if target.is_dir() and not target.is_symlink() and not any(target.iterdir()):
            if target.is_mount() or target.samefile("."):
                raise UserError(
                    f"target {target} is where a disk is mounted, or the folder you are in: it cannot appear as a whole. "
                    "Name a folder inside it."
                )
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
    def opened(self, fingerprint: str, form: str, resume: bool) -> Iterator[None]:
        """Hold the stage for one run that writes `form` files. It stays on disk when the process dies or is interrupted, and goes when the
        run fails, with the folders that were made for it."""
        new = [p for p in self.target.parents if not p.exists()]
        with ExitStack() as stack:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                lock = stack.enter_context(open(self.path / "lock", "a+"))
            except OSError as error:
                _remove_empty([self.path, *new])
                raise UserError(f"target {self.target} cannot be written: {error.strerror}") from None
            # a lock whose name is gone was held by a run that has ended since
            if not _try_lock(lock) or not os.fstat(lock.fileno()).st_nlink:
                raise UserError(f"target {self.place} is being written by another run")
            work = {"fingerprint": fingerprint, "form": form}
            self._begin(work, resume)
            try:
                self.put(self.path / "plan.json", json.dumps(work).encode())
                yield
            except Interrupted:
                raise
            except Exception as error:
                ours = isinstance(error, UserError | InvalidData)
                refused = None if ours else refusal(error)
                if not ours and not refused:
                    raise
                self.discard()
                _remove_empty(new)
                if refused:
                    raise UserError(
                        f"target {self.place} was not written: {refused}. Make room, or choose another place with --to."
                    ) from None
                raise
            self.discard()

    def _begin(self, work: Mapping[str, str], resume: bool) -> None:
        """Empty the stage, unless it holds the very work that is to be resumed. Raises UserError if that is another."""
        found = _read(self.path / "plan.json") if resume else None
        if found is None:
            for left in self.path.iterdir():
                if left.name != "lock":
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
        elif found.get("fingerprint") != work["fingerprint"]:
            raise UserError(
                f"--resume: the interrupted run in {self.path} has another plan (domain, size, seed, dates, scenarios, "
                "settings or version differ). Resume it as it was, or run without --resume to start afresh."
            )
        elif found.get("form") != work["form"]:
            raise UserError(
                f"--resume: the interrupted run in {self.path} wrote {found.get('form')}, not {work['form']}. Resume it as it was, "
                "or run without --resume to start afresh."
            )

    def discard(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def receipt(self, index: int) -> dict[str, Any] | None:
        """What a finished block left behind, or None where it has to be made: it was not finished, or its files are not there any more."""
        signed = _read(self.path / "done" / f"{index:06d}.json") or {}
        return signed.get("receipt") if signed.get("files") == self._files(index) else None

    def sign(self, index: int, receipt: Mapping[str, Any]) -> None:
        signed = {"receipt": receipt, "files": self._files(index)}
        self.put(self.path / "done" / f"{index:06d}.json", json.dumps(signed, sort_keys=True).encode())

    def _files(self, index: int) -> dict[str, int]:
        """The bytes of each file of a block."""
        found = (self.path / "parts").glob(f"*/part-{index:05d}.*")
        return {str(p.relative_to(self.path)): p.stat().st_size for p in found}

    def put(self, path: Path, content: bytes | Callable[[Path], None]) -> None:
        """Write a file of the stage. Drafts lie apart, so that what a killed process left of one is never published."""
        write_atomic(path, content, self.path / "drafts")

    def put_part(self, table: str, index: int, suffix: str, write: Callable[[Path], None]) -> Path:
        path = self.path / "parts" / table / f"part-{index:05d}.{suffix}"
        self.put(path, write)
        return path

    def parts(self, table: str, suffix: str) -> list[Path]:
        return sorted((self.path / "parts" / table).glob(f"part-*.{suffix}"))


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


def refusal(error: Exception) -> str | None:
    """Why the system did not let a file be written, or None if the error is of another kind."""
    if isinstance(error, OSError) and error.errno in REFUSALS:
        return REFUSALS[error.errno]
    # polars and the database drivers tell the system's error in words
    if code := re.search(r"os error (\d+)", str(error)):
        return REFUSALS.get(int(code[1]))
    told = str(error).lower()
    words = {"no space left": errno.ENOSPC, "disk is full": errno.ENOSPC, "file too large": errno.EFBIG}
    return next((REFUSALS[number] for text, number in words.items() if text in told), None)


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # something else was put there meanwhile
            folder.rmdir()


def _read(path: Path) -> dict[str, Any] | None:
    """The mapping in a JSON file of the stage; None where there is none, or where something else has become of it."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


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
