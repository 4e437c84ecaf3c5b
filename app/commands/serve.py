"""`populace serve`."""

from __future__ import annotations

from pathlib import Path

import click

from ...core.errors import UserError


@click.command(
    epilog="""\b
Examples:
  populace serve
  populace serve --port 9000 --folder /srv/populace --max-size 20000
  populace serve --host 0.0.0.0 --token "$(openssl rand -hex 16)" """
)
@click.option("--host", default="127.0.0.1", metavar="H", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65_535), default=8000, metavar="N", help="Port.  [default: 8000]")
@click.option("--token", envvar="POPULACE_TOKEN", metavar="T", help="What a client must know; from POPULACE_TOKEN too.")
@click.option("--folder", default="populace-out/serve", metavar="DIR", help="Where jobs are kept while it runs.")
@click.option(
    "--allow", multiple=True, metavar="URL", help="Let clients write to this target URL, or below it if it ends in /."
)
@click.option("--max-size", type=click.IntRange(1), default=100_000, metavar="N", help="Root entities in a dataset.")
@click.option("--max-seconds", type=click.FloatRange(1), default=3_600.0, metavar="S", help="Time for one job.")
@click.option(
    "--preview-seconds",
    type=click.FloatRange(1),
    default=60.0,
    metavar="S",
    help="Time for a preview or an explanation.",
)
@click.option("--jobs", "running", type=click.IntRange(1, 64), default=2, metavar="N", help="Jobs at the same time.")
def serve(
    host: str,
    port: int,
    token: str | None,
    folder: str,
    allow: tuple[str, ...],
    max_size: int,
    max_seconds: float,
    preview_seconds: float,
    running: int,
) -> None:
    """Serve an HTTP API and a page for people who write no code. What the jobs wrote goes when the server ends."""
    try:
        from ..server.run import serve as listen
    except ImportError as error:
        raise UserError(f"serve: needs {error.name}: pip install 'populace[server]'") from None
    from ..server.jobs import Limits

    limits = Limits(size=max_size, seconds=max_seconds, preview_seconds=preview_seconds, running=running)
    listen(host, port, token, Path(folder), allow, limits, click.echo)
