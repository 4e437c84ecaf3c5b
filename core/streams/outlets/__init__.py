"""Where messages go: standard output, a broker or a web address.

An outlet takes a frame of messages, hands them over in order, and says of each whether the other side has confirmed it. What it could not confirm
is sent again by `play.py`: at least once, never less.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...address import parse_address
from ...errors import UserError, unknown
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
class Kind:
    """A kind of outlet: its module, what must be installed for it, and its default for `--topic`."""

    module: str
    package: str | None
    topic: str
    options: tuple[str, ...] | None = ()
    """What may stand after the ? in its URL; None: whatever the other side understands."""
    headers: bool = True
    """Whether its messages have headers."""


KINDS: dict[str, Kind] = {
    "mqtt": Kind("mqtt", "paho.mqtt", "populace/{domain}/{event}/{key}", ("qos", "inflight", "client", "status")),
    "mqtts": Kind("mqtt", "paho.mqtt", "populace/{domain}/{event}/{key}", ("qos", "inflight", "client", "status")),
    "sparkplug": Kind("sparkplug", "paho.mqtt", "{key}", ("client",)),
    "amqp": Kind("amqp", "aio_pika", "{domain}.{event}.{key}", ("exchange", "queue")),
    "amqps": Kind("amqp", "aio_pika", "{domain}.{event}.{key}", ("exchange", "queue")),
    "nats": Kind("nats", "nats", "populace.{domain}.{event}.{key}", ("stream",)),
    "redis": Kind("redis", "redis", "populace:{domain}:{event}", ("maxlen",)),
    "rediss": Kind("redis", "redis", "populace:{domain}:{event}", ("maxlen",)),
    "kafka": Kind("kafka", "confluent_kafka", "populace.{domain}.{event}"),
    "http": Kind("http", None, "{event}", None, headers=False),
    "https": Kind("http", None, "{event}", None, headers=False),
    "-": Kind("lines", None, "{event}", headers=False),
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
    if target == "-":
        return module.outlet(None)
    address = parse_address(target, kind_of(target).options)
    if not address.host:
        raise UserError(f"target '{address}' names no host; expected {address.scheme}://HOST:PORT")
    return module.outlet(address)
