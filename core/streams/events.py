"""What happens in a domain, and when: `schemas/<domain>/events.toml` says which rows of which tables are events.

[transaction-authorised]
table = "transaction"
at = "authorised_at"                # the instant; a row without one is no such event
key = "account_id"                  # events of one key stay in order
hides = ["cleared_at"]              # columns that nobody knows yet at that instant: left out
shows = { status = { booked = "authorised" } }      # values as they were then
doc = "…"
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources

from ..errors import unknown
from ..schema import Schema


@dataclass(frozen=True)
class Event:
    name: str
    table: str
    at: str
    key: str
    doc: str
    hides: tuple[str, ...] = ()
    shows: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


_KEYS = {"table", "at", "key", "hides", "shows", "doc"}


def load_events(schema: Schema, package: str = "populace") -> dict[str, Event]:
    """Read `schemas/<domain>/events.toml` of an installed package. Raises UserError for a table or column that there is not."""
    place = f"schemas/{schema.domain}/events.toml"
    text = (resources.files(package) / place).read_text("utf-8")
    events = {}
    for name, entry in tomllib.loads(text).items():
        for key in entry.keys() - _KEYS:
            raise unknown("event setting", key, _KEYS, f"{place} [{name}]")
        event = Event(
            name,
            entry["table"],
            entry["at"],
            entry["key"],
            entry["doc"],
            tuple(entry.get("hides", ())),
            entry.get("shows", {}),
        )
        columns = schema[event.table].columns
        for column in (event.at, event.key, *event.hides, *event.shows):
            if column not in columns:
                raise unknown("column", column, columns, f"{place} [{name}]")
        events[name] = event
    return events
