"""Where messages go: standard output, a broker or a web address.

An outlet takes a frame of messages, hands them over in order, and says of each whether the other side has confirmed it. What it could not confirm
is sent again by `play.py`: at least once, never less.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError, unknown
from ...sinks.address import redact
from ...tables import Table


class Unreachable(Exception):
    """The other side is not there, or went away: worth another try."""


class Outlet(Protocol):
    def open(self) -> None:
        """Connect, afresh if need be. Raises Unreachable, or UserError for what no further try would mend."""
        ...

    def send(self, batch: Table) -> NDArray[np.bool_]:
        """Hand messages over and wait for the confirmations: which of them there were. Raises UserError for a message that is refused."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Address:
    """A URL taken apart. It shows itself without the password."""

    scheme: str
    host: str
    port: int | None
    user: str | None
    password: str | None
    path: str
    query: Mapping[str, str]

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        who = f"{self.user}@" if self.user else ""
        return f"{self.scheme}://{who}{host}{f':{self.port}' if self.port else ''}{self.path}"

    def __repr__(self) -> str:
        return str(self)

    def only(self, *settings: str) -> None:
        """Raise UserError for a setting in the query that this outlet has not."""
        for name in self.query:
            if name not in settings:
                raise unknown("setting", name, settings, f"target {self}")

    def number(self, setting: str, default: int, low: int, high: int) -> int:
        text = self.query.get(setting, str(default))
        if not text.isdigit() or not low <= int(text) <= high:
            raise UserError(f"target {self}: {setting} is '{text}', expected a whole number from {low} to {high}")
        return int(text)


def parse_address(url: str) -> Address:
    """Raises UserError for what is no URL; the message holds no password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its text repeats what could not be read, which may be part of a password
        raise UserError(
            f"target '{redact(url)}' is not a URL; special characters of a password are percent-encoded"
        ) from None
    if not parts.hostname:
        raise UserError(f"target '{parts.scheme}:…' names no host; expected {parts.scheme}://HOST:PORT")
    user, password = (None if v is None else unquote(v) for v in (parts.username, parts.password))
    return Address(parts.scheme, parts.hostname, port, user, password, parts.path, dict(parse_qsl(parts.query, True)))


@dataclass(frozen=True)
class Kind:
    """A kind of outlet: its module, what must be installed for it, and its default for `--topic`."""

    module: str
    package: str | None
    topic: str


KINDS: dict[str, Kind] = {
    "mqtt": Kind("mqtt", "paho.mqtt", "populace/{domain}/{event}/{key}"),
    "mqtts": Kind("mqtt", "paho.mqtt", "populace/{domain}/{event}/{key}"),
    "amqp": Kind("amqp", "aio_pika", "{domain}.{event}.{key}"),
    "amqps": Kind("amqp", "aio_pika", "{domain}.{event}.{key}"),
    "nats": Kind("nats", "nats", "populace.{domain}.{event}.{key}"),
    "redis": Kind("redis", "redis", "populace:{domain}:{event}"),
    "rediss": Kind("redis", "redis", "populace:{domain}:{event}"),
    "kafka": Kind("kafka", "confluent_kafka", "populace.{domain}.{event}"),
    "http": Kind("http", None, "{event}"),
    "https": Kind("http", None, "{event}"),
    "-": Kind("lines", None, "{event}"),
}


def kind_of(target: str) -> Kind:
    """Raises UserError for an unknown scheme, or one whose client library is not installed."""
    scheme = target if target == "-" else target.partition(":")[0]
    if scheme not in KINDS:
        raise unknown("stream target", scheme, KINDS, "--to")
    kind = KINDS[scheme]
    if kind.package is not None:
        try:
            importlib.import_module(kind.package)
        except ImportError:
            raise UserError(f"--to {scheme}: needs a client library: pip install 'populace[streams]'") from None
    return kind


def open_outlet(target: str) -> Outlet:
    """The outlet for `mqtt://…`, `amqp://…`, `nats://…`, `redis://…`, `kafka://…`, `http(s)://…` or `-`. Nothing is connected yet."""
    module = importlib.import_module(f".{kind_of(target).module}", __name__)
    return module.outlet(None if target == "-" else parse_address(target))
