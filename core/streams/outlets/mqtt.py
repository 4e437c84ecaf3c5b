"""MQTT 5: `mqtt://HOST[:1883][?qos=0|1|2&inflight=20&client=ID]`, `mqtts://` with TLS.

At QoS 1 and 2 a message is confirmed by the broker's PUBACK or PUBCOMP; at QoS 0 MQTT has no confirmation, and handing it to the connection must do.
"""

from __future__ import annotations

import json
import threading

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
_PASSING = {"Quota exceeded", "Server busy", "Unspecified error", "Packet identifier in use"}
"""Refusals that another try may mend."""


class Mqtt:
    def __init__(self, address: Address) -> None:
        self.address = address
        self.qos = address.number("qos", 1, 0, 2)
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
        self.client, self.refusal = client, None
        try:
            client.connect(self.address.host, self.address.port or (8883 if self.address.scheme == "mqtts" else 1883))
        except OSError as error:
            raise Unreachable(f"{self.address}: {error.strerror or error}") from None
        client.loop_start()
        with self.changed:
            self.changed.wait_for(lambda: self.alive or self.refusal, WAIT)
            if self.refusal:
                raise UserError(f"target {self.address}: the broker refuses: {self.refusal}")
            if not self.alive:
                raise Unreachable(f"{self.address}: no answer")

    def send(self, batch: Table) -> NDArray[np.bool_]:
        client, sent = self.client, list[int]()
        assert client is not None
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
            if self.qos == 0:
                continue
            with self.changed:
                if info.mid in self.early:
                    self.early.discard(info.mid)
                else:
                    self.waiting.add(info.mid)
        confirmed = np.zeros(batch.height, bool)
        if self.qos == 0:
            while client.want_write() and self.alive:
                threading.Event().wait(0.001)
            confirmed[: len(sent)] = self.alive
            return confirmed
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

    def close(self) -> None:
        if self.client is not None:
            self.client.disconnect()
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


def outlet(address: Address | None) -> Outlet:
    assert address is not None
    return Mqtt(address)
