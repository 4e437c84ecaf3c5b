"""A server in a process of its own, and a client of it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx


class Server:
    def __init__(self, folder: Path, *flags: str) -> None:
        command = [sys.executable, "-m", "populace.app.cli", "serve", "--port", "0", "--folder", str(folder)]
        # no test hangs on how fast the machine is
        command += ["--preview-seconds", "600", *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        found = re.search(r"http://\S+?:(\d+)/", self.process.stdout.readline())
        assert found
        self.folder = folder
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{found[1]}", timeout=660)

    def ended(self, job: str) -> dict[str, Any]:
        for _ in range(900):
            found = self.client.get(f"/api/jobs/{job}").json()
            if found["state"] not in ("queued", "running"):
                return found
            time.sleep(0.1)
        raise AssertionError(found)

    def close(self) -> None:
        self.client.close()
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(30) in (0, 130)
        assert not self.folder.exists()
