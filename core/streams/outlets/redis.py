"""Redis streams: `redis://HOST[:6379][/DB][?maxlen=N]`, `rediss://` with TLS. Each topic is a stream; a message is an entry with the fields `id`
and `body`, and a field for each header, confirmed by the entry's identifier. `maxlen` keeps about the newest N."""

from __future__ import annotations

import json

import numpy as np
import redis
from numpy.typing import NDArray
from redis.backoff import NoBackoff
from redis.retry import Retry

from ...address import Address
from ...errors import UserError
from ...tables import Table
from . import Outlet, Unreachable

WAIT = 20.0


class Redis:
    def __init__(self, address: Address) -> None:
        self.address = address
        self.most = address.number("maxlen", 0, 0, 1 << 62) or None
        database = address.path.removeprefix("/") or "0"
        if not database.isdigit():
            raise UserError(f"target {address}: the database is '{database}', expected a whole number")
        self.database = int(database)
        self.client: redis.Redis | None = None

    def open(self) -> None:
        self.close()
        self.client = redis.Redis(
            self.address.host,
            self.address.port or 6379,
            self.database,
            username=self.address.user,
            password=self.address.password,
            ssl=self.address.scheme == "rediss",
            retry=Retry(NoBackoff(), 0),  # what is tried again, and how often, is kept account of by the stream
            socket_timeout=WAIT,
            socket_connect_timeout=WAIT,
        )
        try:
            self.client.ping()
        except redis.AuthenticationError:
            raise UserError(f"target {self.address}: the server refuses the user or password") from None
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise Unreachable(f"{self.address}: {error}") from None
        except redis.RedisError as error:
            raise UserError(f"target {self.address}: the server refuses: {error}") from None

    def send(self, batch: Table) -> NDArray[np.bool_]:
        assert self.client is not None
        pipeline = self.client.pipeline(transaction=False)
        for topic, body, identity, told in batch.select("topic", "body", "id", "headers").iter_rows():
            pipeline.xadd(topic, {**json.loads(told), "id": identity, "body": body}, maxlen=self.most, approximate=True)
        try:
            answers = pipeline.execute(raise_on_error=False)
        except (redis.ConnectionError, redis.TimeoutError):
            return np.zeros(batch.height, bool)
        for n, answer in enumerate(answers):
            if isinstance(answer, redis.ResponseError):
                raise UserError(
                    f"target {self.address}: the server refuses an entry of '{batch['topic'][n]}': {answer}"
                )
        return np.array([not isinstance(a, BaseException) for a in answers], bool)

    def close(self) -> None:
        if self.client is not None:
            self.client.close()
            self.client = None


def outlet(address: Address | None) -> Outlet:
    assert address is not None
    return Redis(address)
