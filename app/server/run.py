"""Running the server: a socket, the queue, and an orderly end."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import uvicorn

from ...core.errors import UserError
from .api import create
from .guard import check_host
from .jobs import Jobs, Limits


def serve(
    host: str,
    port: int,
    token: str | None,
    folder: Path,
    allowed: tuple[str, ...],
    limits: Limits,
    say: Callable[[str], None],
) -> None:
    """Serve until interrupted. Raises UserError for an address that is taken, or one that would stand open without a token."""
    check_host(host, token)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)
        folder.mkdir(parents=True)
    except FileExistsError:
        listening.close()
        raise UserError(f"--folder {folder} exists already: another server may keep its jobs there") from None
    except OSError as error:
        listening.close()
        raise UserError(f"cannot listen on {host}:{port} and keep jobs in {folder}: {error.strerror}") from None
    jobs = Jobs(folder.absolute(), limits)
    try:
        shown = f"[{host}]" if ":" in host else host
        say(f"populace at http://{shown}:{listening.getsockname()[1]}/  (API: /openapi.json; Ctrl-C ends it)")
        config = uvicorn.Config(
            create(jobs, token, allowed), log_level="warning", access_log=False, server_header=False
        )
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])
    finally:
        jobs.close()
        shutil.rmtree(folder, ignore_errors=True)
        listening.close()
