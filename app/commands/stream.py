"""`populace stream`."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from ...core.errors import UserError
from .request import spec_of, takes_spec, workers_of


@click.command(
    epilog="""\b
Examples:
  populace stream finance --size 100 --speed 3600x
  populace stream iot --to mqtt://localhost --rate 1000/s --topic 'plant/{key}/{event}'
  populace stream healthcare --to 'amqp://guest:guest@localhost/?queue=adt' --event encounter-started
  populace stream finance --to kafka://localhost:9092 --control 8765 --record changes.json"""
)
@takes_spec
@click.option(
    "--to",
    "target",
    default="-",
    metavar="URL",
    help="mqtt://, amqp://, nats://, redis://, kafka://, http(s)://, or - for standard output.  [default: -]",
)
@click.option("--speed", metavar="60x|max", help="So many times faster than the events happened.  [default: max]")
@click.option("--rate", metavar="N/s", help="Or a steady rate of messages.")
@click.option("--event", "events", multiple=True, metavar="NAME", help="Only these events.")
@click.option(
    "--topic",
    metavar="TEMPLATE",
    help="Topic, subject or routing key; {domain}, {event}, {key} and columns are filled.",
)
@click.option(
    "--body",
    default="cloudevents",
    metavar="FORM",
    help="cloudevents, row, a view (fhir+ndjson), a JSON template with {names}, or @FILE with one.  [default: cloudevents]",
)
@click.option("--key", default="{key}", metavar="TEMPLATE", help="The key that Kafka is told.  [default: {key}]")
@click.option("--header", "headers", multiple=True, metavar="NAME=TEMPLATE", help="A header of each message.")
@click.option("--patience", type=float, default=300.0, metavar="S", help="Seconds to go on trying.  [default: 300]")
@click.option("--control", type=int, metavar="PORT", help="Serve the controls on this port of 127.0.0.1 (0: any).")
@click.option("--record", metavar="FILE", help="Write down what was changed on the way, as JSON.")
@click.option("--changes", metavar="FILE", help="Make the changes of an earlier --record again.")
@click.option("--workers", type=int, metavar="N", help="Processes.  [default: one for each core]")
@click.option("--quiet", is_flag=True, help="No progress, no summary.")
def stream(
    target: str,
    speed: str | None,
    rate: str | None,
    events: tuple[str, ...],
    topic: str | None,
    body: str,
    key: str,
    headers: tuple[str, ...],
    patience: float,
    control: int | None,
    record: str | None,
    changes: str | None,
    workers: int | None,
    quiet: bool,
    **flags: Any,
) -> int:
    """Replay a domain's events in order of time into a broker, a web address or standard output. Exit 0: every message is confirmed."""
    from ...core.files import check_place, write_whole
    from ...core.plan import make_plan
    from ...core.spec import parse_settings
    from ...core.streams.control import controlled
    from ...core.streams.pace import parse_pace
    from ...core.streams.session import open_session, read_changes

    pace = parse_pace(speed, rate)
    spec, written = spec_of(flags)
    if record:
        check_place(record, "--record")
        if Path(record).exists():
            raise UserError(f"--record {record} exists already; nothing is overwritten")
    planned = read_changes(changes) if changes else []
    session = open_session(
        make_plan(spec),
        target,
        events=events,
        topic=topic,
        body=body,
        key=key,
        headers=parse_settings(headers, "--header"),
        workers=workers_of(workers, written),
        patience=patience,
        quiet=quiet,
    )
    session.controls.pace = pace
    with ExitStack() as stack:
        if control is not None:
            port = stack.enter_context(controlled(session, control))
            click.echo(f"controls: http://127.0.0.1:{port}/status", err=True)
        try:
            session.run(planned)
        finally:
            if record:
                write_whole(record, json.dumps({"changes": session.changes}, indent=2).encode(), "--record")
            if not quiet:
                account = session.account.as_dict()
                click.echo(
                    ", ".join(f"{k} {v:,}" for k, v in account.items() if v is not None and k != "last"), err=True
                )
    return 0 if session.account.lost == 0 else 1
