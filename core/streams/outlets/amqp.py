"""AMQP 0-9-1: `amqp://HOST[:5672]/[VHOST][?exchange=NAME&queue=NAME]`, `amqps://` with TLS.

Messages are persistent, published to a durable topic exchange (`populace`) under their topic as routing key, with publisher confirms and
`mandatory`: one that no queue would take is an error, not a loss. `queue` declares a durable queue and binds it to everything.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import aio_pika
import numpy as np
from aio_pika.exceptions import AMQPConnectionError, AMQPError, DeliveryError, ProbableAuthenticationError
from numpy.typing import NDArray

from ...address import Address
from ...errors import UserError
from ...tables import Table
from . import Outlet, Unreachable

WAIT = 20.0
_CONTENT = "application/cloudevents+json"


class Amqp:
    def __init__(self, address: Address) -> None:
        self.address = address
        self.loop = asyncio.new_event_loop()
        self.connection: aio_pika.abc.AbstractConnection | None = None
        self.exchange: aio_pika.abc.AbstractExchange | None = None

    def open(self) -> None:
        self._drop()
        try:
            self.loop.run_until_complete(asyncio.wait_for(self._open(), WAIT))
        except ProbableAuthenticationError:
            raise UserError(f"target {self.address}: the broker refuses the user or password") from None
        except (OSError, TimeoutError, AMQPConnectionError) as error:
            raise Unreachable(f"{self.address}: {error}") from None
        except AMQPError as error:
            raise UserError(f"target {self.address}: the broker refuses: {error}") from None

    async def _open(self) -> None:
        address = self.address
        self.connection = await aio_pika.connect(
            host=address.host,
            port=address.port or (5671 if address.scheme == "amqps" else 5672),
            login=address.user or "guest",
            password=address.password or "guest",
            virtualhost=address.path.removeprefix("/") or "/",
            ssl=address.scheme == "amqps",
        )
        channel = await self.connection.channel(publisher_confirms=True, on_return_raises=True)
        name = address.options.get("exchange", "populace")
        self.exchange = await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC, durable=True)
        if queue := address.options.get("queue"):
            declared = await channel.declare_queue(queue, durable=True)
            await declared.bind(self.exchange, "#")

    def send(self, batch: Table) -> NDArray[np.bool_]:
        return self.loop.run_until_complete(self._send(batch))

    async def _send(self, batch: Table) -> NDArray[np.bool_]:
        exchange = self.exchange
        assert exchange is not None
        sent = [
            exchange.publish(
                aio_pika.Message(
                    body.encode(),
                    delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                    message_id=identity,
                    content_type=_CONTENT,
                    headers=json.loads(told),
                ),
                topic,
                mandatory=True,
                timeout=WAIT,
            )
            for topic, body, identity, told in batch.select("topic", "body", "id", "headers").iter_rows()
        ]
        confirmed = np.zeros(batch.height, bool)
        for n, answer in enumerate(await asyncio.gather(*sent, return_exceptions=True)):
            if isinstance(answer, DeliveryError):
                raise UserError(
                    f"target {self.address}: no queue takes messages with the routing key '{batch['topic'][n]}': bind one to the exchange "
                    f"'{exchange.name}', or name one with ?queue=NAME"
                )
            if isinstance(answer, BaseException) and not isinstance(
                answer, AMQPError | OSError | TimeoutError | RuntimeError
            ):
                raise answer
            confirmed[n] = not isinstance(answer, BaseException)
        return confirmed

    def _drop(self) -> None:
        if self.connection is not None and not self.connection.is_closed:
            # it may be broken: that is why it goes
            with suppress(AMQPError, OSError, TimeoutError, RuntimeError):
                self.loop.run_until_complete(asyncio.wait_for(self.connection.close(), WAIT))
        self.connection = None

    def close(self) -> None:
        self._drop()
        self.loop.close()


def outlet(address: Address | None) -> Outlet:
    assert address is not None
    return Amqp(address)
