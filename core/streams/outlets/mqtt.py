"""MQTT 5: `mqtt://HOST[:1883][?qos=0|1|2&inflight=20&client=ID&status=TOPIC]`, `mqtts://` with TLS.

At QoS 1 and 2 a message is confirmed by the broker's PUBACK or PUBCOMP; at QoS 0 MQTT has no confirmation, and handing it to the connection must do:
there, whole batches of PUBLISH packets go out in one piece.

With `status`, a retained `online` stands at that topic while the connection does, and a retained `offline` afterwards: said on leaving, or by the broker
as the connection's will.
"""

from __future__ import annotations

import json
import select
import threading
import time
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import paho.mqtt.client as paho
from numpy.typing import NDArray
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ...address import Address
from ...errors import UserError
from ...tables import Table
from . import Outlet, Unreachable

WAIT = 20.0
"""Seconds without any confirmation after which a connection counts as broken."""
IN_FLIGHT = 20
"""Messages unconfirmed at once, unless the URL says otherwise: more than a broker is ready to hold would be refused by it."""
KEEP_ALIVE = 60
_PASSING = {"Quota exceeded", "Server busy", "Unspecified error", "Packet identifier in use"}
"""Refusals that another try may mend."""


class Mqtt:
    def __init__(self, address: Address) -> None:
        self.address = address
        self.qos = address.number("qos", 1, 0, 2)
        self.status = address.options.get("status")
        self.will: tuple[str, bytes, int, bool] | None = (self.status, b"offline", 1, True) if self.status else None
        self.client: paho.Client | None = None
        self.changed = threading.Condition()
        self.waiting: set[int] = set()
        self.early: set[int] = set()
        self.refused: dict[int, str] = {}
        self.alive = False
        self.refusal: str | None = None

    def open(self) -> None:
        self.close()
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            self.address.options.get("client", ""),
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
        )
        if self.address.user is not None:
            client.username_pw_set(self.address.user, self.address.password)
        if self.address.scheme == "mqtts":
            client.tls_set()
        client.max_inflight_messages_set(self.address.number("inflight", IN_FLIGHT, 1, 65_535))
        client.on_connect, client.on_disconnect, client.on_publish = self._connected, self._gone, self._published
        if self.will:
            client.will_set(*self.will)
        self.client, self.refusal = client, None
        # at QoS 0 nobody listens between two batches, and so nobody would send pings
        port = self.address.port or (8883 if self.address.scheme == "mqtts" else 1883)
        try:
            client.connect(self.address.host, port, KEEP_ALIVE if self.qos else 0)
        except OSError as error:
            raise Unreachable(f"{self.address}: {error.strerror or error}") from None
        if self.qos:
            client.loop_start()
        until = time.monotonic() + WAIT
        while not self.qos and not (self.alive or self.refusal) and time.monotonic() < until:
            client.loop(0.1)
        with self.changed:
            self.changed.wait_for(lambda: self.alive or self.refusal, WAIT if self.qos else 0)
            if self.refusal:
                raise UserError(f"target {self.address}: the broker refuses: {self.refusal}")
            if not self.alive:
                raise Unreachable(f"{self.address}: no answer")
        self._say(b"online")

    def send(self, batch: Table) -> NDArray[np.bool_]:
        client, sent = self.client, list[int]()
        assert client is not None
        if self.qos == 0:
            columns = (batch[name].to_list() for name in ("topic", "body", "headers"))
            packets = [
                packet(topic, body, False, json.loads(told) if told != "{}" else None)
                for topic, body, told in zip(*columns, strict=True)
            ]
            return np.full(batch.height, self.hand_over(b"".join(packets)))
        with self.changed:
            self.waiting, self.early, self.refused = set(), set(), {}
        for topic, body, told in batch.select("topic", "body", "headers").iter_rows():
            properties = Properties(PacketTypes.PUBLISH) if told != "{}" else None
            if properties is not None:
                properties.UserProperty = list(json.loads(told).items())
            info = client.publish(topic, body, self.qos, properties=properties)
            if info.rc != paho.MQTT_ERR_SUCCESS:
                break
            sent.append(info.mid)
            with self.changed:
                if info.mid in self.early:
                    self.early.discard(info.mid)
                else:
                    self.waiting.add(info.mid)
        confirmed = np.zeros(batch.height, bool)
        with self.changed:
            left = len(self.waiting)
            while self.waiting - self.refused.keys() and self.alive:
                self.changed.wait(WAIT)
                if len(self.waiting) == left:
                    break
                left = len(self.waiting)
            refused = [(n, self.refused[mid]) for n, mid in enumerate(sent) if mid in self.refused]
            confirmed[: len(sent)] = [mid not in self.waiting for mid in sent]
        for n, reason in refused:
            if reason not in _PASSING:
                raise UserError(f"target {self.address}: the broker refuses '{batch['topic'][n]}': {reason}")
        return confirmed

    def hand_over(self, packets: bytes) -> bool:
        """Write packets on a connection that no thread of its own serves. Whether the connection still stands afterwards."""
        assert self.client is not None
        left, until = memoryview(packets), time.monotonic() + WAIT
        try:
            while left and self.alive and (socket := self.client.socket()) is not None:
                if select.select([], [socket], [], 1.0)[1]:
                    try:
                        left = left[socket.send(bytes(left[:_PIECE])) :]
                        until = time.monotonic() + WAIT
                    except BlockingIOError:
                        continue
                elif time.monotonic() > until:
                    return False
        except OSError:
            return False
        self.client.loop(0)
        return self.alive and not left

    def _say(self, what: bytes) -> None:
        """The connection's status, retained."""
        if self.status and self.client is not None:
            info = self.client.publish(self.status, what, min(self.qos, 1), retain=True)
            if self.qos:
                info.wait_for_publish(WAIT)

    def close(self) -> None:
        if self.client is not None:
            if self.alive:
                self._say(b"offline")
            self.client.disconnect()
            if self.qos:
                self.client.loop_stop()
            self.client, self.alive = None, False

    def _connected(self, _c: object, _u: object, _f: object, reason: ReasonCode, _p: object) -> None:
        with self.changed:
            self.alive, self.refusal = not reason.is_failure, str(reason) if reason.is_failure else None
            self.changed.notify_all()

    def _gone(self, *_: object) -> None:
        with self.changed:
            self.alive = False
            self.changed.notify_all()

    def _published(self, _c: object, _u: object, mid: int, reason: ReasonCode, _p: object) -> None:
        with self.changed:
            if reason.is_failure:
                self.refused[mid] = str(reason)
            elif mid in self.waiting:
                self.waiting.discard(mid)
            else:
                self.early.add(mid)
            if not self.waiting - self.refused.keys():
                self.changed.notify_all()


_PIECE = 1 << 18


def packet(topic: str, body: str | bytes, retain: bool = False, headers: Mapping[str, str] | None = None) -> bytes:
    """A PUBLISH packet at QoS 0; headers are user properties (MQTT 5.0, 3.3)."""
    content = body if isinstance(body, bytes) else body.encode()
    pairs = b"".join(b"\x26" + _text(n) + _text(v) for n, v in headers.items()) if headers else b""
    about = _text(topic) + _varint(len(pairs)) + pairs
    return (b"\x31" if retain else b"\x30") + _varint(len(about) + len(content)) + about + content


# topics and lengths come again and again, and a packet in less than a millionth of a second asks for three of these


@lru_cache(4096)
def _text(value: str) -> bytes:
    encoded = value.encode()
    return len(encoded).to_bytes(2) + encoded


@lru_cache(4096)
def _varint(number: int) -> bytes:
    size = bytearray()
    while True:
        number, seven = divmod(number, 128)
        size.append(seven | (128 if number else 0))
        if not number:
            return bytes(size)


def outlet(address: Address | None) -> Outlet:
    assert address is not None
    return Mqtt(address)
