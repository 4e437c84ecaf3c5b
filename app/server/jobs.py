"""The queue of jobs: some at a time, each a process that can be cancelled, with limits on their number, their time and what is kept."""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...core.address import redact
from .request import Asked

SUFFIX = ".populace"
SHORT = ("preview", "explain")
"""Kinds of job that somebody waits for: they go first, and may not take long."""


@dataclass(frozen=True)
class Limits:
    size: int = 100_000
    """Root entities in one dataset."""
    seconds: float = 3_600.0
    """Time for one job."""
    preview_size: int = 200
    preview_seconds: float = 60.0
    running: int = 2
    waiting: int = 100
    kept: int = 100
    """Jobs whose results stay on disk; the oldest that has ended goes first."""


@dataclass
class Job:
    id: str
    kind: str
    asked: Asked
    folder: Path
    created: float = field(default_factory=time.time)
    state: str = "queued"
    """queued, running, done, failed or cancelled."""
    answer: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def progress(self) -> float:
        """The share of blocks that are finished."""
        if self.state == "done":
            return 1.0
        try:
            blocks = int((self.folder / "blocks").read_text())
        except (OSError, ValueError):
            return 0.0
        done = len(list((self.folder / f".out{SUFFIX}" / "done").glob("*.json")))
        return min(1.0, done / max(1, blocks))

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "state": self.state,
            "progress": round(self.progress, 3),
            "created": self.created,
            "asked": {k: redact(v) if k == "to" else v for k, v in self.asked.model_dump(exclude_none=True).items()},
            **({"result": self.answer} if self.state == "done" else {}),
            **({"error": self.answer.get("error", "it was ended")} if self.state == "failed" else {}),
        }


class Full(Exception):
    """No room for another job."""


class Jobs:
    """All jobs of one server. Everything that changes them holds the lock."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder, self.limits = folder, limits
        self.known: dict[str, Job] = {}
        self.changed = threading.Condition()
        self.open = True
        self.threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(limits.running)]
        for thread in self.threads:
            thread.start()

    def submit(self, kind: str, asked: Asked) -> Job:
        """Queue a job. Raises Full."""
        with self.changed:
            if sum(j.state == "queued" for j in self.known.values()) >= self.limits.waiting:
                raise Full(f"{self.limits.waiting} jobs are waiting already")
            job = Job(secrets.token_hex(8), kind, asked, Path())
            job.folder = self.folder / job.id
            job.folder.mkdir(parents=True)
            (job.folder / "asked.json").write_text(asked.model_dump_json(), "utf-8")
            self.known[job.id] = job
            self._forget()
            self.changed.notify()
        return job

    def cancel(self, job: Job) -> None:
        """End a job, or take back one that waits. One that has ended stays as it is."""
        with self.changed:
            if job.state not in ("queued", "running"):
                return
            job.state = "cancelled"
            if job.process is not None:
                _kill(job.process)
            else:
                job.ended.set()

    def remove(self, job: Job) -> None:
        """Cancel a job and delete what it wrote."""
        self.cancel(job)
        job.ended.wait(10)
        with self.changed:
            self.known.pop(job.id, None)
        shutil.rmtree(job.folder, ignore_errors=True)

    def close(self) -> None:
        with self.changed:
            self.open = False
            jobs = list(self.known.values())
            self.changed.notify_all()
        for job in jobs:
            self.cancel(job)
        for thread in self.threads:
            thread.join(10)

    def _serve(self) -> None:
        while True:
            with self.changed:
                waiting = [j for j in self.known.values() if j.state == "queued"]
                while self.open and not waiting:
                    self.changed.wait()
                    waiting = [j for j in self.known.values() if j.state == "queued"]
                if not self.open:
                    return
                job = min(waiting, key=lambda j: (j.kind not in SHORT, j.created))
                job.state = "running"
                command = [sys.executable, "-m", "populace.app.server.work", job.kind, str(job.folder)]
                with open(job.folder / "log", "wb") as log:
                    job.process = subprocess.Popen(
                        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                    )
            self._watch(job)

    def _watch(self, job: Job) -> None:
        process, limits = job.process, self.limits
        assert process is not None
        try:
            process.wait(limits.preview_seconds if job.kind in SHORT else limits.seconds)
            error = None
        except subprocess.TimeoutExpired:
            _kill(process)
            error = "it took longer than this server allows"
        with self.changed:
            if job.state == "running":
                try:
                    job.answer = json.loads((job.folder / "answer.json").read_text("utf-8"))
                except (OSError, ValueError):
                    job.answer = {"error": error or "it ended without an answer (out of memory?)"}
                job.state = "failed" if "error" in job.answer else "done"
            job.process = None
            for left in job.folder.glob(f".*{SUFFIX}"):
                shutil.rmtree(left, ignore_errors=True)
            job.ended.set()

    def _forget(self) -> None:
        ended = sorted((j for j in self.known.values() if j.ended.is_set()), key=lambda j: j.created)
        for job in ended[: max(0, len(self.known) - self.limits.kept)]:
            del self.known[job.id]
            shutil.rmtree(job.folder, ignore_errors=True)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The job's process and those that it started."""
    import os

    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
