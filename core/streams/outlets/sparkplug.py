"""Sparkplug B over MQTT: `sparkplug://HOST[:1883]`. Each edge node has a connection of its own, whose will is its death.

The connection is made when the node is born, with the NDEATH of the same session as its will, and dropped without a word where the node dies, so that the
broker says so. Everything is sent at QoS 0, not retained, the will at QoS 1 (Sparkplug 3.0.0, 6.4). A session that broke cannot be taken up half-way.
"""

from __future__ import annotations

import socket
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...address import Address
from ...errors import UserError
from ...tables import Table
from . import Outlet
from .mqtt import WAIT, Mqtt, packet

MOST = 1_000
"""Connections at most."""


class Sparkplug:
    def __init__(self, address: Address) -> None:
        self.address = replace(address, scheme="mqtt", options={"qos": "0"})
        self.nodes: dict[tuple[str, str], Mqtt] = {}
        self.begun = False

    def open(self) -> None:
        """Look whether the broker is there; nodes connect when they are born."""
        if self.begun:
            raise UserError(
                f"target {self.address}: a connection broke, and a Sparkplug session cannot be taken up half-way"
            )
        probe = Mqtt(self.address)
        probe.open()
        probe.close()
        self.begun = True

    def send(self, batch: Table) -> NDArray[np.bool_]:
        confirmed = np.zeros(batch.height, bool)
        ready: dict[tuple[str, str], list[tuple[int, bytes]]] = {}
        for row, (topic, body) in enumerate(batch.select("topic", "body").iter_rows()):
            _, group, kind, node, *_ = topic.split("/")
            name = (group, node)
            if kind == "NBIRTH":
                self._connect(name, topic, body)
            if kind == "NDEATH":
                self._flush(name, ready, confirmed)
                self._drop(name)
                confirmed[row] = True
            else:
                ready.setdefault(name, []).append((row, packet(topic, body)))
        for name in list(ready):
            self._flush(name, ready, confirmed)
        return confirmed

    def _flush(
        self, name: tuple[str, str], ready: dict[tuple[str, str], list[tuple[int, bytes]]], confirmed: NDArray[np.bool_]
    ) -> None:
        rows = ready.pop(name, [])
        if rows and name in self.nodes:
            confirmed[[row for row, _ in rows]] = self.nodes[name].hand_over(b"".join(p for _, p in rows))

    def _connect(self, name: tuple[str, str], topic: str, birth: bytes) -> None:
        if len(self.nodes) >= MOST:
            raise UserError(
                f"target {self.address}: more than {MOST:,} nodes at once, each with a connection; take a smaller --size"
            )
        made = self.nodes[name] = Mqtt(self.address)
        made.will = (topic.replace("/NBIRTH/", "/NDEATH/", 1), death(birth), 1, False)
        made.open()

    def _drop(self, name: tuple[str, str]) -> None:
        """Without a DISCONNECT: the broker publishes the will. It has when it closes its side; only then may the node be born anew."""
        gone = self.nodes.pop(name, None)
        if gone is not None and gone.client is not None and (held := gone.client.socket()) is not None:
            assert isinstance(held, socket.socket)
            try:
                held.shutdown(socket.SHUT_WR)
                held.settimeout(WAIT)
                while held.recv(4_096):
                    pass
            except OSError:
                pass  # the connection had broken by itself: the broker publishes the will all the same
            gone.client.loop(0)

    def close(self) -> None:
        for name in list(self.nodes):
            self._drop(name)


def death(birth: bytes) -> bytes:
    """The NDEATH of an NBIRTH that begins with its timestamp and the metric bdSeq: just these."""
    at = 1
    while birth[at] & 128:
        at += 1
    size, shift, at = 0, 0, at + 2
    while True:
        size |= (birth[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if not birth[at - 1] & 128:
            return birth[: at + size]


def outlet(address: Address | None) -> Outlet:
    assert address is not None
    return Sparkplug(address)
