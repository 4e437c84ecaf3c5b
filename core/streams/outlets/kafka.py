"""Kafka: `kafka://HOST[:9092]`. An idempotent producer with acknowledgement by all replicas; the message's key is the event's, so that order holds
within a partition."""

from __future__ import annotations

import json

import numpy as np
from confluent_kafka import KafkaError, KafkaException, Producer
from numpy.typing import NDArray

from ...address import Address
from ...errors import UserError
from ...tables import Table
from . import Outlet, Unreachable

WAIT = 20.0
REACH = 5.0
"""Seconds in which a broker must answer."""


class Kafka:
    def __init__(self, address: Address) -> None:
        self.address = address
        self.producer: Producer | None = None
        self.reason = "no answer"

    def open(self) -> None:
        self.close()
        host = f"{self.address.host}:{self.address.port or 9092}"
        login = (
            {
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": "PLAIN",
                "sasl.username": self.address.user,
                "sasl.password": self.address.password or "",
            }
            if self.address.user
            else {}
        )
        self.producer = Producer(
            {
                "bootstrap.servers": host,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 5,
                "delivery.timeout.ms": int(WAIT * 1000),
                "error_cb": self._noted,
                "log_level": 0,
                **login,
            }
        )
        try:
            self.producer.list_topics(timeout=REACH)
        except KafkaException:
            raise Unreachable(f"{self.address}: {self.reason}") from None

    def send(self, batch: Table) -> NDArray[np.bool_]:
        producer, confirmed = self.producer, np.zeros(batch.height, bool)
        assert producer is not None
        refused: list[KafkaError] = []

        def delivered(n: int, error: KafkaError | None) -> None:
            confirmed[n] = error is None
            if error is not None and not error.retriable() and error.code() != KafkaError._MSG_TIMED_OUT:
                refused.append(error)

        for n, (topic, body, label, told) in enumerate(batch.select("topic", "body", "label", "headers").iter_rows()):
            headers = list(json.loads(told).items())
            answer = lambda error, _, n=n: delivered(n, error)  # noqa: E731
            while True:
                try:
                    producer.produce(topic, body.encode(), label.encode(), headers=headers, on_delivery=answer)
                    break
                except BufferError:
                    producer.poll(0.1)
        producer.flush(WAIT)
        if refused and not confirmed.any():
            raise UserError(f"target {self.address}: the broker refuses: {refused[0].str()}")
        return confirmed

    def close(self) -> None:
        if self.producer is not None:
            self.producer.purge()
            self.producer.flush(1)
            self.producer = None

    def _noted(self, error: KafkaError) -> None:
        self.reason = error.str()


def outlet(address: Address | None) -> Outlet:
    assert address is not None
    return Kafka(address)
