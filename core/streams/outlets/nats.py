"""NATS JetStream: `nats://HOST[:4222][?stream=NAME]`.

A message is confirmed when the stream has stored it. It bears an identifier (`Nats-Msg-Id`), so that one sent again within the server's window of
duplicates is stored once. A stream that takes the subjects is made if there is none.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import nats
import numpy as np
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import NoServersError
from nats.js import JetStreamContext
from nats.js.api import Header
from nats.js.errors import APIError, NotFoundError
from numpy.typing import NDArray

from ...address import Address
from ...errors import UserError
from ...tables import Table
from . import Outlet, Unreachable

WAIT = 20.0


class Nats:
    def __init__(self, address: Address) -> None:
        self.address = address
        self.name = address.options.get("stream", "populace")
        self.loop = asyncio.new_event_loop()
        self.client: Client | None = None
        self.streams: JetStreamContext | None = None
        self.known: set[str] = set()

    def open(self) -> None:
        self._drop()
        try:
            self.loop.run_until_complete(asyncio.wait_for(self._open(), WAIT))
        except (OSError, TimeoutError, NoServersError) as error:
            raise Unreachable(f"{self.address}: {error or 'no answer'}") from None
        except NatsError as error:
            if "authorization" in str(error).lower():
                raise UserError(f"target {self.address}: the server refuses the user or password") from None
            raise Unreachable(f"{self.address}: {error}") from None

    async def _open(self) -> None:
        self.client = await nats.connect(
            f"nats://{self.address.host}:{self.address.port or 4222}",
            user=self.address.user,
            password=self.address.password,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0.1,
            connect_timeout=5,
            error_cb=_silent,
        )
        self.streams = self.client.jetstream(publish_async_max_pending=4_000)

    def send(self, batch: Table) -> NDArray[np.bool_]:
        return self.loop.run_until_complete(self._send(batch))

    async def _send(self, batch: Table) -> NDArray[np.bool_]:
        streams = self.streams
        assert streams is not None
        confirmed = np.zeros(batch.height, bool)
        futures = []
        try:
            for head in {str(t).partition(".")[0] for t in batch["topic"].unique()} - self.known:
                await self._stream_for(head)
            for topic, body, identity, told in batch.select("topic", "body", "id", "headers").iter_rows():
                headers = {**json.loads(told), Header.MSG_ID: identity}
                futures.append(await streams.publish_async(topic, body.encode(), wait_stall=WAIT, headers=headers))
            answers = await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), WAIT)
        except (NatsError, OSError, TimeoutError):
            answers = [f.exception() if f.done() and not f.cancelled() else TimeoutError() for f in futures]
        for n, answer in enumerate(answers):
            if isinstance(answer, APIError):
                raise UserError(
                    f"target {self.address}: the server refuses '{batch['topic'][n]}': {answer.description}"
                )
            confirmed[n] = not isinstance(answer, BaseException)
        return confirmed

    async def _stream_for(self, head: str) -> None:
        """See to it that a stream takes the subjects that begin with `head`."""
        streams = self.streams
        assert streams is not None
        try:
            await streams.find_stream_name_by_subject(f"{head}.>")
        except NotFoundError:
            try:
                await streams.add_stream(name=self.name, subjects=[f"{head}.>"])
            except APIError as error:
                raise UserError(
                    f"target {self.address}: no stream takes '{head}.>', and '{self.name}' cannot be made: {error.description}"
                ) from None
        self.known.add(head)

    def _drop(self) -> None:
        if self.client is not None and not self.client.is_closed:
            # it may be broken: that is why it goes
            with suppress(NatsError, OSError, TimeoutError):
                self.loop.run_until_complete(asyncio.wait_for(self.client.close(), WAIT))
        self.client = None

    def close(self) -> None:
        self._drop()
        self.loop.close()


async def _silent(_: Exception) -> None:
    """Errors of the connection reach us by the messages that were not confirmed."""


def outlet(address: Address | None) -> Outlet:
    assert address is not None
    return Nats(address)
